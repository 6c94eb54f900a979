"""Write the report after the review, into a separate folder beside the machine's report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from wbcdet.inference.run_info import RunInfo
from wbcdet.records import LABELS, Cell, CellType
from wbcdet.report.counts import ReportCounts
from wbcdet.report.duplicates import CellKey, Overlaps
from wbcdet.report.html.gallery import IN_BULK, ONE_BY_ONE
from wbcdet.report.html.slide_sheet import Signature
from wbcdet.report.input_fingerprint import FileStamp
from wbcdet.report.job import Job
from wbcdet.report.journal import Place
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.thumbnails import blank_thumbnail
from wbcdet.report.write import ReportAdditions, write_report
from wbcdet.results.output_folder import mark
from wbcdet.results.signed_slides import SIGNED_SLIDES
from wbcdet.review.cell_state import CellState, Key
from wbcdet.review.counts import reason_of
from wbcdet.review.decision_store import Store
from wbcdet.review.images import PictureError, Pictures
from wbcdet.review.signature_log import Signed
from wbcdet.review.state import ReviewState
from wbcdet.utils.files import atomic_write, csv_bytes
from wbcdet.utils.safe_files import set_mode
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.words import _, plural_of

#: Header of ``changes.csv``: every cell that a person has decided on, or whose box they moved.
CHANGE_COLUMNS = (
    "file",
    "id",
    "number",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "machine",
    "reviewed",
    "by",
    "time",
    "how",
    "box",
)


class OpenReview(Protocol):
    """A review as it stands: what is signed, and where the signed report goes.

    Attributes:
        folder: the report folder.
        state: every cell as it is now.
        store: the decisions behind that.
        pictures: of fields and cells.
    """

    folder: Path
    state: ReviewState
    store: Store
    pictures: Pictures

    def counted(self) -> str:
        """Say what was analysed, as the heading of the reviewed report."""
        ...


def write_reviewed(
    session: OpenReview,
    signature: Signed,
    slides: Mapping[str, Signed],
    folder: Path,
) -> None:
    """Write the reviewed report.

    Args:
        session: the review.
        signature: what is signed.
        slides: by slide, the signature that holds for it, this one or one before it.
        folder: where to; it is empty.

    Raises:
        OSError: a file cannot be written.
    """
    journal = _Reviewed(session, {**signature, SIGNED_SLIDES: list(slides)})
    report = session.state.report
    # The groups too are as the report has them: a pattern that stands in a report is never run.
    groups = {field.result.file: field.group for field in report.fields}
    counts = ReportCounts(
        list(groups), journal, report.options, overlaps=journal.overlaps, groups=groups
    )
    job = Job((), folder, annotate=False)
    extra = ReportAdditions(
        title=session.counted(),
        remarks=[f"Machine results: sha256 {signature['results_sha256'][:16]}."],
        signatures={group: _signature(slides.get(group)) for group in counts.notes},
        marks=_marks(session.state),
    )
    write_report(job, counts, journal, extra)
    mark(folder, "review")
    atomic_write(folder / "changes.csv", csv_bytes(CHANGE_COLUMNS, _changes(session.state)))
    for path in folder.rglob("*"):
        set_mode(path, 0o700 if path.is_dir() else 0o600)


class _Reviewed:
    """A review in place of a count's journal: a :class:`~wbcdet.report.source.ReportSource`."""

    def __init__(self, session: OpenReview, signature: Mapping[str, object]) -> None:
        report = session.state.report
        self.state, self._pictures = session.state, session.pictures
        self.header: RunInfo | None = {**report.info, "review": signature}
        self.lists: dict[str, tuple[str, ...]] = {}
        self._by_file = {field.result.file: field for field in report.fields}

    def note(self, key: str, names: Sequence[str]) -> None:
        """Keep nothing: lists are for a count that goes on, and this does not."""

    def read(self, file: str) -> JsonObject:
        """Return a field as a line of the journal."""
        field = self._by_file[file]
        cells = tuple(_cell(key[1], current) for key, current in self._there(field.number))
        result = replace(field.result, cells=cells)
        stamp = None if field.sha256 is None else FileStamp(sha256=field.sha256)
        entry = JournalEntry(result, stamp, field.quality)
        # Thumbnails are asked for by place; a place here is the cell itself.
        places = [key for key, _ in self._there(field.number)]
        return {**entry.to_record(), "pictures": places}

    def picture(self, place: Place) -> bytes:
        """Return the thumbnail of a cell; an empty one where its field has gone."""
        try:
            return self._pictures.thumbnail((place[0], place[1]))
        except PictureError:
            return blank_thumbnail()

    def overlaps(self, group: str) -> Overlaps:
        """Return the duplicates that the machine has found in a group, not looked for again."""
        overlaps = Overlaps()
        for field in self.state.report.fields:
            if field.group == group:
                file = field.result.file
                overlaps.duplicate_of |= {
                    (file, cell): other for cell, other in field.duplicate_of.items()
                }
        overlaps.pairs = sorted(
            {(file, other) for (file, _), (other, _) in overlaps.duplicate_of.items()}
        )
        return overlaps

    def _there(self, number: int) -> Iterator[tuple[Key, CellState]]:
        return (item for item in self.state.of_field(number) if item[1].is_present)


def _cell(number: int, current: CellState) -> Cell:
    """Return a cell of the reviewed report. Its label score is the machine's for the label that it
    has now, else 0; the detection score of a cell that a person drew is 1."""
    label, machine = current.label or "", current.cell
    scores = machine.scores if machine else {str(label): 0.0 for label in LABELS}
    score = scores.get(label, 0.0)
    # A type that a laboratory has taught is not among the four that have scores.
    if machine is not None and label in (machine.label, CellType.UNCLASSIFIED):
        score = machine.label_score
    return Cell(
        id=number,
        box=current.box,
        detection_score=machine.detection_score if machine else 1.0,
        label=label,
        label_score=score,
        scores=scores,
        reason=reason_of(current),
        touches_edge=current.touches_edge,
        distance=machine.distance if machine else None,
    )


def _changes(state: ReviewState) -> Iterator[dict[str, object]]:
    for key, current in state.cells.items():
        if not (current.reviewed or current.moved):
            continue
        values = (
            state.report.fields[key[0]].result.file,
            key[1],
            current.number,
            *current.box,
            str(current.cell.label) if current.cell else None,
            current.label,
            current.who,
            current.time,
            _how(state, key) if current.reviewed else None,
            "drawn" if current.cell is None else "moved" if current.moved else None,
        )
        yield dict(zip(CHANGE_COLUMNS, values, strict=True))


def _how(state: ReviewState, key: Key) -> str:
    return IN_BULK if state.in_bulk(key) else ONE_BY_ONE


def _marks(state: ReviewState) -> dict[CellKey, str]:
    """Return how a person decided on each cell that one has decided on."""
    return {
        (state.report.fields[key[0]].result.file, key[1]): (_how(state, key))
        for key, current in state.cells.items()
        if current.reviewed
    }


def _signature(entry: Signed | None) -> Signature | None:
    """Return what the sheet says of a signature."""
    if entry is None:
        return None
    parts = [
        (entry.get("one_by_one"), _("looked at one by one")),
        (entry.get("in_bulk"), _("confirmed together with others")),
        (entry["unreviewed"], _("left as the machine named them")),
    ]
    said = ", ".join(f"{number} {what}" for number, what in parts if number)
    of = plural_of("{n} cell", "{n} cells", entry["cells"])
    return Signature(
        name=entry["name"],
        time=f"{entry['time'][:16].replace('T', ' ')} UTC",
        cells=f"{of}: {said}." if said else f"{of}.",
        note=entry["note"],
        number=entry["number"],
    )
