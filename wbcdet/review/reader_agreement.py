"""How far two readers of a report agree, cell by cell.

What is compared is what each said without knowing of the other. The second reader never sees the
first one's decisions. The first reader does once they look at the cells that differ, so each of
their decisions counts as it was when it was first shown there, and a cell that the second one
marked and they draw from then on as not marked; what they settle afterwards goes into the report,
and not into kappa.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wbcdet.results.export.base import CLASSES
from wbcdet.review.cell_state import ARTEFACT, BASOPHIL, DELETED, SAME_IOU, CellState, Key
from wbcdet.review.decision_store import SECOND_DATABASE, Decision, Store, read_decisions
from wbcdet.review.machine_report import MachineReport
from wbcdet.review.state import ReviewState, steps_of
from wbcdet.utils.boxes import Box, iou
from wbcdet.utils.intervals import wilson
from wbcdet.utils.kappa import Kappa, cohen_kappa, confusion
from wbcdet.utils.schemas import parse_json

#: What a reader says of a box that they took away, or of a cell that only the other one drew.
NO_CELL = "no cell"

#: Note of the store: numbers of the last decision whenever the cells that differ were shown.
_SHOWN = "differences-shown"
_MAX_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class ReadCell:
    """A cell that both readers have decided on.

    Attributes:
        field: number of its field.
        key: the cell in the first reader's review; None where only the second one drew it.
        box: as the first reader has it, else the second.
        first, second: what each calls it.
        by_first, by_second: their names; empty where one did not mark the cell.
    """

    field: int
    key: Key | None
    box: Box
    first: str
    second: str
    by_first: str
    by_second: str


@dataclass(frozen=True, slots=True)
class ReaderAgreement:
    """Two readings of one report.

    Attributes:
        cells: what both have decided on, in the order of the report.
        only_first, only_second: cells that one of them alone has decided on so far.
        labels: every name that was given, in order.
        table: cells by the first reader's name (down) and the second's (across).
        kappa: None where it is not defined.
    """

    cells: tuple[ReadCell, ...]
    only_first: int
    only_second: int
    labels: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    kappa: Kappa | None

    @property
    def same(self) -> int:
        """Cells that both call the same."""
        return sum(cell.first == cell.second for cell in self.cells)

    @property
    def share(self) -> tuple[float, float, float] | None:
        """Part of the cells that both call the same, with its 95 % interval."""
        total = len(self.cells)
        return (self.same / total, *wilson(self.same, total)) if total else None

    @property
    def differing(self) -> list[ReadCell]:
        """Cells that the readers call differently."""
        return [cell for cell in self.cells if cell.first != cell.second]

    def confused(self) -> list[tuple[tuple[str, str], int]]:
        """Give the pairs of names that differ, first reader's first, and how often."""
        return Counter((cell.first, cell.second) for cell in self.differing).most_common()


def readers_of(report: MachineReport, first: Store, folder: Path) -> ReaderAgreement:
    """Compare the readings that a report folder holds.

    Raises:
        StoreError: the second reader's decisions cannot be read.
        OSError: their file is a link.
    """
    second = read_decisions(folder, SECOND_DATABASE)
    return compare_readers(report, first.decisions(), second, _shown(first))


def note_shown(store: Store, last: int) -> None:
    """Keep that the cells that differ were shown after this decision of the first reader.

    Raises:
        OSError: it cannot be written.
    """
    shown = _shown(store)
    if last not in shown:
        store.set_note(_SHOWN, json.dumps(sorted({*shown, last})[:_MAX_SHOWN]))


def _shown(store: Store) -> list[int]:
    try:
        numbers = parse_json(store.note(_SHOWN) or "[]")
    except ValueError:
        return []
    if not isinstance(numbers, list):
        return []
    return sorted(n for n in numbers if isinstance(n, int) and not isinstance(n, bool))[:_MAX_SHOWN]


def compare_readers(
    report: MachineReport,
    first: Sequence[Decision],
    second: Sequence[Decision],
    shown: Sequence[int] = (),
) -> ReaderAgreement:
    """Compare two readings.

    Args:
        report: what both have read.
        first, second: their decisions, in order.
        shown: numbers of the first reader's last decision when they saw what differs, in order.
    """
    ours, theirs = _reading(report, first, shown), _reading(report, second, ())
    cells = [
        ReadCell(
            key[0], key, ours[key].box, _said(ours[key]), _said(theirs[key]),
            ours[key].who, theirs[key].who,
        )
        for key in ours.keys() & theirs.keys()
        if ours[key].cell is not None and theirs[key].cell is not None
    ]  # fmt: skip
    if ours and theirs:
        cells += _drawn_pairs(ours, theirs)
    cells.sort(key=lambda cell: (cell.field, cell.box[1], cell.box[0]))
    names = {name for cell in cells for name in (cell.first, cell.second)}
    order = (*CLASSES[:-1], BASOPHIL, CLASSES[-1], ARTEFACT)
    rest = sorted(names - {*order, NO_CELL})
    labels = tuple(name for name in (*order, *rest, NO_CELL) if name in names)
    table = confusion([(cell.first, cell.second) for cell in cells], labels)
    machine = [{key for key, read in reading.items() if read.cell} for reading in (ours, theirs)]
    return ReaderAgreement(
        tuple(cells),
        len(machine[0] - machine[1]),
        len(machine[1] - machine[0]),
        labels,
        tuple(tuple(int(count) for count in row) for row in table),
        cohen_kappa(table) if cells else None,
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """A log that holds nothing: the steps are replayed one after the other."""

    def decisions(self) -> list[Decision]:
        return []

    def add(self, rows: Sequence[Decision], thumbnail: bytes | None = None) -> list[int]:
        raise NotImplementedError("a reading is only looked at")


@dataclass(frozen=True, slots=True)
class _Read:
    """A cell that a reader has decided on, as they had it.

    Attributes:
        label, box, who: as the review has them.
        cell: what the machine found; None where the reader drew it.
        after: they drew it after the other's cells had been shown to them.
    """

    label: str
    box: Box
    who: str
    cell: object | None
    after: bool = False


def _reading(
    report: MachineReport, rows: Sequence[Decision], shown: Sequence[int]
) -> Mapping[Key, _Read]:
    state, fixed, ends = ReviewState(report, _Rows()), dict[Key, _Read](), list(shown)
    alone: Mapping[Key, _Read] | None = None
    for step in steps_of(rows):
        if ends and step[0].id > ends[0]:
            fixed = {**_decided(state), **fixed}
            alone = fixed if alone is None else alone
            while ends and step[0].id > ends[0]:
                del ends[0]
        state.replay(step)
    reading = {**_decided(state), **fixed}
    if alone is None:
        return reading
    return {
        key: replace(read, after=read.cell is None and key not in alone)
        for key, read in reading.items()
    }


def _decided(state: ReviewState) -> dict[Key, _Read]:
    return {
        key: _Read(current.label, current.box, current.who, current.cell)
        for key, current in state.cells.items()
        if current.reviewed and current.label is not None and not _undrawn(current)
    }


def _undrawn(current: CellState) -> bool:
    """Say whether a person drew it and took it away again."""
    return current.cell is None and current.label == DELETED


def _said(read: _Read) -> str:
    return NO_CELL if read.label == DELETED else read.label


def _drawn_pairs(ours: Mapping[Key, _Read], theirs: Mapping[Key, _Read]) -> Iterator[ReadCell]:
    """Cells that persons drew: the same one where the boxes lie over each other.

    One that the first reader drew after the second one's were shown may be copied from there: to
    kappa it stays the cell that only the second one marked.
    """
    drawn: dict[int, tuple[list[Key], list[Key]]] = defaultdict(lambda: ([], []))
    for side, reading in enumerate((ours, theirs)):
        for key, read in reading.items():
            if read.cell is None:
                drawn[key[0]][side].append(key)
    for field, (mine, others) in drawn.items():
        # Copied ones come last: they must not take a cell that the first reader found alone.
        pairs = sorted(
            (
                (not ours[a].after, iou(ours[a].box, theirs[b].box), a, b)
                for a in mine
                for b in others
            ),
            reverse=True,
        )
        free_mine, free_others = set(mine), set(others)
        for alone, same, a, b in pairs:
            if same >= SAME_IOU and a in free_mine and b in free_others:
                free_mine.remove(a)
                free_others.remove(b)
                read, other = ours[a], theirs[b]
                first, who = (read.label, read.who) if alone else (NO_CELL, "")
                yield ReadCell(field, a, read.box, first, other.label, who, other.who)
        for key in free_mine:
            read = ours[key]
            yield ReadCell(field, key, read.box, read.label, NO_CELL, read.who, "")
        for key in free_others:
            other = theirs[key]
            yield ReadCell(field, None, other.box, NO_CELL, other.label, "", other.who)
