"""The table that a count prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wbcdet.differential.differential import ALL, Differential, Share
from wbcdet.differential.grouping import no_group_warning
from wbcdet.differential.slide_summary import empty_line
from wbcdet.records import LABELS, NOTICE, REASONS
from wbcdet.report.counts import DUPLICATE, ReportCounts
from wbcdet.utils.text import one_line, plural

#: Slides shown one by one, and fields that could not be read; the rest is in the files.
_MAX_ROWS = 30


def print_some(console: Console, lines: Sequence[str], style: str) -> None:
    """Print the first lines of a list, and how many more there are in ``fields.csv``."""
    for line in lines[:_MAX_ROWS]:
        # Whole lines: a reason that is folded in the middle is hard to search for.
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    if len(lines) > _MAX_ROWS:
        console.print(f"… and {len(lines) - _MAX_ROWS} more in fields.csv", style=style)


def print_count(tally: ReportCounts, out: Path, *, annotated: bool) -> None:
    """Print the differential of every slide, what to note, and where the files are."""
    # In a pipe or file nothing is folded to a terminal's width.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table(tally.differentials))
    for line in alarms(tally):
        console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    for line in _notes(tally):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    remarks = [
        f"note: {one_line(file)}: {'; '.join(what)}"
        for notes in tally.notes.values()
        for file, what in notes.remarks
    ]
    print_some(console, remarks, "yellow")
    failures = [
        f"not read: {one_line(file)}: {why}"
        for notes in tally.notes.values()
        for file, why in notes.failures
    ]
    print_some(console, failures, "red")
    files = "report.html, differential.csv, cells.csv, fields.csv, results.json, cells/"
    files += ", annotated/" * annotated
    for line in (NOTICE, f"Files in {out}: {files}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def table(found: list[Differential]) -> Table:
    """Return the differential of one slide, or a line for each of several."""
    return _one(found[0]) if len(found) == 1 else _many(found)


def _one(differential: Differential) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("cell type")
    for name in ("cells", "%", "95 % interval", "reference"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("flag")
    for share in differential.shares():
        known = f"{share.range.low:g} - {share.range.high:g}" if share.range else ""
        percent = "" if share.percent is None else f"{share.percent:.1f}"
        interval = "" if share.ci_low is None else f"{share.ci_low:.1f} - {share.ci_high:.1f}"
        table.add_row(share.label, str(share.count), percent, interval, known, share.flag)
    table.add_row("classified", str(differential.classified), style="bold")
    unclassified = sum(differential.unclassified.values())
    of = f", % of all {differential.white_cells} white cells" if unclassified else ""
    table.add_row(f"unclassified{of}", str(unclassified))
    for share in differential.reasons():
        percent = "" if share.percent is None else f"{share.percent:.1f}"
        interval = "" if share.ci_low is None else f"{share.ci_low:.1f} - {share.ci_high:.1f}"
        style = "bold yellow" if share.flag else ""
        table.add_row(
            f"  {share.label}", str(share.count), percent, interval, "", share.flag, style=style
        )
    return table


def _many(found: list[Differential]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("slide", overflow="fold")
    table.add_column("classified", justify="right")
    for label in LABELS:
        table.add_column(f"{label} %", justify="right", no_wrap=True)
    table.add_column("unclassified", justify="right")
    reasons = [r for r in REASONS if any(r in one.unclassified for one in found)]
    for reason in reasons:
        table.add_column(f"{reason} %", justify="right")
    for one in found[:_MAX_ROWS]:
        shares = {share.label: share for share in [*one.shares(), *one.reasons()]}
        table.add_row(
            escape(one_line(one.group)),
            str(one.classified),
            *(
                "" if shares[str(label)].percent is None else _cell(shares[str(label)])
                for label in LABELS
            ),
            str(sum(one.unclassified.values())),
            *(_cell(shares.get(reason)) for reason in reasons),
        )
    if len(found) > _MAX_ROWS:
        table.add_row(f"… and {len(found) - _MAX_ROWS} more in differential.csv")
    return table


def _cell(share: Share | None) -> str:
    """Return a share with its flag; the number of cells where they have none."""
    if share is None:
        return ""
    said = f"{share.count} cells" if share.percent is None else f"{share.percent:.1f}"
    return f"{said} {share.flag}".strip()


def alarms(tally: ReportCounts) -> list[str]:
    """Return what must not be overlooked: cells that matter one by one, slides on unknown
    ground."""
    lines = []
    for one in tally.differentials:
        warning = tally.notes[one.group].ground.warning()
        lines += [line for line in (one.alarm(), warning and f"{one.group}: {warning}") if line]
    if len(lines) > _MAX_ROWS:
        lines = [*lines[:_MAX_ROWS], f"… and {len(lines) - _MAX_ROWS} more in report.html"]
    return [one_line(line.removeprefix(f"{ALL}: ")) for line in lines]


def _notes(tally: ReportCounts) -> list[str]:
    lines = [warning for one in tally.differentials if (warning := one.warning())]
    if len(lines) > _MAX_ROWS:
        lines = [*lines[:_MAX_ROWS], f"… and {len(lines) - _MAX_ROWS} more slides short of cells"]
    lines = [line.removeprefix(f"{ALL}: ") for line in lines]
    notes = list(tally.notes.values())
    if tally.options.dedupe:
        pairs = sum(one.overlapping or 0 for one in notes)
        seen = sum(one.left_out[DUPLICATE] for one in notes)
        lines.append(
            f"overlapping: {plural(pairs, 'pair')} of fields; {plural(seen, 'cell')} seen again, "
            "counted once (duplicate_of in cells.csv)"
        )
    empty = [file for one in notes for file in one.empty]
    if line := empty_line(empty, sum(one.read for one in notes)):
        lines.append(line)
    problems = sum(len(one.problems) for one in notes)
    if problems:
        what = "left out" if tally.options.skip_bad else "counted; --skip-bad leaves them out"
        lines.append(f"{plural(problems, 'field')} with quality problems, {what}")
    if warning := no_group_warning(tally.ungrouped()):
        lines.append(warning)
    read, failed = sum(one.read for one in notes), sum(len(one.failures) for one in notes)
    fields = f"{plural(read, 'field')} counted"
    lines.append(f"{fields}, {failed} not read." if failed else f"{fields}.")
    return lines
