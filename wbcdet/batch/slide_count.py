"""Slides among what a user named, and how far each is counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from wbcdet.batch.slide_claims import Claims
from wbcdet.batch.slides import SlideOptions, SlidePlan, plan_slide
from wbcdet.differential.differential import NOT_CLASSIFIED
from wbcdet.io.discover import SearchResult
from wbcdet.io.errors import FieldError
from wbcdet.io.slide_part import part_of, slide_of
from wbcdet.io.slides.dicom import Series, SeriesIndex
from wbcdet.io.slides.open import ends_as_slide, is_slide, is_slide_folder
from wbcdet.io.source import Source, printable
from wbcdet.records import Cell, FieldResult
from wbcdet.report.header import ResumeError
from wbcdet.report.journal import Journal, JournalError
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.seams import find_shared
from wbcdet.utils.errors import WbcdetError

#: The journal's list of the zones of its slides.
_ZONES = "slide-zones"


class SlideGoneError(WbcdetError, OSError):
    """A slide cannot be reached any more; one line."""


class MixedError(WbcdetError, ValueError):
    """Slides and fields were named together; one line."""


def _is_slide(path: Path, *, wanted: bool) -> bool:
    try:
        return is_slide(path, wanted=wanted)
    except (OSError, ValueError):
        return False


def slides_in(found: SearchResult, *, wanted: bool) -> list[Source]:
    """Return the slides among what a search found, each once; and where there are any, what cannot
    be read, with its problem.

    Raises:
        MixedError: fields are among them too.
    """
    slides: dict[Path | str | Series, Source] = {}
    index = SeriesIndex()
    first: Source | None = None
    fields = 0
    for item in found.fields:
        if isinstance(item.path, Path) and _is_slide(item.path, wanted=wanted):
            name = item.name.removesuffix(f"#{item.number}")
            slide = replace(item, name=name, problem=None, number=None)
            series = index.series(item.path)
            if series is not None:
                slide = _moved(slide, index.first_file(series))
            first = first or slide
            slides.setdefault(series or item.path, slide)
        elif item.problem is not None or ends_as_slide(item.path):
            # Damaged ones are told by their ending alone, and opening them says what is wrong.
            slides.setdefault(item.path, item)
        else:
            fields += 1
    if first is None:
        return []
    if fields:
        raise MixedError(
            f"slides ({first.name}) and single fields ({fields}) cannot be counted into one "
            "report; count them apart"
        )
    return list(slides.values())


def _moved(slide: Source, path: Path) -> Source:
    """Return a slide under another file of its folder."""
    old = printable(slide.path.name) if isinstance(slide.path, Path) else ""
    name, below = (
        text.removesuffix(old) + printable(path.name) for text in (slide.name, slide.below)
    )
    return replace(slide, name=name, path=path, below=below)


@dataclass(slots=True)
class _Progress:
    """How far the zone of a slide has been counted, in the order of its parts."""

    done: list[FieldResult] = field(default_factory=list)
    classified: int = 0
    reached: bool = False


class SlideCount:
    """The slides of a run: what is planned, and where each stops.

    Args:
        slides: as they were found.
        options: where and how they are counted.

    Attributes:
        plans: one a slide that can be counted.
        sources: the parts of all, in order; a slide that cannot be counted with its problem.
    """

    def __init__(self, slides: Sequence[Source], options: SlideOptions) -> None:
        self._options = options
        self.plans: dict[str, SlidePlan] = {}
        self.sources: list[Source] = []
        for slide in slides:
            if slide.problem is not None:
                self.sources.append(slide)
                continue
            try:
                plan = plan_slide(slide, options)
            except FieldError as error:
                self.sources.append(replace(slide, problem=str(error)))
                continue
            self.plans[slide.name] = plan
            self.sources += plan.parts
        self._known: dict[str, FieldResult] = {}
        self._progress = {name: _Progress() for name in self.plans}

    def begin(self, journal: Journal, sources: Sequence[Source]) -> None:
        """Take over the names and the work of an earlier run.

        Args:
            journal: what was done so far.
            sources: ``self.sources`` under the names that the report has for them.

        Raises:
            ResumeError: the earlier run counted in another zone or at another scale.
        """
        names = {old.name: new.name for old, new in zip(self.sources, sources, strict=True)}
        self.sources = list(sources)
        plans = [plan.renamed(names) for plan in self.plans.values()]
        self.plans = {slide_of(plan.parts[0].name): plan for plan in plans}
        self._progress = {name: _Progress() for name in self.plans}
        zones = [f"{plan.digest} {name}" for name, plan in self.plans.items()]
        before = {entry[17:]: entry[:16] for entry in journal.lists.get(_ZONES, ())}
        for name, plan in self.plans.items():
            if before.get(name, plan.digest) != plan.digest and len(journal):
                raise ResumeError(
                    f"{name} was counted in another zone or at another scale; choose another "
                    "--out, or start over with --restart"
                )
        if list(journal.lists.get(_ZONES, ())) != zones:
            journal.note(_ZONES, zones)
        for source in self.sources:
            if source.name in journal:
                try:
                    entry = JournalEntry.checked(
                        source.name, journal.read(source.name), journal.header
                    )
                except JournalError:
                    continue
                if entry.result.failure is None:
                    self.add(entry.result, entry.problems)

    def wanted(self, name: str) -> bool:
        """Say whether a part is still to be counted: its slide has not reached the target."""
        slide, part = part_of(name) or (name, None)
        progress = self._progress.get(slide)
        edge = part is not None and part.edge
        return progress is None or edge or not progress.reached

    def add(self, result: FieldResult, problems: Sequence[str] = ()) -> None:
        """Take a counted part into account, with the problems of its quality."""
        result = replace(result, cells=counting_cells(result, problems, self._options))
        target, name = self._options.target, slide_of(result.file)
        if target is None or name not in self.plans:
            return
        self._known[result.file] = result
        progress = self._progress[name]
        for part in _zone_parts(self.plans[name])[len(progress.done) :]:
            if progress.reached or part.name not in self._known:
                return
            progress.done.append(self._known[part.name])
            progress.classified += sum(_is_classified(cell) for cell in progress.done[-1].cells)
            if progress.classified >= target:
                progress.reached = _unique(progress.done) >= target

    def claims(self) -> Claims:
        """Return which cells of each part are counted there."""
        return Claims({name: plan.claims() for name, plan in self.plans.items()})

    def counted(self) -> list[str]:
        """Return the parts that the report is of: of a slide that reached its target the first
        ones."""
        left_out: set[str] = set()
        for name, progress in self._progress.items():
            if progress.reached:
                parts = _zone_parts(self.plans[name])[len(progress.done) :]
                left_out.update(part.name for part in parts)
        return [source.name for source in self.sources if source.name not in left_out]

    def check_reachable(self, result: FieldResult) -> None:
        """Check that the slide of a part that could not be read is still there to be read.

        Raises:
            SlideGoneError: it has.
        """
        plan = self.plans.get(slide_of(result.file))
        if plan is None or result.failure is None:
            return
        path = plan.source.path
        assert isinstance(path, Path)
        try:
            # Where a drive was, an empty folder may be left.
            there = path.is_file() or is_slide_folder(path)
        except OSError:
            there = False
        if not there:
            raise SlideGoneError(f"{path} cannot be reached any more")

    def mm2(self, name: str) -> float:
        """Area of a part that is counted in, mm²."""
        plan = self.plans.get(slide_of(name))
        return 0.0 if plan is None else plan.areas[name]


class _LeavesOut(Protocol):
    @property
    def skip_bad(self) -> bool: ...
    @property
    def exclude_edge(self) -> bool: ...


def counting_cells(
    result: FieldResult, problems: Sequence[str], options: _LeavesOut
) -> tuple[Cell, ...]:
    """Return the cells of a part that the options leave in the count, whether or not its
    neighbours show them too."""
    if options.skip_bad and problems:
        return ()
    return tuple(cell for cell in result.cells if not (options.exclude_edge and cell.touches_edge))


def _zone_parts(plan: SlidePlan) -> list[Source]:
    return [part for part in plan.parts if part.part is not None and not part.part.edge]


def _is_classified(cell: Cell) -> bool:
    return cell.label not in NOT_CLASSIFIED


def _unique(results: Iterable[FieldResult]) -> int:
    """Classified cells of some parts, each counted once."""
    kept = list(results)
    shared = find_shared(kept).duplicate_of
    return sum(
        _is_classified(cell)
        for result in kept
        for cell in result.cells
        if (result.file, cell.id) not in shared
    )
