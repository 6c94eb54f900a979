"""A first look at a field, smaller than the network's input: enough where it leaves no doubt.

What a network costs goes with the area that it looks at. Most fields hold one or a few large cells,
which are as plain at a small size; every field decides for itself, so that its result does not
depend on the fields beside it.
"""

from __future__ import annotations

import numpy as np

#: Longer side of the first look, px: of an input of 320 px three fifths of the work.
FIRST = 256
#: Score from which a box is a cell beyond doubt, and from which a box below it is a doubt. Both are
#: far from the thresholds of cards, and hold whatever threshold was asked for.
_SURE, DOUBTFUL = 0.7, 0.02
#: Longer side of the smallest cell, in pixels of the first look: of smaller cells it misses some.
_SMALLEST = 20


def is_enough(boxes: np.ndarray, scores: np.ndarray, scale: float) -> bool:
    """Say whether a first look has found cells, and neither doubtful nor small ones beside them.

    A field in which none is found is looked at again: its cells may be too small.

    Args:
        boxes: (N, 4) corners in pixels of the field.
        scores: (N,), those from :data:`DOUBTFUL` on.
        scale: pixels of the first look in one of the field.
    """
    if not len(scores) or scores.min() < _SURE:
        return False
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    return bool((sides * scale >= _SMALLEST).all())
