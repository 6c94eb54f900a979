"""Networks side by side: trained alike, judged on the same test lists, timed in one run.

The paper's four measures are taken on the test part of PBC: its classes are those of experts, its
cells more than a thousand, and near-duplicates stand on one side of the split.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from wbcdet.datasets.cells import CLASSES, REASONS, LabelledCell
from wbcdet.evaluation.benchmarks import load_lists
from wbcdet.evaluation.classification import judge_names, named_cell
from wbcdet.evaluation.tables import FOUR_WAY_HEAD, four_way_row, joined
from wbcdet.inference.cell_crop import cell_crop
from wbcdet.training.augment_cells import CROP, CROP_SIZE, CellDataset
from wbcdet.training.classifier_run import begin, complete
from wbcdet.training.classifier_training import predict_logits
from wbcdet.training.config import ClassifierRecipe
from wbcdet.utils.calibration import softmax
from wbcdet.utils.files import atomic_write

#: Test lists, as ``wbcdet evaluate`` names them, in the order of the table. The paper's measures
#: are taken on the first.
LISTS = (
    "pbc-experts", "bccd", "bcisc", "tecom", "raabin", "pbc", "chula-ee", "cellavision",
    "pbc-second",
)  # fmt: skip
#: Crops that go through a network at once when it is timed.
TIMED_BATCHES = (1, 16)
FIGURES = "figures.json"


@dataclass(slots=True)
class NamingList:
    """A test list of the classifier.

    Attributes:
        title: as in the tables of the evaluation.
        crops: (S, S, 3) uint8 BGR each, as at inference.
        truth, groups: type and group of each.
    """

    title: str
    crops: list[np.ndarray]
    truth: list[str]
    groups: list[str]


class SharedCrops(CellDataset):
    """The crops that all networks learn from; each is made once, and kept (38 kB)."""

    def __init__(self, cells: list[LabelledCell], length: int) -> None:
        super().__init__(cells, length)
        self._made: dict[tuple[int, int], tuple[np.ndarray, int]] = {}

    def draw(self, index: int) -> tuple[np.ndarray, int]:
        """Return a crop of the epoch and its label; of worker processes each keeps its own."""
        key = self.epoch, index
        if key not in self._made:
            self._made[key] = super().draw(index)
        return self._made[key]


def naming_lists(prepared: Path) -> list[NamingList]:
    """Return the test lists of the classifier, in the order of ``LISTS``."""
    found = []
    for name in LISTS:
        [chosen] = [t for t in load_lists((name,), prepared, None) if t.name == f"{name}-naming"]
        crops = [cell_crop(c.patch, c.box, CROP) for c in chosen.crops]
        truth, groups = [c.truth for c in chosen.crops], [c.group for c in chosen.crops]
        found.append(NamingList(chosen.title, crops, truth, groups))
    return found


def judge(
    network: nn.Module, temperature: float, lists: Sequence[NamingList], min_score: float
) -> dict[str, Any]:
    """Return figures of a network by the title of the list.

    Args:
        network: crops to logits of ``CLASSES``.
        temperature: divisor of the logits.
        lists: what to judge it on.
        min_score: least score of a name, 0..1; below it a cell is unclassified, and counts wrong.
    """
    figures = {}
    for part in lists:
        logits = predict_logits(network, part.crops) / temperature
        odds = softmax(logits)
        rows = zip(part.truth, odds, part.groups, strict=True)
        cells = [
            named_cell(truth, odd, CLASSES, min_score, group, REASONS) for truth, odd, group in rows
        ]
        whole = judge_names(cells, min_score)
        kept = (
            "cells", "accuracy", "accuracy_ci", "unclassified", "classes", "macro", "four_way",
            "confusion",
        )  # fmt: skip
        figures[part.title] = {key: whole[key] for key in kept}
        figures[part.title]["ece"] = whole["calibration"]["ece"]
    return figures


def compare_one(
    recipe: ClassifierRecipe,
    prepared: Path,
    out: Path,
    crops: CellDataset,
    lists: Sequence[NamingList],
    min_score: float,
    device: str = "auto",
    workers: int = 2,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train a network, or go on, and judge it; what ``out`` holds already is not done again.

    Args:
        crops: of the training cells of ``prepared``, the same for all networks.

    Returns:
        Its card, and what :func:`judge` says of it.

    Raises:
        TrainingError: it cannot be trained, or ``out`` is of another recipe.
    """
    run = begin(prepared, out, recipe, device, crops)
    card = complete(run, prepared, workers)
    of = {
        "sha256": card["sha256"],
        "min_score": min_score,
        "data": run.recipe.data,
        "crop": CROP,
        "lists": {part.title: len(part.crops) for part in lists},
    }
    path = out / FIGURES
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["of"] == json.loads(json.dumps(of)):
            return card, kept["lists"]
    figures = judge(run.average, card["temperature"], lists, min_score)
    write_json(path, {"of": of, "lists": figures})
    return card, figures


def write_json(path: Path, values: object) -> None:
    """Write figures, whole or not at all."""
    atomic_write(path, (json.dumps(values, indent=1) + "\n").encode())


def time_networks(
    networks: Mapping[str, nn.Module], rounds: int = 9
) -> dict[str, dict[int, float]]:
    """Return milliseconds a crop of each network by batch, the median of ``rounds``.

    Torch in single precision on two threads of the processor. The networks take turns, so that
    whatever else the machine does falls on all of them: only their ratios mean something.
    """
    torch.set_num_threads(min(2, torch.get_num_threads()))
    taken: dict[tuple[str, int], list[float]] = {}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for name, network in networks.items():
                network.eval().to(memory_format=torch.channels_last)
                for batch in TIMED_BATCHES:
                    crops = torch.zeros(batch, 3, CROP_SIZE, CROP_SIZE)
                    crops = crops.contiguous(memory_format=torch.channels_last)
                    start = time.perf_counter()
                    network(crops)
                    if number:  # the first round warms up
                        spent = 1000 * (time.perf_counter() - start) / batch
                        taken.setdefault((name, batch), []).append(spent)
    return {
        name: {batch: statistics.median(taken[name, batch]) for batch in TIMED_BATCHES}
        for name in networks
    }


def tables(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return three Markdown tables: size and speed, the paper's measures, accuracy on every list.

    Args:
        results: ``card``, ``milliseconds`` and ``lists`` of each network, one at least.
    """
    cells = {title: f["cells"] for title, f in next(iter(results.values()))["lists"].items()}
    titles = list(cells)
    size = ["parameters, million", "MACs, million", "ms a crop, one by one"]
    size.append(f"ms a crop, {TIMED_BATCHES[-1]} at once")
    parts = [_head("network", "start", *size)]
    parts += [_size_row(r["card"], r["milliseconds"]) for r in results.values()]
    parts += ["", f"{titles[0]}, by the best of the four labels, nothing declined:", ""]
    parts.append(FOUR_WAY_HEAD.replace("list", "network", 1))
    parts += [four_way_row(r["card"]["name"], r["lists"][titles[0]]) for r in results.values()]
    parts += ["", "Accuracy % (95 %), unclassified counted as wrong:", ""]
    parts.append(_head("network", *(f"{title} ({cells[title]})" for title in titles)))
    parts += [
        _row(r["card"]["name"], *(joined(r["lists"][t], "accuracy") for t in titles))
        for r in results.values()
    ]
    return "\n".join(parts)


def _size_row(card: Mapping[str, Any], speed: Mapping[int, float]) -> str:
    return _row(
        card["name"],
        card["initialisation"],
        f"{card['parameters'] / 1e6:.2f}",
        f"{card['macs'] / 1e6:.0f}",
        *(f"{speed[batch]:.1f}" for batch in TIMED_BATCHES),
    )


def _head(*columns: str) -> str:
    return f"{_row(*columns)}\n|{'---|' * len(columns)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
