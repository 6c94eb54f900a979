"""``wbcdet count``: parse, count, write, print."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from wbcdet.cli.options import (
    DEFAULTS,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    OTHER_OUT,
    FieldSettings,
    Json,
    Language,
    NoAnnotate,
    Out,
    Quiet,
    Ranges,
    Restart,
    Weights,
    load_analyzer,
    search_fields,
    stop,
    writing,
)
from wbcdet.cli.sheet_options import Ids, Order, Patient, Pdf, Slide, check_browser, identifiers
from wbcdet.records import NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wbcdet.batch.counted_field import Engine
    from wbcdet.batch.slide_count import SlideCount
    from wbcdet.batch.slides import SlideOptions
    from wbcdet.io.discover import SearchResult
    from wbcdet.io.source import Source
    from wbcdet.report.counts import CountOptions, ReportCounts
    from wbcdet.report.job import Job
    from wbcdet.settings import Settings

EPILOG = (
    "Interrupted, by Ctrl-C, a crash or a full disk? Give the same command again: it goes on where "
    f"it was. Exit code: 0 all fields read, 1 some not read, 2 nothing counted. {NOTICE}"
)


def count(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="The fields: folders (with their subfolders), pictures, patterns such as "
            '"day1/*.jpg", http(s) addresses.',
            show_default=False,
        ),
    ],
    out: Out = Path("wbcdet-report"),
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="folder|PATTERN",
            help="One differential for each folder, or for each text that the part in parentheses "
            'of a pattern finds in the names, as in "patient([0-9]+)".',
        ),
    ] = None,
    target: Annotated[
        int | None,
        typer.Option(
            metavar="100|200|400",
            help="Warn where fewer cells were classified; a scanned slide is counted up to there.",
        ),
    ] = None,
    exclude_edge: Annotated[
        bool, typer.Option("--exclude-edge", help="Leave out cells cut by the border of a field.")
    ] = False,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="Leave out fields of doubtful quality: focus, exposure, stain, empty, damaged.",
        ),
    ] = False,
    dedupe: Annotated[
        bool,
        typer.Option("--dedupe", help="Find overlapping fields; count the cells they share once."),
    ] = False,
    ranges: Ranges = None,
    patient: Patient = "",
    order: Order = "",
    slide: Slide = "",
    ids: Ids = None,
    pdf: Pdf = False,
    zone: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Slides: count in this zone, GeoJSON polygons in pixels of the slide as QuPath "
            "writes them. Default: where red cells lie side by side.",
            show_default=False,
        ),
    ] = None,
    track: Annotated[
        str,
        typer.Option(
            metavar="all|battlement",
            help="Slides: count all of the zone, or only along a battlement across the smear.",
        ),
    ] = "all",
    edges: Annotated[
        bool,
        typer.Option("--edges", help="Slides: count the edge and tail of the smear too, apart."),
    ] = False,
    um_per_px: Annotated[
        float | None,
        typer.Option(
            metavar="UM",
            help="Slides: µm to one pixel of the finest level. Default: what the file says.",
            show_default=False,
        ),
    ] = None,
    restart: Restart = False,
    no_annotate: NoAnnotate = False,
    language: Language = None,
    settings: FieldSettings = DEFAULTS,
    weights: Weights = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray|ray://HOST:PORT",
            help="Where the fields are counted: on this computer, or on a Ray cluster (the one it "
            "belongs to, or that of an address). The report is the same.",
        ),
    ] = "local",
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Count the white cells of your slides: a differential to sign.

    Writes OUT/report.html (prints on one A4 page a slide), differential.csv, cells.csv,
    fields.csv, the three as report.xlsx, results.json, OUT/annotated/ and OUT/cells/ (all cells
    on contact sheets).
    OUT/journal/ keeps what is done, field by field.
    """
    # Every field by itself in the classifier, so that its result cannot depend on which fields
    # happened to come before it in an interrupted run.
    settings = replace(settings, fields_per_batch=1)
    if engine not in ("local", "ray") and not engine.startswith("ray://"):
        stop(f"--engine {engine}: give local, ray or ray://HOST:PORT")
    options = _options(group_by, target, exclude_edge, skip_bad, dedupe, ranges)
    if ids is not None and group_by is None:
        stop("--ids names several slides: say with --group-by which field is of which")
    from wbcdet.differential.differential import ALL

    called = identifiers(ALL, patient, order, slide, ids, several=group_by is not None)
    options = replace(options, identifiers=called)
    if pdf:
        check_browser()

    from wbcdet.batch.slides import SlideOptions
    from wbcdet.report.job import Job
    from wbcdet.results.output_folder import check_output

    if track not in ("all", "battlement"):
        stop(f"--track must be all or battlement, not {track}")
    if um_per_px is not None and not 0.005 < um_per_px < 100:
        stop(f"--um-per-px must be the size of a pixel in µm, such as 0.25, not {um_per_px:g}")
    asked = SlideOptions(um_per_px, zone, track, edges, target, skip_bad, exclude_edge)
    try:
        writing(out, lambda: check_output(out, "count"))
        searched, slides = _search(sources, out, asked, quiet=quiet)
        if slides is not None:
            options = _slide_options(options, slides, asked)
            fields, no_annotate, dedupe = slides.sources, True, False
        else:
            fields = searched.fields
        job = Job(
            tuple(searched.roots),
            out,
            annotate=not no_annotate,
            dedupe=dedupe,
            restart=restart,
            pdf=pdf,
        )
        with _opened_engine(engine, settings, weights) as worker:
            done = _run(job, options, fields, worker, slides, quiet=quiet)
    except KeyboardInterrupt:
        stop("stopped before anything was counted", EXIT_INTERRUPTED)
    _report(done, quiet=quiet, json=json)


@contextmanager
def _opened_engine(name: str, settings: Settings, weights: Path | None) -> Iterator[Engine]:
    """Yield what counts, until it is not needed any more."""
    if name == "local":
        from wbcdet.batch.counted_field import LocalEngine

        analyzer = load_analyzer(settings, weights=weights)
        yield LocalEngine(analyzer)
        return
    from wbcdet.batch.ray_engine import RayEngine

    cluster = RayEngine(settings, weights, name.partition("://")[2] or None)
    try:
        yield cluster
    finally:
        cluster.close()


@dataclass(frozen=True, slots=True)
class _Done:
    job: Job
    counts: ReportCounts
    failures: int


def _options(
    group_by: str | None,
    target: int | None,
    exclude_edge: bool,
    skip_bad: bool,
    dedupe: bool,
    ranges: Path | None,
) -> CountOptions:
    from wbcdet.differential.csv_table import TableError
    from wbcdet.differential.differential import TARGETS
    from wbcdet.differential.grouping import GroupingError, check_grouping
    from wbcdet.differential.reference_ranges import read_ranges
    from wbcdet.report.counts import CountOptions

    if target is not None and target not in TARGETS:
        stop(f"--target must be one of {', '.join(map(str, TARGETS))}, not {target}")
    try:
        if group_by is not None:
            check_grouping(group_by)
        return CountOptions(group_by, exclude_edge, skip_bad, dedupe, target, read_ranges(ranges))
    except (GroupingError, TableError) as error:
        stop(str(error))


def _search(
    sources: list[str], out: Path, asked: SlideOptions, *, quiet: bool
) -> tuple[SearchResult, SlideCount | None]:
    """Return what the user named; the parts of it where it is slides."""
    from wbcdet.batch.slide_count import MixedError, SlideCount, slides_in

    wanted = asked.um_per_px is not None or asked.zone is not None
    searched = search_fields(sources, out, quiet=quiet, may_be_slides=True)
    try:
        slides = slides_in(searched, wanted=wanted)
    except MixedError as error:
        stop(str(error))
    if not slides:
        if asked.zone or asked.edges or asked.um_per_px or asked.track != "all":
            from wbcdet.io.slides.base import MISSING
            from wbcdet.io.slides.open import has_extra

            stop("--zone, --track, --edges and --um-per-px are of slides, and none was found"
                 + ("" if has_extra() else f"; {MISSING}"))  # fmt: skip
        if problem := searched.problem():
            stop(problem)
        return searched, None
    from wbcdet.io.errors import FieldError

    try:
        count = SlideCount(slides, asked)
    except FieldError as error:
        stop(str(error))
    if not count.plans:
        first = count.sources[0]
        stop(f"{first.name}: {first.problem}")
    for plan in count.plans.values() if not quiet else []:
        for line in plan.said():
            print(f"wbcdet: {plan.source.name}: {line}", file=sys.stderr)
    return searched, count


def _slide_options(options: CountOptions, slides: SlideCount, asked: SlideOptions) -> CountOptions:
    """Each slide has a differential of its own, and so have its edge and tail."""
    from wbcdet.io.slide_part import BY_SLIDE

    if asked.edges and options.group_by is not None:
        stop("--edges gives the edge of each slide a differential of its own; leave --group-by out")
    several = len(slides.plans) > 1 or asked.edges
    by = options.group_by or (BY_SLIDE if several else None)
    return replace(options, group_by=by, dedupe=True)


def _run(
    job: Job,
    options: CountOptions,
    sources: list[Source],
    engine: Engine,
    slides: SlideCount | None,
    *,
    quiet: bool,
) -> _Done:
    from wbcdet.batch.count import count as count_fields
    from wbcdet.batch.count import prepare
    from wbcdet.batch.slide_count import SlideGoneError
    from wbcdet.batch.slide_report import finish_slides
    from wbcdet.report.header import ResumeError
    from wbcdet.report.job import opened
    from wbcdet.report.journal import JournalError
    from wbcdet.report.pdf import PdfError
    from wbcdet.report.write import finish
    from wbcdet.results.output_folder import OutputError
    from wbcdet.utils.lock import LockedError
    from wbcdet.utils.progress import finishing

    kept = ""
    try:
        with opened(job) as journal:
            try:
                sources, plan = prepare(job, sources, journal, engine.info())
                for note in plan.notes if not quiet else []:
                    print(f"wbcdet: {note}", file=sys.stderr)
                if slides is not None:
                    slides.begin(journal, sources)
                count_fields(job, sources, plan, journal, engine, quiet=quiet, slides=slides)
                with finishing(quiet):
                    if slides is None:
                        names = [source.name for source in sources]
                        counts = finish(job, names, journal, options)
                    else:
                        counts = finish_slides(job, slides, journal, options)
            finally:
                kept = f"{len(journal)} of {len(sources)} fields are kept in the journal"
    except KeyboardInterrupt:
        stop(f"stopped; {kept}; the same command goes on from there", EXIT_INTERRUPTED)
    except (LockedError, OutputError) as error:
        stop(str(error))
    except PdfError as error:
        stop(f"the report is in {job.out}, without report.pdf: {error}", EXIT_SOME_FAILED)
    except SlideGoneError as error:
        stop(f"{error}; {kept}; when it is back, the same command goes on")
    except ResumeError as error:
        stop(f"{job.out}: {error}")
    except JournalError as error:
        stop(f"{error}; choose another --out, or start over with --restart")
    except OSError as error:
        why = f"cannot write to {job.out}: {error.strerror or error}"
        remedy = f"{kept}; when that is mended, the same command goes on" if kept else OTHER_OUT
        stop(f"{why}; {remedy}")
    return _Done(job, counts, sum(len(notes.failures) for notes in counts.notes.values()))


def _report(done: _Done, *, quiet: bool, json: bool) -> NoReturn:
    """Print what was asked for and end with the run's exit code."""
    out = done.job.out
    try:
        if json:
            with (out / "results.json").open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        elif not quiet:
            from wbcdet.report.terminal import print_count

            print_count(done.counts, out, annotated=done.job.annotate, pdf=done.job.pdf)
        sys.stdout.flush()
    except BrokenPipeError:
        from wbcdet.cli.options import close_pipe

        close_pipe()
    if quiet or json:
        from wbcdet.report.terminal import unknown_slides

        for line in unknown_slides(done.counts):
            print(f"wbcdet: {line}", file=sys.stderr)
    if done.failures and (quiet or json):
        print(f"wbcdet: {done.failures} not read, see {out / 'fields.csv'}", file=sys.stderr)
    raise typer.Exit(EXIT_SOME_FAILED if done.failures else 0)
