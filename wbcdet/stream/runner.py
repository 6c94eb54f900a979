"""Run a stream: count its frames, carry out the user's commands, show and write the results."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import FrameType

from wbcdet.differential.differential import Differential, differential_of
from wbcdet.differential.reference_ranges import ReferenceRange
from wbcdet.inference.run_info import StreamInfo
from wbcdet.results.named_apart import with_parts
from wbcdet.stream.cell_counter import BLURRED, CellCounter, FrameResult
from wbcdet.stream.display.base import Command, Display, Overview, RecentCell, Relabel, Status
from wbcdet.stream.event_log import EventLog
from wbcdet.stream.report import unusable
from wbcdet.stream.scales import of_two_scales
from wbcdet.stream.slide_map import Position
from wbcdet.stream.sources.base import Frame, FrameSource
from wbcdet.stream.sources.latest_frame import Notice, watch
from wbcdet.stream.store import StreamStore
from wbcdet.utils.text import plural
from wbcdet.utils.words import in_english

#: Frames that speed and lag are averaged over.
_RECENT = 30
#: Failures that are named at the end; all are in the log.
_NAMED = 3
#: Seconds between two comparisons of the slide with the training.
_COMPARE_S = 2.0
#: The same that the report names.
_KEPT = 20
#: Cells that the page shows as pictures, and marks on its map at most.
_SHOWN, _MARKED = 24, 2000
DAMAGED = "damaged"
_BACKDROP = (
    "something stands still in the pictures while the slide moves (a border, a scale, a clock, "
    "dirt): places are found without it, cells below it may be missed; switch it off or clean it"
)
_DOUBTFUL = (
    "seems to show the place of another picture, but differs from it, and was not looked at; "
    "wbcdet count looks at every picture of a folder"
)
_SOFT = (
    "is much softer than the others, and was not looked at; wbcdet count looks at every picture of "
    "a folder"
)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a stream's run.

    Attributes:
        every: of sources that are not live, every n-th frame is looked at.
        target: number of classified cells asked for on a slide.
        stop_at_target: end there; else a beep says it.
        reconnect_for: seconds for which a lost live source is tried again.
        ranges: reference ranges by label.
        taught: types that the classifier was taught beside the four.
    """

    every: int = 1
    target: int | None = None
    stop_at_target: bool = False
    reconnect_for: float = 60.0
    ranges: dict[str, ReferenceRange] = field(default_factory=dict)
    taught: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run: ``failure`` says what went wrong with the source, if anything."""

    failure: str | None
    frames: int


class Runner:
    """Watches one source to its end, or to the user's.

    Args:
        source: where frames come from.
        session: counts their cells.
        store: what the session writes to.
        options: how.
        events: the log of events.
    """

    def __init__(
        self,
        source: FrameSource,
        session: CellCounter,
        store: StreamStore,
        options: Options,
        events: EventLog,
    ) -> None:
        self._source = source
        self._session = session
        self._store = store
        self._options = options
        self._displays: Sequence[Display] = ()
        self._events = events
        self._commands: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._paused = self._stopping = self._lost = False
        self._reached: set[int] = set()
        self._times: deque[tuple[float, float, float]] = deque(maxlen=_RECENT)
        self._before = StreamInfo(**store.run)
        self._lost_times, self._lost_s = 0, 0.0
        self._dropped, self._damaged, self._index = 0, 0, -1
        self._began = 0  # frames before the slide
        self._backdrop = False
        self._warned: set[int] = set()
        self._failures: list[str] = []
        self._size: tuple[int, int] | None = None
        self._compared = 0.0
        self._unlike: set[int] = set()
        self._scales: set[int] = set()
        self._two_scales: str | None = None
        self.status = Status(
            session.slide.number, self._count(), taught=options.taught, overview=self._overview
        )

    def ask(self, command: Command) -> None:
        """Do something before the next frame; from any thread."""
        self._commands.put(command)

    def run(self, displays: Sequence[Display] = ()) -> Outcome:
        """Watch until the source ends, the target is reached or somebody stops it.

        Args:
            displays: what shows it.

        Raises:
            OSError: the report folder cannot be written any more.
        """
        self._displays = displays
        items = watch(self._source, self._options.reconnect_for, every=self._options.every)
        with ExitStack() as ends:
            for display in displays:
                ends.callback(display.close)
            ends.callback(lambda: self._write_run(at_once=True))
            ends.callback(items.close)  # ends the thread that reads the source
            with interrupts(lambda: self.ask("stop")):
                for item in items:
                    slide = self._session.slide
                    self._run_commands()
                    moved_on = self._source.live and self._session.slide is not slide
                    if moved_on and isinstance(item, Frame):  # it may still be of the old one
                        self._index, item = item.index, None
                    while self._paused and not self._stopping and not self._source.live:
                        self._take(None)
                        time.sleep(0.05)
                        self._run_commands()
                    if self._stopping:
                        break
                    self._take(item)
                items.close()
                self._lost = self._paused = self._stopping = False
                self._name_doubtful()
                with interrupts(lambda: self.ask("stop")):  # one more ends the search alone
                    self._settle()
                self._run_commands()
                self._compared = float("-inf")  # what was seen last counts, too
                self._update("waiting")
                self._show(None)
        if self._damaged and not any(self._session.frames.values()):
            self._failures.append("no picture was whole")
        elif self._damaged:
            self._failures.append(
                f"{plural(self._damaged, 'picture')} of {self._source.name} came damaged"
            )
        return Outcome(_failure(self._failures), sum(self._session.frames.values()))

    def _take(self, item: Frame | Notice | None) -> None:
        if isinstance(item, Notice):
            self._notice(item)
        elif item is None or self._paused:
            if item is not None:  # not dropped: it was not wanted
                self._index = item.index
            self._write_run()
            self._show(None)
        else:
            self._frame(item)

    def _frame(self, frame: Frame) -> None:
        started = time.monotonic()
        if self._source.live:
            self._dropped += max(0, frame.index - self._index - 1)
        self._index = frame.index
        self._same_size(frame)
        result = self._session.step(frame)
        if self._session.backdrop.found and not self._backdrop:
            self._backdrop = True
            self._tell("backdrop", _BACKDROP)
        now = time.monotonic()
        self._times.append((now, now - frame.arrived, now - started))
        self._update(result.became)
        if frame.file and result.became == BLURRED and result.position is None:
            # No other picture will show what this one does.
            text = f"{frame.file}: {_SOFT}"
            self._log("unreadable", text)
            self._failures.append(text)
        self._warn()
        self._write_run()
        self._show(result)
        self._at_target()

    def _name_doubtful(self) -> None:
        for file in self._session.doubtful():
            self._log("unreadable", text := f"{file}: {_DOUBTFUL}")
            self._failures.append(text)

    def _same_size(self, frame: Frame) -> None:
        height, width = frame.pixels.shape[:2]
        if self._size not in (None, (width, height)):
            self._tell(
                "size",
                f"frames have {width} x {height} pixels now: a new map "
                "begins, and a cell of the old one that is shown again counts again",
            )
        self._size = width, height

    def _notice(self, notice: Notice) -> None:
        if notice.kind == "damaged":
            self._take_damaged(notice.pictures)
            return
        # Without a single frame the failure is all that there is to say, and is said at the end.
        none_yet = notice.kind == "failed" and not self._session.frames
        self._log(notice.kind, notice.text, silent=none_yet)
        self.status.message = notice.text
        if notice.kind == "lost":
            self._lost_times += 1
            self._session.interrupted()
        if notice.kind in ("failed", "unreadable"):
            self._failures.append(notice.text)
        self._lost_s += notice.seconds
        if notice.kind in ("lost", "back", "failed"):
            self._lost = notice.kind != "back"
        self._show(None)

    def _take_damaged(self, pictures: int) -> None:
        before, self._damaged = self._damaged, self._damaged + pictures
        number = plural(self._damaged, "picture")
        text = f"{number} came damaged and cannot be looked at"
        self.status.state, self.status.message = DAMAGED, text
        if len(str(self._damaged)) > len(str(before)) or not before:  # at 1, 10, 100 and so on
            self._log(DAMAGED, text)
        self._warn()
        self._write_run()
        self._show(None)

    def _warn(self) -> None:
        """Say that many pictures cannot be used: once a slide, and on the page while it is so."""
        totals = {**self._session.frames, "damaged": self._damaged}
        self.status.warning = "; ".join(filter(None, (unusable(totals), self._two_scales)))
        warning = unusable(totals, in_english)
        if warning and self.status.slide not in self._warned:
            self._warned.add(self.status.slide)
            self._log("unusable", warning)

    def _run_commands(self) -> None:
        while True:
            try:
                command = self._commands.get_nowait()
            except queue.Empty:
                return
            if isinstance(command, Relabel):
                self._tell("relabel", self._session.relabel(command.cell, command.label))
            elif command == "stop":
                self._stopping = True
            elif command in ("start", "pause"):
                self._paused = command == "pause"
                self.status.state = "waiting"
                self._tell(command, "paused" if self._paused else "counting")
            elif command == "new-slide" and self._is_unseen():
                # Asked for twice, as from two pages: identifiers go by the number of a slide.
                number = self._session.slide.number
                self._tell(command, f"slide {number} has begun: no picture of it has come yet")
            elif command == "new-slide":
                self._name_doubtful()
                self._settle()
                self._session.new_slide()
                self._began = sum(self._session.frames.values())
                # Until it lies there, the camera shows the old one.
                self._paused |= self._source.live
                self.status.state = "waiting"
                then = "; start when it is in place" if self._paused else ""
                self._tell(command, f"slide {self._session.slide.number} begins{then}")
            else:
                track = self._session.undo()
                label = track.verdict(0).label if track else None
                what = f"cell {track.number} ({label}) taken back" if track else "nothing to undo"
                self._tell(command, what)
            self._update(self.status.state)

    def _is_unseen(self) -> bool:
        """Tell whether no picture of the slide has come."""
        return not (self._store.has_view() or sum(self._session.frames.values()) > self._began)

    def _log(self, kind: str, text: str, *, silent: bool = False) -> None:
        # Frames are numbered over all runs of a report, as in its tables.
        frame = self._session.offset + self._index if self._index >= 0 else -1
        self._events.add(kind, text, frame, silent=silent)

    def _tell(self, kind: str, text: str) -> None:
        self._log(kind, text)
        self.status.message = text

    def _update(self, state: str) -> None:
        status = self.status
        status.slide, status.state = self._session.slide.number, state
        status.differential = self._count()
        self._compare()
        if len(self._times) > 1:
            first, last = self._times[0][0], self._times[-1][0]
            status.fps = (len(self._times) - 1) / max(last - first, 1e-6)
            status.lag_s = sum(lag for _, lag, _ in self._times) / len(self._times)
            status.processing_s = sum(spent for *_, spent in self._times) / len(self._times)

    def _settle(self) -> None:
        """Search for maps that are one, until it is done or somebody has had enough."""
        for done, total in self._session.settle():
            self._update(f"map {done} of {total} compared with the others")
            self._show(None)
            asked = [self._commands.get() for _ in range(self._commands.qsize())]
            for command in asked:
                if command != "stop":
                    self._commands.put(command)
            if "stop" in asked:
                self._stopping = True
                break

    def _show(self, result: FrameResult | None) -> None:
        if self._lost:
            self.status.state = "no signal"
        elif self._paused:
            self.status.state = "paused"
        for display in self._displays:
            display.show(result, self.status)

    def _overview(self) -> Overview:
        slide = self._session.slide
        counted = sorted(
            (track for track in slide.tracks if track.counts), key=lambda track: -track.number
        )
        here = slide.slide_map.here
        island = here.island if here else max(slide.slide_map.islands(), default=0)
        frames = [f for f in slide.slide_map.keyframes.values() if f.position.island == island]
        return Overview(
            tuple(
                RecentCell(
                    track.number,
                    str(track.label),
                    track.reason,
                    self._store.thumbnail(track),
                    track.named is not None,
                )
                for track in counted[:_SHOWN]
            ),
            tuple(_corners(frame.position, frame.size) for frame in frames),
            tuple(
                (
                    (track.box[0] + track.box[2]) / 2,
                    (track.box[1] + track.box[3]) / 2,
                    str(track.label),
                )
                for track in counted
                if track.island == island
            )[:_MARKED],
            _corners(here, self._size) if here and self._size else None,
            len(slide.slide_map.islands()),
        )

    def _count(self) -> Differential:
        return with_parts(
            differential_of(
                (track for track in self._session.slide.tracks if track.counts),
                target=self._options.target,
                ranges=self._options.ranges,
                labels=self._options.taught,
            )
        )

    def _compare(self) -> None:
        """See now and then whether the slide is unlike the training; it is said once a slide."""
        now = time.monotonic()
        if now - self._compared < _COMPARE_S:
            return
        self._compared = now
        self._two_scales = of_two_scales(self._session.slide.tracks)
        scales = of_two_scales(self._session.slide.tracks, in_english)
        if scales and self.status.slide not in self._scales:
            self._scales.add(self.status.slide)
            self._tell("scale", scales)
        ground = self._session.ground()
        self.status.ground = ground.warning()
        warning = ground.warning(in_english)  # events.csv is the same in every language
        if warning and self.status.slide not in self._unlike:
            self._unlike.add(self.status.slide)
            self._log("ground", f"this slide looks {warning}")

    def _at_target(self) -> None:
        target, slide = self._options.target, self.status.slide
        if target is None or slide in self._reached:
            return
        if self.status.differential.classified >= target:
            self._reached.add(slide)
            self._tell("target", f"target reached: {target} classified cells")
            self._events.beep()
            self._stopping = self._options.stop_at_target

    def _write_run(self, *, at_once: bool = False) -> None:
        """Bring counters and changes to the journal; those of earlier runs are added."""
        before = self._before
        earlier = before.get("totals", {})
        mine = {
            **self._session.frames,
            "without_cell": self._session.empty,
            "dropped": self._dropped,
            "damaged": self._damaged,
            "lost_times": self._lost_times,
            "lost_s": round(self._lost_s, 1),
        }
        totals = {
            key: round(mine.get(key, 0) + earlier.get(key, 0), 1) for key in {*mine, *earlier}
        }
        # Of a report that goes on with another film, cells of both are in it.
        sources = list(before.get("sources", [before["source"]] if "source" in before else []))
        if (self._index >= 0 or not sources) and self._source.name not in sources:
            sources.append(self._source.name)
        self._store.run = {
            "source": self._source.name if self._index >= 0 else sources[-1],
            "sources": sources,
            "totals": totals,
            "last_frame": self._session.offset + self._index,
        }
        unread = list(dict.fromkeys([*before.get("unread", []), *self._failures]))[-_KEPT:]
        if unread:
            self._store.run["unread"] = unread
        self._store.flush(at_once=at_once)


def _corners(position: Position, size: tuple[int, int]) -> tuple[float, float, float, float]:
    return position.x, position.y, position.x + size[0], position.y + size[1]


def _failure(texts: Sequence[str]) -> str | None:
    """Return what went wrong, in one line."""
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more if texts else None


@contextmanager
def interrupts(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C (or SIGTERM) ask the run to end; a second one ends it at once.

    A terminal that is closed asks as well, as often as it says so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: FrameType | None) -> None:
        stop()
        signal.signal(number, signal.default_int_handler)

    old = {kind: signal.signal(kind, handle) for kind in (signal.SIGINT, signal.SIGTERM)}
    hangup = getattr(signal, "SIGHUP", None)  # Windows has none
    # Under nohup the run is to outlive its terminal.
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        # Of a closed terminal both the shell and the system tell: the second is no wish to hurry.
        old[hangup] = signal.signal(hangup, lambda *_: stop())
    try:
        yield
    finally:
        for kind, handler in old.items():
            signal.signal(kind, handler)
