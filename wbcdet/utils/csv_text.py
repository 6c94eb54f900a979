"""CSV tables whose texts no spreadsheet takes for a formula, whatever a file is called."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

#: What a spreadsheet may take for the beginning of a formula: = + - @, also in full width, or a tab
#: or line break before it; at the start of a cell or behind a sign that another spreadsheet's
#: settings take for the end of one.
_FORMULA = re.compile(r"((?:^|[;,\t\r\n\"|])[\s']*?)(?=[=+\-@\t\r\n＝＋－＠])")
_HARMLESS = re.compile(r"((?:^|[;,\t\r\n\"|])[\s']*?)'(?=[=+\-@\t\r\n＝＋－＠])")

_LINE_END = "\r\n"


def harmless(value: Any) -> Any:
    """Return a value of a table, with an apostrophe before whatever a spreadsheet may run as a
    formula.

    ``=1+1`` becomes ``'=1+1``. Numbers, and all other texts, stay as they are.
    """
    return _FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def original(text: str) -> str:
    """Return the text that :func:`harmless` was given: without its apostrophes."""
    return _HARMLESS.sub(r"\1", text)


class _Lines:
    """Ends the lines of a table with a line feed alone.

    The module puts a text into quotes where it holds a sign of the line end. To it that end has a
    carriage return, which unquoted would break a row in two.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(f"{line.removesuffix(_LINE_END)}\n")


def table_writer(file: TextIO) -> Any:
    """Return a ``csv.writer`` whose lines end with a line feed, whatever its texts hold."""
    return csv.writer(_Lines(file), lineterminator=_LINE_END)


def write_rows(
    file: TextIO, columns: tuple[str, ...], rows: Iterable[Mapping[str, object]]
) -> None:
    """Write a table: its header, then the rows; every text is :func:`harmless`.

    Args:
        file: open for text, with ``newline=""``.
        columns: names of the columns.
        rows: values by column; what a row lacks is empty.
    """
    table = csv.DictWriter(_Lines(file), columns, restval=None, lineterminator=_LINE_END)
    table.writeheader()
    for row in rows:
        table.writerow({name: harmless(value) for name, value in row.items()})
