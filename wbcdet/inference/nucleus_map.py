"""Where in a field nuclei can be: on a picture of it so small that looking there costs nothing.

Nuclei take up more green and red light than all else in a smear. What is far from all that could be
one holds no cell, and the network need not look at it.
"""

from __future__ import annotations

import cv2
import numpy as np

from wbcdet.inference.field_stain import FieldColours
from wbcdet.inference.tiling import Rect

#: Density of green and red light together from which a pixel may be of a nucleus, as a part of the
#: way from that of the field's red cells to that of its nuclei; of pale nuclei.
_DARK, _PALE = 0.5, 0.35
#: Side of the smallest nucleus, pixels of the map; of pale ones over the longest side of the dark
#: ones: cells of one field are about as large, and what is smaller are platelets and overlaps.
_SMALLEST, _PALE_SMALLEST = 3, 0.3
#: What is looked at around them: of the map's longer side, and of that of the largest nucleus.
_MARGIN, _CYTOPLASM = 0.04, 0.4
#: Largest part of a field that is worth a look of its own.
_WORTH = 0.7
#: Pixels of the look at an inner border of the part, within which a box may be cut.
_CUT = 4
#: Part of a cell's box that its nucleus surely fills, from its densest pixels on, and how near to
#: the densest of the field it is where that is a nucleus.
_MOST_DENSE, _LIKE = 0.95, 0.7


def part_with_nuclei(
    colours: FieldColours, width: int, height: int, size: int, stride: int
) -> tuple[Rect, int] | None:
    """Return the part of a field that all its nuclei lie in, with the cells around them.

    Args:
        colours: of the field.
        width, height: pixels of the field.
        size: longer side of the network's input for the whole field, a multiple of ``stride``.
        stride: the network's coarsest step.

    Returns:
        ``(x0, y0, x1, y1)`` in pixels of the field, and the longer side of the network's input for
        it, at the scale of the whole field; None where nothing can be left out, or too little.
    """
    # An uneven ground is levelled by its surface over the whole field.
    seen = _around_nuclei(colours) if colours.is_even else None
    if seen is None:
        return None
    scale = size / max(width, height)
    whole = [-(-round(side * scale) // stride) for side in (width, height)]
    steps = [
        min(-(-int(np.ceil((seen[axis + 2] - seen[axis]) * scale)) // stride), whole[axis])
        for axis in (0, 1)
    ]
    if steps[0] * steps[1] > _WORTH * whole[0] * whole[1]:
        return None
    # Whole steps of the network: what would be padding shows more of the field instead.
    sides = [
        min(int(number * stride / scale), side)
        for number, side in zip(steps, (width, height), strict=True)
    ]
    left, top = (
        min(max(0, int(seen[axis] + seen[axis + 2] - sides[axis]) // 2), side - sides[axis])
        for axis, side in ((0, width), (1, height))
    )
    return (left, top, left + sides[0], top + sides[1]), max(steps) * stride


def is_cut(boxes: np.ndarray, part: Rect, width: int, height: int, scale: float) -> bool:
    """Say whether a box may end where the part does, and not the cell.

    Args:
        boxes: (N, 4) in pixels of the field.
        part: that was looked at.
        width, height: pixels of the field.
        scale: pixels of the look to one of the field.
    """
    inner = np.array([part[0] > 0, part[1] > 0, part[2] < width, part[3] < height])
    gaps = np.concatenate([boxes[:, :2] - part[:2], part[2:] - boxes[:, 2:]], 1)
    return bool(((gaps * scale < _CUT) & inner).any())


def has_the_densest(boxes: np.ndarray, colours: FieldColours) -> bool:
    """Say whether the densest of a field lies in a cell.

    Where a scale bar or dirt is denser than all nuclei, the map has been drawn by its measure, and
    tells nothing of nuclei.

    Args:
        boxes: (N, 4) in pixels of the field.
        colours: of the field.
    """
    if colours.stain is None:
        return False
    low, high = _levels(colours.stain)
    density = _density(colours)
    for x0, y0, x1, y1 in (boxes / colours.by).astype(int).tolist():
        inside = density[y0 : y1 + 1, x0 : x1 + 1]
        if inside.size and np.quantile(inside, _MOST_DENSE) >= low + _LIKE * (high - low):
            return True
    return False


def _levels(stain: tuple[float, ...]) -> tuple[float, float]:
    """Return the density of red cells and of nuclei, of green and red light together."""
    return sum(stain[4:6]), sum(stain[7:9])


def _density(colours: FieldColours) -> np.ndarray:
    return np.asarray(cv2.blur(cv2.transform(colours.above, np.array([[0.0, 1.0, 1.0]])), (3, 3)))


def _around_nuclei(colours: FieldColours) -> tuple[float, float, float, float] | None:
    """Return the box, in pixels of the field, around all nuclei and their cells; None without a
    nucleus."""
    if colours.stain is None:
        return None
    low, high = _levels(colours.stain)
    density = _density(colours)
    dark = _opened(density > low + _DARK * (high - low), _SMALLEST)
    _, _, shapes, _ = cv2.connectedComponentsWithStats(dark)
    if len(shapes) == 1:  # the ground alone
        return None
    largest = int(shapes[1:, 2:4].max())
    pale = _opened(
        density > low + _PALE * (high - low), max(_SMALLEST, round(_PALE_SMALLEST * largest))
    )
    x, y, across, down = cv2.boundingRect(dark | pale)
    height, width = dark.shape
    margin = _MARGIN * max(width, height) + _CYTOPLASM * largest
    return (
        max(0.0, x - margin) * colours.by,
        max(0.0, y - margin) * colours.by,
        min(width, x + across + margin) * colours.by,
        min(height, y + down + margin) * colours.by,
    )


def _opened(mask: np.ndarray, smallest: int) -> np.ndarray:
    """Return a mask (h, w) uint8 without what is narrower."""
    shape = np.ones((smallest, smallest), np.uint8)
    result: np.ndarray = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, shape)
    return result
