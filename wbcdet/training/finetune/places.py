"""Tell which reviewed fields show the same place: what is learnt of one is known of the others."""

from __future__ import annotations

from collections.abc import Collection, Hashable

from wbcdet.review.machine_report import MachineReport


class Places:
    """Fields that show the same place, joined pair by pair (union-find)."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def of(self, field: Hashable) -> Hashable:
        """Return what stands for all that was joined to a field; itself where nothing was."""
        while (above := self._above.get(field, field)) != field:
            self._above[field] = self._above.get(above, above)
            field = above
        return field

    def join(self, field: Hashable, other: Hashable) -> None:
        """Say that both show the same place."""
        first, second = self.of(field), self.of(other)
        if first != second:
            self._above[second] = first

    def join_report(self, report: MachineReport, learnt: Collection[int]) -> None:
        """Join the fields of a report that share a cell, whether or not they are learnt from: two
        that overlap with a third one may show the same cell.

        The report of a stream has each cell in one view alone and does not say which views overlap:
        all views of a slide are joined, unless nothing could be held back then.

        Args:
            report: its fields stand here as :func:`field_key` calls them.
            learnt: numbers of those that are learnt from.
        """
        slides = {report.fields[number].group for number in learnt}
        by_slide = "stream" in report.info and len(slides) > 1
        numbers = {field.result.file: field.number for field in report.fields}
        for field in report.fields:
            if by_slide:
                self.join((report.sha256, field.group), field_key(report, field.number))
                continue
            for file in {file for file, _ in field.duplicate_of.values()}:
                if file in numbers:
                    self.join(field_key(report, numbers[file]), field_key(report, field.number))


def field_key(report: MachineReport, number: int) -> tuple[str, int]:
    """Return what tells a field from those of all reports."""
    return report.sha256, number
