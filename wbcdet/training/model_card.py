"""Write and read the card of a training run: network, recipe, data and size."""

from __future__ import annotations

import hashlib
import json
import platform
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from wbcdet.datasets.archives import datasets_folder, source
from wbcdet.datasets.laboratories import READERS
from wbcdet.records import NOTICE
from wbcdet.utils.files import atomic_write
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.version import __version__

LICENCE = "AGPL-3.0-or-later"
CARD = "card.json"


def provenance(archives: Iterable[str]) -> list[dict[str, str]]:
    """Return repository, commit and licence of each archive."""
    sources = [source(name) for name in archives]
    return [{"repository": s.repository, "commit": s.commit, "licence": s.licence} for s in sources]


def trained_on(laboratories: Iterable[str], column: str) -> JsonObject:
    """Describe the training data, for a card.

    Args:
        laboratories: one name a labelled thing.
        column: of ``datasets/splits.csv``, ``classify`` or ``detect``.
    """
    counts = Counter(laboratories)
    # Cells of laboratories that are no public archive come from their user: there is no source.
    archives = sorted({name for lab in counts if lab in READERS for name in READERS[lab][0]})
    splits = datasets_folder() / "splits.csv"
    return {
        "data": provenance(archives),
        "laboratories": dict(sorted(counts.items())),
        "splits": {
            "list": f"datasets/{splits.name}, {column} = train",
            "sha256": hashlib.sha256(splits.read_bytes()).hexdigest(),
        },
    }


def size_of(network: nn.Module, side: int) -> dict[str, int]:
    """Return parameters, and multiply-accumulates for one picture (3, side, side).

    Multiplications of convolutions and dense layers count, as is usual; normalisation and
    activation do not.
    """
    was_training = network.training
    network.eval()
    first = next(network.parameters())
    picture = torch.zeros(1, 3, side, side, device=first.device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(picture)
    network.train(was_training)
    parameters = sum(p.numel() for p in network.parameters())
    return {"parameters": parameters, "macs": counter.get_total_flops() // 2}


def write_card(out: Path, weights: Path, card: dict[str, object]) -> JsonObject:
    """Write ``card.json`` beside the weights; returns it whole."""
    whole = {
        **card,
        "file": weights.relative_to(out).as_posix(),
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": LICENCE,
        "notice": NOTICE,
        "wbcdet": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    atomic_write(out / CARD, text.encode())
    return read_card(out)


def read_card(out: Path) -> JsonObject:
    """Return the card of a run."""
    card: JsonObject = json.loads((out / CARD).read_text(encoding="utf-8"))
    return card
