"""Associate the cells of a frame with those that are known already."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from lap import lapjvx

from wbcdet.inference.dark_border import DarkBorder
from wbcdet.records import Cell
from wbcdet.stream.slide_map import Position
from wbcdet.stream.track import Track, on_island, shifted
from wbcdet.utils.boxes import Box, area, intersect, part_of_smaller, shared_area

#: Two whole boxes are one cell from this overlap (IoU) on...
_SAME = 0.3
#: ...a cut one and another where they share this much of the smaller.
_SAME_CUT = 0.5
#: Of two boxes in one frame that share this much of the smaller, only the surer is a cell.
_NESTED = 0.7
#: A box must lie this far inside the frame, over its longer side, for its frame to be one that
#: should have shown the cell whole.
_INSIDE = 0.12


def match(
    tracks: Sequence[Track], cells: Sequence[Cell], position: Position, size: tuple[int, int]
) -> list[Track | None]:
    """Return the known cell that each cell of a frame is, or None.

    Args:
        tracks: the known cells of the island.
        cells: the cells of the frame.
        position: where the frame lies.
        size: its width and height, px.
    """
    if not tracks or not cells:
        return [None] * len(cells)
    frame = on_island((0.0, 0.0, float(size[0]), float(size[1])), position)
    alike = np.zeros((len(cells), len(tracks)))
    for row, cell in enumerate(cells):
        box = on_island(cell.box, position)
        for column, track in enumerate(tracks):
            visible = intersect(track.box, frame)
            whole = visible == track.box and not cell.touches_edge and not track.cell.touches_edge
            alike[row, column] = likeness(box, visible, whole=whole)
    _, rows, columns = lapjvx(-alike, extend_cost=True)
    partners: list[Track | None] = [None] * len(cells)
    for row, column in zip(rows, columns, strict=True):
        if alike[row, column] > 0:
            partners[row] = tracks[column]
    return partners


def likeness(first: Box, second: Box, *, whole: bool) -> float:
    """Measure how well two boxes of one island agree, 0..1; 0 where they are not one cell.

    Args:
        first, second: the boxes.
        whole: both are of whole cells; else what they share counts over the smaller of the two.
    """
    shared = shared_area(first, second)
    if not shared:
        return 0.0
    areas = area(first), area(second)
    iou = shared / (sum(areas) - shared)
    if whole:
        return iou if iou >= _SAME else 0.0
    part = shared / min(areas)
    return (part + iou) / 2 if part >= _SAME_CUT else 0.0


def separate_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of a frame without boxes that lie around or inside one of higher score.

    The detector keeps such a pair where the two differ much in size.
    """
    kept: list[Cell] = []
    for cell in sorted(cells, key=lambda cell: -cell.detection_score):
        if all(part_of_smaller(cell.box, other.box) < _NESTED for other in kept):
            kept.append(cell)
    return kept


def shown(track: Track, position: Position, size: tuple[int, int], border: DarkBorder) -> bool:
    """Say whether a frame shows the whole place of a cell, with room to spare.

    Args:
        track: the cell.
        position: where the frame lies.
        size: its width and height, px.
        border: what of it is black.
    """
    x0, y0, x1, y1 = shifted(track.box, -position.x, -position.y)
    rim = _INSIDE * max(x1 - x0, y1 - y0)
    x0, y0, x1, y1 = x0 - rim, y0 - rim, x1 + rim, y1 + rim
    inside = min(x0, y0, size[0] - x1, size[1] - y1) >= 0
    return inside and not border.cuts((x0, y0, x1, y1))


def touches(track: Track, position: Position, size: tuple[int, int]) -> bool:
    """Say whether a frame shows a part of the place of a cell."""
    x0, y0, x1, y1 = track.box
    return (
        x1 > position.x
        and y1 > position.y
        and x0 < position.x + size[0]
        and y0 < position.y + size[1]
    )
