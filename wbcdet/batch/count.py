"""Count the fields of a folder into the journal; interrupted, go on where it was."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcdet.batch.resume import ResumePlan, check_fields, keep_names, plan_resume
from wbcdet.io.discover import Root, Source, below
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.records import DAMAGED, FieldResult
from wbcdet.report.header import ResumeError, check_header, check_shape, make_header, note_roots
from wbcdet.report.input_fingerprint import InputFingerprints
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.layout import ANNOTATED, CELLS, FIELDS, SHEETS
from wbcdet.results.output_folder import check_target
from wbcdet.results.writer import PictureNames, picture_name, remove_pictures, write_annotated
from wbcdet.utils.files import PART_PREFIX
from wbcdet.utils.progress import counting

if TYPE_CHECKING:
    from wbcdet.batch.slide_count import SlideCount
    from wbcdet.inference.analyzer import Analyzer


def prepare(
    job: Job, sources: list[Source], journal: Journal, info: dict[str, Any]
) -> tuple[list[Source], ResumePlan]:
    """Find out what is to do; the journal is begun, or found to be one to go on with.

    Returns:
        the fields under the names that the report has for them, and what is to do.

    Raises:
        ResumeError: it is not; nothing is changed.
        OutputError: a user's file is in the place of a picture; nothing is changed.
        OSError: the journal cannot be written.
    """
    if journal.header is not None and journal.header.get("stream"):
        raise ResumeError("holds the count of a stream; choose another --out")
    _sweep(job.out)
    begins = journal.header is None or job.restart
    roots = job.roots
    if not begins:
        assert journal.header is not None
        check_shape(journal.header)
        check_header(journal.header, info)
        sources, roots = keep_names(journal, sources, roots)
        check_fields(journal, sources, roots)
    names = [source.name for source in sources]
    drawn = {} if begins else _pictures_in(journal)
    drawn = {name: path for name, path in drawn.items() if _is_picture_path(path)}
    pictures = picture_names(job, sources, roots, drawn)
    _check_targets(job, journal, pictures)
    if begins:
        old = [*_pictures_in(journal).values(), *journal.lists.get(SHEETS, ())]
        remove_pictures(job.out, old)
        journal.start(make_header(info, roots, _now()))
    else:
        note_roots(journal, roots)
    plan = plan_resume(sources, journal, pictures, dedupe=job.dedupe, out=job.out)
    known, kept = set(names), {picture.casefold() for picture in pictures.values()}
    gone = [picture for name, picture in _pictures_in(journal).items() if name not in known]
    remove_pictures(job.out, [picture for picture in gone if picture.casefold() not in kept])
    journal.note(FIELDS, names)
    return sources, plan


def _check_targets(job: Job, journal: Journal, pictures: Mapping[str, str]) -> None:
    """Annotated pictures are not drawn over a file that someone has put there.

    Raises:
        OutputError: there is one.
    """
    own = set(_pictures_in(journal).values())
    for picture in pictures.values():
        if picture not in own:
            check_target(job.out / picture)


def picture_names(
    job: Job, sources: Sequence[Source], roots: Sequence[Root], drawn: Mapping[str, str]
) -> dict[str, str]:
    """The annotated picture of every field, as a path below the report folder.

    Args:
        job: what is counted.
        sources: the fields.
        roots: where they are.
        drawn: pictures that an earlier run has drawn, by field; they keep their names.
    """
    if not job.annotate:
        return {}
    taken = PictureNames()
    for source in sources:
        if source.name in drawn:
            taken.keep(drawn[source.name].removeprefix(f"{ANNOTATED}/"))
    return {
        source.name: drawn.get(source.name)
        or f"{ANNOTATED}/{taken.take(below(source.name, roots))}"
        for source in sources
    }


def _is_picture_path(path: str) -> bool:
    """It is a path as ``picture_names`` makes them, which leads nowhere else."""
    name = path.removeprefix(f"{ANNOTATED}/")
    return name != path and picture_name(name) == name


def count(
    job: Job,
    sources: list[Source],
    plan: ResumePlan,
    journal: Journal,
    analyzer: Analyzer,
    *,
    quiet: bool = False,
    slides: SlideCount | None = None,
) -> None:
    """Count what is to do, a line of the journal for every field.

    Of slides only as much as is wanted.

    Raises:
        SlideGoneError: a slide cannot be reached any more; the journal holds what was done.
        KeyboardInterrupt: stopped by the user; the journal holds what was done.
        OSError: the report cannot be written; the same holds.
    """
    stamps, waiting = InputFingerprints(), deque[Any]()

    def stamped() -> Iterator[Source]:
        # Before it is read: a file that changes meanwhile is seen to have changed by the next run.
        for source in plan.todo:
            if slides is None or slides.wanted(source):
                waiting.append(stamps.take(source.path))
                yield source

    with counting(len(sources), plan.done, plan.cells, quiet) as tick:
        for field, result in analyzer.analyze_fields(stamped()):
            stamp = waiting.popleft()
            if slides is not None:
                slides.check_reachable(result)
                result = slides.claims(result)
                slides.add(result)
            cells = _keep(job, journal, plan.pictures.get(result.file), field, result, stamp)
            del field  # while the next one is waited for, its memory is free
            tick(cells, 0.0 if slides is None else slides.mm2(result.file))
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
    from wbcdet.report.thumbnails import cut_overview, cut_thumbnails

    if field is not None:
        try:
            small = cut_thumbnails(field, result.cells) or [cut_overview(field)]
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
        write_annotated(job.out, picture, field.pixels, result)
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


def _pictures_in(journal: Journal) -> dict[str, str]:
    """The annotated pictures of the fields in the journal."""
    found = ((name, journal.read(name).get("annotated")) for name in journal)
    return {name: picture for name, picture in found if isinstance(picture, str)}


def _now() -> str:
    """The time of the count; fixed by SOURCE_DATE_EPOCH, for reports that are to be the same."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.now(timezone.utc)
    if fixed.isdecimal():
        now = datetime.fromtimestamp(int(fixed), timezone.utc)
    return now.isoformat(timespec="seconds")
