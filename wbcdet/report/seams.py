"""Cells that two neighbouring parts of a slide both show, each counted once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from wbcdet.records import Cell, FieldResult
from wbcdet.report.duplicates import CellGroups, CellKey, Overlaps
from wbcdet.utils.boxes import Box, shares

#: Two boxes are one cell from this overlap (IoU) on, or where one holds so much of the other.
_SAME_IOU, _SAME_PART = 0.4, 0.75


def find_shared(results: Iterable[FieldResult]) -> Overlaps:
    """Return the cells that parts of a slide share, by their places alone.

    Of the views of a cell the one stays that shows most of it, then the surest box.

    Args:
        results: parts of slides; those of other fields are passed over.
    """
    cells: dict[CellKey, tuple[Cell, Box]] = {}
    squares: dict[tuple[str, int, int], list[CellKey]] = defaultdict(list)
    same = CellGroups()
    pairs = []
    for result in results:
        region = result.region
        if region is None:
            continue
        side = max(1.0, 100 / region.um_per_px * region.downsample)
        for cell in result.cells:
            key, box = (result.file, cell.id), region.on_slide(cell.box)
            x, y = int((box[0] + box[2]) / 2 // side), int((box[1] + box[3]) / 2 // side)
            near = [
                other
                for dx in (-1, 0, 1)
                for dy in (-1, 0, 1)
                for other in squares[region.slide, x + dx, y + dy]
                if other[0] != result.file
            ]
            if near:
                boxes = np.array([cells[other][1] for other in near])
                iou, part, part_of_other = shares(np.array(box), boxes)
                alike = (iou > _SAME_IOU) | (np.maximum(part, part_of_other) > _SAME_PART)
                pairs += [(float(iou[i]), near[i], key) for i in np.flatnonzero(alike)]
            cells[key] = cell, box
            squares[region.slide, x, y].append(key)
    for _, first, second in sorted(pairs, reverse=True):
        same.join(first, second)
    overlaps = Overlaps()
    for members in same.groups():
        best = min(members, key=lambda key: _rank(*cells[key]))
        overlaps.duplicate_of |= {key: best for key in members if key != best}
    overlaps.pairs = sorted({(kept[0], key[0]) for key, kept in overlaps.duplicate_of.items()})
    return overlaps


def _rank(cell: Cell, box: Box) -> tuple[float, float]:
    area = (box[2] - box[0]) * (box[3] - box[1])
    return -area, -cell.detection_score
