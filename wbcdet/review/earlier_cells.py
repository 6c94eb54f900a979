"""Find the cells of decisions that were made in an earlier session, or on an earlier count."""

from __future__ import annotations

from wbcdet.review.cell_state import MAX_NUMBER, ChangeError, Key
from wbcdet.review.cell_table import CellTable
from wbcdet.review.decision_store import Decision
from wbcdet.utils.boxes import Box


class EarlierCells:
    """The cells of earlier decisions in a report.

    A report that was counted again may have another cell under its number, or the cell under
    another number.

    Args:
        table: its cells; those that a person had drawn are added to it.
    """

    def __init__(self, table: CellTable) -> None:
        self._table = table
        self._by_file = {field.result.file: field.number for field in table.report.fields}
        self._with_box: dict[tuple[int, Box], Key] = {
            (key[0], current.origin): key for key, current in table.cells.items()
        }
        self._drawn: dict[tuple[Key, Box], Key] = {}

    def find(self, row: Decision) -> Key | None:
        """Return the cell of a decision; None where the report has none."""
        number = self._by_file.get(row.file)
        if number is None or not self._fits(number, row):
            return None
        key = (number, row.cell)
        if (drawn := self._drawn.get((key, row.box))) is not None:
            return drawn
        current = self._table.cells.get(key)
        if current is not None and current.cell is not None and current.origin == row.box:
            return key
        if row.before is None:
            return self._draw_again(key, row)
        return self._with_box.get((number, row.box))

    def _is_of_another_picture(self, number: int, row: Decision) -> bool:
        """Say whether a cell was drawn in a picture that has been replaced under its name: where it
        lay, the picture of now has no cell, or another one. Earlier versions did not keep it."""
        drawn_in = row.after.get("picture") if row.after else None
        now = self._table.report.fields[number].sha256
        return None not in (drawn_in, now) and drawn_in != now

    def _fits(self, number: int, row: Decision) -> bool:
        """Say whether the boxes to which a decision moves a cell are inside its field."""
        return all(
            self._table.is_inside(number, recorded["box"])
            for recorded in (row.before, row.after)
            if recorded and "box" in recorded
        )

    def _draw_again(self, key: Key, row: Decision) -> Key | None:
        """Put a cell that a person drew under its number, or a new one where that is taken.

        None where it cannot be in its field.
        """
        (number, stored), box = key, row.box
        if stored > MAX_NUMBER:
            return None
        # The store has a picture under the number, of a cell that does not fit too.
        self._table.keep_free(key)
        if not self._table.is_inside(number, box) or self._is_of_another_picture(number, row):
            return None
        if key in self._table.cells:
            try:
                key = self._table.new_key(number)
            except ChangeError:
                return None
        self._table.put(key, box, stored)
        self._drawn[(number, stored), box] = key
        return key
