"""Read tables that people made: CSV with commas, semicolons or tabs, as spreadsheets write it."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path

from wbcdet.utils.csv_text import original
from wbcdet.utils.errors import WbcdetError

_OTHER_FILES = (
    (b"PK\x03\x04", "an Excel or zip file; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel file; save the sheet as CSV"),
    (b"%PDF", "a PDF document; type its table into a CSV file"),
)


class TableError(WbcdetError, ValueError):
    """A table cannot be used; the message is one line that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        path: the file.
        header: the names of the columns, stripped.
        rows: ``(line, cells)`` for every row that is not empty: its line in the file, from 1, and
            one stripped text a column, without the apostrophes of ``csv_text.harmless``; what a
            short row lacks is empty.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def read_table(path: str | Path) -> Table:
    """Read a CSV file whose first row names the columns.

    Raises:
        TableError: the file is missing, is no CSV file, or has no rows.
    """
    path = Path(path)
    text = _read_text(path)
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    lines: list[tuple[int, tuple[str, ...]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            cells = tuple(original(cell.strip()) for cell in row)
            if any(cells):
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num} is no CSV: {error}") from error
    if not lines:
        raise TableError(f"{path}: the file is empty; the first line must name the columns")
    header = lines[0][1]
    rows = []
    for line, cells in lines[1:]:
        if any(cells[len(header) :]):
            raise TableError(
                f"{path}: line {line} has {len(cells)} columns, the header names {len(header)}"
            )
        padded = cells + ("",) * (len(header) - len(cells))
        rows.append((line, padded[: len(header)]))
    if not rows:
        raise TableError(f"{path}: there is a header but no row below it")
    return Table(path, header, tuple(rows))


def number(text: str) -> float | None:
    """The number that a cell holds, with a decimal point or comma; None where it holds none."""
    text = text.removesuffix("%").strip()
    if "." not in text:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror or error}") from error
    for start, what in _OTHER_FILES:
        if data.startswith(start):
            raise TableError(f"{path}: this is {what}")
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    if b"\0" in data:
        raise TableError(f"{path}: this is no text file; save the table as CSV")
    # Spreadsheets on Windows still write this where a letter lies outside ASCII.
    return data.decode("cp1252", errors="replace")
