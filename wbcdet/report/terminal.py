"""The table that a count prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from wbcdet.differential.differential import (
    ALL,
    PRESENT,
    Differential,
    Share,
    overview_labels,
)
from wbcdet.differential.grouping import no_group_warning
from wbcdet.differential.slide_summary import copies_line, empty_line, scale_lines, unboxed_line
from wbcdet.records import NOTICE, REASONS
from wbcdet.report.counts import BAD_FIELD, DUPLICATE, EDGE, ReportCounts
from wbcdet.report.html.slide_sheet import together_lines
from wbcdet.utils.tables import Row, print_table, terminal
from wbcdet.utils.text import one_line, plural
from wbcdet.utils.words import speaking_english

#: Slides shown one by one, and fields that could not be read; the rest is in the files.
_MAX_ROWS = 30


def print_some(console: Console, lines: Sequence[str], style: str) -> None:
    """Print the first lines of a list, and how many more there are in ``fields.csv``."""
    for line in lines[:_MAX_ROWS]:
        # Whole lines: a reason that is folded in the middle is hard to search for.
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
    if len(lines) > _MAX_ROWS:
        console.print(f"… and {len(lines) - _MAX_ROWS} more in fields.csv", style=style)


def unknown_slides(counts: ReportCounts) -> list[str]:
    """Name the slides of ``--ids`` that the report does not have, in a line."""
    unknown = sorted(set(counts.options.identifiers) - set(counts.notes))
    return [f"--ids: no slide is called {', '.join(map(one_line, unknown))}"] if unknown else []


@speaking_english()
def print_count(counts: ReportCounts, out: Path, *, annotated: bool, pdf: bool = False) -> None:
    """Print the differential of every slide, what to note, and where the files are."""
    console = terminal()
    print_differentials(console, counts.differentials)
    for line in alarms(counts):
        console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    for line in [*unknown_slides(counts), *_notes(counts)]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    remarks = [
        f"note: {one_line(file)}: {'; '.join(what)}"
        for notes in counts.notes.values()
        for file, what in notes.remarks
    ]
    print_some(console, remarks, "yellow")
    failures = [
        f"not read: {one_line(file)}: {why}"
        for notes in counts.notes.values()
        for file, why in notes.failures
    ]
    print_some(console, failures, "red")
    files = "report.html, " + "report.pdf, " * pdf
    files += "report.xlsx, differential.csv, cells.csv, fields.csv, results.json, cells/"
    files += ", annotated/" * annotated + ", maps/" * (out / "maps").is_dir()
    for line in (NOTICE, f"Files in {out}: {files}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def print_differentials(console: Console, differentials: list[Differential]) -> None:
    """Print the differential of one slide, or a line for each of several."""
    if len(differentials) == 1:
        _print_one(console, differentials[0])
    else:
        _print_many(console, differentials)


def _print_one(console: Console, differential: Differential) -> None:
    rows = [
        Row(_figures(share), "bold yellow" if share.flag == PRESENT else "")
        for share in differential.shares()
    ]
    for share in differential.together():
        labels = " + ".join(differential.labels_of(share.label))
        rows.append(Row(_figures(replace(share, label=labels), "  ")))
    rows.append(Row(("classified", str(differential.classified)), "bold"))
    unclassified = sum(differential.unclassified.values())
    rows.append(Row(("unclassified", str(unclassified))))
    for share in differential.reasons():
        rows.append(Row(_figures(share, "  "), "bold yellow" if share.flag else ""))
    if unclassified:
        rows.append(Row((f"  (% of all {differential.white_cells} white cells)",)))
    header = ("cell type", "cells", "%", "95 % interval", "reference", "flag")
    print_table(console, header, rows)


def _figures(share: Share, indent: str = "") -> tuple[str, ...]:
    known = f"{share.range.low:g} - {share.range.high:g}" if share.range else ""
    percent = "" if share.percent is None else f"{share.percent:.1f}"
    interval = "" if share.ci_low is None else f"{share.ci_low:.1f} - {share.ci_high:.1f}"
    return f"{indent}{share.label}", str(share.count), percent, interval, known, share.flag


def _print_many(console: Console, differentials: list[Differential]) -> None:
    reasons = [
        r for r in REASONS if any(r in differential.unclassified for differential in differentials)
    ]
    labels = overview_labels(differentials)
    header = ("slide", "classified", *(f"{label}\n%" for label in labels), "un-\nclassified")
    header += tuple(f"{reason}\ncells (%)" for reason in reasons)
    rows = []
    for differential in differentials[:_MAX_ROWS]:
        shares = {share.label: share for share in differential.shares()}
        why = {share.label: share for share in differential.reasons()}
        cells = (
            one_line(differential.group),
            str(differential.classified),
            # No cell of a label that another slide has.
            *(
                _percent(shares[label])
                if label in shares
                else "0.0" * bool(differential.classified)
                for label in labels
            ),
            str(sum(differential.unclassified.values())),
            *(_counted(why.get(reason)) for reason in reasons),
        )
        rows.append(Row(cells))
    if len(differentials) > _MAX_ROWS:
        rows.append(Row((f"… and {len(differentials) - _MAX_ROWS} more in differential.csv",)))
    print_table(console, header, rows)
    if reasons:
        console.print("(% of reasons: of all white cells)", highlight=False, soft_wrap=True)
    # The column of a type has no flag where a part of it has a column of its own.
    together = [
        f"{one_line(differential.group)}: {line}"
        for differential in differentials
        for line in together_lines(differential, flagged=True)
    ]
    for line in together[:_MAX_ROWS]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(together) > _MAX_ROWS:
        more = f"… and {len(together) - _MAX_ROWS} more in report.html"
        console.print(more, highlight=False, soft_wrap=True)


def _percent(share: Share) -> str:
    return "" if share.percent is None else f"{share.percent:.1f} {share.flag}".strip()


def _counted(share: Share | None) -> str:
    """Return the cells of a reason, their share of all white cells, which artefacts lack, and a
    flag."""
    if share is None:
        return ""
    percent = "" if share.percent is None else f" ({share.percent:.1f})"
    return f"{share.count}{percent} {share.flag}".strip()


def alarms(counts: ReportCounts) -> list[str]:
    """Return what must not be overlooked: cells that matter one by one, slides on unknown
    ground."""
    lines = []
    for differential in counts.differentials:
        warning = counts.notes[differential.group].ground.warning()
        lines += [
            line
            for line in (differential.alarm(), warning and f"{differential.group}: {warning}")
            if line
        ]
    if len(lines) > _MAX_ROWS:
        lines = [*lines[:_MAX_ROWS], f"… and {len(lines) - _MAX_ROWS} more in report.html"]
    return [one_line(line.removeprefix(f"{ALL}: ")) for line in lines]


def _notes(counts: ReportCounts) -> list[str]:
    lines = [
        warning for differential in counts.differentials if (warning := differential.warning())
    ]
    if len(lines) > _MAX_ROWS:
        lines = [*lines[:_MAX_ROWS], f"… and {len(lines) - _MAX_ROWS} more slides short of cells"]
    lines = [line.removeprefix(f"{ALL}: ") for line in lines]
    notes = list(counts.notes.values())
    if counts.options.dedupe:
        pairs = sum(note.overlapping or 0 for note in notes)
        repeated = sum(note.left_out[DUPLICATE] for note in notes)
        lines.append(
            f"overlapping: {plural(pairs, 'pair')} of fields; "
            f"{plural(repeated, 'cell')} seen again, "
            "counted once (duplicate_of in cells.csv)"
        )
    empty = [file for note in notes for file in note.empty]
    if line := empty_line(empty, sum(note.read for note in notes)):
        lines.append(line)
    if line := unboxed_line([nucleus for note in notes for nucleus in note.ground.unboxed]):
        lines.append(line)
    if line := copies_line([pair for note in notes for pair in note.copies]):
        lines.append(line)
    if counts.options.exclude_edge:
        cut = sum(note.left_out[EDGE] for note in notes)
        lines.append(f"{plural(cut, 'cell')} cut by the border of a field, left out")
    lines += [line for note in notes for line in scale_lines(note.diameters)]
    problems = sum(len(note.problems) for note in notes)
    if problems:
        cells = plural(sum(note.left_out[BAD_FIELD] for note in notes), "cell")
        what = (
            f"left out with {cells}"
            if counts.options.skip_bad
            else "counted; --skip-bad leaves them out"
        )
        lines.append(f"{plural(problems, 'field')} with quality problems, {what}")
    if warning := no_group_warning(counts.ungrouped()):
        lines.append(warning)
    read, failed = sum(note.read for note in notes), sum(len(note.failures) for note in notes)
    skipped = sum(note.skipped for note in notes)
    fields = f"{plural(read - skipped, 'field')} counted"
    if skipped:
        fields += f", {skipped} left out"
    lines.append(f"{fields}, {failed} not read." if failed else f"{fields}.")
    return lines
