"""The leaky protocol: how much a random split over augmented copies flatters.

Most published figures of 97 to 99 % on the public four-class set split its copies at random: copies
of one cell train and test. Here the BCCD originals are copied in the same way, and the same network
is trained on the same number of copies under both splits: at random over the copies (leaky), and by
group of near-duplicate fields (leak-free). All typed BCCD cells take part, those of the test list
too, with their published classes, wrong ones included, as in what it is compared with: nothing that
comes of it ships, and none of its figures says how good wbcdet is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wbcdet.datasets.cells import MEAN, STD, LabelledCell, load_cells
from wbcdet.inference.preprocess import crop_cell, normalise
from wbcdet.records import LABELS
from wbcdet.training.augment_cells import CROP_PADDING, CROP_SIZE
from wbcdet.training.classifier_training import Run, predict_logits
from wbcdet.training.config import ClassifierRecipe, TrainingError
from wbcdet.utils.intervals import Groups

SPLITS = ("random", "groups")
#: Part of the copies that tests.
TEST_PART = 0.2
#: The four come first in ``CLASSES``.
FOUR = len(LABELS)


@dataclass(slots=True)
class Copies:
    """Augmented copies of typed cells.

    Attributes:
        crops: (N, S, S, 3) uint8 BGR.
        labels: (N,) indices into the four classes.
        originals: (N,) which cell each is a copy of.
        groups: (N,) group of near-duplicate fields that the cell is from.
    """

    crops: np.ndarray
    labels: np.ndarray
    originals: np.ndarray
    groups: np.ndarray


def make_copies(cells: list[LabelledCell], per_class: int, seed: int = 0) -> Copies:
    """Make as many copies of each class, its cells taken in turn.

    As in the public set the rarer a class, the more copies a cell has: mirrored, turned by any
    angle, shifted by up to a tenth of the cell, brighter or darker by up to a fifth. The ground is
    left as it is, so that copies of a cell share it.

    Args:
        cells: cells of the four classes.
        per_class: copies of each class.
        seed: of the chance in it.
    """
    rng = np.random.default_rng(seed)
    crops, labels, originals = [], [], []
    for label in range(FOUR):
        numbers = [n for n, c in enumerate(cells) if c.label == label]
        for number in range(per_class if numbers else 0):
            original = numbers[number % len(numbers)]
            crops.append(_copy(cells[original], rng))
            labels.append(label)
            originals.append(original)
    index = np.array(originals, np.int64)
    groups = np.array([c.group for c in cells], dtype=str)[index]
    return Copies(np.stack(crops), np.array(labels), index, groups)


def _copy(cell: LabelledCell, rng: np.random.Generator) -> np.ndarray:
    box = np.array(cell.box)
    box += np.tile(rng.uniform(-0.1, 0.1, 2), 2) * max(box[2:] - box[:2])
    angle = float(rng.uniform(0, 360))
    crop = crop_cell(cell.patch, box, CROP_SIZE, CROP_PADDING, angle=angle)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.clip(crop * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8)


def split_copies(copies: Copies, split: str, seed: int = 0) -> np.ndarray:
    """Choose the copies that test, (N,) bool; about ``TEST_PART`` of each class.

    Args:
        copies: what to split.
        split: ``random`` over the copies, or ``groups``: all copies of a group on one side.
        seed: of the chance in it.
    """
    rng = np.random.default_rng((seed, 1))
    test = np.zeros(len(copies.labels), bool)
    wanted = Counter({k: round(TEST_PART * n) for k, n in Counter(copies.labels).items()})
    if split == "random":
        for label, number in wanted.items():
            of = np.flatnonzero(copies.labels == label)
            test[rng.choice(of, number, replace=False)] = True
        return test
    taken: Counter[int] = Counter()
    for group in rng.permutation(np.unique(copies.groups)):
        of = copies.groups == group
        adds = Counter(copies.labels[of])
        if all(taken[label] + n <= wanted[label] for label, n in adds.items()):
            test |= of
            taken += adds
    return test


class CopyDataset(torch.utils.data.Dataset):
    """The training copies as they are, in another order in each epoch.

    Args:
        copies, train: the copies, and which of them train.
        length: crops in an epoch; the same under both splits.
    """

    def __init__(self, copies: Copies, train: np.ndarray, length: int) -> None:
        self.copies, self.numbers = copies, np.flatnonzero(train)
        self.length, self.epoch = length, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        turn, place = divmod(index, len(self.numbers))
        order = np.random.default_rng((self.epoch, turn)).permutation(self.numbers)
        crop, label = self.copies.crops[order[place]], self.copies.labels[order[place]]
        return {"crop": torch.from_numpy(normalise([crop], MEAN, STD)[0]), "label": int(label)}


def bccd_cells(prepared: Path) -> list[LabelledCell]:
    """Return all BCCD cells of the four published classes, whatever part they have elsewhere."""
    parts = ("train", "val", "test", "heldout")
    cells = load_cells(prepared, parts, laboratories=("bccd",), artefacts=0, published=True)
    cells = [c for c in cells if c.label < FOUR]
    if not cells:
        raise TrainingError(f"{prepared}: has no typed BCCD cell; prepare it with the bccd archive")
    return cells


def measure(
    out: Path,
    copies: Copies,
    split: str,
    recipe: ClassifierRecipe,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 2,
) -> dict[str, Any]:
    """Train under a split and judge on its test copies.

    Args:
        out: folder of the run.
        recipe: how to train.
        seed: of the split.
        device: where to train.
        workers: processes that read the copies.

    Returns:
        ``accuracy`` with its interval over the groups; macro ``precision``, ``recall`` and ``f1``;
        ``test_copies``, ``test_cells``, and ``trained_on``: the part of the test copies of whose
        cell other copies were trained on.
    """
    test = split_copies(copies, split, seed)
    data = CopyDataset(copies, ~test, recipe.crops)
    run = Run(out, data, recipe, FOUR, device)
    network = run.train(workers)
    truth = copies.labels[test]
    said = predict_logits(network, list(copies.crops[test])).argmax(1)
    everywhere = np.ones(len(truth), bool)
    return {
        "test_copies": len(truth),
        "test_cells": len(np.unique(copies.originals[test])),
        "trained_on": float(np.isin(copies.originals[test], copies.originals[~test]).mean()),
        "accuracy": float((said == truth).mean()),
        "accuracy_ci": Groups(list(copies.groups[test])).share(said == truth, everywhere),
        **macro(truth, said),
    }


def macro(truth: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Return precision, recall and F1 of the four classes, averaged alike; a class never named has
    0."""
    rows = []
    for label in range(FOUR):
        hits = int(((truth == label) & (said == label)).sum())
        named, there = int((said == label).sum()), int((truth == label).sum())
        rows.append((hits / max(named, 1), hits / max(there, 1), 2 * hits / max(named + there, 1)))
    means = np.array(rows).mean(0)
    return dict(zip(("precision", "recall", "f1"), means.tolist(), strict=True))
