"""Flip a field four ways, and fuse the boxes of the views (test-time augmentation).

The four make a group: mirrored or turned by half, a field has the same four views. So what is
merged from them alike gives the same cells for the field and for the field turned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.utils.boxes import ious

#: ``(left to right, top to bottom)`` of each view; the first is the picture as it is.
MIRRORINGS: tuple[tuple[bool, bool], ...] = (
    (False, False),
    (True, False),
    (False, True),
    (True, True),
)

#: Boxes (N, 4) and scores (N,), best first.
Found = tuple[np.ndarray, np.ndarray]


def mirrored(pixels: Pixels, left_to_right: bool, top_to_bottom: bool) -> Pixels:
    """Return one view of a picture (H, W, 3): C-contiguous, or the picture itself."""
    if not (left_to_right or top_to_bottom):
        return pixels
    rows = slice(None, None, -1 if top_to_bottom else 1)
    columns = slice(None, None, -1 if left_to_right else 1)
    return np.ascontiguousarray(pixels[rows, columns])


def mirrored_boxes(
    boxes: np.ndarray, left_to_right: bool, top_to_bottom: bool, width: int, height: int
) -> np.ndarray:
    """Return boxes (N, 4) of one view in the pixels of the picture, or the other way round.

    Args:
        boxes: ``x_min, y_min, x_max, y_max``.
        left_to_right, top_to_bottom: the view.
        width, height: pixels of the picture.
    """
    x0, y0, x1, y1 = boxes.T
    if left_to_right:
        x0, x1 = width - x1, width - x0
    if top_to_bottom:
        y0, y1 = height - y1, height - y0
    return np.stack([x0, y0, x1, y1], 1)


def fuse(views: Sequence[Found], confidence: float, same_iou: float) -> Found:
    """Return the boxes of several views of one picture as one set.

    The score of a fused box is the mean over all views, 0 for a view that does not show it: what
    one view alone takes for a cell needs a high score there.

    Args:
        views: boxes and scores of each view, in pixels of the picture; those below ``confidence``
            too, as a weak box adds to the others.
        confidence: least score of a fused box.
        same_iou: IoU from which two boxes are one cell.

    Returns:
        boxes (N, 4) float32 and scores (N,) float32, best first.
    """
    boxes, scores = fuse_boxes(views, same_iou)
    return best_first(boxes, scores.mean(1), confidence)


def best_first(boxes: np.ndarray, scores: np.ndarray, confidence: float) -> Found:
    """Return boxes (N, 4) and scores (N,) from ``confidence`` on as float32, best first."""
    order = [cell for cell in np.argsort(-scores, kind="stable") if scores[cell] >= confidence]
    return boxes[order].astype(np.float32), scores[order].astype(np.float32)


def fuse_boxes(views: Sequence[Found], same_iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of several views of one picture as one set: weighted box fusion.

    After Solovyev, Wang and Gabruseva, "Weighted boxes fusion" (Image and Vision Computing 2021).
    From the best box of all views to the weakest, each joins the cell whose fused box it shares
    most with, at most one of each view a cell, or begins a new cell. A fused box is the mean
    of its boxes, weighted by their scores.

    Args:
        views: boxes and scores of each view, in pixels of the picture.
        same_iou: IoU from which two boxes are one cell.

    Returns:
        boxes (N, 4) and the score (N, views) that each view gives them, 0 where it shows none.
    """
    boxes = np.concatenate([view[0] for view in views]).astype(np.float64).reshape(-1, 4)
    scores = np.concatenate([view[1] for view in views]).astype(np.float64)
    view_of = np.repeat(np.arange(len(views)), [len(view[1]) for view in views])
    fused = np.zeros((0, 4))
    members: list[list[int]] = []
    for number in np.argsort(-scores, kind="stable").tolist():
        overlap = ious(boxes[number], fused)
        same = [
            cell
            for cell in np.argsort(-overlap, kind="stable").tolist()
            if overlap[cell] > same_iou and view_of[number] not in view_of[members[cell]]
        ]
        if same:
            own = members[same[0]]
            own.append(number)
            fused[same[0]] = np.average(boxes[own], axis=0, weights=scores[own])
        else:
            members.append([number])
            fused = np.concatenate([fused, boxes[number : number + 1]])
    by_view = np.zeros((len(members), len(views)))
    for cell, own in enumerate(members):
        by_view[cell, view_of[own]] = scores[own]
    return fused, by_view
