"""Judge whether the fine-tuned classifier is better, on cells that it has not learnt from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wbcdet.datasets.cells import CLASSES
from wbcdet.inference.classifier import decide
from wbcdet.records import LABELS, CellType
from wbcdet.utils.calibration import fit_temperature as most_likely
from wbcdet.utils.calibration import softmax
from wbcdet.utils.intervals import Groups

#: Parts of the cross-validation; the cells of a field are always in one part.
FOLDS = 5
#: Significance level of the tests for a gain, and for a loss of a type.
ALPHA = 0.05
#: Prior of the temperature: standard deviation of its logarithm.
_TEMPERATURE_SPREAD = 0.3

_FOUR = tuple(str(label) for label in LABELS)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: cells of a type, and the share named right before and after.

    A cell of a class that is no label is right when it is left unclassified; before, one of the
    laboratory's own labels too, as there was no such label.
    """

    name: str
    cells: int
    before: int
    after: int
    before_ci: tuple[float, float]
    after_ci: tuple[float, float]
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class Judgement:
    """The table, and the decision that follows from it.

    Attributes:
        rows: one a type that has cells, then all together.
        p: probability of such a gain by chance (exact sign test, one-sided).
        better: install it.
        why: in one line.
    """

    rows: tuple[Row, ...]
    p: float
    better: bool
    why: str


def folds_of(groups: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Return the part of each cell, (N,): whole groups, each type spread over the parts.

    Groups are dealt out one by one, the largest first, each to the part that has the fewest cells
    of the group's rarest type, then the fewest cells.
    """
    names, index = np.unique(np.array(groups, dtype=str), return_inverse=True)
    number = np.bincount(labels, minlength=len(CLASSES))
    of_group = np.zeros((len(names), len(number)), int)
    np.add.at(of_group, (index, labels), 1)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(names))
    order = order[np.argsort(-of_group[order].sum(1), kind="stable")]
    parts = np.zeros((min(FOLDS, len(names)), len(number)), int)
    part_of = np.zeros(len(names), int)
    for group in order:
        has = np.flatnonzero(of_group[group])
        rarest = has[np.argmin(number[has])]
        part = min(
            range(len(parts)),
            key=lambda candidate: (parts[candidate, rarest], parts[candidate].sum(), candidate),
        )
        parts[part] += of_group[group]
        part_of[group] = part
    return part_of[index]


def cross_validated(
    logits: Callable[[np.ndarray, np.ndarray, int], np.ndarray],
    groups: Sequence[str],
    labels: np.ndarray,
) -> np.ndarray:
    """Return logits (N, classes) of every cell by a network that has not learnt from its field.

    Args:
        logits: tunes on the cells of the first index and gives logits of those of the second; it is
            told the number of the part, from 0.
        groups: field of each cell.
        labels: (N,) classes.
    """
    parts = folds_of(groups, labels)
    out = np.zeros((len(labels), max(len(CLASSES), int(labels.max()) + 1)), np.float32)
    for part in range(int(parts.max()) + 1):
        learn, rest = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        out[rest] = logits(learn, rest, part)
    return out


def fit_temperature(logits: np.ndarray, labels: np.ndarray, start: float) -> float:
    """Return the divisor of the logits: that of the shipped card, moved by what the cells say."""

    def moved(temperature: float) -> float:
        return (math.log(temperature / start) / _TEMPERATURE_SPREAD) ** 2 / 2

    candidates = start * np.exp(np.linspace(-1.2, 1.2, 121))
    return most_likely(logits, labels, candidates, moved)


def is_right(
    logits: np.ndarray,
    labels: np.ndarray,
    temperature: float,
    least: float,
    own: Sequence[str] = (),
    own_labels: Sequence[str] = (),
    reasons: Mapping[str, str] | None = None,
    away: np.ndarray | None = None,
) -> np.ndarray:
    """Tell for each cell (N,) whether its verdict is right; unclassified is wrong for all labels.

    Args:
        logits: (N, classes).
        labels: (N,) classes; those that ``logits`` lacks are right when they are unclassified.
        temperature: divisor of the logits.
        least: least score of a label.
        own: names of the classes after ``CLASSES``.
        own_labels: names of classes that are labels beside the four.
        reasons: of the card, as :func:`wbcdet.inference.classifier.decide` takes them.
        away: (N,) distance of each cell from all that was learnt, in the greatest of a cell that
            gets a name; None for a classifier that has no such check.
    """
    classes = (*CLASSES, *own)[: logits.shape[1]]
    far = np.zeros(len(labels)) if away is None else away
    right = []
    for row, label, distance in zip(softmax(logits / temperature), labels, far, strict=True):
        named = str(decide(row, classes, least, reasons, float(distance), 1.0, own_labels).label)
        true = classes[label] if label < len(classes) else ""
        shown = true if true in (*_FOUR, *own_labels) else CellType.UNCLASSIFIED.value
        right.append(named == shown)
    return np.array(right, bool)


def judge(
    before: np.ndarray,
    after: np.ndarray,
    labels: np.ndarray,
    groups: Sequence[str],
    own: Sequence[str] = (),
) -> Judgement:
    """Return the table and the decision.

    Better means: more cells right than before, a gain that chance would give with a probability
    of at most ``ALPHA`` (exact one-sided sign test over the cells that differ), and no type of
    which more were lost than gained beyond chance by the same test.

    Args:
        before, after: (N,) whether each cell is named right.
        labels: (N,) classes.
        groups: field of each cell.
        own: names of the classes after ``CLASSES``.
    """
    of = Groups(groups)
    every = np.ones(len(labels), bool)
    masks = [(name, labels == number) for number, name in enumerate((*CLASSES, *own))]
    rows = [_row(name, before, after, mask, of) for name, mask in masks if mask.any()]
    total = _row("all", before, after, every, of)
    p = sign_test(total.gained, total.lost)
    worse = [row.name for row in rows if sign_test(row.lost, row.gained) <= ALPHA]
    if total.after <= total.before:
        why = "it does not name more cells right than the one before"
    elif p > ALPHA:
        why = (
            f"{total.gained} cells gained and {total.lost} lost may be chance (p = {p:.2f}); "
            "review more cells"
        )
    elif worse:
        why = f"it loses cells of a type: {', '.join(worse)}; review more of them"
    else:
        chance = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
        why = f"{total.gained} cells gained, {total.lost} lost ({chance})"
        return Judgement((*rows, total), p, True, why)
    return Judgement((*rows, total), p, False, why)


def sign_test(more: int, fewer: int) -> float:
    """Return the probability of so many or more of one kind by the toss of a coin; 1 for none."""
    tosses = more + fewer
    result: float = sum(math.comb(tosses, k) for k in range(more, tosses + 1)) / 2**tosses
    return result


def _row(name: str, before: np.ndarray, after: np.ndarray, mask: np.ndarray, of: Groups) -> Row:
    return Row(
        name,
        int(mask.sum()),
        int(before[mask].sum()),
        int(after[mask].sum()),
        of.share(before, mask),
        of.share(after, mask),
        int((after & ~before & mask).sum()),
        int((before & ~after & mask).sum()),
    )
