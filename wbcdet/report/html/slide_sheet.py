"""The contents of a slide's sheet, as text ready to print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wbcdet.differential.differential import PRESENT, Differential, Share
from wbcdet.differential.identifiers import Identifiers
from wbcdet.differential.slide_summary import copies_line, empty_line, scale_lines, unboxed_line
from wbcdet.inference.domain_shift import LIKE, NOT_COMPARED, TOO_FEW
from wbcdet.report.counts import BAD_FIELD, DUPLICATE, GroupNotes
from wbcdet.results.palette import colour_of
from wbcdet.utils.text import one_line
from wbcdet.utils.words import N_, _, plural_of

#: The chart: where 0 % lies and how wide 1 % is, in its own units.
_ZERO, _PERCENT = 6.0, 2.5
_MARKS = {
    "low": ("▼", N_("below reference")),
    "high": ("▲", N_("above reference")),
    PRESENT: ("●", N_("look at each")),
}
#: Share of the white cells from which the unclassified ones are warned of.
_MANY_UNCLASSIFIED = 0.1
#: Height of a page, and of what has the same size on every sheet: heading, numbers, signature.
_PAGE_MM, _FIXED_MM = 270.0, 70.0
_LEAST_SCALE = 0.5
#: Rows of a slide's name in print, as in style.css.
_MAX_NAME_ROWS = 8
#: Letters of a type's name in a row, where it is longest beside all columns.
_NAME_LETTERS = 15
#: Names in a list on the sheet, which must stay on one page.
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of the chart, in its own units; None where there is nothing to draw."""

    width: float | None
    low: float | None
    high: float | None
    range: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Line:
    """One cell type on the sheet, or one reason of unclassified cells."""

    label: str
    count: int
    percent: str
    interval: str
    range: str
    flag: str
    flag_mark: str
    flag_text: str
    colour: str
    bar: Bar


@dataclass(frozen=True, slots=True)
class Signature:
    """Signature of a slide after a review.

    Attributes:
        name, time: who, and when.
        cells: how the cells were looked at, in words.
        note: a remark; may be empty.
        number: of the signature in the log.
    """

    name: str
    time: str
    cells: str
    note: str
    number: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """The sheet of one slide; ``last`` is the last one of the page.

    ``signature`` is whose the sheet is after a review, None where it is signed by hand, on paper;
    ``reviewed`` tells that there was a review, and a sheet without a signature is not signed.
    ``scale`` is how much smaller its tables and texts are printed, to stay on one page.
    """

    anchor: str
    name: str
    differential: Differential
    notes: GroupNotes
    shares: list[Line]
    reasons: list[Line]
    has_ranges: bool
    unclassified: int
    warnings: list[str]
    apart: list[str]
    quality: list[str]
    remarks: str
    strip: list[dict[str, object]]
    last: bool
    signature: Signature | None
    reviewed: bool
    identifiers: list[tuple[str, str]]
    scale: float


def make_sheet(
    number: int,
    name: str,
    differential: Differential,
    notes: GroupNotes,
    strip: list[dict[str, object]],
    *,
    last: bool,
    signature: Signature | None = None,
    reviewed: bool = False,
    identifiers: Identifiers | None = None,
    made: Sequence[str] = (),
) -> Sheet:
    """Return the sheet of a slide.

    Args:
        number: which slide of the page, from 0.
        name: how it is called.
        differential: its counts.
        notes: its fields.
        strip: a few cells of each label, for the printed sheet.
        last: no sheet follows.
        signature, reviewed: as of ``Sheet``.
        identifiers: what the laboratory calls it.
        made: the lines on how the report was made.
    """
    unclassified = sum(differential.unclassified.values())
    warnings = _warnings(differential, notes)
    shares = [_line(share) for share in differential.shares()]
    reasons = [_line(share) for share in differential.reasons()]
    apart = _apart(differential, notes, unclassified)
    quality = _quality(differential, notes)
    named = (identifiers or Identifiers()).to_dict()
    called = [(name, text) for name, text in named.items() if text]
    beside = (apart, quality)
    types = [_(share.label) for share in shares]
    return Sheet(
        anchor=f"slide-{number}",
        name=one_line(name),
        differential=differential,
        notes=notes,
        shares=shares,
        reasons=reasons,
        has_ranges=any(share.range for share in shares),
        unclassified=unclassified,
        warnings=warnings,
        apart=apart,
        quality=quality,
        remarks=_remarks(differential, notes),
        strip=strip,
        last=last,
        signature=signature,
        reviewed=reviewed,
        identifiers=called,
        scale=_scale(name, types, len(reasons), warnings, beside, made, signature, called),
    )


def _scale(
    name: str,
    types: Sequence[str],
    reasons: int,
    warnings: Sequence[str],
    beside: tuple[Sequence[str], Sequence[str]],
    made: Sequence[str],
    signature: Signature | None,
    called: Sequence[tuple[str, str]],
) -> float:
    """How much smaller tables and texts are printed, so that a sheet is one page of A4."""
    note = signature.note if signature else ""
    fixed = _FIXED_MM + 6 * bool(called) + 5 * _rows([note], 95) * bool(note)
    fixed += 5 * max(0, min(_rows([name], 34), _MAX_NAME_ROWS) - 2)
    table = (
        18
        + 4 * len(types)
        + 4.3 * _rows(types, _NAME_LETTERS)
        + (6 + 5.2 * reasons) * bool(reasons)
    )
    box = (11 + 5 * _rows(warnings, 88)) * bool(warnings)
    columns = 12 + 5 * max(_rows(lines, 42) for lines in beside)
    text = 6 + 4 * _rows(made, 115)
    room = (_PAGE_MM - fixed) / (table + box + columns + text)
    return round(max(_LEAST_SCALE, min(1.0, room)), 2)


def _rows(lines: Sequence[str], letters: int) -> int:
    """How many rows lines take where so many letters fit in one."""
    return sum(max(1, -(-len(line) // letters)) for line in lines)


def _line(share: Share) -> Line:
    known = share.range
    bar = Bar(
        width=None if share.percent is None else _length(share.percent),
        low=None if share.ci_low is None else _at(share.ci_low),
        high=None if share.ci_high is None else _at(share.ci_high),
        range=(_at(known.low), _length(known.high - known.low)) if known else None,
    )
    mark, text = _MARKS.get(share.flag, ("", ""))
    return Line(
        label=share.label,
        count=share.count,
        percent=share.percent_text,
        interval=share.interval_text,
        range=f"{known.low:g} – {known.high:g}" if known else "",
        flag=share.flag,
        flag_mark=mark,
        flag_text=_(text),
        colour=colour_of(share.label),
        bar=bar,
    )


def _at(percent: float) -> float:
    return round(_ZERO + _PERCENT * percent, 1)


def _length(percent: float) -> float:
    return round(_PERCENT * percent, 1)


def _many_unclassified(differential: Differential) -> float | None:
    """Return the part of the white cells that has no type, where it is large; what the classifier
    calls artefact is no white cell."""
    total = differential.white_cells
    part = (total - differential.classified) / total if total else 0.0
    return part if part > _MANY_UNCLASSIFIED else None


def _warnings(differential: Differential, notes: GroupNotes) -> list[str]:
    lines = []
    if alarm := differential.alarm():
        lines.append(f"{alarm.removeprefix(f'{differential.group}: ')}.")
    if warning := notes.ground.warning():
        lines.append(_("This slide looks {unlike}", unlike=warning))
    if empty := empty_line(notes.empty, notes.read):
        lines.append(f"{empty}.")
    if unboxed := unboxed_line(notes.ground.unboxed):
        lines.append(f"{unboxed}.")
    if copies := copies_line(notes.copies):
        lines.append(f"{copies}.")
    lines += together_lines(differential)
    lines += [f"{line[:1].upper()}{line[1:]}." for line in scale_lines(notes.diameters)]
    if differential.missing:
        said = (differential.warning() or "").removeprefix(f"{differential.group}: ")
        lines.append(f"{said[:1].upper()}{said[1:]}.")
    elif not differential.classified:
        lines.append(_("No cell was classified: there is no differential."))
    if many := _many_unclassified(differential):
        lines.append(
            _(
                "{percent} % of the cells are unclassified: the percentages may not stand for all "
                "cells. Look at them.",
                percent=f"{100 * many:.0f}",
            )
        )
    if notes.failures:
        lines.append(
            plural_of(
                "{n} field could not be read: cells in it are missing.",
                "{n} fields could not be read: cells in them are missing.",
                len(notes.failures),
            )
        )
    if notes.problems and not notes.skipped:
        lines.append(
            plural_of(
                "{n} field with quality problems is counted.",
                "{n} fields with quality problems are counted.",
                len(notes.problems),
            )
        )
    return lines


def together_lines(differential: Differential, *, flagged: bool = False) -> list[str]:
    """Say what reference ranges are to be compared with where parts of a type are named apart.

    Args:
        differential: of a slide.
        flagged: only what lies outside its range.
    """
    return [
        _together(differential, share)
        for share in differential.together()
        if share.flag or not flagged
    ]


def _labels(differential: Differential, share: Share) -> str:
    """Return a type and its parts that are named apart."""
    return " + ".join(map(_, differential.labels_of(share.label)))


def _together(differential: Differential, share: Share) -> str:
    parts = _labels(differential, share)
    said = _(
        "{labels}: {n} together, {percent} %, 95 % interval {low} – {high}",
        labels=parts, n=share.count, percent=_number(share.percent), low=_number(share.ci_low),
        high=_number(share.ci_high),
    )  # fmt: skip
    if share.range is None:
        return f"{said}."
    range_ = f"{share.range.low:g} – {share.range.high:g}"
    flag = f" ({_(_MARKS[share.flag][1])})" if share.flag in _MARKS else ""
    return f"{said}; {_('reference range of all of them: {range}', range=range_)}{flag}."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _apart(differential: Differential, notes: GroupNotes, unclassified: int) -> list[str]:
    reasons = ", ".join(
        f"{count} {_(reason)}" for reason, count in differential.unclassified.items()
    )
    lines = [_("{n} unclassified", n=unclassified) + (f": {reasons}" if reasons else "")]
    if differential.artefacts:
        lines.append(_("{n} marked as artefact", n=differential.artefacts))
    if differential.edge_left_out:
        lines.append(_("{n} cut by the border of a field, left out", n=differential.edge))
    if notes.overlapping is not None:
        again = notes.left_out[DUPLICATE]
        repeated = _("{n} seen again in an overlapping field, left out", n=again)
        pairs = plural_of(
            "{n} overlapping pair of fields", "{n} overlapping pairs of fields", notes.overlapping
        )
        lines.append(f"{repeated} ({pairs})" if notes.overlapping else _("no fields overlap"))
    if notes.left_out[BAD_FIELD]:
        lines.append(_("{n} in fields of bad quality, left out", n=notes.left_out[BAD_FIELD]))
    return lines


def _quality(differential: Differential, notes: GroupNotes) -> list[str]:
    flagged = {file for file, _ in notes.problems}
    good = notes.read - len(flagged.union(notes.empty))
    said = {"n": good, "fields": _fields(notes.read)}
    lines = [
        _("{n} of {fields} with a cell and without a problem of focus, exposure or stain", **said)
        if notes.empty
        else _("{n} of {fields} without a problem of focus, exposure or stain", **said)
    ]
    if notes.empty:
        names = [one_line(file) for file in notes.empty]
        lines.append(f"{_('{n} without a cell', n=len(names))}: {listed(names)}")
    kinds = Counter(problem for _, problems in notes.problems for problem in problems)
    if kinds:
        lines.append(", ".join(f"{count} {_(kind)}" for kind, count in kinds.most_common()))
    if notes.skipped:
        lines.append(_("{fields} left out for it", fields=_fields(notes.skipped)))
    if compared := _ground(notes):
        lines.append(compared)
    if differential.edge and not differential.edge_left_out:
        lines.append(
            plural_of(
                "{n} cell cut by the border is counted",
                "{n} cells cut by the border are counted",
                differential.edge,
            )
        )
    if notes.failures:
        names = [one_line(file) for file, _ in notes.failures]
        lines.append(f"{_('{n} not read', n=len(names))}: {listed(names)}")
    return lines


def _ground(notes: GroupNotes) -> str | None:
    """Return how the slide compares with the training; None where it was not compared."""
    verdict = notes.ground.verdict
    if verdict == NOT_COMPARED:
        return None
    if verdict == TOO_FEW:
        return _("too few cells and fields to tell whether the slide looks like the training")
    if verdict == LIKE:
        return _("the slide looks like what was trained on")
    return _("the slide looks unlike what was trained on")


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(_short(name) for name in names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return _("{names} and {n} more", names=shown, n=more) if more > 0 else shown


def _short(name: str) -> str:
    return name if len(name) <= 60 else f"…{name[-59:]}"


def _remarks(differential: Differential, notes: GroupNotes) -> str:
    parts = [f"{share.count} {_(share.label)}" for share in differential.alarming()]
    parts += [
        f"{_labels(differential, share)}: {_(_MARKS[share.flag][1])}"
        for share in differential.together()
        if share.flag in _MARKS
    ]
    if notes.ground.reasons:
        parts.append(_("unlike the training"))
    if notes.copies:
        parts.append(
            plural_of("{n} copy of another field", "{n} copies of other fields", len(notes.copies))
        )
    if scale_lines(notes.diameters):
        parts.append(_("no size of white cells: see the scale"))
    if notes.empty:
        parts.append(_("{fields} without a cell", fields=_fields(len(notes.empty))))
    if differential.missing:
        parts.append(
            plural_of(
                "{n} cell short of {target}",
                "{n} cells short of {target}",
                differential.missing,
                target=differential.target,
            )
        )
    if notes.problems:
        parts.append(_("{fields} of doubtful quality", fields=_fields(len(notes.problems))))
    if _many_unclassified(differential):
        parts.append(_("many unclassified"))
    return "; ".join(parts)


def _fields(number: int) -> str:
    return plural_of("{n} field", "{n} fields", number)
