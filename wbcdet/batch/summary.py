"""The table that a run prints: counts and shares per field and in all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from wbcdet.differential.differential import ALL, PRESENT, differential_of
from wbcdet.differential.slide_summary import SlideSummary, empty_fields, empty_line, unboxed_line
from wbcdet.records import ALL_LABELS, LABELS, NOTICE, CellType, FieldResult
from wbcdet.report.terminal import print_some
from wbcdet.utils.tables import Row, print_table
from wbcdet.utils.text import one_line

#: Fields shown one by one; a longer run shows its first ones and the rest is in fields.csv.
_MAX_ROWS = 30


def print_summary(
    console: Console,
    results: Sequence[FieldResult],
    out: Path,
    *,
    annotated: bool,
    slides: Sequence[SlideSummary] = (),
) -> None:
    """Print the table of a run, what to note, its failures, and where its files are.

    Shares are of the classified cells; unclassified cells are counted apart, by reason, with
    shares of all white cells.
    """
    read = [result for result in results if result.failure is None]
    failed = [result for result in results if result.failure is not None]
    named = {str(c.label) for result in read for c in result.cells}
    # What the classifier was taught stands there also where it has found none of it.
    taught = {label for slide in slides for label in slide.differential.counts}
    own = sorted((named | taught) - set(map(str, ALL_LABELS)))
    labels = (*map(str, LABELS), *own)
    rows = [
        Row((one_line(result.file), *_figures([result], labels, shares=len(read) == 1)))
        for result in read[:_MAX_ROWS]
    ]
    if len(read) > _MAX_ROWS:
        rows.append(Row((f"… and {len(read) - _MAX_ROWS} more in fields.csv",)))
    if len(read) != 1:
        rows.append(Row(("in all", *_figures(read, labels)), "bold"))
    print_table(console, ("field", "cells", *labels, "un-\nclassified"), rows)
    for line, style in [*_reasons(read), *_notes(read, slides)]:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    notes = [
        f"note: {one_line(result.file)}: {'; '.join(result.remarks)}"
        for result in read
        if result.remarks
    ]
    print_some(console, notes, "yellow")
    failures = [f"not read: {one_line(result.file)}: {result.failure}" for result in failed]
    print_some(console, failures, "red")
    fields = f"{len(read)} field{'s' * (len(read) != 1)} analysed"
    if failed:
        fields += f", {len(failed)} not read"
    files = ["results.json", "cells.csv", "fields.csv", *(["annotated/"] * annotated)]
    for line in (f"{fields}. {NOTICE}", f"Files in {out}: {', '.join(files)}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _reasons(results: Sequence[FieldResult]) -> list[tuple[str, str]]:
    """Return names of which a single cell matters, and why cells are unclassified, a line each with
    its style."""
    differential = differential_of(cell for result in results for cell in result.cells)
    # A taught classifier names what the shipped one leaves unclassified.
    lines = [
        (f"  {share.label}: {share.count} ◄ look at each", "bold yellow")
        for share in differential.shares()
        if share.flag == PRESENT
    ]
    named = len(lines)
    for share in differential.reasons():
        of = "no white cells" if share.percent is None else f"{share.percent:.1f} %"
        mark = " ◄ look at each" if share.flag else ""
        text = f"  unclassified, {share.label}: {share.count} ({of}){mark}"
        lines.append((text, "bold yellow" if share.flag else ""))
    if len(lines) > named:
        lines.append((f"  (% of all {differential.white_cells} white cells)", ""))
    return lines


def _notes(results: Sequence[FieldResult], slides: Sequence[SlideSummary]) -> list[tuple[str, str]]:
    """Return what must not be overlooked, a line each with its style."""
    empty = empty_line(empty_fields(results), len(results))
    unboxed = unboxed_line([nucleus for slide in slides for nucleus in slide.ground.unboxed])
    lines = [(line, "yellow") for line in (empty, unboxed) if line]
    for slide in slides:
        if warning := slide.ground.warning():
            name = slide.differential.group
            start = "" if name == ALL else f"{one_line(name)}: "
            lines.append((f"{start}{warning}", "bold yellow"))
    return lines


def _figures(
    results: Sequence[FieldResult], labels: Sequence[str], *, shares: bool = True
) -> list[str]:
    """Return counts, with shares where there is more than one cell to share among."""
    counts = Counter(str(cell.label) for result in results for cell in result.cells)
    classified = sum(counts[label] for label in labels)
    said = [
        f"{counts[label]} ({counts[label] / classified:.0%})"
        if shares and classified > 1
        else str(counts[label])
        for label in labels
    ]
    total = classified + counts[CellType.UNCLASSIFIED.value]
    return [str(total), *said, str(counts[CellType.UNCLASSIFIED.value])]
