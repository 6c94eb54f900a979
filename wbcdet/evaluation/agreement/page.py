"""Write the comparison as one self-contained HTML page that prints on A4."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wbcdet.evaluation.agreement.compare import Agreement, CellAgreement
from wbcdet.evaluation.agreement.output import cells_of, group_rows, kappa_sentences, sentences
from wbcdet.evaluation.agreement.plots import plot_class
from wbcdet.records import NOTICE
from wbcdet.report.html.page import style
from wbcdet.utils.pages import render_page
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.version import __version__

#: Groups listed one by one; the rest is in agreement_groups.csv.
_MAX_GROUPS = 200


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of a table: its lines, and the class that marks it."""

    lines: Sequence[str]
    mark: str = ""


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the page; ``more`` rows and ``sentences`` stand beside it."""

    header: Sequence[str]
    rows: Sequence[Iterable[_Cell]]
    more: int = 0
    sentences: Sequence[str] = ()


def render(agreement: Agreement, ours: str, manual: str) -> str:
    """Write the page.

    Args:
        agreement: the comparison.
        ours, manual: how the two sides are called on the page.
    """
    classes, cells = agreement.classes, agreement.cells
    return render_page(
        __file__,
        style=style(),
        version=__version__,
        notice=NOTICE,
        ours=ours,
        manual=manual,
        sentences=[line for line in sentences(agreement) if line != NOTICE],
        figures=_figures(agreement) if classes else None,
        plots=[
            {"label": class_.label, "data": base64.b64encode(plot_class(class_)).decode("ascii")}
            for class_ in classes
        ],
        cells=_cells(cells) if cells is not None and cells.cells else None,
        groups=_groups(agreement) if classes else None,
    )


def _figures(agreement: Agreement) -> _Table:
    header = [" ", "manual", "wbcdet", "difference", "limits of agreement"]
    header += ["within binomial", "slope", "intercept"]
    rows = [map(_figure_cell, [class_.label, *cells_of(class_)]) for class_ in agreement.classes]
    return _Table(header, rows)


def _cells(cells: CellAgreement) -> _Table:
    rows = []
    for at, (name, counts) in enumerate(zip(cells.categories, cells.table, strict=True)):
        marked = [_Cell([str(count)], "same" * (place == at)) for place, count in enumerate(counts)]
        rows.append([_Cell([name]), *marked])
    header = ["manual \\ wbcdet", *cells.categories]
    return _Table(header, rows, sentences=kappa_sentences(cells))


def _groups(agreement: Agreement) -> _Table:
    by_group: dict[str, list[JsonObject]] = {}
    for row in group_rows(agreement):
        by_group.setdefault(row["group"], []).append(row)
    rows = []
    for group, classes in list(by_group.items())[:_MAX_GROUPS]:
        counted = f"{_count(classes[0]['manual_cells'])} / {_count(classes[0]['our_cells'])}"
        shares = [
            _Cell(
                [f"{row['manual_percent']:.1f} / {row['our_percent']:.1f}"],
                "out" * (row["inside"] is False),
            )
            for row in classes
        ]
        rows.append([_Cell([group]), _Cell([counted]), *shares])
    header = ["group", "cells", *(class_.label for class_ in agreement.classes)]
    return _Table(header, rows, more=max(0, len(by_group) - _MAX_GROUPS))


def _count(cells: float | None) -> str:
    return "?" if cells is None else f"{cells:.0f}"


def _figure_cell(text: str) -> _Cell:
    # An interval stands below its figure.
    first, *rest = text.split(" (")
    return _Cell([first, *(f"({part}" for part in rest)])
