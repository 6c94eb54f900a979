"""A second look at a field that holds a doubtful box: all of it at other sizes, and mirrored.

What a network has learned of a size and a side carries over to an unknown laboratory less well than
what a cell is. A cell that fills the field is texture at the size of the input, where stains
differ, and a plain cell where it is small; a small one shows at more sizes than one, and a speck or
an odd red cell at one of them. So several looks together decide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wbcdet.inference.flipped_views import Found, best_first, fuse_boxes
from wbcdet.utils.boxes import iou_matrix

#: Scores between which a box of the full input is in doubt. Both hold whatever threshold was asked
#: for.
LEAST_DOUBT, SURE = 0.05, 0.5
#: Least score of a box of the other looks.
LEAST_SEEN = 0.02
#: Least score of a box that one look alone brings up.
_PLAUSIBLE = 0.1
#: The other looks: their size over that of the input, and whether they are mirrored left to right.
_LOOKS = ((0.3, False), (0.4, True), (0.6, True), (0.8, False), (1.3, True))
#: Longer side of a box over that of the field from which it is large, and from which it is huge.
_LARGE, _HUGE = 0.3, 0.55
#: Which looks see a small box well, and which a large one: those of _LOOKS, and last the full
#: input.
_FOR_SMALL = np.array([False, False, True, True, True, True])
_FOR_LARGE = np.array([True, True, True, True, False, True])
#: So many of these, those with the best scores, decide together.
_BEST = 3
#: IoU from which a box is the same in another look.
_SAME_IOU = 0.5


def is_doubtful(found: Found, earlier: Sequence[Found] = ()) -> bool:
    """Say whether a field wants a second look.

    It does where a box of the full input is in doubt, or a first look has shown one which the full
    input is not sure of.

    Args:
        found: boxes and scores of the full input.
        earlier: those of first looks at the field.
    """
    boxes, scores = found
    if ((scores >= LEAST_DOUBT) & (scores < SURE)).any():
        return True
    sure = boxes[scores >= SURE]
    for seen, seen_scores in earlier:
        plausible = seen[seen_scores >= _PLAUSIBLE]
        if (iou_matrix(plausible, sure).max(1, initial=0) <= _SAME_IOU).any():
            return True
    return False


def settle_doubts(
    found: Found, side: float, least: float, look: Callable[[float, bool], Found]
) -> Found:
    """Return the boxes of a field as all looks together show them.

    The score of a box is the mean of the best three that the looks give it which are made for its
    size. A huge one has at most the score of the full input: at a small size the rim of a round
    view and a shade of the ground look like a cell.

    Args:
        found: boxes and scores of a field at the size of the input, from :data:`LEAST_SEEN` on.
        side: longer side of the field in pixels.
        least: least score of a box that is returned.
        look: gives the boxes of the field, from :data:`LEAST_SEEN` on, at a size over that of the
            input, mirrored or not, in pixels of the field as it is.

    Returns:
        boxes (N, 4) and scores (N,) float32, best first; boxes of touching cells may overlap.
    """
    views = [*(look(size, mirrored) for size, mirrored in _LOOKS), found]
    boxes, seen = fuse_boxes(views, _SAME_IOU)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) / side
    suits = np.where(sides[:, None] < _LARGE, _FOR_SMALL, _FOR_LARGE)
    best = np.sort(np.where(suits, seen, 0), 1)[:, -_BEST:]
    scores = np.where(sides > _HUGE, np.minimum(best.mean(1), seen[:, -1]), best.mean(1))
    plausible = seen.max(1, initial=0) >= _PLAUSIBLE
    return best_first(boxes[plausible], scores[plausible], least)
