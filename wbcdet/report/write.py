"""The files of a finished count: tables, results document, contact sheets and page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wbcdet.inference.run_info import RunInfo
from wbcdet.report.counts import CountOptions, ReportCounts
from wbcdet.report.duplicates import CellKey, Overlaps
from wbcdet.report.html.contact_sheets import contact_sheets, sheets_for
from wbcdet.report.html.gallery import CellPicture, Section, make_sections
from wbcdet.report.html.page import Content, EmptyField, render
from wbcdet.report.html.slide_sheet import Signature
from wbcdet.report.job import Job
from wbcdet.report.journal import JournalError, Place
from wbcdet.report.layout import CELLS, SHEETS
from wbcdet.report.pdf import print_pdf
from wbcdet.report.slide_map import SlideMap
from wbcdet.report.source import ReportSource
from wbcdet.report.tables import More, write_document, write_tables
from wbcdet.report.thumbnails import blank_thumbnail
from wbcdet.results.output_folder import check_target, replaced_together
from wbcdet.results.writer import PictureNames, remove_pictures, write_picture
from wbcdet.utils.files import atomic_write
from wbcdet.utils.safe_files import inside
from wbcdet.utils.words import _, plural_of

#: Files of a report that stand for each other, in the order in which they are put in place.
_FILES = (
    "report.html", "differential.csv", "cells.csv", "fields.csv", "report.xlsx", "report.pdf",
    "results.json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReportAdditions:
    """Additions to a report beyond the count of a folder, by a stream or a review.

    Attributes:
        title: name of what was counted; None takes that of the folder.
        how: how the cells were put together, a line each; None says it of a folder.
        remarks: lines after that.
        info: what ``results.json`` and the page say of the run, beside the journal's header.
        more: further columns of ``cells.csv``.
        signatures: of a reviewed report: by slide, who signed it; None where nobody has.
        marks: of a reviewed report: how a person decided on a cell.
        maps: of slides: where was counted.
    """

    title: str | None = None
    how: Sequence[str] | None = None
    remarks: Sequence[str] = ()
    info: RunInfo = field(default_factory=RunInfo)
    more: More = ((), {})
    signatures: Mapping[str, Signature | None] = field(default_factory=dict)
    marks: Mapping[CellKey, str] = field(default_factory=dict)
    maps: Sequence[SlideMap] = ()


def finish(
    job: Job,
    names: Sequence[str],
    journal: ReportSource,
    options: CountOptions,
    extra: ReportAdditions | None = None,
    overlaps: Callable[[str], Overlaps] | None = None,
) -> ReportCounts:
    """Write the files of a report from its journal.

    The same journal and options give the same bytes.

    Args:
        job: what was counted.
        names: the fields, in order.
        journal: holds all of them.
        options: how they are put together.
        extra: where it is not the count of a folder.
        overlaps: as of ``ReportCounts``.

    Raises:
        OutputError: a user's file is in the place of one of them.
        PdfError: the page is written, and not printed.
        OSError: a file cannot be written.
    """
    counts = ReportCounts(names, journal, options, overlaps=overlaps)
    write_report(job, counts, journal, extra or ReportAdditions())
    return counts


def write_report(
    job: Job, counts: ReportCounts, journal: ReportSource, extra: ReportAdditions
) -> None:
    """Write the files of a report from its counts.

    Args:
        job: where to, and what was counted.
        counts: the counts.
        journal: holds the thumbnails and the header.
        extra: what else is said.

    Raises:
        PdfError: the page is written, and not printed.
        OSError: a file cannot be written.
    """
    assert journal.header is not None
    sources = [root.to_dict() for root in counts.roots]
    info: RunInfo = {**journal.header, "sources": sources, **extra.info}
    # A table of this count beside a page of the one before would be two numbers of one slide. A PDF
    # file of an earlier run goes with the others.
    with replaced_together(job.out, _FILES) as new:
        write_tables(new, counts, str(info["created"]), annotated=job.annotate, more=extra.more)
        write_document(new / "results.json", counts, info)
        shots = _shots(counts, extra.marks, annotated=job.annotate)
        sections = _with_sheets(make_sections(shots))
        content = Content(
            title=extra.title or job.title,
            grouped=counts.options.group_by is not None,
            info=info,
            how=[*(_how(counts.options) if extra.how is None else extra.how), *extra.remarks],
            differentials=counts.differentials,
            notes=counts.notes,
            sections=sections,
            empty=list(_empty(counts, annotated=job.annotate)),
            signatures=extra.signatures,
            identifiers=counts.options.identifiers,
            maps=extra.maps,
        )
        atomic_write(new / "report.html", render(content, _pictures(journal)).encode())
        _write_sheets(job.out, new, sections, journal)
    if job.pdf:
        print_pdf(job.out / "report.html", job.out / "report.pdf")


def remove_report(out: Path) -> None:
    """Remove the page, tables and results document of a count that is forgotten: its pictures go as
    well, and those of the next count would lie beside them.

    Raises:
        OSError: one cannot be removed.
    """
    for name in reversed(_FILES):
        (out / name).unlink(missing_ok=True)


def _pictures(journal: ReportSource) -> Callable[[Place], bytes]:
    """Return a function that gives thumbnails; a damaged one is blank, as the cell still counts."""

    def picture(place: Place) -> bytes:
        try:
            return journal.picture(place)
        except JournalError:
            return blank_thumbnail()

    return picture


def _shots(
    counts: ReportCounts, marks: Mapping[CellKey, str], *, annotated: bool
) -> Iterator[CellPicture]:
    """Yield the counted cells, in the order of ``cells.csv``."""
    row = 0
    for entry in counts.entries():
        file = entry.result.file
        for cell, place in zip(entry.result.cells, entry.pictures, strict=False):
            row += 1
            if counts.left_out(entry, cell) is None:
                yield CellPicture(
                    group=counts.group(file) if counts.options.group_by else None,
                    label=str(cell.label),
                    score=cell.label_score,
                    reason=cell.reason,
                    row=row,
                    file=file,
                    cell=cell.id,
                    place=place,
                    link=entry.annotated if annotated else None,
                    mark=marks.get((file, cell.id), ""),
                )


def _empty(counts: ReportCounts, *, annotated: bool) -> Iterator[EmptyField]:
    """Yield the fields without a cell, in order."""
    for entry in counts.entries():
        if entry.result.failure is None and not entry.result.cells:
            yield EmptyField(
                file=entry.result.file,
                place=entry.pictures[0] if entry.pictures else None,
                link=entry.annotated if annotated else None,
            )


def _with_sheets(sections: list[Section]) -> list[Section]:
    """Give the sections the names of their contact sheets."""
    names = PictureNames()
    return [
        replace(
            section, sheets=tuple(f"{CELLS}/{names.take(sheet)}" for sheet in _sheet_names(section))
        )
        for section in sections
    ]


def _write_sheets(out: Path, new: Path, planned: list[Section], journal: ReportSource) -> None:
    """Write the contact sheets, and drop those of an earlier report that are not among them.

    Args:
        out: the report folder.
        new: where they wait until all are there.
        planned: the sections, with the names of their sheets.
        journal: holds the thumbnails.
    """
    written = [sheet for section in planned for sheet in section.sheets]
    # Only what the journal knows is ever dropped: the folder may hold files of the user's own.
    old = set(journal.lists.get(SHEETS, ())) - set(written)
    for name in set(written) - set(journal.lists.get(SHEETS, ())):
        check_target(out / name)
    for section in planned:
        sheets = contact_sheets(section.shots, section.label, _pictures(journal))
        for name, sheet in zip(section.sheets, sheets, strict=True):
            write_picture(new, name, sheet)
    journal.note(SHEETS, [*written, *sorted(old)])
    for name in written:
        path = inside(out, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        (new / name).replace(path)
    remove_pictures(out, old)
    journal.note(SHEETS, written)


def _sheet_names(section: Section) -> list[str]:
    stem = section.label if section.group is None else f"{section.group}/{section.label}"
    return [f"{stem}-{number:03}.jpg" for number in range(1, sheets_for(len(section.shots)) + 1)]


def _how(options: CountOptions) -> list[str]:
    """Return how the cells were put together, in words."""
    parts = [
        _("cells cut by a border are left out")
        if options.exclude_edge
        else _("cells cut by a border are counted"),
        _("fields with quality problems are left out")
        if options.skip_bad
        else _("fields with quality problems are counted"),
        _("cells in overlapping fields are counted once")
        if options.dedupe
        else _("cells in overlapping fields are not looked for"),
    ]
    if options.group_by:
        parts.append(_("grouped by {rule}", rule=options.group_by))
    if options.target:
        parts.append(
            plural_of("target {n} classified cell", "target {n} classified cells", options.target)
        )
    text = "; ".join(parts)
    return [f"{text[0].upper()}{text[1:]}."]
