"""Progress bars on the terminal: fields per second, cells so far, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def counting(total: int, done: int, cells: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; yields a function to call with the number of cells of each field done.

    Args:
        total: fields in all.
        done: fields that an earlier run has counted; they are not part of the speed.
        cells: cells in those.
        quiet: show nothing. Nothing is shown either where the output is no terminal.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    bar = Progress(
        "Counting",
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:.1f} fields/s"),
        TextColumn("{task.fields[cells]} cells"),
        TimeLeft(),
        TextColumn("left"),
        console=console,
    )
    start = time.monotonic()
    with bar:
        task = bar.add_task("", total=total, completed=done, cells=cells, speed=0.0)
        so_far = [done, cells]

        def tick(more: int) -> None:
            so_far[0] += 1
            so_far[1] += more
            speed = (so_far[0] - done) / max(time.monotonic() - start, 1e-3)
            bar.update(task, advance=1, cells=so_far[1], speed=speed)

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
    """Show a progress bar on the terminal; yields a function to call after every piece of work."""
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
