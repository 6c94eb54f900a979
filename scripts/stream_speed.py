"""Measure speed, lag and memory of ``wbcdet stream`` on a live camera that never waits.

The camera is a smear of the generator that is panned over in real time, then its mirror images,
so that there is new ground again and again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import stream_scenes as scenes
import typer

from wbcdet.inference.analyzer import Analyzer
from wbcdet.report.job import Job, opened
from wbcdet.settings import Settings
from wbcdet.stream.cell_counter import CellCounter, FrameResult
from wbcdet.stream.display.base import Status
from wbcdet.stream.event_log import EventLog
from wbcdet.stream.resume import begin
from wbcdet.stream.runner import Options, Runner
from wbcdet.stream.sources.base import Frame
from wbcdet.stream.store import StreamStore
from wbcdet.utils.parallel import cores


class Camera:
    """Gives frames at an even rate, whether they are taken or not."""

    name, live = "camera of the generator", True

    def __init__(self, size: tuple[int, int], rate: float, seconds: float) -> None:
        cell_px = 70.0 * size[0] / 640
        scene = scenes.synthetic(31, cell_px, 300)
        self._size, self._rate, self._seconds = size, rate, seconds
        self._stops = scenes.pan(scene, size, 31, fastest=0.2)
        self._scenes = [scene.pixels, *(cv2.flip(scene.pixels, how) for how in (0, 1, -1))]

    def frames(self) -> Iterator[Frame | None]:
        start = time.monotonic()
        number = 0
        while (now := time.monotonic() - start) < self._seconds:
            if now < number / self._rate:
                time.sleep(0.001)
                continue
            number = int(now * self._rate)
            turn, at = divmod(number, len(self._stops))
            stop = self._stops[at]
            x, y = round(stop.x), round(stop.y)
            pixels = self._scenes[turn % 4][y : y + self._size[1], x : x + self._size[0]]
            yield Frame(np.ascontiguousarray(pixels), number, now)
            number += 1

    def close(self) -> None:
        self._seconds = 0.0


class Printer:
    """Prints a line now and then."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._start = every_s, time.monotonic()
        self._next, self._frames, self._before = every_s, 0, 0
        self.worst_lag = 0.0

    def show(self, result: FrameResult | None, status: Status) -> None:
        self._frames += result is not None
        if result is not None:
            self.worst_lag = max(self.worst_lag, time.monotonic() - result.frame.arrived)
        now = time.monotonic() - self._start
        if now >= self._next:
            found = status.differential
            cells = found.classified + sum(found.unclassified.values())
            print(
                f"{now:5.0f} s: {(self._frames - self._before) / self._every_s:5.1f} frames/s, "
                f"lag {1000 * status.lag_s:4.0f} ms (worst {1000 * self.worst_lag:.0f}), "
                f"processing {1000 * status.processing_s:4.0f} ms, {cells} cells, "
                f"memory {memory_mb():.0f} MB",
                flush=True,
            )
            self._next += self._every_s
            self._before = self._frames

    def close(self) -> None:
        pass


def memory_mb() -> float:
    """Return what the process holds now (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def main(
    width: Annotated[int, typer.Option(help="Pixels of a frame.")] = 640,
    height: Annotated[int, typer.Option(help="Pixels of a frame.")] = 480,
    rate: Annotated[float, typer.Option(help="Frames that the camera gives a second.")] = 30.0,
    seconds: Annotated[float, typer.Option(help="How long it is watched.")] = 60.0,
    every: Annotated[float, typer.Option(help="Seconds between two lines.")] = 20.0,
) -> None:
    """Watch the camera, and print how it goes."""
    analyzer = Analyzer(Settings(fields_per_batch=1), threads=cores())
    camera = Camera((width, height), rate, seconds)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        with opened(Job((), out, command="stream")) as journal:
            begin(out, journal, analyzer.info(), restart=False)
            store = StreamStore(out, journal)
            session = CellCounter(analyzer, store, live=True)
            runner = Runner(camera, session, store, Options(), EventLog(out, None))
            runner.run([Printer(every)])
    print(dict(session.frames))


if __name__ == "__main__":
    typer.run(main)
