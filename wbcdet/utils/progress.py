"""What a long run shows on the terminal: fields per second, cells so far, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def counting(
    total: int, done: int, cells: int, quiet: bool
) -> Iterator[Callable[[int, float], None]]:
    """A progress bar; yields what to call for every field done, with its number of cells and, of a
    part of a slide, its area in mm².

    Args:
        total: fields in all.
        done: fields that an earlier run has counted; they are not part of the speed.
        cells: cells in those.
        quiet: show nothing. Nothing is shown either where nobody watches (a pipe, a file).
    """
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda cells, mm2: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    bar = Progress(
        "Counting",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.1f} fields/s"),
        TextColumn("{task.fields[cells]} cells{task.fields[area]}"),
        TimeLeft(),
        TextColumn("left"),
        console=console,
    )
    start = time.monotonic()
    with bar:
        task = bar.add_task("", total=total, completed=done, cells=cells, speed=0.0, area="")
        so_far = [done, cells]
        area = 0.0

        def tick(more: int, mm2: float) -> None:
            nonlocal area
            so_far[0] += 1
            so_far[1] += more
            area += mm2
            speed = (so_far[0] - done) / max(time.monotonic() - start, 1e-3)
            said = f" on {area:.1f} mm²" if area else ""
            bar.update(task, advance=1, cells=so_far[1], speed=speed, area=said)

        yield tick


@contextmanager
def finishing(quiet: bool) -> Iterator[None]:
    """Say on the terminal that the report is being written, which takes a while for many cells."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status("Writing the report"):
        yield


@contextmanager
def progress(what: str, total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on the terminal; yields what to call after every piece of work."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
    with bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
