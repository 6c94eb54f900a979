"""Find white cells that several overlapping fields show, so that each is counted once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from wbcdet.records import Cell
from wbcdet.report.registration import RegistrationImage, Shift
from wbcdet.utils.boxes import intersect, iou

#: A field is compared with this many before it, in natural order: the row above in a raster of
#: up to 150 fields a row, or 75 where rows run to and fro.
NEAR = 150

#: Two boxes, cut to what both fields show, are one cell from this overlap (IoU) on...
_SAME_BOX = 0.5
#: ...when the pictures of the cell also agree this well (correlation).
_SAME_LOOK = 0.75
#: A pair that shares no cell overlaps if its ground is this sure. Where fields have few and large
#: cells, corners of two that do not overlap reach 9.7 at times.
_SURE = 10.0

#: A cell in a run: its field, and its number there.
CellKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """A field with its white cells, as dedupe needs it.

    ``copy_of`` is an earlier field of a file with the same bytes.
    """

    file: str
    cells: tuple[Cell, ...]
    ground: RegistrationImage
    copy_of: str | None = None


@dataclass(slots=True)
class Overlaps:
    """Result of the search for duplicates.

    Attributes:
        duplicate_of: cells that are counted in another field, and where.
        pairs: fields that overlap.
    """

    duplicate_of: dict[CellKey, CellKey] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)


def find_duplicates(views: Iterable[View], near: int = NEAR) -> Overlaps:
    """Find the cells that the fields of one slide share.

    Of the views of one cell the one stays that shows it whole, then the one with the surest label.

    Args:
        views: the fields of one group that hold cells, in natural order; those that are copies of
            each other hold the same cells.
        near: a field is compared with so many before it; they stay in memory.
    """
    overlaps = Overlaps()
    same = CellGroups()
    recent: deque[View] = deque(maxlen=near)
    cells: dict[CellKey, Cell] = {}
    for view in views:
        cells |= {(view.file, cell.id): cell for cell in view.cells}
        if view.copy_of is not None:
            # That needs no ground, and holds however far apart the two are.
            overlaps.pairs.append((view.copy_of, view.file))
            for cell in view.cells:
                same.join((view.copy_of, cell.id), (view.file, cell.id))
        others = [
            earlier
            for earlier in recent
            if earlier.ground.size == view.ground.size and earlier.file != view.copy_of
        ]
        shifts = view.ground.shift_to([other.ground for other in others])
        for other, shift in zip(others, shifts, strict=True):
            if shift is None:
                continue
            shared = _shared(other, view, shift)
            if shared or shift.sure >= _SURE:
                overlaps.pairs.append((other.file, view.file))
            for first, second in shared:
                same.join((other.file, first), (view.file, second))
        recent.append(view)
    for members in same.groups():
        best = min(members, key=lambda key: _rank(cells[key]))
        overlaps.duplicate_of |= {key: best for key in members if key != best}
    return overlaps


def _rank(cell: Cell) -> tuple[bool, float]:
    return cell.touches_edge, -cell.label_score


def _shared(first: View, second: View, shift: Shift) -> list[tuple[int, int]]:
    """Return pairs of cell numbers that are one cell, each number at most once."""
    width, height = first.ground.size
    dx, dy = shift.dx, shift.dy
    frame = (max(0.0, dx), max(0.0, dy), min(width, width + dx), min(height, height + dy))
    pairs = []
    for cell in first.cells:
        for other in second.cells:
            x0, y0, x1, y1 = other.box
            moved = (x0 + dx, y0 + dy, x1 + dx, y1 + dy)
            shared = iou(intersect(cell.box, frame), intersect(moved, frame))
            if shared >= _SAME_BOX and (
                second.ground.match_at(first.ground, shift, intersect(cell.box, frame))
                >= _SAME_LOOK
            ):
                pairs.append((shared, cell.id, other.id))
    taken: list[tuple[int, int]] = []
    for _, a, b in sorted(pairs, reverse=True):
        if all(a != view and b != other for view, other in taken):
            taken.append((a, b))
    return taken


class CellGroups:
    """Cells joined pair by pair; two cells of one field are never one cell."""

    def __init__(self) -> None:
        self._of: dict[CellKey, list[CellKey]] = {}

    def join(self, cell: CellKey, other: CellKey) -> None:
        first, second = self._of.get(cell, [cell]), self._of.get(other, [other])
        if first is second or {file for file, _ in first} & {file for file, _ in second}:
            return
        first += second
        for key in first:
            self._of[key] = first

    def groups(self) -> list[list[CellKey]]:
        """Return every group of two or more, in the order in which it was begun."""
        return list({group[0]: group for group in self._of.values()}.values())
