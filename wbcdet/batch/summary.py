"""The table that a run prints: counts and shares per field and in all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wbcdet.records import LABELS, NOTICE, CellType, FieldResult, count_labels
from wbcdet.utils.text import one_line

#: Fields shown one by one; a longer run shows its first ones and the rest is in fields.csv.
_MAX_ROWS = 30


def print_summary(
    console: Console, results: Sequence[FieldResult], out: Path, *, annotated: bool
) -> None:
    """Print the table of a run, its failures, and where its files are.

    Shares are of the classified cells; unclassified cells are counted apart.
    """
    read = [result for result in results if result.failure is None]
    failed = [result for result in results if result.failure is not None]
    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("field", overflow="fold")
    table.add_column("cells", justify="right")
    for label in LABELS:
        table.add_column(str(label), justify="right", no_wrap=True)
    table.add_column("un-\nclassified", justify="right", no_wrap=True)
    for result in read[:_MAX_ROWS]:
        table.add_row(escape(one_line(result.file)), *_figures([result]))
    if len(read) > _MAX_ROWS:
        table.add_row(f"… and {len(read) - _MAX_ROWS} more in fields.csv")
    if len(read) != 1:
        table.add_section()
        table.add_row("in all", *_figures(read), style="bold")
    console.print(table)
    notes = [f"note: {one_line(one.file)}: {'; '.join(one.remarks)}" for one in read if one.remarks]
    print_some(console, notes, "yellow")
    failures = [f"not read: {one_line(result.file)}: {result.failure}" for result in failed]
    print_some(console, failures, "red")
    fields = f"{len(read)} field{'s' * (len(read) != 1)} analysed"
    if failed:
        fields += f", {len(failed)} not read"
    files = ["results.json", "cells.csv", "fields.csv", *(["annotated/"] * annotated)]
    for line in (f"{fields}. {NOTICE}", f"Files in {out}: {', '.join(files)}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_some(console: Console, lines: Sequence[str], style: str) -> None:
    """Print the first lines of a list, and how many more there are in ``fields.csv``."""
    for line in lines[:_MAX_ROWS]:
        # Whole lines: a reason that is folded in the middle is hard to search for.
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    if len(lines) > _MAX_ROWS:
        console.print(f"… and {len(lines) - _MAX_ROWS} more in fields.csv", style=style)


def _figures(results: Sequence[FieldResult]) -> list[str]:
    counts = count_labels(results)
    classified = sum(counts[label] for label in LABELS)
    shares = [
        f"{counts[label]} ({counts[label] / classified:.0%})" if classified else "0"
        for label in LABELS
    ]
    total = classified + counts[CellType.UNCLASSIFIED]
    return [str(total), *shares, str(counts[CellType.UNCLASSIFIED])]
