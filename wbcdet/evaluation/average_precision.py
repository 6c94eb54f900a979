"""Average precision of boxes of one class, as COCO defines it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from wbcdet.evaluation.figures import AveragePrecision
from wbcdet.utils.boxes import iou_matrix

#: IoU from which a box counts, at each of which precision is averaged.
_IOUS = np.linspace(0.5, 0.95, 10)
#: Values of recall at which precision is read.
_RECALLS = np.linspace(0, 1, 101)
#: Boxes of a picture that count, the most certain first.
_MAX_BOXES = 100


class Found(Protocol):
    """Protocol of one picture: ``truth`` (N, 4) and ``boxes`` (M, 4) corners, ``scores`` (M,)."""

    @property
    def truth(self) -> np.ndarray: ...
    @property
    def boxes(self) -> np.ndarray: ...
    @property
    def scores(self) -> np.ndarray: ...


def average_precision(pictures: Sequence[Found]) -> AveragePrecision:
    """Return ``ap50`` and ``ap50_95``; 0 where there is nothing to find."""
    cells = sum(len(picture.truth) for picture in pictures)
    if not cells:
        return {"ap50": 0.0, "ap50_95": 0.0}
    scores, hits = [np.zeros(0)], [np.zeros((len(_IOUS), 0), bool)]
    for picture in pictures:
        order = np.argsort(-picture.scores, kind="stable")[:_MAX_BOXES]
        iou = iou_matrix(picture.truth, picture.boxes[order])
        scores.append(picture.scores[order])
        hits.append(np.stack([_hits(iou, least) for least in _IOUS]))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    precisions = [_mean_precision(hit, cells) for hit in np.concatenate(hits, axis=1)[:, order]]
    return {"ap50": precisions[0], "ap50_95": float(np.mean(precisions))}


def _hits(iou: np.ndarray, least: float) -> np.ndarray:
    """Return which boxes (M,) are hits, of ``iou`` (N, M), boxes by falling score: each takes the
    cell that it meets best of those that are left."""
    hits, left = np.zeros(iou.shape[1], bool), iou.copy()
    if len(iou):
        for box in range(iou.shape[1]):
            cell = left[:, box].argmax()
            if left[cell, box] >= least:
                hits[box], left[cell] = True, -1
    return hits


def _mean_precision(hits: np.ndarray, cells: int) -> float:
    """Average the precision over recall, of hits by falling score."""
    true_positives = np.cumsum(hits)
    recall, precision = true_positives / cells, true_positives / np.arange(1, len(hits) + 1)
    # The best precision that is still reached at this recall or beyond; none beyond the last.
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, _RECALLS)].mean())
