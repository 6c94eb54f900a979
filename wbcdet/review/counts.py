"""The differential while it is reviewed: the machine's and the person's, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from wbcdet.differential.differential import Differential, Share
from wbcdet.report.counts import EDGE
from wbcdet.results.named_apart import differentials
from wbcdet.review.cell_state import (
    ARTEFACT,
    SAME_IOU,
    UNCLASSIFIED,
    CellState,
    Key,
    taught_types,
)
from wbcdet.review.machine_report import ReviewField
from wbcdet.review.state import ReviewState
from wbcdet.utils.boxes import iou
from wbcdet.utils.intervals import clopper_pearson

#: Reason of a cell that a person left unclassified and the machine did not.
BY_PERSON = "by-reviewer"


@dataclass(frozen=True, slots=True)
class _CountedCell:
    """A cell as ``differentials`` reads it."""

    label: str
    reason: str | None
    touches_edge: bool


@dataclass(frozen=True, slots=True)
class _CountedField:
    file: str
    cells: list[_CountedCell]
    failure: str | None


def reason_of(current: CellState) -> str | None:
    """Tell why a cell is unclassified; None where it has a label."""
    if current.label != UNCLASSIFIED:
        return None
    return (current.cell.reason if current.cell else None) or BY_PERSON


def reviewed(state: ReviewState, group: str | None = None) -> Differential:
    """Return the differential as it is reviewed, of one slide or (None) of all together."""
    return _differential(state, group, _reviewed_fields(state, _of(state, group)))


def machine(state: ReviewState, group: str | None = None) -> Differential:
    """Return the machine's differential, of one slide or (None) of all together."""
    fields = (
        _CountedField(
            field.result.file,
            [
                _CountedCell(str(cell.label), cell.reason, cell.touches_edge)
                for cell in field.result.cells
                if field.left_out.get(cell.id) in (None, EDGE)
            ],
            field.result.failure,
        )
        for field in _of(state, group)
    )
    return _differential(state, group, fields)


def progress(state: ReviewState, group: str | None = None) -> dict[str, int]:
    """Count the progress of the review: counted cells, those decided on one by one and in bulk,
    those not reviewed, and those of them that are unclassified."""
    cells = unreviewed = open_ = bulk = 0
    for field in _of(state, group):
        for key, current in state.of_field(field.number):
            if state.counts(key):
                cells += 1
                unreviewed += not current.reviewed
                bulk += current.reviewed and state.in_bulk(key)
                open_ += not current.reviewed and current.label == UNCLASSIFIED
    return {
        "cells": cells,
        "one_by_one": cells - unreviewed - bulk,
        "in_bulk": bulk,
        "unreviewed": unreviewed,
        "open": open_,
    }


def counted_twice(state: ReviewState, group: str | None = None) -> list[tuple[Key, Key]]:
    """Return pairs of boxes that hold one white cell, first the one that a person drew or moved.

    A report that was counted again may find a cell itself that a person had drawn. Where fields
    overlap (``count --dedupe``), a cell that was missed in one of them may be counted in another,
    or be drawn in both.
    """
    pairs: list[tuple[Key, Key]] = []
    compared: set[Key] = set()
    for field in _of(state, group):
        cells = list(state.of_field(field.number))
        # The page asks after every step, and most fields have none.
        changed = [key for key, one in cells if one.cell is None or one.moved]
        changed = [key for key in changed if _is_counted(state, key)]
        for key in changed:
            box = state.cells[key].box
            compared.add(key)
            pairs += [
                (key, other)
                for other, also in cells
                if other not in compared
                and _is_counted(state, other)
                and iou(box, also.box) >= SAME_IOU
            ]
            for number in state.shifts.overlapping(field.number):
                if state.report.fields[number].group != field.group:
                    continue
                pairs += [
                    (key, other)
                    for other, also in state.of_field(number)
                    if other not in compared
                    and _is_counted(state, other)
                    and state.shifts.overlap(field.number, box, number, also.box) >= SAME_IOU
                ]
    return pairs


def _is_counted(state: ReviewState, key: Key) -> bool:
    """Say whether a box counts as a white cell."""
    return state.counts(key) and state.cells[key].label != ARTEFACT


def side_by_side(state: ReviewState, group: str | None, before: Differential) -> dict[str, object]:
    """Return both differentials as the page shows them.

    Args:
        state: the cells.
        group: the slide, or None for all together.
        before: the machine's; it never changes, so the caller keeps it.
    """
    after = reviewed(state, group)
    left = {share.label: share for share in before.shares()}
    right = {share.label: share for share in after.shares()}
    # A taught type that the person has found none of stays, as the machine's shares are whole
    # only with it.
    rows = [
        {
            "label": label,
            "machine": _share(left[label]) if label in left else _none_of(before.classified),
            "reviewed": _share(right[label]) if label in right else _none_of(after.classified),
            "range": _range(right.get(label)),
            "flag": right[label].flag if label in right else "",
        }
        for label in dict.fromkeys([*right, *left])
    ]
    # The machine's share of the same labels, of which it may name none.
    same = replace(
        before, counts={**dict.fromkeys(after.counts, 0), **before.counts}, apart=after.apart
    )
    together = [
        {
            "labels": after.labels_of(share.label),
            "machine": _share(machines),
            "reviewed": _share(share),
            "flag": share.flag,
        }
        for share, machines in zip(after.together(), same.together(), strict=True)
    ]
    machine_reasons = {share.label: share for share in before.reasons()}
    reviewed_reasons = {share.label: share for share in after.reasons()}
    reasons = [
        {
            "reason": reason,
            "machine": machine_reasons[reason].count if reason in machine_reasons else 0,
            "reviewed": reviewed_reasons[reason].count if reason in reviewed_reasons else 0,
            "flag": reviewed_reasons[reason].flag if reason in reviewed_reasons else "",
        }
        for reason in dict.fromkeys([*machine_reasons, *reviewed_reasons])
    ]
    return {
        "rows": rows,
        "together": together,
        "reasons": reasons,
        "machine": _total(before),
        "reviewed": _total(after),
        "warning": after.warning(),
        "twice": [
            [state.cells[key].number for key in pair] for pair in counted_twice(state, group)
        ],
        **progress(state, group),
    }


def _of(state: ReviewState, group: str | None) -> Iterator[ReviewField]:
    return (field for field in state.report.fields if group is None or field.group == group)


def _reviewed_fields(state: ReviewState, fields: Iterable[ReviewField]) -> Iterator[_CountedField]:
    for field in fields:
        cells = [
            _CountedCell(current.label or "", reason_of(current), current.touches_edge)
            for key, current in state.of_field(field.number)
            if current.is_present and state.left_out(key) in (None, EDGE)
        ]
        yield _CountedField(field.result.file, cells, field.result.failure)


def _differential(
    state: ReviewState, group: str | None, fields: Iterable[_CountedField]
) -> Differential:
    options = state.report.options
    (differential,) = differentials(
        fields,
        exclude_edge=options.exclude_edge,
        target=options.target,
        ranges=options.ranges,
        labels=taught_types(state.report.info),
    )
    return differential if group is None else replace(differential, group=group)


def _none_of(total: int) -> dict[str, object]:
    """Return the share of a type of which one side has no cell."""
    if not total:
        return _share(Share("", 0, None, None, None, None, ""))
    low, high = clopper_pearson(0, total)
    return _share(Share("", 0, 0.0, 100 * low, 100 * high, None, ""))


def _range(share: Share | None) -> list[float] | None:
    return [share.range.low, share.range.high] if share and share.range else None


def _share(share: Share) -> dict[str, object]:
    return {
        "count": share.count,
        "percent": share.percent,
        "low": share.ci_low,
        "high": share.ci_high,
        "percent_text": share.percent_text,
        "interval_text": share.interval_text,
    }


def _total(differential: Differential) -> dict[str, int]:
    return {
        "classified": differential.classified,
        "unclassified": sum(differential.unclassified.values()),
        "artefacts": differential.artefacts,
    }
