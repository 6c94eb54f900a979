"""The report of slides: as that of a folder, with maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from wbcdet.batch.slide_count import SlideCount, counting_cells
from wbcdet.batch.slides import SlidePlan
from wbcdet.differential.differential import ALL
from wbcdet.differential.grouping import group_of
from wbcdet.io.slide_part import slide_of
from wbcdet.io.source import below
from wbcdet.records import ARTEFACT, FieldResult
from wbcdet.report.counts import CountOptions, ReportCounts
from wbcdet.report.duplicates import Overlaps
from wbcdet.report.header import roots_of
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.layout import MAPS
from wbcdet.report.seams import find_shared
from wbcdet.report.slide_map import OVERVIEW, SlideMap, draw_map, overview, to_geojson
from wbcdet.report.write import ReportAdditions, finish
from wbcdet.results.writer import picture_name, write_picture
from wbcdet.utils.files import atomic_write
from wbcdet.utils.safe_files import own_folder
from wbcdet.utils.text import plural


def finish_slides(
    job: Job, slides: SlideCount, journal: Journal, options: CountOptions
) -> ReportCounts:
    """Write the files of a report of slides; see ``report.write.finish``."""
    names = slides.counted()
    entries = [JournalEntry.from_record(journal.read(name)) for name in names]
    # A part that is left out counts none of the cells that it shares: its neighbours do.
    results = [
        replace(entry.result, cells=counting_cells(entry.result, entry.problems, options))
        for entry in entries
        if not (options.skip_bad and entry.problems)
    ]
    shared = find_shared(results)
    roots = roots_of(journal)

    def group(name: str) -> str:
        return ALL if options.group_by is None else group_of(below(name, roots), options.group_by)

    def overlaps(wanted: str) -> Overlaps:
        duplicates = {
            key: kept for key, kept in shared.duplicate_of.items() if group(key[0]) == wanted
        }
        return Overlaps(duplicates, [pair for pair in shared.pairs if group(pair[1]) == wanted])

    maps = [
        _write_map(
            job, plan, [result for result in results if slide_of(result.file) == slide], shared
        )
        for slide, plan in slides.plans.items()
    ]
    how = [
        f"{slide_map.title}: {slide_map.caption} {'; '.join(plan.remarks)}".strip()
        for slide_map, plan in zip(maps, slides.plans.values(), strict=True)
    ]
    extra = ReportAdditions(remarks=how, maps=maps)
    return finish(job, names, journal, options, extra, overlaps)


def _write_map(
    job: Job, plan: SlidePlan, results: Sequence[FieldResult], shared: Overlaps
) -> SlideMap:
    """Write the map of a slide, and what QuPath reads.

    Raises:
        OutputError: a user's file is in the place of one of them.
        OSError: they cannot be written.
    """
    cells = [
        (result.file, cell, result.region.on_slide(cell.box))
        for result in results
        if result.region is not None
        for cell in result.cells
        if (result.file, cell.id) not in shared.duplicate_of and cell.reason != ARTEFACT
    ]
    read = [result for result in results if result.failure is None]
    area = sum(plan.areas[result.file] for result in read)
    cores = [
        (plan.cores[result.file], bool(result.region and result.region.edge)) for result in read
    ]
    slide = slide_of(plan.parts[0].name)
    stem = picture_name(slide).removesuffix(".jpg")
    own_folder(job.out, MAPS).mkdir(exist_ok=True)
    jpeg = draw_map(plan.map, plan.zone, cores, cells, plan.size)
    write_picture(job.out, f"{MAPS}/{stem}.jpg", jpeg)
    from_afar = overview(plan.map, plan.size)
    write_picture(job.out, f"{MAPS}/{stem}{OVERVIEW}", from_afar)
    zone = None if plan.drawn else plan.zone
    document = to_geojson(plan.map, zone, cells, plan.um_per_px)
    atomic_write(job.out / MAPS / f"{stem}.geojson", document)
    number = plural(len(cells), "white cell")
    drawn = "drawn zone" if plan.drawn else "zone where red cells lie side by side"
    return SlideMap(
        slide,
        jpeg,
        f"{number} on {area:.2f} mm² in {plural(len(read), 'part')} (grey) of the {drawn} (green) "
        f"at {plan.um_per_px:g} µm per pixel; the arrow points to the tail.",
    )
