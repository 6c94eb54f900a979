"""Tables on a terminal that are whole at any width: nothing is cut, no name or figure is folded."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console

#: Width where there is no terminal, as in a pipe or file, and ``COLUMNS`` names none.
_PIPE = 200
_GAP = 2
#: A text is not folded into less than this.
_MIN_TEXT = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its name, then its figures; what a short row lacks is empty."""

    cells: Sequence[str]
    style: str = ""


def terminal() -> Console:
    """Return standard output, as wide as the terminal or ``COLUMNS`` says; wide in a pipe."""
    told = os.environ.get("COLUMNS", "").isdecimal()
    return Console() if told or sys.stdout.isatty() else Console(width=_PIPE)


def print_table(
    console: Console, header: Sequence[str], rows: Sequence[Row], left: int = 1
) -> None:
    """Print a table.

    Where it is too wide, long names stand on lines of their own, and then columns go to further
    tables below, each with the names of the rows that have something there. A last column of texts
    that is too wide even there is folded between words.

    Args:
        console: where to.
        header: names of the columns, of several lines where they hold line breaks.
        rows: the first cell of each is its name; a row of a name alone is a line between rows.
        left: how many columns are aligned to the left; the others are figures.
    """
    room = console.width
    tops = [name.split("\n") for name in header]
    full = [[*row.cells, *[""] * (len(header) - len(row.cells))] for row in rows]
    widths = [
        max(
            *map(cell_len, top),
            *(cell_len(cells[at]) for cells in full if any(cells[1:]) or not at),
            0,
        )
        for at, top in enumerate(tops)
    ]
    figures = list(range(1, len(header)))
    apart = sum(widths) + _GAP * len(figures) > room and widths[0] > max(room // 4, 12)
    if apart:  # each name on a line of its own, its figures below
        widths[0] = min(widths[0], max(2, *map(cell_len, tops[0])))
    for number, block in enumerate(_blocks(figures, widths, room)):
        if number:
            console.print()
        columns = [0, *block]
        for line in range(max(len(tops[at]) for at in columns)):
            _print(console, [_line(tops[at], line, columns, tops) for at in columns], columns,
                   widths, left, "bold")  # fmt: skip
        for row, cells in zip(rows, full, strict=True):
            name, own = cells[0], [cells[at] for at in block]
            if not any(cells[1:]):
                _say(console, name, row.style)
                continue
            if number and not any(own):  # it stands above
                continue
            if apart and cell_len(name) > widths[0]:
                _say(console, name, row.style)
                name = ""
            start = widths[0] + _GAP
            more: list[str] = []
            if len(own) == 1 and block[0] < left and room - start >= _MIN_TEXT:
                own[0], *more = _folded(own[0], room - start)
            _print(console, [name, *own], columns, widths, left, row.style)
            for rest in more:
                _say(console, " " * start + rest, row.style)


def _blocks(figures: list[int], widths: list[int], room: int) -> list[list[int]]:
    """Columns that stand beside each other; at least one in each table."""
    blocks: list[list[int]] = [[]]
    taken = widths[0]
    for at in figures:
        if blocks[-1] and taken + _GAP + widths[at] > room:
            blocks.append([])
            taken = widths[0]
        blocks[-1].append(at)
        taken += _GAP + widths[at]
    return blocks


def _folded(text: str, room: int) -> list[str]:
    """Return the lines of a text; one that fits stays as it is."""
    if cell_len(text) <= room:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def _line(top: list[str], line: int, columns: list[int], tops: list[list[str]]) -> str:
    """Return a line of a column's name; short names stand at the bottom."""
    start = max(len(tops[at]) for at in columns) - len(top)
    return top[line - start] if line >= start else ""


def _print(
    console: Console,
    cells: Sequence[str],
    columns: Sequence[int],
    widths: Sequence[int],
    left: int,
    style: str,
) -> None:
    parts = []
    for text, at in zip(cells, columns, strict=True):
        blank = " " * (widths[at] - cell_len(text))
        parts.append(text + blank if at < left else blank + text)
    _say(console, (" " * _GAP).join(parts).rstrip(), style)


def _say(console: Console, line: str, style: str) -> None:
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
