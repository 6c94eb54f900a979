"""Reference ranges of the differential: the shipped ones, or a laboratory's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wbcdet.differential.csv_table import Table, TableError, column_names, number, read_table
from wbcdet.records import LABELS

#: Labels that may have a range: the four, and those that a person may add.
_KNOWN = (*(str(label) for label in LABELS), "basophil")
_COLUMNS = ("label", "low_percent", "high_percent", "source")


@dataclass(frozen=True, slots=True)
class ReferenceRange:
    """Reference range of a cell type in healthy adults: percent, both ends included."""

    low: float
    high: float
    source: str

    def flag(self, low: float, high: float) -> str:
        """Return ``low`` or ``high`` where the whole interval (percent) is outside, else ""."""
        if high < self.low:
            return "low"
        return "high" if low > self.high else ""


def read_ranges(path: str | Path | None = None) -> dict[str, ReferenceRange]:
    """Read reference ranges by label.

    Args:
        path: CSV with the columns ``label, low_percent, high_percent, source``; None takes the
            adult ranges that wbcdet ships.

    Raises:
        TableError: the file is not such a table; the message names the line and the remedy.
    """
    table = read_table(path or Path(__file__).parent / "reference_ranges.csv")
    header = column_names(table, _COLUMNS)
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise TableError(
            f"{table.path}: column {', '.join(missing)} is missing; the header must name "
            f"{', '.join(_COLUMNS)}"
        )
    ranges: dict[str, ReferenceRange] = {}
    for line, cells in table.rows:
        row = dict(zip(header, cells, strict=True))
        label, reference = _range(table, line, row)
        if label in ranges:
            raise TableError(f"{table.path}: line {line}: there is a second range for {label}")
        ranges[label] = reference
    _check_whole(table, ranges)
    return ranges


def _check_whole(table: Table, ranges: Mapping[str, ReferenceRange]) -> None:
    """Check that the ranges are percentages: those of one slide add up to 100.

    Raises:
        TableError: no slide can lie within all of them.
    """
    four = [ranges[str(label)] for label in LABELS if str(label) in ranges]
    if len(four) < len(LABELS):
        return
    low, high = sum(known.low for known in four), sum(known.high for known in ranges.values())
    for said, value, wrong in (("lower", low, low > 100), ("upper", high, high < 100)):
        if wrong:
            raise TableError(
                f"{table.path}: the {said} limits add up to {value:g} %, which no slide can have; "
                "give percent of the white cells, not shares of 1 or cells per litre"
            )


def _range(table: Table, line: int, row: Mapping[str, str]) -> tuple[str, ReferenceRange]:
    where = f"{table.path}: line {line}"
    label = row["label"].casefold()
    if label not in _KNOWN:
        raise TableError(f"{where}: label {row['label']!r} is not one of {', '.join(_KNOWN)}")
    limits = []
    for name in ("low_percent", "high_percent"):
        value = number(row[name], table.point)
        if value is None or not 0 <= value <= 100:
            raise TableError(f"{where}: {name} {row[name]!r} is no number between 0 and 100")
        limits.append(value)
    if limits[0] >= limits[1]:
        raise TableError(f"{where}: low_percent {limits[0]:g} is not below {limits[1]:g}")
    if not row["source"]:
        raise TableError(f"{where}: source is empty; name where the range comes from")
    return label, ReferenceRange(limits[0], limits[1], row["source"])
