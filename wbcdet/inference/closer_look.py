"""Look again, closer, where something is stained like a nucleus and lies in no box.

In a laboratory that it was not trained on, a detector passes over plain cells: their stain differs,
and on all of a field they are small. Cut out with what is beside it, the same cell is matched to
the colours of its own neighbourhood and fills the network's input, and the same network finds it.
docs/results.md has what that gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from wbcdet.inference.protocols import Detector
from wbcdet.inference.stained_spots import INSIDE
from wbcdet.inference.surroundings import measure_surroundings
from wbcdet.io.colour import Pixels
from wbcdet.records import StainedSpot
from wbcdet.utils.boxes import part_of_smaller

#: Side of what is looked at, in widths of a cell. Where no cell of the field shows how wide that
#: is, a wider look must show the cell, too: a close one makes cells of platelets.
_WINDOW, _WIDER = 3.0, 5.0
#: What is nearly all of the field has been looked at already.
_MAX_PART = 0.8
#: Boxes of at least this score, or the best one, show how wide a cell is: others may be platelets.
_SURE = 0.6
#: Least area of a nucleus over the square of the cells' width, and its greatest width over theirs:
#: platelets are smaller, clumps of red cells larger.
_MIN_NUCLEUS, _MAX_WIDTH = 0.12, 1.6
#: Width of a cell over that of its nucleus, where no cell was found; and that of red cells over it,
#: at most: a platelet is less than half as wide as they are.
_CELL_OF_NUCLEUS, _MAX_RED_CELL = 1.35, 0.95
#: Then the spots that may be nuclei are this wide, over the longer side of the field, and cover so
#: much of their box.
_WIDTHS, _MIN_FILLED = (0.04, 0.3), 0.5
#: Most looks at a field, at the largest spots.
_MOST = 3
#: Widths of a cell that is found there, in widths of a cell of this field.
_CELLS = (0.5, 2.0)

Found = tuple[np.ndarray, np.ndarray]  # boxes (N, 4) and scores (N,)


def look_closer(
    pixels: Pixels,
    spots: Sequence[StainedSpot],
    found: Found,
    detector: Detector,
    least: float,
) -> Found:
    """Return the boxes of a field with those that a closer look at its spots adds.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        spots: what is stained like nuclei, in these pixels.
        found: boxes (N, 4) and scores (N,) of the field, best first.
        detector: looks.
        least: least score of a box.
    """
    boxes, scores = found
    own = detector.threshold()
    cells = [tuple(box) for box in boxes[scores >= own].tolist()]
    typical = None
    if cells:
        sure = boxes[scores >= min(_SURE, float(scores.max()))]
        typical = float(np.median([_width(box) for box in sure]))
    # What surrounds a spot is measured for those alone that have their turn.
    outside = (
        spot
        for spot in sorted(spots, key=lambda spot: -spot.area)
        if all(part_of_smaller(spot.box, cell) < INSIDE for cell in cells)
        and _may_be_nucleus(pixels, spot, typical)
    )
    for spot in islice(outside, _MOST):
        side = typical or _CELL_OF_NUCLEUS * _width(spot.box)
        most = 1.0
        if typical is None:
            wider = _look(pixels, spot, _WIDER, side, detector, least)
            if not wider:
                continue
            most = max(score for _, score in wider)
        for box, close in _look(pixels, spot, _WINDOW, side, detector, least):
            score = min(close, most)
            # It takes the place of what was seen of this cell before, unless that was better, or
            # a cell for certain.
            same = np.array([part_of_smaller(box, other) >= INSIDE for other in boxes], bool)
            if same.any() and scores[same].max() >= min(score, own):
                continue
            boxes = np.concatenate([boxes[~same], box[None]]).astype(np.float32)
            scores = np.append(scores[~same], score).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    return boxes[order], scores[order]


def _look(
    pixels: Pixels,
    spot: StainedSpot,
    widths: float,
    side: float,
    detector: Detector,
    least: float,
) -> list[tuple[np.ndarray, float]]:
    """Return what a look at so many widths of a cell (``side`` px) shows over a spot: boxes (4,) in
    pixels of the field, with their scores."""
    height, width = pixels.shape[:2]
    if widths * side >= _MAX_PART * max(width, height):
        return []
    x, y = (spot.box[0] + spot.box[2]) / 2, (spot.box[1] + spot.box[3]) / 2
    left, right = _window(x, widths * side, width)
    top, bottom = _window(y, widths * side, height)
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    boxes, scores = detector.detect(part, least)
    return [
        (box, float(score))
        for box, score in zip(boxes + np.array([left, top, left, top]), scores, strict=True)
        if box[0] <= x <= box[2]
        and box[1] <= y <= box[3]
        and _CELLS[0] * side <= _width(box) <= _CELLS[1] * side
    ]


def _may_be_nucleus(pixels: Pixels, spot: StainedSpot, typical: float | None) -> bool:
    wide, high = spot.box[2] - spot.box[0], spot.box[3] - spot.box[1]
    if typical is not None:
        return spot.area >= _MIN_NUCLEUS * typical**2 and max(wide, high) <= _MAX_WIDTH * typical
    least, most = (part * max(pixels.shape[:2]) for part in _WIDTHS)
    if not least <= max(wide, high) <= most or spot.area < _MIN_FILLED * wide * high:
        return False
    x, y = (spot.box[0] + spot.box[2]) / 2, (spot.box[1] + spot.box[3]) / 2
    reach = _CELL_OF_NUCLEUS * max(wide, high) / 2
    red_cell = measure_surroundings(pixels, (x - reach, y - reach, x + reach, y + reach)).diameter
    return red_cell is not None and red_cell <= _MAX_RED_CELL


def _width(box: Sequence[float] | np.ndarray) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))


def _window(middle: float, side: float, size: int) -> tuple[int, int]:
    """Return where a window of a side begins and ends, moved into a field of a size."""
    start = int(max(0.0, min(middle - side / 2, size - side)))
    return start, int(min(size, start + side))
