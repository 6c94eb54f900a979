"""Run over many fields: analyse, draw, write. Shared by ``predict`` and ``demo``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wbcdet.inference.run_info import RunInfo
from wbcdet.io.source import Source
from wbcdet.records import FieldResult
from wbcdet.results.writer import Report
from wbcdet.utils.progress import progress

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer


@dataclass(frozen=True, slots=True)
class Run:
    """Outcome of a run: its records, what made them, and whether it was stopped early."""

    results: list[FieldResult]
    info: RunInfo
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
        KeyboardInterrupt: stopped before a field was done; the report is left as it was.
        OSError: the report cannot be written.
    """
    interrupted = False
    try:
        with progress("Analysing", len(sources), quiet) as tick:
            for field, result in analyzer.analyze_fields(sources):
                report.add(result, None if field is None else field.pixels)
                del field  # while the next one is waited for, its memory is free
                tick()
    except KeyboardInterrupt:
        if not report.results:
            raise
        interrupted = True
    info = report.write(analyzer.info())
    return Run(report.results, info, interrupted)
