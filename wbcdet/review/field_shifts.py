"""Tell how the fields of a count that overlap lie over each other, from the cells they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import permutations
from statistics import median

from wbcdet.review.machine_report import MachineReport
from wbcdet.utils.boxes import Box, intersect, iou

#: A box that ends so near to the border may be cut off there, px.
_NEAR_BORDER = 2.0


class FieldShifts:
    """Where fields that show the same cells lie to each other.

    Args:
        report: a count with ``--dedupe`` says which cells several fields show; of any other report
            no shift is known.
    """

    def __init__(self, report: MachineReport) -> None:
        self._sizes = {f.number: (f.result.width, f.result.height) for f in report.fields}
        self._shifts: dict[int, dict[int, tuple[float, float]]] = defaultdict(dict)
        numbers = {field.result.file: field.number for field in report.fields}
        cells = {
            (field.number, cell.id): cell for field in report.fields for cell in field.result.cells
        }
        # By the cell that counts, every view of it.
        views: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for shown in report.fields:
            for cell, (file, id_) in shown.duplicate_of.items():
                kept = (numbers.get(file, -1), id_)
                if kept in cells and (shown.number, cell) in cells:
                    views.setdefault(kept, [kept]).append((shown.number, cell))
        sides: dict[tuple[int, int], tuple[list[float], list[float]]] = {}
        for members in views.values():
            for view, other in permutations(members, 2):
                if view[0] != other[0]:
                    found = sides.setdefault((view[0], other[0]), ([], []))
                    boxes = (cells[view].box, cells[other].box)
                    self._add_sides(found, (view[0], other[0]), boxes)
        for (field, over), (across, down) in sides.items():
            if across and down:
                self._shifts[field][over] = (median(across), median(down))

    def overlapping(self, number: int) -> Iterator[int]:
        """Yield the fields that show a part of a field, as far as it is known."""
        yield from self._shifts.get(number, ())

    def overlap(self, number: int, box: Box, other: int, other_box: Box) -> float:
        """Return intersection over union of boxes in two overlapping fields, as far as both fields
        show them: 0 where a box is outside of the other field."""
        dx, dy = self._shifts[number][other]
        width, height = self._sizes[other]
        frame = (max(0.0, dx), max(0.0, dy), min(width, width + dx), min(height, height + dy))
        moved = (box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy)
        return iou(intersect(moved, frame), intersect(other_box, frame))

    def _add_sides(
        self,
        found: tuple[list[float], list[float]],
        fields: tuple[int, int],
        boxes: tuple[Box, Box],
    ) -> None:
        """Note how far the sides of a cell's box lie apart in two fields, across and down; sides
        that a border may have cut off tell nothing."""
        for side in range(4):
            along = side % 2
            ends = [
                (box[side], self._sizes[number][along])
                for number, box in zip(fields, boxes, strict=True)
            ]
            if all(_NEAR_BORDER < end < size - _NEAR_BORDER for end, size in ends):
                found[along].append(ends[1][0] - ends[0][0])
