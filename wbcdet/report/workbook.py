"""The tables of a report as one Excel file, in which nothing is a formula or a link."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from wbcdet.records import NOTICE
from wbcdet.utils.files import open_atomic

#: Rows below the header that a sheet holds, and letters that a cell does.
_MAX_ROWS, _MAX_LETTERS = 1_048_575, 32_767
#: Width of a column, in digits.
_WIDTH = 14

#: A table: the names of its columns, and its rows by column.
Table = tuple[Sequence[str], Iterable[Mapping[str, object]]]


def write_workbook(path: Path, tables: Mapping[str, Table], created: str) -> None:
    """Write a sheet a table, a row at a time; a table too long for one goes on in the next.

    Texts are cells of text, whatever they begin with; numbers are numbers. The same tables give the
    same bytes.

    Args:
        path: the file.
        tables: by the name of their sheet.
        created: when the count was begun, ISO 8601.

    Raises:
        OSError: it cannot be written.
    """
    from xlsxwriter import Workbook
    from xlsxwriter.exceptions import FileCreateError

    with open_atomic(path) as file:
        book = Workbook(file, {"constant_memory": True})
        book.set_properties({"created": _when(created), "comments": NOTICE})
        bold = book.add_format({"bold": True, "bottom": 1})
        # Shown as text and kept as text, also when somebody edits the cell.
        text = book.add_format({"num_format": "@", "quote_prefix": True})
        for name, (columns, rows) in tables.items():
            _write_table(book, name, columns, rows, bold, text)
        try:
            book.close()
        except FileCreateError as error:
            raise OSError(f"the Excel file cannot be written: {error}") from error


def _when(created: str) -> datetime:
    try:
        return datetime.fromisoformat(created).replace(tzinfo=None)
    except ValueError:  # of a report from somebody else, which says what it likes
        return datetime(2000, 1, 1)


def _write_table(
    book: Any,
    name: str,
    columns: Sequence[str],
    rows: Iterable[Mapping[str, object]],
    bold: Any,
    text: Any,
) -> None:
    remaining = iter(rows)
    number = 1
    first = next(remaining, None)
    while number == 1 or first is not None:
        sheet = book.add_worksheet(name if number == 1 else f"{name} {number}")
        sheet.freeze_panes(1, 0)
        sheet.set_column(0, max(len(columns) - 1, 0), _WIDTH)
        for at, column in enumerate(columns):
            sheet.write_string(0, at, column, bold)
        part = islice(chain(() if first is None else (first,), remaining), _MAX_ROWS)
        for line, row in enumerate(part, 1):
            for at, column in enumerate(columns):
                _write_cell(sheet, line, at, row.get(column), text)
        first = next(remaining, None)
        number += 1


def _write_cell(sheet: Any, line: int, at: int, value: Any, text: Any) -> None:
    if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
        return
    if isinstance(value, bool):
        sheet.write_boolean(line, at, value)
    elif isinstance(value, (int, float)):
        sheet.write_number(line, at, value)
    else:
        sheet.write_string(line, at, str(value)[:_MAX_LETTERS], text)
