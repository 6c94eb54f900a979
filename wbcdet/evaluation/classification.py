"""Figures of the classifier: accuracy of its labels and calibration of their scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from wbcdet.evaluation.figures import (
    ByClass,
    Calibration,
    CalibrationBin,
    ClassFigures,
    DeclinedFigures,
    FourWayFigures,
    Interval,
    MeanFigures,
    NamingFigures,
    RiskCoverage,
)
from wbcdet.inference.classifier import Classification, decide
from wbcdet.records import LABELS, Cell, CellType
from wbcdet.results.class_names import TYPES, understand
from wbcdet.utils.intervals import Groups, wilson

FOUR = tuple(str(label) for label in LABELS)
OTHERS = TYPES[len(FOUR) :]
UNCLASSIFIED = str(CellType.UNCLASSIFIED)
_RATES = ("precision", "recall", "f1")
#: Label of a picture of one cell in which the detector found none.
NOT_FOUND = "not found"
#: Bins of the calibration, each with as many cells.
_BINS = 10
#: Draws that tell how far from calibrated a perfectly calibrated classifier would look.
_CHANCE_DRAWS = 200
_CURVE_POINTS = 200


@dataclass(slots=True)
class NamedCell:
    """A labelled cell and the classifier's result.

    Attributes:
        truth: one of ``class_names.TYPES``.
        named: one of the four labels or of a laboratory's own, ``unclassified`` or ``NOT_FOUND``.
        scores: probability of the four labels; zeros where the cell was not found.
        declined: a class beside the four won, or the cell was not found: no threshold gives it one
            of the four labels.
        group: see :class:`wbcdet.evaluation.dataset.LabelledField`.
        reason: why it is unclassified; None where it has a name or was not found.
    """

    truth: str
    named: str
    scores: np.ndarray
    declined: bool
    group: str
    reason: str | None = None


def named_cell(
    truth: str,
    odds: np.ndarray,
    classes: Sequence[str],
    min_score: float,
    group: str,
    reasons: Mapping[str, str] | None = None,
) -> NamedCell:
    """Return the verdict on a cell from the probability of each class of the card, (classes,).

    Args:
        reasons: of the card, see :func:`wbcdet.inference.classifier.decide`.
    """
    return judged_cell(truth, decide(odds, classes, min_score, reasons), group)


def judged_cell(truth: str, verdict: Classification, group: str) -> NamedCell:
    """Return a labelled cell beside the verdict on it."""
    verdict = as_labelled(verdict)
    scores = np.array([verdict.scores[label] for label in FOUR])
    declined = is_declined(verdict.reason, verdict.label_score, scores)
    return NamedCell(truth, str(verdict.label), scores, declined, group, verdict.reason)


_VerdictT = TypeVar("_VerdictT", Cell, Classification)


def as_labelled(verdict: _VerdictT) -> _VerdictT:
    """Return a verdict as labels are read: bands that a laboratory has taught as a label of its own
    are neutrophils there, and their score is one of the neutrophils."""
    label = str(verdict.label)
    if label in (*FOUR, UNCLASSIFIED) or not (meaning := understand(label)).part:
        return verdict
    whole = str(meaning.standard)
    score = min(1.0, verdict.scores[whole] + verdict.label_score)
    return replace(
        verdict, label=CellType(whole), label_score=score, scores={**verdict.scores, whole: score}
    )


def is_declined(reason: str | None, label_score: float, scores: np.ndarray) -> bool:
    """Say whether no threshold would give a cell one of the four labels.

    Args:
        reason, label_score: of the verdict on it.
        scores: (4,) of the four labels; a higher ``label_score`` is of a laboratory's own label.
    """
    return reason not in (None, "low-score") or bool(label_score > scores.max())


def is_right(truth: str, named: str) -> bool:
    """Say whether a name is right for a cell of one of ``class_names.TYPES``.

    One beside the four should get none of their labels. A laboratory's own label (``wbcdet learn``)
    is right for cells that are called so, and as far as one can tell for ``other`` white cells.
    """
    if truth in FOUR or named in FOUR:
        return named == truth
    if truth == "other":
        return named != "basophil"
    return named in (UNCLASSIFIED, NOT_FOUND, truth)


def judge_names(cells: Sequence[NamedCell], min_score: float) -> NamingFigures:
    """Compute the figures of the classifier.

    Returns:
        ``accuracy`` over cells of the four classes with those that were declined (``unclassified``)
        or not found (``missed``) counted as wrong, and
        ``accuracy_classified`` over those that got a name; precision, recall and F1 of each class,
        macro (classes alike) and weighted (by their cells); ``four_way``, accuracy and macro means
        of the best of the four labels of these cells, which is how a classifier of four classes is
        judged; how many basophils, other cells and
        artefacts came out unclassified; the confusion matrix; why cells of each type are
        unclassified, in numbers; calibration; risk and coverage.
    """
    truth = np.array([c.truth for c in cells], dtype=str)
    named = np.array([c.named for c in cells], dtype=str)
    groups = Groups([c.group for c in cells])
    of_four, right = np.isin(truth, FOUR), truth == named
    missed, open_ = named == NOT_FOUND, named == UNCLASSIFIED
    classified = ~missed & ~open_
    total = int(of_four.sum())
    as_due = np.array([is_right(c.truth, c.named) for c in cells], bool)
    declined: dict[str, DeclinedFigures] = {}
    for name in OTHERS:
        mask = truth == name
        # Where nothing is found, an artefact is rightly taken for none of the four.
        out = as_due if name == "artefact" else as_due & ~missed
        declined[name] = {
            "cells": int(mask.sum()),
            "unclassified": _mean(out[mask]),
            "unclassified_ci": groups.share(out, mask),
        }
    own = sorted({*named.tolist()} - {*FOUR, UNCLASSIFIED, NOT_FOUND})
    columns = (*FOUR, *own, UNCLASSIFIED, *([NOT_FOUND] if missed.any() else []))
    found = [c for c in cells if c.named != NOT_FOUND]
    return {
        "cells": total,
        "accuracy": int((right & of_four).sum()) / max(total, 1),
        "accuracy_ci": groups.share(right, of_four),
        "unclassified": float(open_[of_four].mean()) if total else 0.0,
        "missed": float(missed[of_four].mean()) if total else 0.0,
        "accuracy_classified": _mean(right[of_four & classified]),
        "accuracy_classified_ci": groups.share(right, of_four & classified),
        "four_way": _four_way([c for c in cells if c.truth in FOUR]),
        "min_score": min_score,
        "interval": groups.method,
        **_by_class(truth, named, groups),
        "basophil": declined["basophil"],
        "other": declined["other"],
        "artefact": declined["artefact"],
        "confusion": {
            t: {n: int(((truth == t) & (named == n)).sum()) for n in columns}
            for t in TYPES
            if t in FOUR or (truth == t).any()
        },
        "reasons": {
            t: dict(Counter(c.reason for c in cells if c.truth == t and c.reason).most_common())
            for t in TYPES
            if (truth == t).any()
        },
        "calibration": calibration([c for c in found if c.truth != "artefact"]),
        "calibration_with_artefacts": calibration(found)["ece"],
        "risk_coverage": risk_coverage([c for c in cells if c.truth in FOUR], min_score),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _four_way(cells: Sequence[NamedCell]) -> FourWayFigures:
    truth = np.array([c.truth for c in cells], dtype=str)
    named = np.array(
        [FOUR[int(c.scores.argmax())] if c.named != NOT_FOUND else NOT_FOUND for c in cells],
        dtype=str,
    )
    groups, right = Groups([c.group for c in cells]), truth == named
    return {
        **_by_class(truth, named, groups)["macro"],
        "accuracy": _mean(right),
        "accuracy_ci": groups.share(right, np.ones(len(right), bool)),
    }


def _by_class(truth: np.ndarray, named: np.ndarray, groups: Groups) -> ByClass:
    """Return ``classes``, ``macro`` and ``weighted``; cells beside the four harm nobody's
    precision."""
    # One count a cell: true class by (each label, anything else).
    table = np.zeros((len(truth), len(FOUR), len(FOUR) + 1))
    for t, actual in enumerate(FOUR):
        for n, other in enumerate(FOUR):
            table[:, t, n] = (truth == actual) & (named == other)
        table[:, t, -1] = (truth == actual) & ~np.isin(named, FOUR)
    figures = _rates(table.sum(0)[None])
    drawn = _rates(groups.bootstrap_sums(table)) if len(truth) else figures
    present = table.sum((0, 2)) > 0
    classes: dict[str, ClassFigures] = {}
    for t, name in enumerate(FOUR):
        of = truth == name
        said = (named == name) & np.isin(truth, FOUR)
        precision, recall, f1 = (_number(figures[key][0, t]) for key in _RATES)
        classes[name] = {
            "cells": int(of.sum()),
            "precision": precision,
            "precision_ci": groups.share(truth == name, said),
            "recall": recall,
            "recall_ci": groups.share(named == name, of),
            "f1": f1,
            "f1_ci": _spread(drawn["f1"][:, t]),
            "named": int(said.sum()),
        }

    def means(kind: str) -> MeanFigures:
        precision, recall, f1 = (_number(_average(figures, r, kind, present)[0]) for r in _RATES)
        spreads = [_spread(_average(drawn, rate, kind, present)) for rate in _RATES]
        return {
            "precision": precision,
            "precision_ci": spreads[0],
            "recall": recall,
            "recall_ci": spreads[1],
            "f1": f1,
            "f1_ci": spreads[2],
        }

    return {"classes": classes, "macro": means("macro"), "weighted": means("weighted")}


def _rates(tables: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision, recall, F1 and number of each class from tables (K, 4, 5); NaN without
    cells."""
    right = np.einsum("kii->ki", tables[:, :, : len(FOUR)])
    number, said = tables.sum(2), tables[:, :, : len(FOUR)].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": right / said,
            "recall": right / number,
            "f1": 2 * right / (number + said),
            "number": number,
        }


def _average(rates: dict[str, np.ndarray], key: str, kind: str, present: np.ndarray) -> np.ndarray:
    """Return mean over the classes that have cells; a class never named has a precision of 0."""
    weight = np.where(rates["number"] > 0, rates["number"] if kind == "weighted" else 1.0, 0.0)
    values = np.nan_to_num(rates[key]) * weight * present
    total = (weight * present).sum(1)
    return np.where(total > 0, values.sum(1) / np.maximum(total, 1e-12), np.nan)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _spread(values: np.ndarray) -> Interval:
    """Return the middle 95 % of resampled figures; None without any, or where all are alike."""
    if np.isnan(values).all():
        return None
    low, high = np.nanpercentile(values, (2.5, 97.5))
    # Without any error a bootstrap has no width: that is no knowledge.
    return (float(low), float(high)) if high > low else None


def calibration(cells: Sequence[NamedCell]) -> Calibration:
    """Return the expected calibration error of the most probable of the four and "none of them".

    Returns:
        ``ece`` over equally filled bins; ``ece_by_chance``, what a perfectly calibrated classifier
        would show on as many cells; the bins with score, share right and its interval.
    """
    if not cells:
        return {"cells": 0, "ece": None, "ece_by_chance": None, "bins": []}
    four = np.stack([c.scores for c in cells])
    odds = np.concatenate([four, np.clip(1 - four.sum(1, keepdims=True), 0, 1)], 1)
    truth = np.array([FOUR.index(c.truth) if c.truth in FOUR else len(FOUR) for c in cells])
    score, right = odds.max(1), odds.argmax(1) == truth
    order = np.argsort(score, kind="stable")
    score, right = score[order], right[order]
    bins = np.array_split(np.arange(len(cells)), min(_BINS, len(cells)))
    # Of cells with the same score none comes first: each is as right as they are in the mean.
    _, same = np.unique(score, return_inverse=True)

    def shared(right: np.ndarray) -> np.ndarray:
        return np.asarray((np.bincount(same, right) / np.bincount(same))[same])

    right, rng = shared(right), np.random.default_rng(0)
    draws = (rng.random(len(score)) < score for _ in range(_CHANCE_DRAWS))
    chance = [_ece(score, shared(drawn), bins) for drawn in draws]
    rows: list[CalibrationBin] = [
        {
            "cells": len(b),
            "score": float(score[b].mean()),
            "right": float(right[b].mean()),
            "right_ci": wilson(round(float(right[b].sum()), 6), len(b)),
        }
        for b in bins
    ]
    return {
        "cells": len(cells),
        "ece": _ece(score, right, bins),
        "ece_by_chance": float(np.mean(chance)),
        "bins": rows,
    }


def _ece(score: np.ndarray, right: np.ndarray, bins: Sequence[np.ndarray]) -> float:
    gaps = [len(b) * abs(float(score[b].mean() - right[b].mean())) for b in bins]
    return sum(gaps) / len(score)


def risk_coverage(cells: Sequence[NamedCell], min_score: float) -> RiskCoverage:
    """Return the share of wrong names among the cells named, as the threshold falls.

    Returns:
        ``aurc``, the mean risk over all numbers of named cells (0 is best); ``coverage_most``, as
        cells on which another class wins are never named; the points with their threshold.
    """
    can = [c for c in cells if not c.declined]
    score = np.array([c.scores.max() for c in can])
    wrong = np.array([FOUR[int(c.scores.argmax())] != c.truth for c in can], bool)
    order = np.argsort(-score, kind="stable")
    score = score[order]
    # Of cells with the same score none comes first: each is as wrong as they are in the mean.
    _, same = np.unique(-score, return_inverse=True)
    wrong_mean = np.bincount(same, wrong[order]) / np.bincount(same)
    risk = np.cumsum(wrong_mean[same]) / np.arange(1, len(can) + 1)
    chosen = np.unique(np.linspace(0, len(can) - 1, min(len(can), _CURVE_POINTS)).astype(int))
    named = int((score >= min_score).sum())
    return {
        "aurc": float(risk.mean()) if len(can) else None,
        "coverage_most": len(can) / max(len(cells), 1),
        "at_threshold": {
            "min_score": min_score,
            "coverage": named / max(len(cells), 1),
            "risk": float(risk[named - 1]) if named else None,
        },
        "points": [
            {
                "min_score": float(score[i]),
                "coverage": (int(i) + 1) / len(cells),
                "risk": float(risk[i]),
            }
            for i in chosen
        ],
    }
