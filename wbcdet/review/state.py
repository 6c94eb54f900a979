"""Current labels of all cells, and the changes that people make to them."""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Protocol

from wbcdet.report.counts import BAD_FIELD, EDGE
from wbcdet.review.cell_state import (
    MAX_NUMBER,
    BroughtLabel,
    CellState,
    ChangeError,
    ConflictError,
    Key,
    LabelChange,
    RecordedState,
    checked_label,
    checked_name,
    standard_label,
)
from wbcdet.review.decision_store import Decision
from wbcdet.review.machine_report import MachineReport, ReviewField
from wbcdet.review.undo_history import CellChange, Step, UndoHistory
from wbcdet.utils.boxes import Box


class DecisionLog(Protocol):
    """Where decisions come from and go to."""

    def decisions(self) -> list[Decision]:
        """Give all decisions so far, in their order."""
        ...

    def add(self, rows: Sequence[Decision], thumbnail: bytes | None = None) -> list[int]:
        """Keep the decisions of one step, all or none; give their numbers."""
        ...


class ReviewState:
    """All cells of a report as they stand; threads take turns.

    Args:
        report: what the machine said.
        store: the decisions so far, and where new ones go.

    Attributes:
        strays: decisions on cells that the report does not have (any more); they are not applied.
    """

    def __init__(self, report: MachineReport, store: DecisionLog) -> None:
        self.report = report
        self.turn = threading.RLock()
        self.last = 0
        self.strays = 0
        self._store = store
        self._step = 0
        self._by_file = {field.result.file: field for field in report.fields}
        self._history = UndoHistory()
        self._listeners: list[Callable[[], None]] = []
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
        self._bulk: set[int] = set()
        # Numbers of the cells of each field: a report may leave out any number of them.
        self._numbers = {
            field.number: sorted(cell.id for cell in field.result.cells) for field in report.fields
        }
        # Number of the next cell that is drawn in each field.
        self._next = {number: (ids[-1] + 1 if ids else 0) for number, ids in self._numbers.items()}
        # How a decision of an earlier session, or of an earlier count, finds its cell.
        self._with_box: dict[tuple[int, Box], Key] = {
            (key[0], current.origin): key for key, current in self.cells.items()
        }
        self._drawn: dict[tuple[Key, Box], Key] = {}
        for step in steps_of(store.decisions()):
            self.replay(step)

    def of_field(self, number: int) -> Iterator[tuple[Key, CellState]]:
        """Yield the cells of a field, those that a person drew too."""
        for cell in self._numbers[number]:
            yield (number, cell), self.cells[number, cell]

    def listen(self, listener: Callable[[], None]) -> None:
        """Call this after every step."""
        self._listeners.append(listener)

    def since(self, last: int) -> list[Key]:
        """Return cells with a decision after the one of this number."""
        with self.turn:
            return [key for key, current in self.cells.items() if current.last_decision > last]

    def in_bulk(self, key: Key) -> bool:
        """Say whether what a person decided on the cell, they decided on others with the same
        keystroke."""
        return self.cells[key].shown_decision in self._bulk

    def last_of(self, group: str | None = None) -> int:
        """Return the number of the last decision on a cell of a slide, or of all slides
        together."""
        if group is None:
            return self.last
        with self.turn:
            return max(
                (
                    current.last_decision
                    for (number, _), current in self.cells.items()
                    if self.report.fields[number].group == group
                ),
                default=0,
            )

    def counts(self, key: Key) -> bool:
        """Say whether the cell is in the count: it is there, and nothing leaves it out."""
        return self.cells[key].is_present and self.left_out(key) is None

    def left_out(self, key: Key) -> str | None:
        """Tell why a cell is in no count, by the rules of ``wbcdet.report.counts``, also for one
        that a person drew; None where it counts."""
        options, field = self.report.options, self.report.fields[key[0]]
        if options.skip_bad and field.quality and field.quality.get("problems"):
            return BAD_FIELD
        by_machine = field.left_out.get(key[1])
        # Whether a box reaches the border is told from where it is now.
        if by_machine not in (None, EDGE):
            return by_machine
        return EDGE if options.exclude_edge and self.cells[key].touches_edge else None

    def change(self, who: str, changes: Sequence[LabelChange]) -> None:
        """Call cells something else, or the same: they are reviewed then.

        Raises:
            ConflictError: one of them has changed since it was seen; none is changed then.
            ChangeError: there is no such cell or label.
        """
        with self.turn:
            for change in changes:
                if change.key not in self.cells:
                    raise ChangeError("there is no such cell")
                if self.cells[change.key].last_decision != change.last_decision:
                    raise ConflictError("changed by somebody else meanwhile; nothing was changed")
            after = [
                (change.key, self._named(change.key, change.label, self.cells[change.key].box))
                for change in changes
            ]
            self._make(checked_name(who), "change", None, after)

    def move(self, who: str, key: Key, last_decision: int, box: Box) -> None:
        """Move or resize the box of a cell; its name, and whether it is reviewed, stay as they are.

        Args:
            who: name of the person.
            key: the cell.
            last_decision: the last one on it that they had seen.
            box: pixels of the field; it is cut to it.

        Raises:
            ConflictError: it has changed since it was seen.
            ChangeError: there is no such cell, or the box is too small.
        """
        with self.turn:
            if key not in self.cells or not self.cells[key].is_present:
                raise ChangeError("there is no such cell")
            current = self.cells[key]
            if current.last_decision != last_decision:
                raise ConflictError("changed by somebody else meanwhile; nothing was changed")
            box = self.cut(key[0], box)
            if box == current.box:
                return
            after = self._named(key, str(current.label), box, reviewed=current.reviewed)
            self._make(checked_name(who), "change", None, [(key, after)])

    def bring(self, who: str, brought: Sequence[BroughtLabel]) -> list[Key]:
        """Take over names and boxes from another program, as one step.

        Returns:
            the cells.

        Raises:
            ChangeError: a label or a box cannot be taken, or there is no such field; nothing is
                changed then.
        """
        with self.turn:
            who = checked_name(who)
            new: list[Key] = []
            wanted: list[tuple[Key, RecordedState | None]] = []
            try:
                for label in brought:
                    box = self.cut(label.field, label.box)
                    key = label.key or self._add(label.field, box)
                    if label.key is None:
                        new.append(key)
                    wanted.append((key, self._named(key, label.label, box)))
                if wanted:
                    self._make(who, "change", None, wanted)
            except BaseException:
                for key in reversed(new):
                    self._take_back(key)
                raise
            return [key for key, _ in wanted]

    def _named(self, key: Key, label: str, box: Box, *, reviewed: bool = True) -> RecordedState:
        """Return what a decision records of a cell that a person has named; its box where that
        was moved."""
        recorded = RecordedState(label=checked_label(label), reviewed=reviewed)
        if box != self.cells[key].origin:
            recorded["box"] = list(box)
        return recorded

    def draw(self, who: str, number: int, box: Box, label: str, thumbnail: bytes | None) -> Key:
        """Add a cell that the machine has missed.

        Args:
            who: name of the person.
            number: the field.
            box: pixels of the field; it is cut to it.
            label: what it is called.
            thumbnail: its picture.

        Raises:
            ChangeError: the box is too small, or there is no such field or label.
        """
        with self.turn:
            key = self._add(number, self.cut(number, box))
            try:
                after = self._named(key, label, self.cells[key].box)
                self._make(checked_name(who), "change", None, [(key, after)], thumbnail)
            except BaseException:
                self._take_back(key)
                raise
            return key

    def _add(self, number: int, box: Box) -> Key:
        """Return a cell that no decision is on yet."""
        key = self._new_key(number)
        self._put_drawn(key, box, key[1])
        return key

    def _new_key(self, number: int) -> Key:
        """Return the key of another cell of a field.

        Raises:
            ChangeError: the field has no number left.
        """
        if self._next[number] > MAX_NUMBER:
            raise ChangeError("this field has no number left for another cell")
        return number, self._next[number]

    def _put_drawn(self, key: Key, box: Box, stored: int) -> None:
        edge = self._at_edge(key[0], box)
        self.cells[key] = CellState(None, False, box, box, stored, touches_edge=edge)
        insort(self._numbers[key[0]], key[1])
        self._next[key[0]] = max(self._next[key[0]], key[1] + 1)
        self._give_number(key)

    def _take_back(self, key: Key) -> None:
        """Remove the last cell that was added, of which nothing was kept."""
        del self.cells[key]
        self._numbers[key[0]].remove(key[1])
        self._next[key[0]] = key[1]
        self._in_slide[self.report.fields[key[0]].group] -= 1

    def _give_number(self, key: Key) -> None:
        """Machine's cells first, then drawn ones as they come, so that no number ever changes."""
        group = self.report.fields[key[0]].group
        self._in_slide[group] += 1
        self.cells[key].number = self._in_slide[group]

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

    def _at_edge(self, number: int, box: Box) -> bool:
        result = self.report.fields[number].result
        return min(box[0], box[1], result.width - box[2], result.height - box[3]) < 1.0

    def undo(self, who: str) -> list[Key]:
        """Take back the last step of a person; returns its cells, none without a step.

        Raises:
            ConflictError: somebody else has changed one of its cells since.
        """
        return self._back(who, "undo")

    def redo(self, who: str) -> list[Key]:
        """Make the last step that a person took back; as ``undo``."""
        return self._back(who, "redo")

    def _back(self, who: str, kind: str) -> list[Key]:
        with self.turn:
            who = checked_name(who)
            step = self._history.next(who, kind)
            if step is None:
                return []
            undoes = kind == "undo"
            for change in step.changes:
                # The same label may be somebody else's decision by now.
                shown = change.shown_after if undoes else change.shown_before
                if self.cells[change.key].shown_decision != shown:
                    raise ConflictError("changed by somebody else since; nothing was changed")
            wanted = [
                (change.key, change.before if undoes else change.after) for change in step.changes
            ]
            self._make(who, kind, step.number, wanted)
            return [key for key, _ in wanted]

    def _make(
        self,
        who: str,
        kind: str,
        of: int | None,
        wanted: Sequence[tuple[Key, RecordedState | None]],
        thumbnail: bytes | None = None,
    ) -> None:
        """Keep a step, then show it."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        rows = []
        for key, after in wanted:
            current = self.cells[key]
            file = self.report.fields[key[0]].result.file
            rows.append(
                Decision(
                    0, now, who, self._step + 1, kind, of, file, current.stored, current.origin,
                    current.recorded(), after,
                )
            )  # fmt: skip
        numbers = self._store.add(rows, thumbnail)
        self._apply(
            [
                (key, replace(row, id=n))
                for (key, _), row, n in zip(wanted, rows, numbers, strict=True)
            ]
        )
        for listener in self._listeners:
            listener()

    def replay(self, rows: Sequence[Decision]) -> None:
        """Show a step of an earlier session, without the cells that the report has no more."""
        known = []
        for row in rows:
            key = self._find(row)
            if key is None:
                self.strays += 1
                continue
            known.append((key, row))
        self._step, self.last = rows[-1].step, rows[-1].id
        if known:
            self._apply(known)

    def _find(self, row: Decision) -> Key | None:
        """Return the cell of a decision of an earlier session; None where the report has none.

        A report that was counted again may have another cell under its number, or the cell under
        another number.
        """
        field = self._by_file.get(row.file)
        if field is None or not self._fits(field, row):
            return None
        key = (field.number, row.cell)
        if (drawn := self._drawn.get((key, row.box))) is not None:
            return drawn
        current = self.cells.get(key)
        if current is not None and current.cell is not None and current.origin == row.box:
            return key
        if row.before is None:
            return self._draw_again(key, row.box)
        return self._with_box.get((field.number, row.box))

    def _fits(self, field: ReviewField, row: Decision) -> bool:
        """Say whether the boxes to which a decision moves a cell are inside its field."""
        return all(
            self._is_inside(field.number, recorded["box"])
            for recorded in (row.before, row.after)
            if recorded and "box" in recorded
        )

    def _is_inside(self, number: int, box: Sequence[float]) -> bool:
        try:
            return self.cut(number, box) == tuple(box)
        except ChangeError:
            return False

    def _draw_again(self, key: Key, box: Box) -> Key | None:
        """Put a cell that a person drew under its number, or a new one where that is taken.

        None where it cannot be in its field.
        """
        number, stored = key
        if stored > MAX_NUMBER:
            return None
        # The store has a picture under the number, of a cell that does not fit too.
        self._next[number] = max(self._next[number], stored + 1)
        if not self._is_inside(number, box):
            return None
        if key in self.cells:
            try:
                key = self._new_key(number)
            except ChangeError:
                return None
        self._put_drawn(key, box, stored)
        self._drawn[(number, stored), box] = key
        return key

    def _place(self, key: Key, moved: Sequence[float] | None) -> None:
        """Put the box where a person has moved it; None puts it back."""
        current = self.cells[key]
        if moved is not None:
            current.box = (moved[0], moved[1], moved[2], moved[3])
            current.touches_edge = self._at_edge(key[0], current.box)
        elif current.moved:
            current.box = current.origin
            cell = current.cell
            current.touches_edge = cell.touches_edge if cell else self._at_edge(key[0], current.box)

    def _apply(self, decided: Sequence[tuple[Key, Decision]]) -> None:
        changes = []
        for key, row in decided:
            current = self.cells[key]
            # Earlier versions have kept other names of a label as they were typed.
            current.label = standard_label(row.after["label"]) if row.after else None
            current.reviewed = bool(row.after and row.after["reviewed"])
            self._place(key, row.after.get("box") if row.after else None)
            current.last_decision, current.who, current.time = row.id, row.who, row.time
            shown = current.shown_decision
            changes.append(CellChange(key, row.before, row.after, shown, row.id))
            current.shown_decision = row.id
            if len(decided) > 1:
                self._bulk.add(row.id)
        self._step, self.last = row.step, row.id
        step = Step(row.step, changes)
        for key, shown in self._history.record(row.who, row.kind, step).items():
            self.cells[key].shown_decision = shown


def steps_of(rows: Sequence[Decision]) -> Iterator[list[Decision]]:
    """Rows of the same step together."""
    step: list[Decision] = []
    for row in rows:
        if step and row.step != step[0].step:
            yield step
            step = []
        step.append(row)
    if step:
        yield step
