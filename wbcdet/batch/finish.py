"""The files of a finished count: tables, results document, contact sheets and page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from wbcdet.batch.files import write_document, write_tables
from wbcdet.batch.journal import Journal
from wbcdet.batch.run import CELLS, SHEETS, Job, drop
from wbcdet.batch.tally import Options, Tally
from wbcdet.count_page.contact import contact_sheets, sheets_for
from wbcdet.count_page.gallery import Section, Shot, make_sections
from wbcdet.count_page.page import Content, render
from wbcdet.count_page.sheets import plural
from wbcdet.report import PictureNames, write_whole


def finish(job: Job, names: Sequence[str], journal: Journal, options: Options) -> Tally:
    """Write the files of a report from its journal.

    The same journal and options give the same bytes.

    Args:
        job: what was counted.
        names: the fields, in order.
        journal: holds all of them.
        options: how they are put together.

    Raises:
        OSError: a file cannot be written.
    """
    tally = Tally(names, journal, options)
    write_report(job, tally, journal)
    return tally


def write_report(job: Job, tally: Tally, journal: Journal, remarks: Sequence[str] = ()) -> None:
    """Write the files of a report from its counts.

    Args:
        job: where to; its folder gives the title.
        tally: the counts.
        journal: holds the thumbnails and the header.
        remarks: what the page says besides of how it came about, a line each.

    Raises:
        OSError: a file cannot be written.
    """
    assert journal.header is not None
    write_tables(job.out, tally, annotated=job.annotate)
    write_document(job.out / "results.json", tally, journal.header)
    sections = _with_sheets(job.out, make_sections(_shots(tally, annotated=job.annotate)), journal)
    content = Content(
        title=job.folder.resolve().name or str(job.folder),
        grouped=tally.options.group_by is not None,
        info=journal.header,
        how=[*_how(tally.options), *remarks],
        differentials=tally.differentials,
        notes=tally.notes,
        sections=sections,
    )
    write_whole(job.out / "report.html", render(content, journal.picture).encode())


def _shots(tally: Tally, *, annotated: bool) -> Iterator[Shot]:
    """The counted cells, in the order of ``cells.csv``."""
    row = 0
    for entry in tally.entries():
        file = entry.result.file
        for cell, place in zip(entry.result.cells, entry.pictures, strict=False):
            row += 1
            if tally.left_out(entry, cell) is None:
                yield Shot(
                    group=tally.group(file) if tally.options.group_by else None,
                    label=str(cell.label),
                    score=cell.label_score,
                    reason=cell.reason,
                    row=row,
                    file=file,
                    cell=cell.id,
                    place=place,
                    link=entry.annotated if annotated else None,
                )


def _with_sheets(out: Path, sections: list[Section], journal: Journal) -> list[Section]:
    """Write the contact sheets, and drop those of an earlier report that are not among them."""
    names = PictureNames()
    planned = [
        replace(one, sheets=tuple(f"{CELLS}/{names.take(sheet)}" for sheet in _sheet_names(one)))
        for one in sections
    ]
    written = [sheet for section in planned for sheet in section.sheets]
    # Only what the journal knows is ever dropped: the folder may hold files of the user's own.
    old = set(journal.lists.get(SHEETS, ())) - set(written)
    journal.note(SHEETS, [*written, *sorted(old)])
    for section in planned:
        sheets = contact_sheets(section.shots, section.label, journal.picture)
        for name, sheet in zip(section.sheets, sheets, strict=True):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_whole(out / name, sheet)
    drop(out, old)
    journal.note(SHEETS, written)
    return planned


def _sheet_names(section: Section) -> list[str]:
    stem = section.label if section.group is None else f"{section.group}/{section.label}"
    return [f"{stem}-{number:03}.jpg" for number in range(1, sheets_for(len(section.shots)) + 1)]


def _how(options: Options) -> list[str]:
    """How the cells were put together, in words."""
    edge = "left out" if options.exclude_edge else "counted"
    bad = "left out" if options.skip_bad else "counted"
    seen = "counted once" if options.dedupe else "not looked for"
    parts = [
        f"cells cut by a border are {edge}",
        f"fields with quality problems are {bad}",
        f"cells in overlapping fields are {seen}",
    ]
    if options.group_by:
        parts.append(f"grouped by {options.group_by}")
    if options.target:
        parts.append(f"target {plural(options.target, 'classified cell')}")
    text = "; ".join(parts)
    return [f"{text[0].upper()}{text[1:]}."]
