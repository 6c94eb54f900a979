"""The cells of a report, those of the machine and those that people draw, by field."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator, Sequence

from wbcdet.review.cell_state import MAX_NUMBER, CellState, ChangeError, Key
from wbcdet.review.machine_report import MachineReport
from wbcdet.utils.boxes import Box


class CellTable:
    """All cells of a report; ones that a person draws are added.

    Args:
        report: what the machine said.

    Attributes:
        cells: every cell, also one whose drawing was taken back.
    """

    def __init__(self, report: MachineReport) -> None:
        self.report = report
        self.cells: dict[Key, CellState] = {
            (field.number, cell.id): CellState(
                str(cell.label),
                False,
                cell.box,
                cell.box,
                cell.id,
                cell=cell,
                touches_edge=cell.touches_edge,
            )
            for field in report.fields
            for cell in field.result.cells
        }
        self._in_slide: Counter[str] = Counter()
        for key in self.cells:
            self._give_number(key)
        # Numbers of the cells of each field: a report may leave out any number of them.
        self._numbers = {
            field.number: sorted(cell.id for cell in field.result.cells) for field in report.fields
        }
        # Number of the next cell that is drawn in each field.
        self._next = {number: (ids[-1] + 1 if ids else 0) for number, ids in self._numbers.items()}

    def of_field(self, number: int) -> Iterator[tuple[Key, CellState]]:
        """Yield the cells of a field, those that a person drew too."""
        for cell in self._numbers[number]:
            yield (number, cell), self.cells[number, cell]

    def add(self, number: int, box: Box) -> Key:
        """Add a cell that no decision is on yet; its box is inside the field.

        Raises:
            ChangeError: the field has no number left.
        """
        key = self.new_key(number)
        self.put(key, box, key[1])
        return key

    def new_key(self, number: int) -> Key:
        """Return the key of another cell of a field.

        Raises:
            ChangeError: the field has no number left.
        """
        if self._next[number] > MAX_NUMBER:
            raise ChangeError("this field has no number left for another cell")
        return number, self._next[number]

    def keep_free(self, key: Key) -> None:
        """Give no new cell the number, nor one before it."""
        self._next[key[0]] = max(self._next[key[0]], key[1] + 1)

    def put(self, key: Key, box: Box, stored: int) -> None:
        """Put a drawn cell under a key; ``stored`` is the number by which the store knows it."""
        edge = self.at_edge(key[0], box)
        self.cells[key] = CellState(None, False, box, box, stored, touches_edge=edge)
        insort(self._numbers[key[0]], key[1])
        self.keep_free(key)
        self._give_number(key)

    def take_back(self, key: Key) -> None:
        """Remove the last cell that was added, of which nothing was kept."""
        del self.cells[key]
        self._numbers[key[0]].remove(key[1])
        self._next[key[0]] = key[1]
        self._in_slide[self.report.fields[key[0]].group] -= 1

    def place(self, key: Key, moved: Sequence[float] | None) -> None:
        """Put the box where a person has moved it; None puts it back."""
        current = self.cells[key]
        if moved is not None:
            current.box = (moved[0], moved[1], moved[2], moved[3])
            current.touches_edge = self.at_edge(key[0], current.box) or self._at_black(key)
        elif current.moved:
            current.box = current.origin
            cell = current.cell
            current.touches_edge = cell.touches_edge if cell else self.at_edge(key[0], current.box)

    def _at_black(self, key: Key) -> bool:
        """Say whether the machine has seen a black border, as of an eyepiece, cut the cell: where
        that is only the picture shows."""
        current = self.cells[key]
        cell = current.cell
        return cell is not None and cell.touches_edge and not self.at_edge(key[0], current.origin)

    def cut(self, number: int, box: Sequence[float]) -> Box:
        """Return a box inside its field, in tenths of a pixel.

        Raises:
            ChangeError: less than four pixels of it are, or there is no such field.
        """
        if not 0 <= number < len(self.report.fields):
            raise ChangeError("there is no such field")
        result = self.report.fields[number].result
        x_min, y_min = (round(max(0.0, value), 1) for value in box[:2])
        x_max, y_max = round(min(box[2], result.width), 1), round(min(box[3], result.height), 1)
        if not (x_max - x_min >= 4 and y_max - y_min >= 4):
            raise ChangeError("the box is too small; draw it around the whole cell")
        return x_min, y_min, x_max, y_max

    def is_inside(self, number: int, box: Sequence[float]) -> bool:
        """Say whether a box, as a decision records it, is inside its field."""
        try:
            return self.cut(number, box) == tuple(box)
        except ChangeError:
            return False

    def at_edge(self, number: int, box: Box) -> bool:
        """Say whether a box reaches the border of its field."""
        result = self.report.fields[number].result
        return min(box[0], box[1], result.width - box[2], result.height - box[3]) < 1.0

    def _give_number(self, key: Key) -> None:
        """Machine's cells first, then drawn ones as they come, so that no number ever changes."""
        group = self.report.fields[key[0]].group
        self._in_slide[group] += 1
        self.cells[key].number = self._in_slide[group]
