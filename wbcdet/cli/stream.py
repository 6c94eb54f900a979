"""``wbcdet stream``: parse, watch, write, print."""

from __future__ import annotations

import shutil
import sys
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wbcdet.cli.options import (
    DEFAULTS,
    EXIT_INTERRUPTED,
    EXIT_SOME_FAILED,
    Host,
    Json,
    Language,
    ModelSettings,
    NoAnnotate,
    Out,
    Port,
    Quiet,
    Ranges,
    Restart,
    Weights,
    close_pipe,
    load_analyzer,
    stop,
)
from wbcdet.cli.sheet_options import Ids, Order, Patient, Pdf, Slide, check_browser, identifiers
from wbcdet.records import NOTICE
from wbcdet.utils.progress import progress
from wbcdet.utils.text import plural
from wbcdet.utils.web.bind import HOST, ListenError, listen

if TYPE_CHECKING:
    from wbcdet.differential.reference_ranges import ReferenceRange
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.inference.run_info import StreamInfo
    from wbcdet.report.counts import ReportCounts
    from wbcdet.stream.display.web import Server
    from wbcdet.stream.report import ReportOptions
    from wbcdet.stream.runner import Options, Outcome
    from wbcdet.stream.sources.base import FrameSource
    from wbcdet.stream.store import StreamStore


class Transport(str, Enum):
    """How an RTSP camera sends its pictures; one of ``stream.sources.network.TRANSPORTS``."""

    AUTO = "auto"
    TCP = "tcp"
    UDP = "udp"
    MULTICAST = "multicast"
    HTTP = "http"


EPILOG = (
    "End with Ctrl-C: all files are written. The same command, or one with another source for the "
    "same slide, goes on counting where it was. Exit code: 0 done, 1 the signal was lost for good "
    f"or a part could not be read, 2 nothing could be watched. {NOTICE}"
)


def stream(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="What to watch: a video file; a camera number such as 0; an rtsp:// or http:// "
            "address; a folder that fills with pictures (its subfolders are not looked at); "
            "mm:demo or mm:FILE.cfg for a Micro-Manager camera. Without it, the files are written "
            "again from what was counted into OUT.",
            show_default=False,
        ),
    ] = None,
    out: Out = Path("wbcdet-stream"),
    display: Annotated[
        bool, typer.Option("--display", help="Show the live picture in a window.")
    ] = False,
    serve: Annotated[
        bool,
        typer.Option(
            "--serve", help="Show it, with the count and buttons, on a page in your browser."
        ),
    ] = False,
    host: Host = HOST,
    port: Port = None,
    target: Annotated[
        int | None,
        typer.Option(min=1, help="Beep when so many cells of a slide are classified, as in 100."),
    ] = None,
    stop_at_target: Annotated[
        bool, typer.Option("--stop-at-target", help="End there, do not only beep.")
    ] = False,
    every: Annotated[
        int, typer.Option(min=1, help="Of a video file, look at every n-th frame only.")
    ] = 1,
    reconnect_for: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="For how long a camera that is lost is tried again."
        ),
    ] = 60.0,
    idle_stop: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="End when a watched folder got no new picture for so long. Default: never.",
        ),
    ] = None,
    transport: Annotated[
        Transport,
        typer.Option(help="How an rtsp:// camera sends its pictures. auto tries TCP, then UDP."),
    ] = Transport.AUTO,
    save_video: Annotated[
        bool, typer.Option("--save-video", help="Write the annotated picture to OUT/video.mp4.")
    ] = False,
    ranges: Ranges = None,
    patient: Patient = "",
    order: Order = "",
    slide: Slide = "",
    ids: Ids = None,
    pdf: Pdf = False,
    restart: Restart = False,
    no_annotate: NoAnnotate = False,
    language: Language = None,
    settings: ModelSettings = DEFAULTS,
    weights: Weights = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Watch a microscope camera: each white cell is counted once.

    Move the slide as you like, stop, go back: cells that were seen are recognised by their place.
    Writes OUT/report.html, differential.csv, cells.csv (one row a cell), OUT/crops/, OUT/views/
    (the best view of each cell), OUT/mosaic/ (the scanned area with all cells) and events.csv.
    """
    from wbcdet.stream.report import ReportOptions, slide_name
    from wbcdet.stream.runner import Options
    from wbcdet.utils.parallel import cores

    if pdf:
        check_browser()
    called = identifiers(slide_name(1), patient, order, slide, ids, several=False)
    if stop_at_target and target is None:
        stop("--stop-at-target: say at how many cells, with --target NUMBER")
    options = Options(every, target, stop_at_target, reconnect_for, _ranges(ranges))
    page = _Page(host, port) if serve else None
    try:
        opened = _open(source, idle_stop, transport, every, restart=restart)
        task = _Task(
            opened, out, options, display, page, save_video, restart, quiet,
            ReportOptions(options.ranges, target, not no_annotate, called, pdf),
        )  # fmt: skip
        with ExitStack() as ends:
            # Frames come one by one: all cores work on each.
            analyzer = load_analyzer(settings, weights=weights, threads=cores())
            done = _count(task, analyzer, ends)
            _print_report(done, task, json=json)
            if done.page is not None:
                with suppress(KeyboardInterrupt):  # all is written
                    done.page.show_report(out)
    except KeyboardInterrupt:
        stop("stopped", EXIT_INTERRUPTED)
    raise typer.Exit(EXIT_SOME_FAILED if done.outcome and done.outcome.failure else 0)


@dataclass(frozen=True, slots=True)
class _Page:
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class _Task:
    """Source, options and outputs of a run of the command."""

    source: FrameSource | None
    out: Path
    options: Options
    display: bool
    page: _Page | None
    save_video: bool
    restart: bool
    quiet: bool
    report: ReportOptions

    def say(self, text: str) -> None:
        if not self.quiet:
            print(f"wbcdet: {' '.join(text.split())}", file=sys.stderr)


@dataclass(frozen=True, slots=True)
class _Done:
    counts: ReportCounts
    outcome: Outcome | None
    run: StreamInfo
    page: Server | None


def _ranges(path: Path | None) -> dict[str, ReferenceRange]:
    from wbcdet.differential.csv_table import TableError
    from wbcdet.differential.reference_ranges import read_ranges

    try:
        return dict(read_ranges(path))
    except TableError as error:
        stop(str(error))


def _open(
    source: str | None,
    idle_stop: float | None,
    transport: Transport,
    every: int,
    *,
    restart: bool,
) -> FrameSource | None:
    from wbcdet.stream.sources.base import SourceError
    from wbcdet.stream.sources.latest_frame import check_source
    from wbcdet.stream.sources.open import open_source
    from wbcdet.stream.sources.watched_folder import Folder

    if source is None:
        if restart:
            stop("--restart forgets what was counted: name a SOURCE to count again")
        return None
    try:
        opened = open_source(source, idle_stop=idle_stop, transport=transport.value)
        folder = isinstance(opened, Folder)
        if idle_stop is not None and not folder:
            stop(f"--idle-stop is for a watched folder, which {opened.name} is not")
        if transport is not Transport.AUTO and not source.lower().startswith("rtsp"):
            stop(f"--transport is for an rtsp:// camera, which {opened.name} is not")
        if every > 1 and (folder or opened.live):
            what = "each picture of a folder" if folder else "the newest frame of a camera"
            stop(f"--every is for films; {what} is looked at: leave it out for {opened.name}")
        if restart:
            check_source(opened)  # before anything is forgotten
        return opened
    except SourceError as error:
        stop(str(error))


def _count(task: _Task, analyzer: Analyzer, ends: ExitStack) -> _Done:
    from wbcdet.report.header import ResumeError
    from wbcdet.report.job import Job
    from wbcdet.report.job import opened as journal_opened
    from wbcdet.report.journal import JournalError
    from wbcdet.report.pdf import PdfError
    from wbcdet.results.output_folder import OutputError
    from wbcdet.stream.report import finish
    from wbcdet.stream.resume import begin
    from wbcdet.stream.store import StreamStore
    from wbcdet.utils.lock import LockedError

    out = task.out
    try:
        with journal_opened(Job((), out, restart=task.restart, command="stream")) as journal:
            begin(out, journal, analyzer.info(), restart=task.restart)
            store = StreamStore(out, journal)
            if journal.damaged:
                lines = f"left out of the journal: {plural(len(journal.damaged), 'damaged line')}"
                task.say(f"{lines}: {'; '.join(journal.damaged[:3])}")
            outcome, page = None, _serve(task, ends)
            if task.source is not None:
                outcome = _watch(task, task.source, analyzer, store, page)
                if outcome.failure and not outcome.frames:
                    stop(outcome.failure)
            if not store.views():
                stop(
                    f"{out}: holds no count yet; name a SOURCE to watch"
                    if task.source is None
                    else f"{task.source.name}: ended before a frame was looked at (of a folder, "
                    "pictures in subfolders are not)"
                )
            if outcome is None:
                _settle(analyzer, store, quiet=task.quiet)
            store.flush(at_once=True)  # puts right what a killed run left half-written
            with progress("Writing the report", len(store.views()), task.quiet) as tick:
                counts = finish(out, journal, store, task.report, tick)
                return _Done(counts, outcome, store.run, page)
    except (LockedError, OutputError) as error:
        stop(str(error))
    except PdfError as error:
        stop(f"the report is in {out}, without report.pdf: {error}", EXIT_SOME_FAILED)
    except ResumeError as error:
        stop(f"{out}: {error}")
    except JournalError as error:
        stop(f"{error}; choose another --out, or start over with --restart")
    except OSError as error:
        stop(
            f"cannot write to {out}: {error.strerror or error}; what was counted is kept: when "
            "that is mended, the same command goes on"
        )


def _settle(analyzer: Analyzer, store: StreamStore, *, quiet: bool) -> None:
    """Search for maps that are one, for which a killed run had no time; Ctrl-C ends the search."""
    from wbcdet.stream.cell_counter import CellCounter
    from wbcdet.stream.runner import interrupts

    session = CellCounter(analyzer, store, live=False)
    maps = len(session.slide.slide_map.smaller())
    enough = threading.Event()
    with progress("Comparing maps", maps, quiet) as tick, interrupts(enough.set):
        for _ in session.settle():
            tick()
            if enough.is_set():
                break


def _serve(task: _Task, ends: ExitStack) -> Server | None:
    """Serve the live page, if it is wanted, until all is over."""
    if task.page is None or task.source is None:
        return None
    from wbcdet.stream.display.web import Server

    try:
        listening = listen(task.page.host, task.page.port)
    except ListenError as error:
        stop(str(error))
    server = Server(task.source.name, listening)
    ends.callback(server.stop)
    # Even when quiet, as nobody can guess the token; never an event, which a file keeps.
    print(f"wbcdet: the live page is at {listening.url}", file=sys.stderr)
    return server


def _watch(
    task: _Task,
    source: FrameSource,
    analyzer: Analyzer,
    store: StreamStore,
    page: Server | None,
) -> Outcome:
    from wbcdet.inference.run_info import taught_labels
    from wbcdet.report.html.page import thresholds_text
    from wbcdet.stream.cell_counter import CellCounter
    from wbcdet.stream.display.base import Display
    from wbcdet.stream.display.overlay import Overlay
    from wbcdet.stream.event_log import EventLog
    from wbcdet.stream.runner import Runner

    counted = sum(track.counts for track in store.tracks())
    if counted:
        task.say(f"goes on with the {plural(counted, 'cell')} counted before")
    displays: list[Display] = []
    overlay = Overlay()
    with ExitStack() as stack:
        events = EventLog(task.out, None if task.quiet else task.say)
        stack.callback(events.close)
        session = CellCounter(analyzer, store, live=source.live)
        info = analyzer.info()
        options = replace(task.options, taught=taught_labels(info))
        runner = Runner(source, session, store, options, events)
        runner.status.report = str((task.out / "report.html").resolve())
        runner.status.thresholds = thresholds_text(info)
        if task.display:
            from wbcdet.stream.display.window import Window, WindowError

            try:
                displays.append(Window(source.name, runner.ask, overlay))
            except WindowError as error:
                stop(str(error))
        if page is not None:
            page.begin(runner.ask, overlay)
            displays.append(page)
        # After what may not be had: else a file stays empty, and the cursor hidden.
        if task.save_video:
            from wbcdet.stream.display.video_writer import VideoWriter

            displays.append(VideoWriter(task.out, overlay))
        if not task.quiet and sys.stderr.isatty():
            from wbcdet.stream.display.terminal import StatusLine

            displays.append(StatusLine())
        events.add("begin", f"watching {source.name}; Ctrl-C ends and writes the report", -1)
        return runner.run(displays)


def _print_report(done: _Done, task: _Task, *, json: bool) -> None:
    """Print what was asked for."""
    try:
        if json:
            with (task.out / "results.json").open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)
        elif not task.quiet:
            from wbcdet.stream.display.terminal import print_stream

            print_stream(done.counts, task.out, done.run, pdf=task.report.pdf)
        sys.stdout.flush()
    except BrokenPipeError:
        close_pipe()
    failure = done.outcome and done.outcome.failure
    if failure and (task.quiet or json):
        print(f"wbcdet: {failure}", file=sys.stderr)
