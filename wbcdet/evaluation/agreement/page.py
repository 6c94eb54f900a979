"""The comparison as one self-contained HTML page that prints on A4."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from typing import Any

from wbcdet.evaluation.agreement.compare import Agreement, CellAgreement
from wbcdet.evaluation.agreement.output import cells_of, group_rows, kappa_sentences, sentences
from wbcdet.evaluation.agreement.plots import plot_class
from wbcdet.records import NOTICE
from wbcdet.report.html.page import style
from wbcdet.utils.version import __version__

#: Groups listed one by one; the rest is in agreement_groups.csv.
_MAX_GROUPS = 200

#: What this page has beside the style of all pages of results.
_STYLE = """
table.figures, table.cells, table.groups { font-size: .86rem; }
table.figures td { white-space: nowrap; vertical-align: top; }
table.groups td:first-child { overflow-wrap: anywhere; min-width: 8rem; }
td.same { background: #e3f1ea; font-weight: 600; }
td.out { background: #fbe9dd; font-weight: 600; }
figure { margin: .6rem 0 1.2rem; break-inside: avoid; }
figure img { width: 100%; max-width: 46rem; height: auto; }
figcaption { font-weight: 600; }
@media print { .card + .card { margin-top: 6mm; } tr { break-inside: avoid; }
  figure img { max-width: 150mm; } table { font-size: 8pt; } th, td { padding: .12rem .3rem; }
  h2, h2 + p { break-after: avoid; } }
"""

_HOW = """Difference: mean of wbcdet minus manual, in percentage points, with its 95 % interval.
Limits of agreement: where 95 % of the differences lie (Bland and Altman). Within binomial: groups
whose difference chance alone explains, as two counts of so many cells of one smear differ (95 %,
the median limit in parentheses); with good agreement about 19 in 20 are within. Slope and
intercept: Passing and Bablok's line through the shares, with 95 % intervals; equal methods give 1
and 0. It is worth little below about 30 groups."""


def render(agreement: Agreement, ours: str, manual: str) -> str:
    """The page.

    Args:
        agreement: the comparison.
        ours, manual: how the two sides are called on the page.
    """
    first = [
        '<header class="top"><h1>Agreement with the manual differential</h1>'
        f'<div class="name">{escape(ours)} and {escape(manual)}</div></header>',
        f'<p class="notice"><span>{escape(NOTICE)}</span>'
        f"<span>wbcdet {escape(__version__)}</span></p>",
        f'<p class="small soft">Ours: {escape(ours)}. Manual: {escape(manual)}.</p>',
    ]
    if agreement.classes:
        header = [" ", "manual", "wbcdet", "difference", "limits of agreement"]
        header += ["within binomial", "slope", "intercept"]
        rows = [map(_figure_cell, [one.label, *cells_of(one)]) for one in agreement.classes]
        first.append(_table(header, rows, "figures"))
    said = [line for line in sentences(agreement) if line != NOTICE]
    first.append(f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in said)}</ul>")
    cards = ["".join(first)]
    if agreement.classes:
        first.append(f'<p class="small soft">{_HOW}</p>')
        figures = [_figure(one.label, plot_class(one)) for one in agreement.classes]
        cards = ["".join(first), f"<h2>Cell types</h2>{''.join(figures)}"]
    if agreement.cells is not None and agreement.cells.cells:
        cards.append(_cells(agreement.cells))
    if agreement.classes:
        cards.append(_groups(agreement))
    body = "\n".join(f'<section class="card">{card}</section>' for card in cards)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>wbcdet: agreement with the manual differential</title>"
        f"<style>{style()}{_STYLE}</style></head><body><main>\n{body}\n</main></body></html>\n"
    )


def _figure(label: str, svg: bytes) -> str:
    data = base64.b64encode(svg).decode("ascii")
    return (
        f"<figure><figcaption>{escape(label)}</figcaption>"
        f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(label)}: wbcdet against '
        'manual, and differences against their mean"></figure>'
    )


def _cells(cells: CellAgreement) -> str:
    rows = []
    for at, (name, counts) in enumerate(zip(cells.categories, cells.table, strict=True)):
        marked = [_cell(str(count), "same" * (place == at)) for place, count in enumerate(counts)]
        rows.append([_cell(name), *marked])
    said = "".join(f"<p>{escape(line)}</p>" for line in kappa_sentences(cells))
    table = _table(["manual \\ wbcdet", *cells.categories], rows, "cells")
    return f"<h2>Cell by cell</h2>{said}{table}"


def _groups(agreement: Agreement) -> str:
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in group_rows(agreement):
        by_group.setdefault(row["group"], []).append(row)
    rows = []
    for group, found in list(by_group.items())[:_MAX_GROUPS]:
        counted = f"{_count(found[0]['manual_cells'])} / {_count(found[0]['our_cells'])}"
        shares = [
            _cell(
                f"{row['manual_percent']:.1f} / {row['our_percent']:.1f}",
                "out" * (row["inside"] is False),
            )
            for row in found
        ]
        rows.append([_cell(group), _cell(counted), *shares])
    more = len(by_group) - _MAX_GROUPS
    rest = f"<p>… and {more} more in agreement_groups.csv</p>" if more > 0 else ""
    table = _table(["group", "cells", *(one.label for one in agreement.classes)], rows, "groups")
    return (
        '<h2>Groups</h2><p class="small soft">Manual / wbcdet, percent; marked where the '
        f"difference is outside its binomial limit.</p>{table}{rest}"
    )


def _count(cells: float | None) -> str:
    return "?" if cells is None else f"{cells:.0f}"


def _cell(text: str, mark: str = "") -> str:
    return f'<td class="{mark}">{escape(text)}</td>' if mark else f"<td>{escape(text)}</td>"


def _figure_cell(text: str) -> str:
    # An interval stands below its figure.
    return _cell(text).replace(" (", "<br>(")


def _table(header: Iterable[str], rows: Iterable[Iterable[str]], kind: str) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{inner}</table></div>'
