"""A second look at a field that holds a doubtful box: the same box as it is seen at other sizes.

What a network has learned of a size carries over to an unknown laboratory less well than what a
cell is. A cell that fills the field is texture at the size of the input, where stains differ, and
a plain cell where it is small; a small one shows at more sizes than one, and a speck or an odd red
cell at one of them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wbcdet.inference.flipped_views import Found
from wbcdet.utils.boxes import iou_matrix

#: Scores between which a box is in doubt. Both hold whatever threshold was asked for.
LEAST_DOUBT, SURE = 0.05, 0.5
#: Least score of a box of the other looks.
LEAST_SEEN = 0.02
#: Longer side of a box over that of the field from which it is large.
_LARGE = 0.19
#: Sizes of the other looks over that of the input, for small boxes and for large ones.
_FOR_SMALL, _FOR_LARGE = (0.8, 1.3), (0.3, 0.4)
#: IoU from which a box is the same in another look.
_SAME_IOU = 0.5


def settle_doubts(found: Found, side: float, look: Callable[[float], Found]) -> Found:
    """Return the boxes of a field with the scores of its doubtful ones seen at other sizes.

    The score of a small box becomes the mean of all looks, 0 for one that does not show it; that
    of a large one the best of them.

    Args:
        found: boxes and scores of a field at the size of the input, from :data:`LEAST_DOUBT` on.
        side: longer side of the field in pixels.
        look: gives the boxes of the field, from :data:`LEAST_SEEN` on, at a size over that of the
            input.

    Returns:
        the same boxes, best first; those that are not in doubt have their scores unchanged.
    """
    boxes, scores = found
    doubtful = (scores >= LEAST_DOUBT) & (scores < SURE)
    if not doubtful.any():
        return found
    large = (boxes[:, 2:] - boxes[:, :2]).max(1) >= _LARGE * side
    settled = scores.copy()
    for which, sizes, together in (
        (doubtful & ~large, _FOR_SMALL, np.mean),
        (doubtful & large, _FOR_LARGE, np.max),
    ):
        if which.any():
            seen = [_scores_of(boxes[which], look(size)) for size in sizes]
            settled[which] = together([scores[which], *seen], 0)
    order = np.argsort(-settled, kind="stable")
    return boxes[order], settled[order]


def _scores_of(boxes: np.ndarray, seen: Found) -> np.ndarray:
    """Return the best score (N,) of boxes (N, 4) in another look, 0 where it shows none."""
    same = iou_matrix(boxes, seen[0]) > _SAME_IOU
    best: np.ndarray = np.where(same, seen[1], 0).max(1, initial=0)
    return best
