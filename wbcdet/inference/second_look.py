"""A second look at a field that holds a doubtful box: all of it at other sizes, and mirrored.

What a network has learned of a size and a side carries over to an unknown laboratory less well than
what a cell is. A cell that fills the field is texture at the size of the input, where stains
differ, and a plain cell where it is small; a small one shows at more sizes than one, and a speck or
an odd red cell at one of them. So several looks together decide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

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
#: Longer side of a box over that of the field from which it is large, and from which it is huge.
_LARGE, _HUGE = 0.3, 0.55
#: That from which looks for large boxes are taken: the next look may show the same cell larger, and
#: they help to draw the outline of one that is not quite as large.
_NEARLY_LARGE = _LARGE / 2


class _Look(NamedTuple):
    """Another look: its size over that of the input, whether it is mirrored left to right, and
    which boxes it sees well."""

    part: float
    mirrored: bool
    small: bool
    large: bool


#: The other looks, in the order in which they are taken: those for all boxes show which of the
#: rest can matter.
_LOOKS = (
    _Look(0.6, mirrored=True, small=True, large=True),
    _Look(0.8, mirrored=False, small=True, large=True),
    _Look(0.4, mirrored=True, small=False, large=True),
    _Look(0.3, mirrored=False, small=False, large=True),
    _Look(1.3, mirrored=True, small=True, large=False),
)
#: Which looks see a small box well, and which a large one: those of _LOOKS, and last the full
#: input.
_FOR_SMALL = np.array([*(look.small for look in _LOOKS), True])
_FOR_LARGE = np.array([*(look.large for look in _LOOKS), True])
#: So many of these, those with the best scores, decide together.
_BEST = 3
#: IoU from which a box is the same in another look.
_SAME_IOU = 0.5


def is_doubtful(found: Found, earlier: Iterable[Found] = ()) -> bool:
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
    found: Found,
    side: float,
    least: float,
    look: Callable[[float, bool], Found],
    earlier: Collection[Found] = (),
) -> Found:
    """Return the boxes of a field as all looks together show them.

    The score of a box is the mean of the best three that the looks give it which are made for its
    size. A huge one has at most the score of the full input: at a small size the rim of a round
    view and a shade of the ground look like a cell. A look is left out where no box that is in
    doubt or sure in any look so far is of a size that it is made for.

    Args:
        found: boxes and scores of a field at the size of the input, from :data:`LEAST_SEEN` on.
        side: longer side of the field in pixels.
        least: least score of a box that is returned.
        look: gives the boxes of the field, from :data:`LEAST_SEEN` on, at a size over that of the
            input, mirrored or not, in pixels of the field as it is.
        earlier: boxes and scores of first looks, whose boxes count for that too.

    Returns:
        boxes (N, 4) and scores (N,) float32, best first; boxes of touching cells may overlap.
    """
    views: list[Found] = []
    for size, mirrored, small, large in _LOOKS:
        sides = _sides([found, *earlier, *views], side)
        if (small and (sides < _LARGE).any()) or (large and (sides >= _NEARLY_LARGE).any()):
            views.append(look(size, mirrored))
        else:
            views.append((np.zeros((0, 4), np.float32), np.zeros(0, np.float32)))
    views.append(found)
    boxes, seen = fuse_boxes(views, _SAME_IOU)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) / side
    suits = np.where(sides[:, None] < _LARGE, _FOR_SMALL, _FOR_LARGE)
    best = np.sort(np.where(suits, seen, 0), 1)[:, -_BEST:]
    scores = np.where(sides > _HUGE, np.minimum(best.mean(1), seen[:, -1]), best.mean(1))
    plausible = seen.max(1, initial=0) >= _PLAUSIBLE
    return best_first(boxes[plausible], scores[plausible], least)


def _sides(looks: Iterable[Found], side: float) -> np.ndarray:
    """Return the longer side, over that of the field, of each box that is in doubt or sure."""
    boxes = np.concatenate([boxes[scores >= LEAST_DOUBT] for boxes, scores in looks])
    sides: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) / side
    return sides
