"""Count the fields of a folder into the journal; interrupted, go on where it was."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcdet.batch.resume import ResumePlan, check_folder, plan_resume
from wbcdet.io.discover import Source
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.records import DAMAGED, FieldResult
from wbcdet.report.header import ResumeError, check_header, make_header
from wbcdet.report.input_fingerprint import InputFingerprints
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.layout import ANNOTATED, CELLS, FIELDS, SHEETS, drop
from wbcdet.results.writer import PictureNames, write_annotated
from wbcdet.utils.files import PART_PREFIX
from wbcdet.utils.progress import counting

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer


def prepare(job: Job, sources: list[Source], journal: Journal, info: dict[str, Any]) -> ResumePlan:
    """Find out what is to do; the journal is begun, or found to be one to go on with.

    Raises:
        PlanError: it is not; nothing is changed.
        OSError: the journal cannot be written.
    """
    if journal.header is not None and journal.header.get("stream"):
        raise ResumeError("holds the count of a stream; choose another --out")
    _sweep(job.out)
    names = [source.name for source in sources]
    pictures = picture_names(job, sources)
    if journal.header is None or job.restart:
        drop(job.out, [*_pictures(journal, journal), *journal.lists.get(SHEETS, ())])
        journal.start(make_header(info, job.folder, _now()))
    else:
        check_header(journal.header, info)
        check_folder(journal, sources, job.folder)
    plan = plan_resume(sources, journal, pictures, dedupe=job.dedupe, out=job.out)
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
    plan: ResumePlan,
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
    stamps, waiting = InputFingerprints(), deque[Any]()

    def stamped() -> Iterator[Source]:
        # Before it is read: a file that changes meanwhile is seen to have changed by the next run.
        for source in plan.todo:
            waiting.append(stamps.take(source.path))
            yield source

    with counting(len(sources), plan.done, plan.cells, quiet) as tick:
        for field, result in analyzer.analyze_fields(stamped()):
            stamp = waiting.popleft()
            cells = _keep(job, journal, pictures.get(result.file), field, result, stamp)
            del field  # while the next one is waited for, its memory is free
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
    from wbcdet.inference.quality import cell_width, measure_field
    from wbcdet.report.registration import encode_registration_image
    from wbcdet.report.thumbnails import cut_thumbnails

    if field is not None:
        try:
            small = cut_thumbnails(field, result.cells)
            quality = asdict(measure_field(field, cell_width(result.cells)))
            if result.is_damaged:
                quality["problems"] = (*quality["problems"], DAMAGED)
            ground = [encode_registration_image(field.pixels)] * job.dedupe
        except FieldError as error:  # a large file that is read in parts has gone meanwhile
            field, result = None, FieldResult.failed(result.file, str(error))
    if field is None:
        journal.append(JournalEntry(result, stamp).to_record())
        return 0
    if picture is not None:
        write_annotated(job.out / picture, field.pixels, result)
    entry = JournalEntry(result, stamp, quality, picture, job.dedupe)
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


def _now() -> str:
    """The time of the count; fixed by SOURCE_DATE_EPOCH, for reports that are to be the same."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.now(timezone.utc)
    if fixed.isdecimal():
        now = datetime.fromtimestamp(int(fixed), timezone.utc)
    return now.isoformat(timespec="seconds")
