"""Write the comparison as a table on the terminal, as CSV and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console

from wbcdet.evaluation.agreement.compare import Agreement, CellAgreement, ClassAgreement
from wbcdet.records import NOTICE
from wbcdet.utils.kappa import NO_INTERVAL, Kappa
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.tables import Row, print_table
from wbcdet.utils.text import decimal, signed
from wbcdet.utils.version import __version__

FORMAT = "wbcdet-agreement/1"

#: Header of ``agreement.csv``, one row a label.
CLASS_COLUMNS: tuple[str, ...] = (
    "label",
    "groups",
    "manual_mean",
    "our_mean",
    "bias",
    "bias_low",
    "bias_high",
    "limit_low",
    "limit_high",
    "typical_binomial_limit",
    "inside_binomial_limit",
    "with_binomial_limit",
    "slope",
    "slope_low",
    "slope_high",
    "intercept",
    "intercept_low",
    "intercept_high",
    "not_computed",
)

#: Header of ``agreement_groups.csv``, one row a group and label.
GROUP_COLUMNS: tuple[str, ...] = (
    "group",
    "label",
    "manual_percent",
    "manual_cells",
    "our_percent",
    "our_cells",
    "difference",
    "binomial_limit",
    "inside",
)


def class_rows(agreement: Agreement) -> list[dict[str, object]]:
    """Return one row a label under ``CLASS_COLUMNS``; what could not be computed is None."""
    return [_class_row(compared) for compared in agreement.classes]


def group_rows(agreement: Agreement) -> Iterator[JsonObject]:
    """Yield one row a group and label under ``GROUP_COLUMNS``."""
    for compared in agreement.classes:
        for pair in compared.pairs:
            values = (
                pair.group,
                compared.label,
                _rounded(pair.manual),
                _rounded(pair.manual_cells),
                _rounded(pair.ours),
                _rounded(pair.our_cells),
                _rounded(pair.difference),
                _rounded(pair.limit),
                pair.inside,
            )
            yield dict(zip(GROUP_COLUMNS, values, strict=True))


def to_json(agreement: Agreement, ours: str, manual: str) -> str:
    """Return the whole comparison as JSON text."""
    document = {
        "format": FORMAT,
        "info": {"wbcdet": __version__, "notice": NOTICE, "ours": ours, "manual": manual},
        "classes": class_rows(agreement),
        "groups": list(group_rows(agreement)),
        "cells": None if agreement.cells is None else _cells(agreement.cells),
        "notes": list(agreement.notes),
    }
    return json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def print_agreement(console: Console, agreement: Agreement) -> None:
    """Print the comparison, one row a label."""
    if agreement.classes:
        header = ["percentage\npoints", "manual", "ours", "difference", "limits of\nagreement"]
        header += ["within\nbinomial", "slope", "intercept"]
        rows = [Row((class_.label, *cells_of(class_))) for class_ in agreement.classes]
        print_table(console, header, rows)
    for line in sentences(agreement):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def cells_of(compared: ClassAgreement) -> list[str]:
    """Return the figures of one label as they are printed, ``-`` without one."""
    differences, line = compared.differences, compared.line
    within = "-"
    if compared.limited:
        within = f"{compared.inside} of {compared.limited} (±{compared.typical_limit:.1f})"
    return [
        f"{compared.manual_mean:.1f}",
        f"{compared.our_mean:.1f}",
        _with(differences.bias, differences.bias_low, differences.bias_high, 1, sign=True),
        "-"
        if differences.limit_low is None or differences.limit_high is None
        else f"{signed(differences.limit_low)} to {signed(differences.limit_high)}",
        within,
        "-" if line is None else _with(line.slope, line.slope_low, line.slope_high, 2),
        "-"
        if line is None
        else _with(line.intercept, line.intercept_low, line.intercept_high, 1, sign=True),
    ]


def sentences(agreement: Agreement) -> list[str]:
    """Return the sentences below the table: groups, kappa, missing figures, notes and the
    notice."""
    lines = []
    if agreement.classes:
        count = agreement.groups
        lines.append(f"{count} group{'s' * (count != 1)} compared, ours minus manual.")
    if agreement.cells and agreement.cells.cells:
        lines += kappa_sentences(agreement.cells)
    for text in dict.fromkeys(text for compared in agreement.classes for text in compared.missing):
        those = [compared.label for compared in agreement.classes if text in compared.missing]
        who = "" if len(those) == len(agreement.classes) else f" ({', '.join(those)})"
        lines.append(f"Not computed{who}: {text}.")
    return [*lines, *(f"Note: {note}." for note in agreement.notes), NOTICE]


def kappa_sentences(cells: CellAgreement) -> list[str]:
    """Return the agreement cell by cell in words."""
    start = f"{cells.same} of {cells.cells} cells have the same name on both sides"
    if cells.kappa is None or cells.weighted is None:
        return [f"{start}; kappa is not defined where both sides always say the same one name."]
    return [
        f"{start}; Cohen's kappa {_kappa(cells.kappa)}, weighted {_kappa(cells.weighted)} "
        "(a cell that one side left unclassified is half an error)."
    ]


def _class_row(compared: ClassAgreement) -> dict[str, object]:
    differences, line = compared.differences, compared.line
    figures = (
        compared.manual_mean,
        compared.our_mean,
        differences.bias,
        differences.bias_low,
        differences.bias_high,
        differences.limit_low,
        differences.limit_high,
        compared.typical_limit,
    )
    of_line = (
        (None,) * 6
        if line is None
        else (
            line.slope,
            line.slope_low,
            line.slope_high,
            line.intercept,
            line.intercept_low,
            line.intercept_high,
        )
    )
    values = (
        compared.label,
        len(compared.pairs),
        *map(_rounded, figures),
        compared.inside if compared.limited else None,
        compared.limited,
        *map(_rounded, of_line),
        "; ".join(compared.missing) or None,
    )
    return dict(zip(CLASS_COLUMNS, values, strict=True))


def _cells(cells: CellAgreement) -> dict[str, object]:
    def plain(kappa: Kappa | None) -> dict[str, float | None] | None:
        if kappa is None:
            return None
        low, high = kappa.interval or (None, None)
        return {
            "value": _rounded(kappa.value),
            "low": _rounded(low),
            "high": _rounded(high),
        }

    return {
        "categories": list(cells.categories),
        "table": [list(row) for row in cells.table],
        "cells": cells.cells,
        "same": cells.same,
        "unmatched": cells.unmatched,
        "kappa": plain(cells.kappa),
        "weighted_kappa": plain(cells.weighted),
    }


def _kappa(kappa: Kappa) -> str:
    if kappa.interval is None:
        return f"{decimal(kappa.value, 2)} ({NO_INTERVAL})"
    low, high = (decimal(end, 2) for end in kappa.interval)
    return f"{decimal(kappa.value, 2)} (95 % {low} to {high})"


def _with(
    value: float, low: float | None, high: float | None, digits: int, *, sign: bool = False
) -> str:
    def text(figure: float) -> str:
        return signed(figure, digits) if sign else decimal(figure, digits)

    if low is None or high is None:
        return text(value)
    return f"{text(value)} ({text(low)} to {text(high)})"


def _rounded(value: float | None) -> float | None:
    # Adding zero turns a rounded -0.0 into 0.0.
    return None if value is None else round(value, 4) + 0.0
