"""Compare two sides of a differential class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from wbcdet.differential.csv_table import TableError
from wbcdet.evaluation.agreement.counts import (
    CellKey,
    Counted,
    Side,
    category,
    group_cells,
)
from wbcdet.evaluation.agreement.method_comparison import (
    Differences,
    Line,
    binomial_limit,
    bland_altman,
    passing_bablok,
)
from wbcdet.records import ALL_LABELS, LABELS
from wbcdet.utils.kappa import Kappa, cohen_kappa, confusion
from wbcdet.utils.text import alike, some_of


@dataclass(frozen=True, slots=True)
class Pair:
    """One label of one group on both sides.

    Attributes:
        group: the slide or patient.
        manual, ours: share of the label in percent.
        manual_cells, our_cells: cells the shares are of; None where not known.
        limit: 95 % binomial limit of the difference, percentage points; None where it cannot be
            computed.
    """

    group: str
    manual: float
    ours: float
    manual_cells: float | None
    our_cells: float | None
    limit: float | None

    @property
    def difference(self) -> float:
        """Ours minus manual, percentage points."""
        return self.ours - self.manual

    @property
    def inside(self) -> bool | None:
        """Whether the difference is within its binomial limit; None without one."""
        return None if self.limit is None else abs(self.difference) <= self.limit + 1e-9


@dataclass(frozen=True, slots=True)
class ClassAgreement:
    """Comparison of one label over all groups.

    Attributes:
        label: the cell type.
        pairs: every group.
        differences: bias and limits of agreement, percentage points.
        line: Passing-Bablok line of ours against manual, in percent; None where it cannot be
            computed.
        missing: what could not be computed, and why.
    """

    label: str
    pairs: tuple[Pair, ...]
    differences: Differences
    line: Line | None
    missing: tuple[str, ...]

    @property
    def manual_mean(self) -> float:
        """Mean manual share, percent."""
        return float(np.mean([pair.manual for pair in self.pairs]))

    @property
    def our_mean(self) -> float:
        """Mean of our share, percent."""
        return float(np.mean([pair.ours for pair in self.pairs]))

    @property
    def limited(self) -> int:
        """Number of groups that have a binomial limit."""
        return sum(pair.limit is not None for pair in self.pairs)

    @property
    def inside(self) -> int:
        """Number of groups within their binomial limit."""
        return sum(bool(pair.inside) for pair in self.pairs)

    @property
    def typical_limit(self) -> float | None:
        """Median binomial limit, percentage points."""
        limits = [pair.limit for pair in self.pairs if pair.limit is not None]
        return float(np.median(limits)) if limits else None


@dataclass(frozen=True, slots=True)
class CellAgreement:
    """Comparison of the labels of single cells.

    Attributes:
        categories: the four labels and ``unclassified`` (everything else).
        table: cells by manual name (down) and ours (across).
        kappa: Cohen's kappa.
        weighted: kappa where a cell that only one side left unclassified is half an error.
        unmatched: cells of the manual table that the report does not have.
    """

    categories: tuple[str, ...]
    table: tuple[tuple[int, ...], ...]
    kappa: Kappa | None
    weighted: Kappa | None
    unmatched: int

    @property
    def cells(self) -> int:
        """Cells named by both sides."""
        return sum(map(sum, self.table))

    @property
    def same(self) -> int:
        """Cells that both sides give the same name."""
        return sum(row[at] for at, row in enumerate(self.table))


@dataclass(frozen=True, slots=True)
class Agreement:
    """The whole comparison; ``classes`` and ``cells`` are what could be compared."""

    classes: tuple[ClassAgreement, ...]
    cells: CellAgreement | None
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def groups(self) -> int:
        """Groups that both sides have."""
        return len(self.classes[0].pairs) if self.classes else 0


def compare(ours: Side, manual: Side) -> Agreement:
    """Compare class by class and, where single cells are named, cell by cell.

    Args:
        ours, manual: the two sides; where single cells are named, their groups are ours.

    Raises:
        TableError: the two sides have neither a group nor a cell in common.
    """
    notes = [
        *(f"ours: {note}" for note in ours.notes),
        *(f"manual: {note}" for note in manual.notes),
    ]
    by_cell = manual.names or ours.manual
    cells = _compare_cells(ours.names, by_cell) if by_cell and ours.names else None
    if cells and cells.unmatched:
        notes.append(f"manual names of cells that the report does not count: {cells.unmatched}")
    # Where a person named single cells, maybe not all, both sides are the differential of those.
    same_cells = bool(manual.names and ours.names)
    if same_cells:
        shared = ours.names.keys() & manual.names.keys()
        group_of_field = ours.group_of_field
        ours, manual = (_only(side, shared, group_of_field) for side in (ours, manual))
    matched = match_groups(list(ours.groups), list(manual.groups))
    if not matched and not (cells and cells.cells):
        raise TableError(
            "no group has the same name on both sides: ours are "
            f"{some_of(ours.groups)}; manual are {some_of(manual.groups)}"
        )
    for side, groups, own in (
        ("report", ours.groups, {our_name for our_name, _ in matched}),
        ("manual count", manual.groups, {other for _, other in matched}),
    ):
        alone = [name for name in groups if name not in own]
        if alone:
            notes.append(f"only in the {side}, not compared: {some_of(alone)}")
    labels, more = _shared_labels(ours.groups.values(), manual.groups.values())
    notes += more
    couples: list[tuple[str, Counted, Counted]] = []
    for group, other in matched:
        mine, theirs = ours.groups[group].among(labels), manual.groups[other].among(labels)
        if mine is None or theirs is None:
            notes.append(f"no cell of the compared types, not compared: {group}")
        else:
            couples.append((group, theirs, mine))
    classes = [_compare_class(label, couples, same_cells) for label in labels] if couples else []
    return Agreement(tuple(classes), cells, tuple(notes))


def match_groups(ours: Sequence[str], manual: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of group names that mean the same, in our order.

    Names match; else except for capitals and how accents are written, where only one on each side
    is spelt so; else our folder's last name matches, where only one of ours has it.
    """
    spelt: dict[str, list[str]] = {}
    for name in manual:
        spelt.setdefault(alike(name), []).append(name)
    times = Counter(alike(name) for name in ours)
    tails = Counter(alike(name.split("/")[-1]) for name in ours)

    def meant(name: str) -> str | None:
        same = spelt.get(alike(name), [])
        return name if name in same else same[0] if len(same) == 1 else None

    pairs = []
    for name in ours:
        tail = name.split("/")[-1]
        other = meant(name) if name in manual or times[alike(name)] == 1 else None
        if other is None and tails[alike(tail)] == 1:
            other = meant(tail)
        if other is not None:
            pairs.append((name, other))
    return pairs


def _only(side: Side, keys: Set[CellKey], groups: Mapping[str, str]) -> Side:
    names = {key: label for key, label in side.names.items() if key in keys}
    return Side(group_cells(names, groups), names)


def _shared_labels(
    ours: Iterable[Counted], manual: Iterable[Counted]
) -> tuple[list[str], list[str]]:
    """Return the four labels and whatever else both sides count; the rest in a note."""
    mine, theirs = (
        {label for counted in side for label, share in counted.percent.items() if share}
        for side in (ours, manual)
    )
    own = [str(label) for label in LABELS]
    labels = own + sorted((mine & theirs) - set(own))
    alone = sorted((mine | theirs) - set(labels))
    if not alone:
        return labels, []
    return labels, [
        f"{', '.join(alone)}: counted by one side only; shares are of {', '.join(labels)}"
    ]


def _compare_class(
    label: str, couples: Sequence[tuple[str, Counted, Counted]], same_cells: bool
) -> ClassAgreement:
    manual = np.array([theirs.percent[label] for _, theirs, _ in couples])
    ours = np.array([mine.percent[label] for _, _, mine in couples])
    limits: list[float | None] = [None] * len(couples)
    missing = []
    if same_cells:
        missing.append("binomial limits: both sides named the same cells, so none apply")
    elif any(counted.cells is None for couple in couples for counted in couple[1:]):
        missing.append("binomial limits: it is not known how many cells were counted")
    else:
        by_hand = np.array([theirs.cells for _, theirs, _ in couples])
        by_us = np.array([mine.cells for _, _, mine in couples])
        limits = binomial_limit(manual, ours, by_hand, by_us).tolist()
    pairs = tuple(
        Pair(group, theirs.percent[label], mine.percent[label], theirs.cells, mine.cells, limit)
        for (group, theirs, mine), limit in zip(couples, limits, strict=True)
    )
    differences = bland_altman(manual, ours)
    if differences.limit_low is None:
        why = "they need two groups" if len(pairs) < 2 else "all groups differ by the same"
        missing.append(f"limits of agreement: {why}")
    line = passing_bablok(manual, ours)
    if line is None:
        why = "it needs five groups" if len(pairs) < 5 else "too few shares differ"
        missing.append(f"Passing-Bablok line: {why}")
    return ClassAgreement(label, pairs, differences, line, tuple(missing))


def _compare_cells(ours: dict[CellKey, str], manual: dict[CellKey, str]) -> CellAgreement:
    categories = tuple(str(label) for label in ALL_LABELS)
    pairs = [(category(label), category(ours[key])) for key, label in manual.items() if key in ours]
    table = confusion(pairs, categories)
    weights = np.eye(len(categories))
    weights[-1, :-1] = weights[:-1, -1] = 0.5
    return CellAgreement(
        categories,
        tuple(tuple(row) for row in table.tolist()),
        cohen_kappa(table),
        cohen_kappa(table, weights),
        len(manual) - len(pairs),
    )
