"""Count the cells of a journal: which ones count, in which group, and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wbcdet.differential.differential import ALL, Differential
from wbcdet.differential.grouping import NO_GROUP, group_of
from wbcdet.differential.identifiers import Identifiers
from wbcdet.differential.reference_ranges import ReferenceRange
from wbcdet.differential.slide_summary import SlideSummary
from wbcdet.inference.domain_shift import NOT_COMPARED, GroundComparison, GroundVerdict
from wbcdet.inference.run_info import CountInfo, RangeInfo, taught_labels
from wbcdet.io.slide_part import bytes_of, part_of
from wbcdet.io.source import below
from wbcdet.records import ARTEFACT, Cell
from wbcdet.report.duplicates import CellKey, Overlaps, View, find_duplicates
from wbcdet.report.header import roots_of
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.registration import RegistrationImage
from wbcdet.report.source import ReportSource
from wbcdet.results.named_apart import differentials
from wbcdet.utils.text import composed

#: Reasons why a cell is in no count; the first one that holds is given.
BAD_FIELD, DUPLICATE, EDGE = "bad-field", "duplicate", "edge"


@dataclass(frozen=True, slots=True)
class CountOptions:
    """Options of the counts; changing them does not need the fields again.

    Attributes:
        group_by: ``folder`` or a pattern (``grouping.group_of``); None puts all together.
        exclude_edge: leave out cells cut by the border of their field.
        skip_bad: leave out fields with quality problems.
        dedupe: count a cell once that overlapping fields of a group show.
        target: number of classified cells asked for in each group.
        ranges: reference ranges by label.
        identifiers: what the laboratory calls the slides, by group.
    """

    group_by: str | None = None
    exclude_edge: bool = False
    skip_bad: bool = False
    dedupe: bool = False
    target: int | None = None
    ranges: Mapping[str, ReferenceRange] = field(default_factory=dict)
    identifiers: Mapping[str, Identifiers] = field(default_factory=dict)

    def to_dict(self) -> CountInfo:
        """Return the options as they stand in ``results.json``."""
        info = CountInfo(
            group_by=self.group_by,
            exclude_edge=self.exclude_edge,
            skip_bad=self.skip_bad,
            dedupe=self.dedupe,
            target=self.target,
            ranges={
                label: RangeInfo(low=reference.low, high=reference.high, source=reference.source)
                for label, reference in self.ranges.items()
            },
        )
        if self.identifiers:
            info["identifiers"] = {
                group: identifiers.to_dict() for group, identifiers in self.identifiers.items()
            }
        return info


@dataclass(slots=True)
class GroupNotes:
    """Notes on a group beside its differential.

    Attributes:
        read: fields that were read.
        failures: fields that could not be read, and why.
        empty: fields that were read and in which no cell was found.
        copies: fields whose file holds the same bytes as that of an earlier one, of whatever group,
            and that one; where ``dedupe`` counts their cells once, not within the group.
        problems: fields with quality problems, and which.
        remarks: fields with remarks, and the remarks.
        skipped: number of fields left out for their quality.
        left_out: cells left out, by reason.
        diameters: of the counted white cells on slides of known scale, µm, by slide.
        overlapping: pairs of overlapping fields; None where they were not looked for.
        ground: whether the fields are like what the models were trained on.
    """

    read: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    remarks: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    skipped: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    diameters: dict[str, list[float]] = field(default_factory=dict)
    overlapping: int | None = None
    ground: GroundVerdict = field(default_factory=lambda: GroundVerdict(NOT_COMPARED))


class ReportCounts:
    """The counts of a finished journal. Fields are read from it one by one, never all at once.

    Args:
        names: the fields of the report, in order; all stand in the journal.
        journal: where they stand.
        options: how they are put together.
        overlaps: gives the duplicates of a group where they are known; None looks for them.
        groups: the group of each field where they are known; None asks ``options.group_by``.

    Attributes:
        roots: where the fields are.
        differentials: one a group, in the order in which the groups first appear.
        notes: by group.
        duplicate_of: cells that are counted in another field, and where.

    Raises:
        grouping.GroupingError: ``options.group_by`` is not usable.
    """

    def __init__(
        self,
        names: Sequence[str],
        journal: ReportSource,
        options: CountOptions,
        *,
        overlaps: Callable[[str], Overlaps] | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> None:
        self.names = names
        self.roots = roots_of(journal)
        self.journal = journal
        self.options = options
        self._groups = groups
        self.duplicate_of: dict[CellKey, CellKey] = {}
        self.notes: dict[str, GroupNotes] = {}
        for name in names:
            self.notes.setdefault(self.group(name), GroupNotes())
        named = _under_group_names(options.identifiers, self.notes)
        self.options = options = replace(options, identifiers=named)
        if options.dedupe:
            for group, notes in self.notes.items():
                shared = overlaps(group) if overlaps else find_duplicates(self._views(group))
                self.duplicate_of |= shared.duplicate_of
                notes.overlapping = len(shared.pairs)
        #: Fields among them are parts of slides.
        self.on_slide = any(part_of(name) is not None for name in names)
        self._first: dict[tuple[object, ...], str] = {}
        reference = (journal.header or {}).get("ground")
        comparisons = {group: GroundComparison(reference) for group in self.notes}
        for entry in self.entries():
            self._note(entry)
            if not self.skips(entry):
                comparisons[self.group(entry.result.file)].add(entry.result)
        for group, comparison in comparisons.items():
            self.notes[group].ground = comparison.verdict()
        self.differentials: list[Differential] = differentials(
            (self._counted(entry) for entry in self.entries()),
            by=self.group if options.group_by else None,
            exclude_edge=options.exclude_edge,
            target=options.target,
            ranges=options.ranges,
            labels=taught_labels(journal.header),
        )

    def slides(self) -> list[SlideSummary]:
        """Return what is said of each group beside its cells."""
        return [
            SlideSummary(
                differential,
                self.notes[differential.group].empty,
                self.notes[differential.group].ground,
            )
            for differential in self.differentials
        ]

    def entries(self) -> Iterator[JournalEntry]:
        """Yield every field, in order."""
        for name in self.names:
            yield JournalEntry.from_record(self.journal.read(name))

    def group(self, file: str) -> str:
        """Return the group of a field, told from its name below the folder that was counted."""
        if self.options.group_by is None:
            return ALL
        if self._groups is not None:
            return self._groups[file]
        return group_of(below(file, self.roots), self.options.group_by)

    def skips(self, entry: JournalEntry) -> bool:
        """Say whether the field is left out as a whole."""
        return self.options.skip_bad and bool(entry.problems)

    def left_out(self, entry: JournalEntry, cell: Cell) -> str | None:
        """Tell why a cell is in no count; None where it counts."""
        if self.skips(entry):
            return BAD_FIELD
        if (entry.result.file, cell.id) in self.duplicate_of:
            return DUPLICATE
        return EDGE if self.options.exclude_edge and cell.touches_edge else None

    def ungrouped(self) -> list[str]:
        """Return fields whose name tells no group."""
        if self.options.group_by is None or NO_GROUP not in self.notes:
            return []
        return [name for name in self.names if self.group(name) == NO_GROUP]

    def _counted(self, entry: JournalEntry) -> Any:
        """Return the record with the cells that the differential counts; it leaves out edges
        itself."""
        cells = entry.result.cells
        kept = tuple(cell for cell in cells if self.left_out(entry, cell) in (None, EDGE))
        return entry.result if len(kept) == len(cells) else replace(entry.result, cells=kept)

    def _note(self, entry: JournalEntry) -> None:
        result = entry.result
        notes = self.notes[self.group(result.file)]
        if result.failure is not None:
            notes.failures.append((result.file, result.failure))
            return
        notes.read += 1
        if not result.cells:
            notes.empty.append(result.file)
        if entry.problems:
            notes.problems.append((result.file, entry.problems))
        if result.remarks:
            notes.remarks.append((result.file, result.remarks))
        notes.skipped += self.skips(entry)
        self._note_copy(entry, notes)
        notes.left_out.update(
            reason for cell in result.cells if (reason := self.left_out(entry, cell))
        )
        if result.region is not None:
            notes.diameters.setdefault(result.region.slide, []).extend(
                result.region.diameter_um(cell)
                for cell in result.cells
                if cell.reason != ARTEFACT and self.left_out(entry, cell) is None
            )

    def _note_copy(self, entry: JournalEntry, notes: GroupNotes) -> None:
        """Note a field whose file has the same bytes as that of an earlier field with cells."""
        result = entry.result
        if entry.stamp is None or not result.cells or self.skips(entry):
            return
        first = self._first.setdefault(bytes_of(result.file, entry.stamp["sha256"]), result.file)
        counted_once = all(
            {(first, cell.id), (result.file, cell.id)} & self.duplicate_of.keys()
            for cell in result.cells
        )
        if first != result.file and not counted_once:
            notes.copies.append((result.file, first))

    def _views(self, group: str) -> Iterator[View]:
        first: dict[tuple[object, ...], str] = {}
        for entry in self.entries():
            result = entry.result
            if self.group(result.file) != group or not result.cells or self.skips(entry):
                continue
            picture = self.journal.picture(entry.pictures[-1])
            boxes = [cell.box for cell in result.cells]
            ground = RegistrationImage(picture, result.width, result.height, boxes)
            copy_of = None
            if entry.stamp is not None:
                original = first.setdefault(
                    bytes_of(result.file, entry.stamp["sha256"]), result.file
                )
                if original != result.file and self._cells_of(original) == result.cells:
                    copy_of = original
            yield View(result.file, result.cells, ground, copy_of)

    def _cells_of(self, file: str) -> tuple[Cell, ...]:
        return JournalEntry.from_record(self.journal.read(file)).result.cells


def _under_group_names(
    identifiers: Mapping[str, Identifiers], groups: Collection[str]
) -> dict[str, Identifiers]:
    """Return identifiers by the groups' own names: a Mac writes the accents of a folder as letters
    of their own, and a spreadsheet does not."""
    alike: dict[str, list[str]] = {}
    for group in groups:
        alike.setdefault(composed(group), []).append(group)
    named = {}
    for name, called in identifiers.items():
        found = alike.get(composed(name), [])
        other = name not in groups and len(found) == 1 and found[0] not in identifiers
        named[found[0] if other else name] = called
    return named
