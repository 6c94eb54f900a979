"""Read tables that people made: CSV with commas, semicolons, tabs or bars between columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from wbcdet.utils.csv_text import original
from wbcdet.utils.decode_text import TooLargeError, read_bytes, unicode_text
from wbcdet.utils.errors import WbcdetError

_OTHER_FILES = (
    (b"\x1f\x8b", "packed (gzip); unpack it"),
    (b"PK\x03\x04", "an Excel or zip file; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel file; save the sheet as CSV"),
    (b"%PDF", "a PDF document; type its table into a CSV file"),
)


#: More cells than a table of people has: 200,000 rows of a cells.csv.
_MAX_CELLS = 5_000_000
#: Whole numbers with a sign between thousands.
_GROUPED = {sign: rf"[1-9]\d{{0,2}}(\{sign}\d{{3}})+" for sign in ".,"}
#: How far the percentages of a row may lie from 100 together, for roundings.
_ROUNDED = 0.05


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
        point: the sign before decimals, ``.`` or ``,``, as far as the table shows it, else empty.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    point: str = ""


def read_table(path: str | Path) -> Table:
    """Read a CSV file whose first row names the columns.

    Raises:
        TableError: the file is missing, is no CSV file, or has no rows.
    """
    path = Path(path)
    text = _read_text(path)
    breaks = text.count("\n") + text.count("\r")
    if breaks > _MAX_CELLS:
        raise TableError(_too_large(path))
    every = io.StringIO(text, newline=None)
    first = next((line.rstrip("\n") for line in every if line.strip()), "")
    # Excel's own way to say what separates the columns.
    told = re.fullmatch(r'"?sep=(.)"?', first, re.IGNORECASE)
    delimiter = told[1] if told else max(",;\t|", key=first.count)
    if breaks + text.count(delimiter) > _MAX_CELLS:
        raise TableError(_too_large(path))
    lines: list[tuple[int, tuple[str, ...]]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        if told:
            next(reader)
        for row in reader:
            cells = tuple(original(cell.strip()) for cell in row)
            if any(cells):
                lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise TableError(f"{path}: line {reader.line_num} is no CSV: {error}") from error
    if not lines:
        raise TableError(f"{path}: the file is empty; the first line must name the columns")
    header = lines[0][1]
    if len(header) * len(lines) > _MAX_CELLS:
        raise TableError(_too_large(path))
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
    point = _decimal_point([cells for _, cells in rows], delimiter)
    return Table(path, header, tuple(rows), point)


def column_names(table: Table, wanted: Collection[str]) -> list[str]:
    """Return the names of the columns in small letters.

    Raises:
        TableError: one that is wanted stands twice, and nothing tells which is meant.
    """
    names = [name.casefold() for name in table.header]
    for name in wanted:
        if names.count(name) > 1:
            raise TableError(f"{table.path}: column {name} stands twice; remove one of them")
    return names


def number(text: str, point: str = "") -> float | None:
    """Return the number that a cell holds; None where it holds none.

    Args:
        text: with a decimal point or comma, with or without signs between thousands.
        point: the decimal point of the table; without it each number is read by itself.
    """
    # Spaces (also those that do not break) and apostrophes stand between thousands only.
    text = re.sub(r"(?<=\d)[ '\u2019\u00a0\u2009\u202f](?=\d{3}(?!\d))", "", text)
    text = text.removesuffix("%").strip()
    if not point and "." in text and "," in text:
        point = max(".,", key=text.rfind)
    if point:
        other = "," if point == "." else "."
        if re.fullmatch(rf"[+-]?{_GROUPED[other]}(\{point}\d*)?", text):
            text = text.replace(other, "")
        elif other in text:
            return None
        text = text.replace(point, ".")
    else:
        text = text.replace(",", ".")
    try:
        # Python reads 1_000 as a number, and no laboratory writes it.
        value = math.nan if "_" in text else float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _decimal_point(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Tell the decimal sign of a table; empty where nothing tells, or both occur."""
    points, grouped = set(), set()
    for row in rows:
        doubtful: dict[str, list[float]] = {".": [], ",": []}
        for cell in row:
            text = cell.removesuffix("%").strip()
            for sign, other in (".,", ",."):
                single, many = _GROUPED[sign], rf"[1-9]\d{{0,2}}(\{sign}\d{{3}}){{2,}}"
                if re.fullmatch(rf"{single}\{other}\d+|{many}", text):
                    points.add(other)  # 1.000,5 and 1.000.000
                elif re.fullmatch(single, text):
                    grouped.add(other)  # 1.000: a thousand, or one with three decimals
                    doubtful[sign].append(float(text.replace(sign, ".")))
                elif re.fullmatch(rf"[+-]?\d+\{sign}\d+", text):
                    points.add(sign)
        for sign, values in doubtful.items():
            if abs(sum(values) - 100) <= _ROUNDED:
                points.add(sign)  # percentages of one slide
    if points:
        return points.pop() if len(points) == 1 else ""
    # Where a comma separates columns, a number with one is a thousand; where a semicolon does, as
    # in the countries that write decimals with a comma, one with a point is.
    likely = {",": ".", ";": ","}.get(delimiter, "")
    return likely if likely in grouped else ""


def _too_large(path: Path) -> str:
    return f"{path}: holds more than {_MAX_CELLS:,} cells; split it"


def _read_text(path: Path) -> str:
    try:
        data = read_bytes(path)
    except OSError as error:
        why = error.strerror or error
        raise TableError(
            f"{path}: cannot be read: {why}; check its name, and whether you may read it"
        ) from error
    except TooLargeError as error:
        raise TableError(f"{path}: {error}") from error
    for start, what in _OTHER_FILES:
        if data.startswith(start):
            raise TableError(f"{path}: this is {what}")
    try:
        text = unicode_text(data)
    except UnicodeDecodeError:
        # Spreadsheets on Windows still write this where a letter lies outside ASCII.
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise TableError(f"{path}: this is no text file; save the table as CSV")
    return text
