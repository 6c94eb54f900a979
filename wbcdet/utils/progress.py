"""Progress bars on the terminal: what is done, how fast, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Ticker:
    """Moves a progress bar; does nothing where none is shown."""

    def __init__(
        self,
        advance: Callable[[str], None] | None = None,
        show: Callable[[str], None] | None = None,
    ) -> None:
        self._advance = advance
        self._show = show

    def __call__(self, note: str = "") -> None:
        """Count one more piece of work, and show a note behind the numbers."""
        if self._advance is not None:
            self._advance(note)

    def print(self, line: str) -> None:
        """Print a line above the bar, also where no bar is shown."""
        if self._show is not None:
            self._show(line)
        else:
            print(line, file=sys.stderr)


@contextmanager
def progress(what: str, total: int, quiet: bool, done: int = 0) -> Iterator[Ticker]:
    """Show a progress bar on standard error; yields what to call after every piece of work.

    Args:
        what: stands before the bar.
        total: pieces of work in all.
        quiet: show no bar. Nor is one shown where standard error is no terminal.
        done: pieces that an earlier run has done.
    """
    if quiet:  # without rich, whose import takes as long as a field
        yield Ticker()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Ticker(show=console.print)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        what,
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
    )
    with bar:
        task = bar.add_task("", total=total, completed=done, note="")
        yield Ticker(lambda note: bar.update(task, advance=1, note=note), console.print)


@contextmanager
def counting(
    total: int, done: int, cells: int, quiet: bool
) -> Iterator[Callable[[int, float], None]]:
    """Show a progress bar; yields what to call for every field done.

    It takes the number of cells of the field and, of a part of a slide, its area in mm².

    Args:
        total: fields in all.
        done: fields that an earlier run has counted; they are not part of the speed.
        cells: cells in those.
        quiet: as of :func:`progress`.
    """
    start = time.monotonic()
    fields, area = 0, 0.0

    with progress("Counting", total, quiet, done) as tick:

        def count(more: int, mm2: float) -> None:
            nonlocal fields, cells, area
            fields, cells, area = fields + 1, cells + more, area + mm2
            speed = fields / max(time.monotonic() - start, 1e-3)
            tick(f"{speed:.1f} fields/s {cells} cells" + (f" on {area:.1f} mm²" if area else ""))

        yield count


@contextmanager
def finishing(quiet: bool) -> Iterator[None]:
    """Say on the terminal that the report is being written, which takes a while for many cells."""
    if quiet:
        yield
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status("Writing the report"):
        yield
