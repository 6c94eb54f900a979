"""Count the fields of a folder into the journal; interrupted, go on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from wbcdet.batch.counted_field import CountedField, Engine
from wbcdet.batch.resume import ResumePlan, check_fields, keep_names, plan_resume
from wbcdet.inference.run_info import RunInfo
from wbcdet.io.source import Root, Source, below
from wbcdet.report.header import ResumeError, check_header, check_shape, make_header, note_roots
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.layout import ANNOTATED, CELLS, FIELDS, SHEETS
from wbcdet.report.write import remove_report
from wbcdet.results.output_folder import check_target
from wbcdet.results.writer import PictureNames, picture_name, remove_pictures, write_picture
from wbcdet.utils.files import PART_PREFIX
from wbcdet.utils.progress import counting

if TYPE_CHECKING:
    from wbcdet.batch.slide_count import SlideCount


def prepare(
    job: Job, sources: list[Source], journal: Journal, info: RunInfo
) -> tuple[list[Source], ResumePlan]:
    """Plan the count: begin a journal, or check that an earlier one can be continued.

    Returns:
        the fields under the names that the report has for them, and the plan.

    Raises:
        ResumeError: it cannot be continued; nothing is changed.
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
        remove_report(job.out)
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
    """Check that no annotated picture would replace a user's file.

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
    """Return the annotated picture of every field, as a path below the report folder.

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
    """Tell whether a path is one that ``picture_names`` makes, which stays below the report
    folder."""
    name = path.removeprefix(f"{ANNOTATED}/")
    return name != path and picture_name(name) == name


def count(
    job: Job,
    sources: list[Source],
    plan: ResumePlan,
    journal: Journal,
    engine: Engine,
    *,
    quiet: bool = False,
    slides: SlideCount | None = None,
) -> None:
    """Count the planned fields, one line of the journal for each.

    Of slides only as much as is wanted.

    Raises:
        SlideGoneError: a slide cannot be reached any more; the journal holds what was done.
        KeyboardInterrupt: stopped by the user; the journal holds what was done.
        OSError: the report cannot be written; the same holds.
    """
    todo = (source for source in plan.todo if slides is None or slides.wanted(source.name))
    with counting(len(sources), plan.done, plan.cells, quiet) as tick:
        claims = None if slides is None else slides.claims()
        counted = engine.count_fields(todo, draw=job.annotate, dedupe=job.dedupe, claims=claims)
        for field in counted:
            result = field.result
            if slides is not None:
                # Begun before its slide had reached the target: how many such there are depends on
                # the machine, and the journal does not.
                if not slides.wanted(result.file):
                    continue
                slides.check_reachable(result)
                slides.add(result, field.quality["problems"] if field.quality else ())
            cells = _keep(job, journal, plan.pictures.get(result.file), field)
            tick(cells, 0.0 if slides is None else slides.mm2(result.file))
    journal.sync()


def _keep(job: Job, journal: Journal, picture: str | None, field: CountedField) -> int:
    """Write one field into the journal; returns its number of cells."""
    planned = picture
    if field.drawing is None:
        picture = None
    elif picture is not None:
        write_picture(job.out, picture, field.drawing)
    entry = JournalEntry(
        field.result, field.stamp, field.quality, picture, job.dedupe and field.quality is not None
    )
    _remove_older_drawing(job, journal, entry, planned)
    journal.append(entry.to_record(), field.pictures)
    return len(field.result.cells)


def _remove_older_drawing(
    job: Job, journal: Journal, entry: JournalEntry, planned: str | None
) -> None:
    """Remove the drawing of the picture that a file held before, where none of this one is made:
    it would show cells that are in no table."""
    file = entry.result.file
    older = {planned, journal.read(file).get("annotated") if file in journal else None}
    remove_pictures(job.out, [name for name in older - {entry.annotated} if isinstance(name, str)])


def _sweep(out: Path) -> None:
    """Remove what a killed run was writing."""
    for folder in (out, out / ANNOTATED, out / CELLS):
        find = folder.glob if folder == out else folder.rglob
        for part in find(f"{PART_PREFIX}*.part"):
            part.unlink(missing_ok=True)


def _pictures_in(journal: Journal) -> dict[str, str]:
    """Return the annotated pictures of the fields in the journal."""
    annotated = ((name, journal.read(name).get("annotated")) for name in journal)
    return {name: picture for name, picture in annotated if isinstance(picture, str)}


def _now() -> str:
    """Return the time of the count; fixed by SOURCE_DATE_EPOCH, for reports that are to be the
    same."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.now(timezone.utc)
    if fixed.isdecimal():
        with suppress(ValueError, OverflowError, OSError):  # a year that no calendar has
            now = datetime.fromtimestamp(int(fixed), timezone.utc)
    return now.isoformat(timespec="seconds")
