"""First looks at a field, smaller than the network's input: enough where they leave no doubt.

What a network costs goes with the area that it looks at. Most fields hold one or a few large cells,
which are as plain at a small size; every field decides for itself, so that its result does not
depend on the fields beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wbcdet.inference.flipped_views import Found

#: Longer sides of the first looks, px, one after the other (of an input of 320 px a seventh of the
#: pixels, and three fifths), and the score from which a box is a cell beyond doubt there; each box
#: below it is a doubt, down to ``LEAST_SEEN``. All are far from the thresholds of cards, and hold
#: whatever threshold was asked for. A small look asks for more: its scores are lower where the full
#: input is sure, and who raises the threshold would lose cells.
LOOKS: tuple[tuple[int, float], ...] = ((128, 0.8), (256, 0.7))
#: Longer side of the smallest cell, in pixels of a first look: it misses some of smaller cells, and
#: their boxes are coarse.
_SMALLEST = 20
#: Longer side of the largest cell over that of the field, in all first looks but the last: the
#: smaller ones take the rim of a round view for one cell.
_LARGEST = 0.6


def first_look(side: float, full: int, look: Callable[[int], Found]) -> Found | None:
    """Return the boxes of a field as the first look shows them that is enough; None without one.

    A look at which a cell of the one before it would still be small is left out. A field in which
    none is found has no other first look: its cells may be too small.

    Args:
        side: longer side of the field in pixels.
        full: longer side of the network's input in pixels; first looks are smaller.
        look: gives boxes and scores of the field, from ``LEAST_SEEN`` on, at a size.
    """
    least = 0.0
    for size, sure in LOOKS:
        if least <= size < full:
            boxes, scores = look(size)
            if not len(boxes):
                break
            sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
            plain = size == LOOKS[-1][0] or sides.max() <= _LARGEST * side
            if plain and is_enough(boxes, scores, size / side, sure):
                return boxes, scores
            least = _SMALLEST * side / float(sides.min())
    return None


def is_enough(boxes: np.ndarray, scores: np.ndarray, scale: float, sure: float) -> bool:
    """Say whether a look has found cells, and neither doubtful nor small ones beside them.

    Args:
        boxes: (N, 4) corners in pixels of the field.
        scores: (N,), those from ``LEAST_SEEN`` on.
        scale: pixels of the look in one of the field.
        sure: score from which a box is a cell beyond doubt.
    """
    if not len(scores) or scores.min() < sure:
        return False
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    return bool((sides * scale >= _SMALLEST).all())
