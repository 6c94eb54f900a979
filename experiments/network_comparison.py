"""Networks side by side: trained alike, judged on the same test lists, timed in one run."""

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

from wbcdet.datasets.cells import CLASSES
from wbcdet.evaluation.benchmarks import load_lists
from wbcdet.evaluation.classification import judge_names, named_cell
from wbcdet.inference.preprocess import crop_cell, normalise_stain
from wbcdet.training.augment_cells import CROP_PADDING, CROP_SIZE, STAIN
from wbcdet.training.classifier_run import begin, complete
from wbcdet.training.classifier_training import predict_logits
from wbcdet.training.config import ClassifierRecipe
from wbcdet.utils.calibration import softmax
from wbcdet.utils.files import atomic_write

#: Test lists, as ``wbcdet evaluate`` names them, in the order of the table.
LISTS = ("bccd", "bcisc", "tecom", "raabin", "pbc", "cellavision")
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


def naming_lists(prepared: Path) -> list[NamingList]:
    """Return the test lists of the classifier, in the order of ``LISTS``."""
    found = []
    for name in LISTS:
        [chosen] = [t for t in load_lists((name,), prepared, None) if t.name == f"{name}-naming"]
        crops = [
            normalise_stain(crop_cell(c.patch, c.box, CROP_SIZE, CROP_PADDING), **STAIN)
            for c in chosen.crops
        ]
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
        cells = [named_cell(truth, odd, CLASSES, min_score, group) for truth, odd, group in rows]
        whole = judge_names(cells, min_score)
        kept = ("cells", "accuracy", "accuracy_ci", "unclassified", "classes", "macro", "confusion")
        figures[part.title] = {key: whole[key] for key in kept}
        figures[part.title]["ece"] = whole["calibration"]["ece"]
    return figures


def compare_one(
    recipe: ClassifierRecipe,
    prepared: Path,
    out: Path,
    lists: Sequence[NamingList],
    min_score: float,
    device: str = "auto",
    workers: int = 2,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train a network, or go on, and judge it; what ``out`` holds already is not done again.

    Returns:
        Its card, and what :func:`judge` says of it.

    Raises:
        TrainingError: it cannot be trained, or ``out`` is of another recipe.
    """
    run = begin(prepared, out, recipe, device)
    card = complete(run, prepared, workers)
    of = {"sha256": card["sha256"], "min_score": min_score, "data": run.recipe.data}
    path = out / FIGURES
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["of"] == of:
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


def table_head(titles: Sequence[str]) -> str:
    """Return first two lines of the Markdown table."""
    columns = (
        "network", "start", "parameters, million", "MACs, million", "ms a crop, one by one",
        f"ms a crop, {TIMED_BATCHES[-1]} at once", *(f"{t}, accuracy % (95 %)" for t in titles),
    )  # fmt: skip
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def table_row(card: Mapping[str, Any], speed: Mapping[int, float], lists: Mapping[str, Any]) -> str:
    """Return the line of one network."""
    cells = [
        card["name"],
        card["initialisation"],
        f"{card['parameters'] / 1e6:.2f}",
        f"{card['macs'] / 1e6:.0f}",
        *(f"{speed[batch]:.1f}" for batch in TIMED_BATCHES),
    ]
    for figures in lists.values():
        low, high = figures["accuracy_ci"]
        percent = f"{100 * figures['accuracy']:.1f}"
        cells.append(f"{percent} ({100 * low:.1f}-{100 * high:.1f}) of {figures['cells']}")
    return f"| {' | '.join(cells)} |"
