"""Summarise a slide: differential, fields without a cell, comparison with the training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from wbcdet.differential.differential import ALL, Differential, differentials
from wbcdet.differential.grouping import FOLDER, group_of
from wbcdet.inference.cards import GroundCard
from wbcdet.inference.domain_shift import GroundVerdict, compare
from wbcdet.inference.unboxed_nuclei import UnboxedNucleus
from wbcdet.io.source import RootInfo, below
from wbcdet.records import FieldResult
from wbcdet.utils.text import one_line
from wbcdet.utils.words import _, plural_of

#: Names in a line; the rest is counted.
_MAX_NAMED = 3
#: Median diameter of the white cells of a slide, µm, between which any blood has it, and cells from
#: which it is told.
_LEAST_UM, _MOST_UM, _ENOUGH = 8.0, 20.0, 5


@dataclass(frozen=True, slots=True)
class SlideSummary:
    """One slide of a run.

    Attributes:
        differential: its counts.
        empty: fields that were read and in which no cell was found.
        ground: whether it is like what the models were trained on.
    """

    differential: Differential
    empty: Sequence[str]
    ground: GroundVerdict

    def to_dict(self) -> dict[str, object]:
        """Return the slide as it stands in ``results.json``."""
        differential = self.differential
        return {
            "group": differential.group,
            "fields": differential.fields,
            "not_read": differential.not_read,
            "without_cell": list(self.empty),
            "classified": differential.classified,
            "white_cells": differential.white_cells,
            "differential": [
                {name: value for name, value in row.items() if name not in ("group", "classified")}
                for row in differential.rows()
            ],
            "ground": self.ground.to_dict(),
        }


def summarise(
    results: Sequence[FieldResult],
    reference: GroundCard | None,
    roots: Sequence[RootInfo] = (),
    labels: Sequence[str] = (),
) -> list[SlideSummary]:
    """Return the slides of a run that was not told which field is of which: a folder is one.

    Args:
        results: the record of every field.
        reference: what they are compared with (``Analyzer.info()["ground"]``).
        roots: where the fields are (``info.sources``); folders are told below them.
        labels: as of ``differentials``.
    """

    def folder_of(file: str) -> str:
        return group_of(below(file, roots), FOLDER)

    folders: dict[str, list[FieldResult]] = {}
    for result in results:
        folders.setdefault(folder_of(result.file), []).append(result)
    by = folder_of if len(folders) > 1 else None
    groups = folders if by else {ALL: list(results)}
    return [
        SlideSummary(
            differential,
            empty_fields(groups[differential.group]),
            compare(groups[differential.group], reference),
        )
        for differential in differentials(results, by=by, labels=labels)
    ]


def empty_fields(results: Sequence[FieldResult]) -> list[str]:
    """Return the fields that were read and in which no cell was found."""
    return [result.file for result in results if result.failure is None and not result.cells]


def empty_line(empty: Sequence[str], fields: int) -> str | None:
    """Count and name the fields without a cell in one line; None where all have cells."""
    if not empty:
        return None
    of = plural_of("{n} field", "{n} fields", fields)
    return plural_of(
        "{n} of {fields} holds no cell that was found ({names}): look whether cells were missed "
        "there",
        "{n} of {fields} hold no cell that was found ({names}): look whether cells were missed "
        "there",
        len(empty), fields=of, names=_named(empty),
    )  # fmt: skip


def unboxed_line(unboxed: Sequence[UnboxedNucleus]) -> str | None:
    """Count the nuclei that lie in no box and name their fields in one line; None without any."""
    if not unboxed:
        return None
    files = list(dict.fromkeys(nucleus.file for nucleus in unboxed))
    return plural_of(
        "{n} spot outside the boxes has the colour and size of a nucleus ({names}): look whether "
        "a cell was missed there",
        "{n} spots outside the boxes have the colour and size of nuclei ({names}): look whether "
        "cells were missed there",
        len(unboxed), names=_named(files),
    )  # fmt: skip


def copies_line(copies: Sequence[tuple[str, str]]) -> str | None:
    """Count and name the fields that are copies of others, in one line; None without any.

    Args:
        copies: the field, and that whose copy it is.
    """
    if not copies:
        return None
    pairs = [f"{copy} = {of}" for copy, of in copies]
    return plural_of(
        "{n} field is a copy of another ({names}): its cells count once more; remove it",
        "{n} fields are copies of others ({names}): their cells count once more; remove them",
        len(copies), names=_named(pairs),
    )  # fmt: skip


def scale_lines(diameters: Mapping[str, Sequence[float]]) -> list[str]:
    """Name the slides whose cells are too small or too large for white cells, a line each: their
    scale is wrong.

    Args:
        diameters: of the white cells, µm, by slide.
    """
    medians = {slide: median(of) for slide, of in diameters.items() if len(of) >= _ENOUGH}
    return [
        _(
            "white cells of {slide} would be {um} µm wide (median), and are {least} to {most} in "
            "blood: areas, sizes and names are not to be trusted; give its true scale with "
            "--um-per-px",
            slide=one_line(slide), um=f"{um:.1f}", least=f"{_LEAST_UM:g}", most=f"{_MOST_UM:g}",
        )
        for slide, um in medians.items()
        if not _LEAST_UM <= um <= _MOST_UM
    ]  # fmt: skip


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(one_line(name) for name in names[:_MAX_NAMED])
    if len(names) > _MAX_NAMED:
        shown = _("{names} and {n} more", names=shown, n=len(names) - _MAX_NAMED)
    return shown
