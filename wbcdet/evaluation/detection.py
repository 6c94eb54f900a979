"""Figures of the detector: recall, precision and average precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from wbcdet.evaluation.average_precision import average_precision
from wbcdet.evaluation.dataset import no_boxes
from wbcdet.evaluation.figures import (
    CurvePoint,
    FindingFigures,
    FoundFigures,
    SizeFigures,
)
from wbcdet.utils.boxes import iou_matrix, match_boxes
from wbcdet.utils.intervals import Groups

#: Overlap (intersection over union) from which a box counts as the cell.
MIN_IOU = 0.5
#: Edges of the cell sizes: longer side of the box over the longer side of the field.
SIZE_EDGES = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5, 1.01)
#: Points of the precision-recall curve that are kept.
_CURVE_POINTS = 200


@dataclass(slots=True)
class FoundField:
    """Boxes on one field beside those that must be found.

    Attributes:
        truth: (N, 4) corners, px.
        given: (N, 4) the same as the labels have them, even beyond the picture; or (0, 4).
        boxes, scores: (M, 4) and (M,), down to a score near 0.
        size: width and height, px.
        group: see :class:`wbcdet.evaluation.dataset.LabelledField`.
    """

    truth: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    size: tuple[int, int]
    group: str
    given: np.ndarray = field(default_factory=no_boxes)


def match(truth: np.ndarray, boxes: np.ndarray, least: float = MIN_IOU) -> list[tuple[int, int]]:
    """Return pairs (truth, box) by falling overlap, each used once, of at least this IoU."""
    return match_boxes(truth, boxes, least)


def outside_ignored(boxes: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Tell which boxes (M, 4) have their centre in no ignored region (K, 4), (M,) bool."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    kept = np.ones(len(boxes), bool)
    for region in ignored:
        kept &= ~np.all((centre > region[:2]) & (centre < region[2:]), axis=1)
    return kept


def counting(boxes: np.ndarray, truth: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Tell which boxes (M, 4) are right or false, (M,) bool: those in no ignored region (K, 4), and
    those on a cell (N, 4) that must be found, of which such a region may be a part: its nucleus.
    """
    on_cell = iou_matrix(truth, boxes).max(0, initial=0.0) >= MIN_IOU
    return np.asarray(on_cell | outside_ignored(boxes, ignored))


def judge_detector(fields: Sequence[FoundField], confidence: float) -> FindingFigures:
    """Return AP50 and AP50-95 over all scores; recall, precision and false boxes at
    ``confidence``."""
    found: list[np.ndarray] = []
    false = []
    for f in fields:
        shown = f.boxes[f.scores >= confidence]
        hit = np.zeros(len(f.truth), bool)
        hit[[t for t, _ in match(f.truth, shown)]] = True
        found.append(hit)
        false.append(len(shown) - int(hit.sum()))
    hits = np.concatenate(found) if found else np.zeros(0, bool)
    cells, good, wrong = len(hits), int(hits.sum()), sum(false)
    of_found: FoundFigures = {}
    if cells:
        of_cell = Groups([f.group for f in fields for _ in f.truth])
        of_found = {
            **average_precision(fields),
            "recall": good / cells,
            "recall_ci": of_cell.share(hits, np.ones(cells, bool)),
            "precision": good / max(good + wrong, 1),
            "f1": 2 * good / max(cells + good + wrong, 1),
            "interval": of_cell.method,
            "by_size": _by_size(fields, hits, of_cell),
            "curve": _curve(fields),
        }
    counts = np.array([[n, 1] for n in false], float).reshape(-1, 2)
    spread = Groups([f.group for f in fields]).spread(counts, lambda d: d[:, 0] / d[:, 1])
    return {
        "fields": len(fields),
        "cells": cells,
        "found": good,
        "confidence": confidence,
        "least_iou": MIN_IOU,
        **of_found,
        "false_boxes": wrong,
        "false_per_field": wrong / max(len(fields), 1),
        "false_per_field_ci": spread,
    }


def _by_size(fields: Sequence[FoundField], hits: np.ndarray, groups: Groups) -> list[SizeFigures]:
    """Return the recall of cells of each size relative to their field; sizes without a cell are
    left out."""
    parts = np.concatenate(
        [(f.truth[:, 2:] - f.truth[:, :2]).max(1, initial=0) / max(f.size) for f in fields]
    )
    rows: list[SizeFigures] = []
    for low, high in pairwise(SIZE_EDGES):
        of = (parts >= low) & (parts < high)
        if of.any():
            ci = groups.share(hits, of)
            assert ci is not None
            rows.append(
                {
                    "from": low, "to": min(high, 1.0), "cells": int(of.sum()),
                    "recall": float(hits[of].mean()), "recall_ci": ci,
                }
            )  # fmt: skip
    return rows


def _curve(fields: Sequence[FoundField]) -> list[CurvePoint]:
    """Return precision and recall as the threshold falls; at most ``_CURVE_POINTS`` points."""
    scores, right = [], []
    for f in fields:
        hit = np.zeros(len(f.boxes), bool)
        free = np.ones(len(f.truth), bool)
        iou = iou_matrix(f.truth, f.boxes)
        # As at every threshold: a cell goes to the most certain box that meets it.
        for b in np.argsort(-f.scores, kind="stable"):
            open_ = np.where(free, iou[:, b], -1) if len(free) else np.zeros(0)
            if len(open_) and open_.max() >= MIN_IOU:
                hit[b], free[open_.argmax()] = True, False
        scores.append(f.scores)
        right.append(hit)
    score = np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(np.concatenate(right)[order])
    cells = sum(len(f.truth) for f in fields)
    chosen = np.unique(np.linspace(0, len(order) - 1, min(len(order), _CURVE_POINTS)).astype(int))
    return [
        {
            "score": float(score[order[i]]),
            "recall": float(hits[i] / cells),
            "precision": float(hits[i] / (i + 1)),
        }
        for i in chosen
    ]
