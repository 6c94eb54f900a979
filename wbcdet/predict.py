"""One run over many fields: analyse, draw, write. Shared by ``predict`` and ``demo``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console

from wbcdet.fields import Source
from wbcdet.records import FieldResult
from wbcdet.report import Report

if TYPE_CHECKING:
    from wbcdet.analyzer import Analyzer


class Tick(Protocol):
    """Called once after every field."""

    def __call__(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Run:
    """What a run did: its records, its results document, and whether it was stopped early."""

    results: list[FieldResult]
    document: dict[str, Any]
    interrupted: bool

    @property
    def failures(self) -> int:
        """Number of fields that could not be read."""
        return sum(result.failure is not None for result in self.results)


def run(
    sources: Sequence[Source], report: Report, analyzer: Analyzer, *, quiet: bool = False
) -> Run:
    """Analyse all sources into a report; Ctrl-C ends early with what is done written.

    Raises:
        OSError: the report cannot be written.
    """
    interrupted = False
    try:
        with _progress(len(sources), quiet) as tick:
            for field, result in analyzer.analyze_fields(sources):
                report.add(result, None if field is None else field.pixels)
                tick()
    except KeyboardInterrupt:
        interrupted = True
    document = report.write(analyzer.info())
    return Run(report.results, document, interrupted)


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Tick]:
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    bar = Progress(
        "Analysing", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)
