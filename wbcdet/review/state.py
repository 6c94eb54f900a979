"""Current labels of all cells, and the changes that people make to them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Protocol

from wbcdet.report.counts import BAD_FIELD, EDGE
from wbcdet.review.cell_state import (
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
from wbcdet.review.cell_table import CellTable
from wbcdet.review.decision_store import Decision
from wbcdet.review.earlier_cells import EarlierCells
from wbcdet.review.field_shifts import FieldShifts
from wbcdet.review.machine_report import MachineReport
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
        shifts: how fields that overlap lie to each other.
        strays: decisions on cells that the report does not have (any more); they are not applied.
    """

    def __init__(self, report: MachineReport, store: DecisionLog) -> None:
        self.report = report
        self.shifts = FieldShifts(report)
        self.turn = threading.RLock()
        self.last = 0
        self.strays = 0
        self._store = store
        self._step = 0
        self._table = CellTable(report)
        self._earlier = EarlierCells(self._table)
        self.cells = self._table.cells
        self._history = UndoHistory()
        self._listeners: list[Callable[[], None]] = []
        self._bulk: set[int] = set()
        for step in steps_of(store.decisions()):
            self.replay(step)

    def of_field(self, number: int) -> Iterator[tuple[Key, CellState]]:
        """Return the cells of a field, those that a person drew too."""
        return self._table.of_field(number)

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
                    key = label.key or self._table.add(label.field, box)
                    if label.key is None:
                        new.append(key)
                    wanted.append((key, self._named(key, label.label, box)))
                if wanted:
                    self._make(who, "change", None, wanted)
            except BaseException:
                for key in reversed(new):
                    self._table.take_back(key)
                raise
            return [key for key, _ in wanted]

    def _named(self, key: Key, label: str, box: Box, *, reviewed: bool = True) -> RecordedState:
        """Return what a decision records of a cell that a person has named; its box where that
        was moved, and its picture where they draw it."""
        recorded = RecordedState(label=checked_label(label), reviewed=reviewed)
        if box != self.cells[key].origin:
            recorded["box"] = list(box)
        picture = self.report.fields[key[0]].sha256
        if self.cells[key].label is None and picture is not None:
            recorded["picture"] = picture
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
            key = self._table.add(number, self.cut(number, box))
            try:
                after = self._named(key, label, self.cells[key].box)
                self._make(checked_name(who), "change", None, [(key, after)], thumbnail)
            except BaseException:
                self._table.take_back(key)
                raise
            return key

    def cut(self, number: int, box: Sequence[float]) -> Box:
        """Return a box inside its field, in tenths of a pixel.

        Raises:
            ChangeError: less than four pixels of it are, or there is no such field.
        """
        return self._table.cut(number, box)

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
            key = self._earlier.find(row)
            if key is None:
                self.strays += 1
                continue
            known.append((key, row))
        self._step, self.last = rows[-1].step, rows[-1].id
        if known:
            self._apply(known)

    def _apply(self, decided: Sequence[tuple[Key, Decision]]) -> None:
        changes = []
        for key, row in decided:
            current = self.cells[key]
            # Earlier versions have kept other names of a label as they were typed.
            current.label = standard_label(row.after["label"]) if row.after else None
            current.reviewed = bool(row.after and row.after["reviewed"])
            self._table.place(key, row.after.get("box") if row.after else None)
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
