"""Find what is stained like nuclei in a field, without the detector.

Dyes of the Romanowsky family turn nuclei violet and red cells pink: nuclei take up more green light
for the blue that they take up. How much more differs with the laboratory, so that a field gives
spots that stand out of its own red cells; whether a spot is a nucleus, the nuclei of the whole
slide tell (:mod:`wbcdet.inference.unboxed_nuclei`).
"""

from __future__ import annotations

import cv2
import numpy as np

from wbcdet.inference.field_stain import FieldStain, above_ground, reduced
from wbcdet.io.colour import Pixels
from wbcdet.records import StainedSpot
from wbcdet.utils.boxes import Box, part_of_smaller

#: Longest side of what is searched, px; more where cells would be narrower than ``_CELL`` px there.
_SIDE, _MAX_SIDE, _CELL = 192, 640, 12
#: Weights of blue, green and red light in which nuclei differ most from red cells (the linear
#: discriminant over cells of BCCD, BCISC, PBC and Raabin), and of all three together.
_VIOLET_AND_ALL = np.array([[-0.84, 0.54, 0.07], [1, 1, 1]], np.float32)
#: Density, as a part of that of what is stained, from which a pixel belongs to the red cells.
_STAINED = 0.5
#: A spot stands out of the red cells by so many of their standard deviations, of at least so much.
_OUT, _LEAST_SPREAD = 3.0, 0.01
#: Half of the distance of the quartiles of a normal distribution, in standard deviations.
_QUARTILE = 0.674
#: Fewest stained pixels to compare with, and of a spot.
_MIN_STAINED, _MIN_SPOT = 50, 5
#: Most spots of a field that are kept beside those in its cells, the largest.
_MOST = 6
#: A spot lies in a box that shares this part of the smaller of both.
INSIDE = 0.5


def find_spots(
    pixels: Pixels, colours: FieldStain | None, boxes: np.ndarray
) -> tuple[StainedSpot, ...]:
    """Return what is stained like nuclei: one spot in each cell at most, and the largest others.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        colours: of the field; None where nearly nothing is stained.
        boxes: (N, 4) of its cells, in pixels.
    """
    if colours is None:
        return ()
    small, by = reduced(pixels, _side(max(pixels.shape[:2]), boxes))
    above = above_ground(small, colours)
    violet, total = cv2.split(cv2.transform(above, _VIOLET_AND_ALL))
    violet = cv2.blur(violet, (3, 3))
    red_cells = violet[total > _STAINED * float(colours.stained.sum())]
    if len(red_cells) < _MIN_STAINED:
        return ()
    quarter, half = len(red_cells) // 4, len(red_cells) // 2
    low, middle = np.partition(red_cells, (quarter, half))[[quarter, half]].tolist()
    spread = max((middle - low) / _QUARTILE, _LEAST_SPREAD)
    mask = (violet > middle + _OUT * spread).astype(np.uint8)
    number, labels, shapes, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = shapes[:, cv2.CC_STAT_AREA]
    inside: dict[int, StainedSpot] = {}
    others: list[StainedSpot] = []
    for shape in 1 + np.argsort(-areas[1:number], kind="stable"):
        if areas[shape] < _MIN_SPOT or (len(others) >= _MOST and len(inside) >= len(boxes)):
            break
        x, y, width, height = shapes[shape, :4].tolist()
        box = (float(x * by), float(y * by), float((x + width) * by), float((y + height) * by))
        cell = _cell_of(box, boxes)
        if cell in inside or (cell is None and len(others) >= _MOST):
            continue
        window = slice(y, y + height), slice(x, x + width)
        colour = above[window][labels[window] == shape].mean(0)
        blue, green, red = np.round(colour.astype(float), 3).tolist()
        spot = StainedSpot(box, float(areas[shape] * by * by), (blue, green, red))
        if cell is None:
            others.append(spot)
        else:
            inside[cell] = spot
    return (*inside.values(), *others)


def _side(longest: int, boxes: np.ndarray) -> int:
    """Return the side of what is searched, so that the cells are wide enough there."""
    if not len(boxes):
        return _SIDE
    cell = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1)))
    return round(min(max(_SIDE, _CELL * longest / cell), _MAX_SIDE))


def _cell_of(spot: Box, boxes: np.ndarray) -> int | None:
    """Return the cell that a spot lies in; None where it lies in none."""
    for number, box in enumerate(boxes):
        if part_of_smaller(spot, box) >= INSIDE:
            return number
    return None
