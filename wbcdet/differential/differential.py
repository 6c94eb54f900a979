"""The leukocyte differential: counts to percentages with exact intervals.

Percentages are of the classified cells. Unclassified cells are counted apart, each reason with its
share of all white cells; so are what a person marked as artefact and cells cut by the border.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wbcdet.differential.alarming import is_alarming
from wbcdet.differential.grouping import group_of
from wbcdet.differential.reference_ranges import ReferenceRange
from wbcdet.io.source import RootInfo, below
from wbcdet.records import ALARMING, ARTEFACT, LABELS, REASONS, CellType
from wbcdet.utils.intervals import clopper_pearson
from wbcdet.utils.words import _

#: Targets that ``count`` offers, in classified cells; see ``Differential.warning``.
TARGETS = (100, 200, 400)

#: Name of the one group of a run that is not grouped.
ALL = "all"

#: Header of ``differential.csv``.
DIFFERENTIAL_COLUMNS: tuple[str, ...] = (
    "group",
    "label",
    "count",
    "percent",
    "ci_low",
    "ci_high",
    "range_low",
    "range_high",
    "flag",
    "classified",
    "reason",
)

#: Labels that are not a named leukocyte: they have a count and no percentage.
NOT_CLASSIFIED = (CellType.UNCLASSIFIED.value, ARTEFACT)

#: Flag of a reason, or of a name that it gets, of which a single cell matters.
PRESENT = "present"

#: Label, in ``differential.csv``, of the row that counts cells cut by the border.
EDGE = "edge"


class CountedCell(Protocol):
    """Protocol of a cell to count; ``records.Cell`` is one.

    ``label`` may be any text or ``CellType``: a person may name what the classifier does not.
    """

    @property
    def label(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def touches_edge(self) -> bool: ...


class CountedField(Protocol):
    """Protocol of a field to count; ``records.FieldResult`` is one."""

    @property
    def file(self) -> str: ...
    @property
    def cells(self) -> Sequence[CountedCell]: ...
    @property
    def failure(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a differential: a label, or a reason of unclassified cells.

    Attributes:
        label: the cell type or the reason.
        count: cells of it.
        percent, ci_low, ci_high: share and its exact 95 % interval, in percent: of a label among
            the classified cells, of a reason among all white cells; None where there is no cell
            to be a share of, and for artefacts, which are not white cells.
        range: the reference range, if there is one.
        flag: ``low`` or ``high`` where the whole interval leaves the range, ``present`` where a
            single cell of a reason or of a label beside the four matters, else empty.
    """

    label: str
    count: int
    percent: float | None
    ci_low: float | None
    ci_high: float | None
    range: ReferenceRange | None
    flag: str

    # Pages show these texts too: a browser rounds 12.25 up, Python to 12.2.
    @property
    def percent_text(self) -> str:
        """The share as it is shown everywhere, without a sign."""
        return "–" if self.percent is None else f"{self.percent:.1f}"

    @property
    def interval_text(self) -> str:
        """Its interval as it is shown everywhere."""
        if self.ci_low is None or self.ci_high is None:
            return "–"
        return f"{self.ci_low:.1f} – {self.ci_high:.1f}"


@dataclass(frozen=True, slots=True)
class Differential:
    """The differential of one group of fields.

    Attributes:
        group: name of the slide or patient, or ``ALL``.
        counts: classified cells by label: the four labels, zeros included, then others by name,
            zeros included of those that the classifier was taught.
        unclassified: unclassified cells by reason, the most frequent first.
        artefacts: cells that a person marked as artefacts; those that the classifier takes for
            artefacts are among ``unclassified``.
        edge: cells cut by the border of their field, of every label.
        edge_left_out: the cells cut by the border are in none of the counts above.
        fields, not_read: fields read, and fields that could not be read.
        target: number of classified cells asked for, or None.
        ranges: reference ranges by label.
        apart: by label, the labels that are a part of it and are counted apart, as bands are of the
            neutrophils; a reference range covers all of them together.
    """

    group: str
    counts: dict[str, int]
    unclassified: dict[str, int]
    artefacts: int
    edge: int
    edge_left_out: bool
    fields: int
    not_read: int
    target: int | None = None
    ranges: Mapping[str, ReferenceRange] = field(default_factory=dict)
    apart: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def classified(self) -> int:
        """Number of classified cells: 100 % of the percentages."""
        return sum(self.counts.values())

    @property
    def white_cells(self) -> int:
        """Number of all white cells, classified or not: 100 % of the shares of reasons."""
        return (
            self.classified + sum(self.unclassified.values()) - self.unclassified.get(ARTEFACT, 0)
        )

    @property
    def missing(self) -> int:
        """Number of classified cells still missing to reach the target; 0 without a target."""
        return max(0, (self.target or 0) - self.classified)

    def shares(self) -> list[Share]:
        """Return one line a label, in the order of ``counts``."""
        return [
            self._share(label, count, None if label in self.apart else self.ranges.get(label))
            for label, count in self.counts.items()
        ]

    def together(self) -> list[Share]:
        """Return one line for each label in ``apart``, of its own cells and those of its parts."""
        return [
            self._share(
                label,
                sum(self.counts[one] for one in self.labels_of(label)),
                self.ranges.get(label),
            )
            for label in self.apart
        ]

    def labels_of(self, label: str) -> tuple[str, ...]:
        """Return a label and those that are a part of it and are counted apart."""
        return (label, *self.apart.get(label, ()))

    def _share(self, label: str, count: int, known: ReferenceRange | None) -> Share:
        total = self.classified
        if not total:
            return Share(label, count, None, None, None, known, "")
        low, high = (100 * end for end in clopper_pearson(count, total))
        flag = known.flag(low, high) if known else ""
        if count and is_alarming(label):
            flag = PRESENT
        return Share(label, count, 100 * count / total, low, high, known, flag)

    def reasons(self) -> list[Share]:
        """Return one line a reason of unclassified cells, in the order of ``records.REASONS``, then
        others by name; reasons without a cell have no line."""
        total = self.white_cells
        known = [reason for reason in REASONS if reason in self.unclassified]
        lines = []
        for reason in (*known, *sorted(set(self.unclassified) - set(known))):
            count = self.unclassified[reason]
            flag = PRESENT if reason in ALARMING and count else ""
            if reason == ARTEFACT or not total:
                lines.append(Share(reason, count, None, None, None, None, flag))
                continue
            low, high = (100 * end for end in clopper_pearson(count, total))
            lines.append(Share(reason, count, 100 * count / total, low, high, None, flag))
        return lines

    def alarming(self) -> list[Share]:
        """Return the labels and reasons that are there and of which a single cell matters."""
        return [share for share in (*self.shares(), *self.reasons()) if share.flag == PRESENT]

    def alarm(self) -> str | None:
        """Return one plain line where cells were counted of which a single one matters, by their
        reason or by their name; else None."""
        alarming = [f"{share.count} {_(share.label)}" for share in self.alarming()]
        if not alarming:
            return None
        said = _("{found}: look at each of these cells first", found=", ".join(alarming))
        return f"{self.group}: {said}"

    def warning(self) -> str | None:
        """Return one plain line where fewer cells than the target were classified, else None."""
        if not self.missing:
            return None
        said = _(
            "{classified} of {target} cells classified, {missing} are missing",
            classified=self.classified, target=self.target, missing=self.missing,
        )  # fmt: skip
        start = f"{self.group}: {said}"
        if not self.classified:
            return f"{start}; {_('nothing can be said of the percentages')}"
        lead = max(self.counts, key=lambda label: self.counts[label])
        share = self.counts[lead] / self.classified
        now = _width(self.counts[lead], self.classified)
        then = _width(round(share * (self.target or 0)), self.target or 0)
        width = _(
            "the 95 % interval of {label} ({percent} %) is {now} points wide and would be {then} "
            "with {target}",
            label=_(lead), percent=f"{100 * share:.1f}", now=f"{now:.1f}", then=f"{then:.1f}",
            target=self.target,
        )  # fmt: skip
        return f"{start}; {width}"

    def rows(self) -> list[dict[str, object]]:
        """Return flat rows under ``DIFFERENTIAL_COLUMNS``.

        One row a label, then one row a reason of unclassified cells, with its share of all white
        cells, then, where there are any, what a person marked as artefact, then the cells cut by
        the border.
        """
        rows = [_row(share) for share in self.shares()]
        rows += [
            _row(share) | {"label": CellType.UNCLASSIFIED.value, "reason": share.label}
            for share in self.reasons()
        ]
        if self.artefacts:
            rows.append({"label": ARTEFACT, "count": self.artefacts})
        how = "left out" if self.edge_left_out else "counted above"
        rows.append({"label": EDGE, "count": self.edge, "reason": how})
        start = dict.fromkeys(DIFFERENTIAL_COLUMNS)
        start |= {"group": self.group, "classified": self.classified}
        return [start | row for row in rows]


def differentials(
    results: Iterable[CountedField],
    *,
    by: str | Callable[[str], str] | None = None,
    exclude_edge: bool = False,
    target: int | None = None,
    ranges: Mapping[str, ReferenceRange] | None = None,
    labels: Iterable[str] = (),
    roots: Sequence[RootInfo] = (),
) -> list[Differential]:
    """Return the differential of every group, each label by itself.

    Whether a label is a part of another one, as bands are of the neutrophils, is not known here:
    ``results.named_apart.differentials`` knows it, and has the arguments and errors.
    """
    given = tuple(labels)
    tallies: dict[str, _Tally] = {} if by else {ALL: _Tally()}
    for result in results:
        if callable(by):
            name = by(result.file)
        else:
            name = group_of(below(result.file, roots), by) if by else ALL
        tally = tallies.setdefault(name, _Tally())
        tally.fields += result.failure is None
        tally.not_read += result.failure is not None
        tally.add(result.cells, exclude_edge)
    return [
        tally.close(name, exclude_edge, target, ranges or {}, given)
        for name, tally in tallies.items()
    ]


def differential_of(
    cells: Iterable[CountedCell],
    *,
    target: int | None = None,
    ranges: Mapping[str, ReferenceRange] | None = None,
    labels: Iterable[str] = (),
) -> Differential:
    """Return the differential of the cells of one slide. Arguments as for ``differentials``."""
    tally = _Tally()
    tally.add(cells, exclude_edge=False)
    return tally.close(ALL, False, target, ranges or {}, labels)


def overview_labels(differentials: Sequence[Differential]) -> tuple[str, ...]:
    """Return labels whose shares an overview of slides shows: the four, and those that a review or
    a classifier of ``wbcdet learn`` has added to any slide, as the shares of a line are to add up
    to 100 %."""
    four = tuple(str(label) for label in LABELS)
    return (
        *four,
        *sorted(
            {label for differential in differentials for label in differential.counts} - set(four)
        ),
    )


class _Tally:
    """Counts of one group while its fields come in."""

    def __init__(self) -> None:
        self.labels: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.edge = self.fields = self.not_read = 0

    def add(self, cells: Iterable[CountedCell], exclude_edge: bool) -> None:
        for cell in cells:
            self.edge += cell.touches_edge
            if exclude_edge and cell.touches_edge:
                continue
            label = str(cell.label)
            self.labels[label] += 1
            if label == CellType.UNCLASSIFIED:
                self.reasons[cell.reason or label] += 1

    def close(
        self,
        group: str,
        exclude_edge: bool,
        target: int | None,
        ranges: Mapping[str, ReferenceRange],
        labels: Iterable[str],
    ) -> Differential:
        own = [str(label) for label in LABELS]
        others = sorted({*self.labels, *labels} - {*own, *NOT_CLASSIFIED})
        return Differential(
            group=group,
            counts={label: self.labels[label] for label in (*own, *others)},
            unclassified=dict(
                sorted(self.reasons.items(), key=lambda reason: (-reason[1], reason[0]))
            ),
            artefacts=self.labels[ARTEFACT],
            edge=self.edge,
            edge_left_out=exclude_edge,
            fields=self.fields,
            not_read=self.not_read,
            target=target,
            ranges=ranges,
        )


def _row(share: Share) -> dict[str, object]:
    return {
        "label": share.label,
        "count": share.count,
        "percent": _rounded(share.percent),
        "ci_low": _rounded(share.ci_low),
        "ci_high": _rounded(share.ci_high),
        "range_low": share.range.low if share.range else None,
        "range_high": share.range.high if share.range else None,
        "flag": share.flag or None,
    }


def _width(count: int, total: int) -> float:
    low, high = clopper_pearson(count, total)
    return 100 * (high - low)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
