"""Count the fields of a folder into the journal; interrupted, go on where it was."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcdet.batch.entry import Entry
from wbcdet.batch.inputs import Stamps
from wbcdet.batch.journal import Journal, JournalError
from wbcdet.batch.lock import locked
from wbcdet.batch.plan import (
    FIELDS,
    Plan,
    PlanError,
    check_folder,
    check_header,
    make_header,
    make_plan,
)
from wbcdet.batch.progress import counting
from wbcdet.fields import Field, FieldError, Source, find_fields
from wbcdet.records import FieldResult
from wbcdet.report import PART_PREFIX, PictureNames, write_annotated

if TYPE_CHECKING:
    from wbcdet.analyzer import Analyzer

#: Folders in the report that hold pictures or state, and are never counted themselves.
ANNOTATED, CELLS, JOURNAL = "annotated", "cells", "journal"
#: The journal's list of the contact sheets.
SHEETS = "sheets"


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is asked to count.

    Attributes:
        folder: the fields, a folder or one file.
        out: the report folder.
        annotate: draw annotated pictures.
        dedupe: keep what ``--dedupe`` compares.
        restart: drop what an earlier run has counted.
    """

    folder: Path
    out: Path
    annotate: bool = True
    dedupe: bool = False
    restart: bool = False

    def sources(self) -> list[Source]:
        """The fields, in natural order; nothing that the report itself holds."""
        own = [self.out / name for name in (ANNOTATED, CELLS, JOURNAL)]
        return find_fields([self.folder], exclude=own)


@contextmanager
def opened(job: Job) -> Iterator[Journal]:
    """The journal of a report, held against other runs.

    Raises:
        LockedError: another run writes to the report.
        JournalError: it cannot be read.
        OSError: nothing can be written there.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    with locked(job.out / JOURNAL):
        journal = _open(job)
        try:
            yield journal
        finally:
            journal.close()


def _open(job: Job) -> Journal:
    try:
        return Journal(job.out / JOURNAL)
    except JournalError:
        if not job.restart:
            raise
    for file in (job.out / JOURNAL).iterdir():
        if file.suffix in (".jsonl", ".bin"):
            file.unlink()
    return Journal(job.out / JOURNAL)


def prepare(job: Job, sources: list[Source], journal: Journal, info: dict[str, Any]) -> Plan:
    """Find out what is to do; the journal is begun, or found to be one to go on with.

    Raises:
        PlanError: it is not; nothing is changed.
        OSError: the journal cannot be written.
    """
    if journal.header is not None and journal.header.get("stream"):
        raise PlanError("holds the count of a stream; choose another --out")
    _sweep(job.out)
    names = [source.name for source in sources]
    pictures = picture_names(job, sources)
    if journal.header is None or job.restart:
        drop(job.out, [*_pictures(journal, journal), *journal.lists.get(SHEETS, ())])
        journal.start(make_header(info, job.folder, _now()))
    else:
        check_header(journal.header, info)
        check_folder(journal, sources, job.folder)
    plan = make_plan(sources, journal, pictures, dedupe=job.dedupe, out=job.out)
    known, kept = set(names), {picture.casefold() for picture in pictures.values()}
    gone = _pictures(journal, [name for name in journal if name not in known])
    drop(job.out, [picture for picture in gone if picture.casefold() not in kept])
    journal.note(FIELDS, names)
    return plan


def picture_names(job: Job, sources: Iterable[Source]) -> dict[str, str]:
    """The annotated picture of every field, as a path below the report folder."""
    if not job.annotate:
        return {}
    taken = PictureNames()
    return {source.name: f"{ANNOTATED}/{taken.take(source.name)}" for source in sources}


def count(
    job: Job,
    sources: list[Source],
    plan: Plan,
    journal: Journal,
    analyzer: Analyzer,
    *,
    quiet: bool = False,
) -> None:
    """Count what is to do, a line of the journal for every field.

    Raises:
        KeyboardInterrupt: stopped by the user; the journal holds what was done.
        OSError: the report cannot be written; the same holds.
    """
    pictures = picture_names(job, sources)
    stamps, waiting = Stamps(), deque[Any]()

    def stamped() -> Iterator[Source]:
        # Before it is read: a file that changes meanwhile is seen to have changed by the next run.
        for source in plan.todo:
            waiting.append(stamps.take(source.path))
            yield source

    with counting(len(sources), plan.done, plan.cells, quiet) as tick:
        for field, result in analyzer.analyze_fields(stamped()):
            stamp = waiting.popleft()
            cells = _keep(job, journal, pictures.get(result.file), field, result, stamp)
            tick(cells)
    journal.sync()


def _keep(
    job: Job,
    journal: Journal,
    picture: str | None,
    field: Field | None,
    result: FieldResult,
    stamp: dict[str, Any] | None,
) -> int:
    """Write one field into the journal; returns its number of cells."""
    from wbcdet.batch.overlap import keep_picture
    from wbcdet.batch.thumbnails import cut_thumbnails
    from wbcdet.quality import cell_width, measure_field

    if field is not None:
        try:
            small = cut_thumbnails(field, result.cells)
            quality = asdict(measure_field(field, cell_width(result.cells)))
            ground = [keep_picture(field.pixels)] * job.dedupe
        except FieldError as error:  # a large file that is read in parts has gone meanwhile
            field, result = None, FieldResult.failed(result.file, str(error))
    if field is None:
        journal.append(Entry(result, stamp).to_record())
        return 0
    if picture is not None:
        write_annotated(job.out / picture, field.pixels, result)
    entry = Entry(result, stamp, quality, picture, job.dedupe)
    journal.append(entry.to_record(), [*small, *ground])
    field.release()
    return len(result.cells)


def _sweep(out: Path) -> None:
    """Remove what a killed run was writing."""
    for folder in (out, out / ANNOTATED, out / CELLS):
        find = folder.glob if folder == out else folder.rglob
        for part in find(f"{PART_PREFIX}*.part"):
            part.unlink(missing_ok=True)


def _pictures(journal: Journal, names: Iterable[str]) -> list[str]:
    """The annotated pictures of fields in the journal."""
    found = (journal.read(name)["annotated"] for name in names)
    return [picture for picture in found if picture is not None]


def drop(out: Path, files: Iterable[str]) -> None:
    """Remove files of the report, and the folders that they leave empty."""
    for file in files:
        (out / file).unlink(missing_ok=True)
        for folder in list(Path(file).parents)[:-2]:
            if (out / folder).is_dir() and not any((out / folder).iterdir()):
                (out / folder).rmdir()


def _now() -> str:
    """The time of the count; fixed by SOURCE_DATE_EPOCH, for reports that are to be the same."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.now(timezone.utc)
    if fixed.isdecimal():
        now = datetime.fromtimestamp(int(fixed), timezone.utc)
    return now.isoformat(timespec="seconds")
