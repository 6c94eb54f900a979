"""Protocol of the source that a report is written from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from wbcdet.inference.run_info import RunInfo
from wbcdet.report.journal import Place
from wbcdet.utils.schemas import JsonObject


class ReportSource(Protocol):
    """Source of a report: the journal of a count or a stream, or a review.

    Attributes:
        header: what made the results; None where no run was begun.
        lists: names that a later run needs, by key (``wbcdet.report.layout``).
    """

    header: RunInfo | None
    lists: dict[str, tuple[str, ...]]

    def read(self, file: str) -> JsonObject:
        """Give a field as ``JournalEntry.from_record`` takes it."""
        ...

    def picture(self, place: Place) -> bytes:
        """Give the JPEG file at a place that stands in a field's record."""
        ...

    def note(self, key: str, names: Sequence[str]) -> None:
        """Keep a list of names for a later run."""
        ...
