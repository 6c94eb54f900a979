"""Read frames in time: of a live source only the newest, opened again when it is lost."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from wbcdet.stream.sources.base import Damaged, Frame, FrameSource, Item, Note, SourceError

#: Seconds between two tries to open a lost source: doubled from the first to the last.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
_DAMAGED = "a picture came damaged and is not looked at"
#: Longest wait without handing anything on, so that a window or Ctrl-C is not kept waiting.
_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened to the source.

    Attributes:
        kind: ``lost``: no signal, being opened again; ``back``: it gives frames again; ``failed``:
            it was given up, or could never be opened; ``unreadable``: a part of it cannot be read;
            ``damaged``: pictures of a live source came that cannot be decoded; ``note``: something
            to know that is no failure.
        text: one line.
        seconds: for how long there was no signal, where that is known.
        pictures: of ``damaged``, how many since the last notice.
    """

    kind: Literal["lost", "back", "failed", "unreadable", "damaged", "note"]
    text: str
    seconds: float = 0.0
    pictures: int = 0


def watch(
    source: FrameSource, reconnect_for: float, *, every: int = 1
) -> Generator[Frame | Notice | None, None, None]:
    """Yield the frames of a source and what happens to it; None where there is nothing new.

    Args:
        source: where frames come from.
        reconnect_for: seconds for which a lost live source is tried again.
        every: of sources that are not live, every n-th frame is given.
    """
    if source.live:
        with closing(_LatestFrame(source, reconnect_for)) as newest:
            yield from newest.items()
        return
    try:
        for item in _frames(source):
            if isinstance(item, str):
                yield Notice("unreadable", item)
            elif isinstance(item, Note):
                yield Notice("note", item.text)
            elif isinstance(item, Damaged):
                yield Notice("damaged", _DAMAGED, pictures=1)
            elif item is None or item.index % every == 0:
                yield item
    except SourceError as error:
        yield Notice("failed", str(error))
    finally:
        source.close()


def check_source(source: FrameSource) -> None:
    """See that a source gives frames; it can be watched afterwards.

    Raises:
        SourceError: it gives none.
    """
    with closing(_frames(source)) as items:
        if not any(isinstance(item, Frame) for item in items):
            raise SourceError(f"{source.name}: gives no frame")


def _frames(source: FrameSource) -> Generator[Item, None, None]:
    """Yield the items of a source. Drivers and third parties may raise anything: it becomes one
    line."""
    try:
        yield from source.frames()
    except SourceError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"{source.name}: {text}") from error


class _LatestFrame:
    """A thread that reads a live source as fast as it comes and keeps the newest frame only."""

    def __init__(self, source: FrameSource, reconnect_for: float) -> None:
        self._source = source
        self._reconnect_for = reconnect_for
        self._ready = threading.Condition()
        self._frame: Frame | None = None
        self._notices: deque[Notice] = deque()
        self._damaged = 0
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="wbcdet-source", daemon=True)
        self._thread.start()

    def items(self) -> Iterator[Frame | Notice | None]:
        while True:
            with self._ready:
                self._ready.wait_for(
                    lambda: self._frame or self._notices or self._damaged or self._ended,
                    timeout=_TICK_S,
                )
                item: Frame | Notice | None = None
                if self._notices:
                    item = self._notices.popleft()
                elif self._damaged:
                    # One notice for all that came while the last frame was worked off.
                    item = Notice("damaged", _DAMAGED, pictures=self._damaged)
                    self._damaged = 0
                elif self._frame is not None:
                    item, self._frame = self._frame, None
                elif self._ended:
                    return
            yield item

    def close(self) -> None:
        self._stop.set()
        self._source.close()
        # A driver that hangs must not keep the report from being written.
        self._thread.join(timeout=2.0)

    def _read(self) -> None:
        number = base = 0  # numbers go on when the source is opened again
        seconds = 0.0
        started: float | None = None
        lost_at: float | None = None
        pause = _FIRST_PAUSE_S
        noted: set[str] = set()
        while not self._stop.is_set():
            try:
                for frame in _frames(self._source):
                    if self._stop.is_set():
                        return
                    if isinstance(frame, str):
                        self._tell(Notice("unreadable", frame))
                        continue
                    if isinstance(frame, Note):
                        if frame.text not in noted:  # not again when it is opened again
                            noted.add(frame.text)
                            self._tell(Notice("note", frame.text))
                        continue
                    if isinstance(frame, Damaged):
                        with self._ready:
                            self._damaged += 1
                            self._ready.notify()
                        continue
                    if frame is None:
                        continue
                    if started is None:
                        started = frame.arrived - frame.seconds
                    if lost_at is not None:
                        away = time.monotonic() - lost_at
                        self._tell(Notice("back", f"signal is back after {away:.1f} s", away))
                        lost_at, pause = None, _FIRST_PAUSE_S
                        base, seconds = number + 1, frame.arrived - started - frame.seconds
                    number = base + frame.index
                    with self._ready:
                        self._frame = Frame(
                            frame.pixels, number, seconds + frame.seconds, frame.arrived
                        )
                        self._ready.notify()
                break  # it ended by itself
            except SourceError as error:
                now = time.monotonic()
                if started is None:
                    self._tell(Notice("failed", str(error)))
                    break
                if lost_at is None:
                    lost_at = now
                    self._tell(Notice("lost", f"signal lost: {error}"))
                if now - lost_at + pause > self._reconnect_for:
                    away = now - lost_at
                    text = f"{error}; given up after {away:.0f} s without a signal"
                    self._tell(Notice("failed", text, away))
                    break
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
        with self._ready:
            self._ended = True
            self._ready.notify()

    def _tell(self, notice: Notice) -> None:
        with self._ready:
            self._notices.append(notice)
            self._ready.notify()
