"""The report as it is after the review, in a folder of its own beside the machine's."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wbcdet.records import LABELS, Cell, CellType
from wbcdet.report.counts import ReportCounts
from wbcdet.report.duplicates import Overlaps
from wbcdet.report.job import Job
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.write import Extra, write_report
from wbcdet.results.output_folder import mark
from wbcdet.review.cell_state import CellState, Key
from wbcdet.review.counts import reason_of
from wbcdet.review.images import PictureError
from wbcdet.review.state import ReviewState
from wbcdet.utils.files import atomic_write, csv_bytes

if TYPE_CHECKING:
    from wbcdet.review.session import Session

#: Header of ``changes.csv``: every cell that a person has decided on.
CHANGE_COLUMNS = (
    "file",
    "id",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "machine",
    "reviewed",
    "by",
    "time",
)


def write_reviewed(session: Session, signature: dict[str, Any]) -> dict[str, str]:
    """Write the reviewed report; it takes the place of an earlier one when it is whole.

    Args:
        session: the review.
        signature: what is signed.

    Returns:
        sha256 of every file, by its path in the folder.

    Raises:
        OSError: a file cannot be written.
    """
    part = session.reviewed_folder.with_name(f".{session.reviewed_folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    journal = _Reviewed(session, signature)
    tally = _ReviewedTally([one.result.file for one in session.board.report.fields], journal)
    extra = Extra(title=session.counted(), remarks=_remarks(signature))
    write_report(Job((), part, annotate=False), tally, journal, extra)  # type: ignore[arg-type]
    mark(part, "review")
    atomic_write(part / "changes.csv", csv_bytes(CHANGE_COLUMNS, _changes(session.board)))
    files = {
        path.relative_to(part).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(part.rglob("*"))
        if path.is_file()
    }
    old = part.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if session.reviewed_folder.exists():
        session.reviewed_folder.rename(old)
    part.rename(session.reviewed_folder)
    shutil.rmtree(old, ignore_errors=True)
    return files


class _Reviewed:
    """A review in place of a count's journal, for ``ReportCounts`` and ``write_report``."""

    def __init__(self, session: Session, signature: dict[str, Any]) -> None:
        report = session.board.report
        self.board, self._pictures = session.board, session.pictures
        self.header = {**report.info, "review": signature}
        self.lists: dict[str, tuple[str, ...]] = {}
        self.options = report.options
        self._by_file = {one.result.file: one for one in report.fields}

    def note(self, key: str, names: Sequence[str]) -> None:
        """Lists are for a count that goes on; this does not."""

    def read(self, file: str) -> dict[str, Any]:
        """A field as a line of the journal."""
        one = self._by_file[file]
        cells = tuple(_cell(key[1], standing) for key, standing in self._there(one.number))
        result = replace(one.result, cells=cells)
        stamp = None if one.sha256 is None else {"sha256": one.sha256}
        entry = JournalEntry(result, stamp, one.quality)
        # Thumbnails are asked for by place; a place here is the cell itself.
        places = [key for key, _ in self._there(one.number)]
        return {**entry.to_record(), "pictures": places}

    def picture(self, place: Key) -> bytes:
        """The thumbnail of a cell; an empty one where its field has gone."""
        try:
            return self._pictures.thumbnail((place[0], place[1]))
        except PictureError:
            return _blank()

    def _there(self, number: int) -> Iterator[tuple[Key, CellState]]:
        return (item for item in self.board.of_field(number) if item[1].there)


class _ReviewedTally(ReportCounts):
    """Counts with the duplicates that the machine has found, not looked for again."""

    def __init__(self, names: Sequence[str], journal: _Reviewed) -> None:
        self._fields = journal.board.report.fields
        super().__init__(names, journal, journal.options)  # type: ignore[arg-type]

    def _overlaps(self, group: str) -> Overlaps:
        found = Overlaps()
        for one in self._fields:
            if one.group == group:
                file = one.result.file
                found.duplicate_of |= {
                    (file, cell): other for cell, other in one.duplicate_of.items()
                }
        found.pairs = sorted(
            {(file, other) for (file, _), (other, _) in found.duplicate_of.items()}
        )
        return found


def _cell(number: int, standing: CellState) -> Cell:
    """A cell of the reviewed report. Its label score is what the machine gave the label that it
    has now, 0 where it gave none; a cell that a person drew was detected for sure."""
    label, machine = standing.label or "", standing.cell
    scores = machine.scores if machine else {str(one): 0.0 for one in LABELS}
    score = scores.get(label, 0.0)
    if machine is not None and label == CellType.UNCLASSIFIED:
        score = machine.label_score
    return Cell(
        id=number,
        box=standing.box,
        detection_score=machine.detection_score if machine else 1.0,
        label=label,
        label_score=score,
        scores=scores,
        reason=reason_of(standing),
        touches_edge=standing.touches_edge,
    )


def _changes(board: ReviewState) -> Iterator[dict[str, Any]]:
    for key, standing in board.cells.items():
        if not standing.reviewed:
            continue
        values = (
            board.report.fields[key[0]].result.file,
            key[1],
            *standing.box,
            str(standing.cell.label) if standing.cell else None,
            standing.label,
            standing.who,
            standing.time,
        )
        yield dict(zip(CHANGE_COLUMNS, values, strict=True))


def _remarks(signature: dict[str, Any]) -> list[str]:
    left = signature["unreviewed"]
    looked = (
        "every cell was decided on by a person"
        if not left
        else f"{left} of {signature['cells']} cells were left as the machine named them"
    )
    lines = [
        f"Reviewed and signed by {signature['name']}, {signature['time'][:16].replace('T', ' ')} "
        f"UTC: {looked}; machine results sha256 {signature['results_sha256'][:16]}."
    ]
    if signature["note"]:
        lines.append(f"Note: {signature['note']}")
    return lines


def _blank() -> bytes:
    import numpy as np

    from wbcdet.report.thumbnails import SIDE, to_jpeg

    return to_jpeg(np.full((SIDE, SIDE, 3), 235, np.uint8), 70)
