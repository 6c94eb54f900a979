"""Serialise the report for the page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wbcdet.differential.differential import ALL
from wbcdet.inference.run_info import RunInfo
from wbcdet.records import LABELS
from wbcdet.results.document import describe_model
from wbcdet.results.palette import colour_of
from wbcdet.review.cell_state import (
    ARTEFACT,
    BASOPHIL,
    DELETED,
    UNCLASSIFIED,
    Key,
    taught_types,
)
from wbcdet.review.counts import reason_of
from wbcdet.review.reader_agreement import ReaderAgreement
from wbcdet.review.state import ReviewState

if TYPE_CHECKING:
    from wbcdet.review.session import Session

#: Key of each label on the keyboard.
KEYS = {
    UNCLASSIFIED: "U",
    **{str(label): str(label)[0].upper() for label in LABELS},
    BASOPHIL: "B",
    ARTEFACT: "A",
    DELETED: "Del",
}
#: What stands last.
_LAST = (ARTEFACT, DELETED)


def label_row(info: RunInfo) -> list[dict[str, str]]:
    """Return the labels that are offered, in the order of the page: those with a key of their own,
    and before artefacts what the classifier of the report was taught, also where it has found none
    of it: who types such a name may write another one.

    Args:
        info: of the report.
    """
    taught = [label for label in taught_types(info) if label not in KEYS]
    keys = {label: key for label, key in KEYS.items() if label not in _LAST}
    keys |= dict.fromkeys(taught, "") | {label: KEYS[label] for label in _LAST}
    return [{"label": label, "key": key, "colour": colour_of(label)} for label, key in keys.items()]


def colours_of(state: ReviewState, keys: Iterable[Key]) -> dict[str, str]:
    """Return the colours of the names that cells have, and had from the machine: a person may give
    one that the page does not offer."""
    names = {
        str(name)
        for current in (state.cells[key] for key in keys)
        for name in (current.label, current.cell.label if current.cell else None)
        if name is not None
    }
    return {name: colour_of(name) for name in sorted(names)}


def cell_row(state: ReviewState, key: Key) -> list[Any]:
    """Return a cell: field, number, label, reviewed, last decision, box, the machine's label, the
    machine's score, reason, why it is left out, who decided, number in its slide, whether its box
    was moved."""
    current = state.cells[key]
    cell = current.cell
    return [
        *key,
        current.label,
        int(current.reviewed),
        current.last_decision,
        current.box,
        str(cell.label) if cell else None,
        cell.label_score if cell else None,
        reason_of(current),
        state.left_out(key),
        current.who,
        current.number,
        int(current.moved),
    ]


def report_page(session: Session) -> dict[str, object]:
    """Return what does not change while a report is reviewed."""
    report = session.state.report
    groups = report.groups
    unlike = {
        slide["group"]: ", ".join(slide["ground"]["reasons"])
        for slide in report.slides
        if slide["ground"]["reasons"]
    }
    nuclei: dict[str, list[object]] = {}
    for slide in report.slides:
        for nucleus in slide["ground"].get("nuclei", {}).get("outside", ()):
            nuclei.setdefault(nucleus["file"], []).append(nucleus["box"])
    return {
        "title": session.title,
        "who": session.who,
        "given": session.given,
        "second": session.second,
        "groups": [] if groups in ([], [ALL]) else groups,
        "fields": [
            {
                "file": field.result.file,
                "width": field.result.width,
                "height": field.result.height,
                "group": groups.index(field.group),
                "failure": field.result.failure,
                "problems": field.quality.get("problems", []) if field.quality else [],
                "unlike": unlike.get(field.group, ""),
                "nuclei": nuclei.get(field.result.file, []),
            }
            for field in report.fields
        ],
        "models": [
            f"{role} {describe_model(report.info[role])} ({report.info[role]['sha256'][:12]})"
            for role in ("detector", "classifier")
            if isinstance(report.info.get(role), dict)
        ],
        "slides": any(field.result.region is not None for field in report.fields),
        "notes": session.notes,
        "useful": [list(key) for key in session.useful],
    }


def readers_page(state: ReviewState, agreement: ReaderAgreement) -> dict[str, object]:
    """Return the agreement of two readers, and every cell that they call differently."""
    kappa = agreement.kappa
    return {
        "cells": len(agreement.cells),
        "same": agreement.same,
        "share": agreement.share,
        "kappa": None if kappa is None else [kappa.value, *(kappa.interval or ())],
        "only_first": agreement.only_first,
        "only_second": agreement.only_second,
        "labels": agreement.labels,
        "table": agreement.table,
        "differing": [
            {
                "field": cell.field,
                "file": state.report.fields[cell.field].result.file,
                "cell": cell.key[1] if cell.key else None,
                "number": state.cells[cell.key].number if cell.key else None,
                "box": cell.box,
                "first": cell.first,
                "second": cell.second,
                "by_first": cell.by_first,
                "by_second": cell.by_second,
                "now": state.cells[cell.key].label if cell.key else None,
                "seen": state.cells[cell.key].last_decision if cell.key else 0,
            }
            for cell in agreement.differing
        ],
    }
