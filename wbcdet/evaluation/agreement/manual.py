"""Read manual counts of laboratories: one row a slide, or one row a slide and type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wbcdet.differential.csv_table import Table, TableError, number, read_table
from wbcdet.evaluation.agreement.counts import (
    Counted,
    Side,
    group_cells,
    group_fields,
    has_cells,
    read_cells,
)
from wbcdet.evaluation.agreement.headers import (
    Heading,
    cell_type,
    heading,
    long_columns,
    same_name,
    says_percent,
)
from wbcdet.records import LABELS
from wbcdet.utils.text import some_of

#: Between these a row may be the percentages of one slide: rounding included, and with types that
#: are not compared.
_NEARLY, _HUNDRED = 90.0, 102.0
#: How far rounded percentages of a row may lie from 100 together.
_OFF = 1.5
#: Up to here a row may be the shares of one slide; below this it is not its percentages: other
#: types than the four are seldom half of all cells.
_ONE, _LEAST = 1.02, 50.0


@dataclass(slots=True)
class _Row:
    """One count of one slide, before it is known whether it holds cells or percentages.

    Attributes:
        line, group: where it stands, and of which slide it is.
        total: cells counted, where it says so.
        values: by label.
        others: numbers of types that are not compared, all together.
    """

    line: int
    group: str
    total: float | None = None
    values: dict[str, float] = field(default_factory=dict)
    others: float = 0.0

    @property
    def sum(self) -> float:
        return sum(self.values.values())


def read_manual(path: str | Path, by: str | None = None, own: Collection[str] = ()) -> Side:
    """Read the manual differentials of a CSV file.

    A wide table has a column for the slide and one for each cell type, a long one the columns
    ``group, label`` and ``count`` or ``percent``; a column ``n`` or ``total`` may say how many
    cells were counted. Several rows of one slide are several counts and are added up. A table
    with ``file, id`` and ``manual`` or ``label`` names single cells instead.

    Args:
        path: the file.
        by: how single cells are grouped, as in ``counts.read_machine_counts``.
        own: labels of the other side beside the usual ones (``Side.labels``), such as what
            a laboratory has taught wbcdet: a column or row of such a name is compared, too.

    Raises:
        TableError: the table cannot be used; the message names the line and the remedy.
    """
    table = read_table(path)
    if has_cells(table):
        names, manual, said = read_cells(table)
        chosen = manual or names
        notes = [] if manual else ["its column label is taken for the manual names"]
        groups = group_fields((file for file, _ in chosen), said, by)
        return Side(group_cells(chosen, groups), chosen, notes=notes, group_of_field=groups)
    places = long_columns(table.header)
    rows, percent, notes = (
        _read_wide(table, own) if places is None else _read_long(table, places, own)
    )
    for row in rows:
        if row.sum <= 0:
            raise TableError(
                f"{table.path}: line {row.line}: no cell of any type is counted for {row.group!r}"
            )
    percent, more = _are_percentages(rows, percent, table.path)
    return Side(_pool(table, rows, percent), notes=[*notes, *more])


def _read_wide(table: Table, own: Collection[str]) -> tuple[list[_Row], bool, list[str]]:
    headings = [heading(name) for name in table.header]
    roles = [column.role for column in headings]
    at = roles.index("group") if "group" in roles else (0 if roles[0] == "" else None)
    if at is None:
        raise TableError(
            f"{table.path}: no column names the slide; put its name under a header such as slide"
        )
    total = roles.index("total") if "total" in roles else None
    used = _used_columns(table, headings)
    used |= _own_columns(table, headings, own)
    beside = _beside(table, headings, used, (at, total))
    used |= beside
    unused = [
        name for place, name in enumerate(table.header) if place not in (at, total, *used) and name
    ]
    # What is a part of a column that is compared is no other type.
    others = [
        place
        for place, column in enumerate(headings)
        if place not in (at, total, *used) and column.role != "part"
    ]
    _check_parts(table, headings, used)
    rows = []
    for line, cells in table.rows:
        row = _Row(line, _group(table, line, cells[at]))
        row.others = sum(number(cells[place], table.point) or 0.0 for place in others)
        if total is not None:
            row.total = _value(table, line, table.header[total], cells[total])
        for place, label in used.items():
            value = _value(table, line, table.header[place], cells[place])
            row.values[label] = row.values.get(label, 0.0) + value
        rows.append(row)
    percent = any(headings[place].percent for place in used)
    notes = [
        f"{table.header[place]} is added to the {label}s: with it the rows are whole"
        for place, label in beside.items()
    ]
    return rows, percent, [*notes, *_unused(unused)]


def _used_columns(table: Table, headings: list[Heading]) -> dict[int, str]:
    """Return the columns that are compared, with their label; all four labels have one."""
    whole = {column.label for column in headings if column.role == "label"}
    used: dict[int, str] = {}
    for place, column in enumerate(headings):
        # Bands and segmented cells count where there is no column for all neutrophils.
        if column.role == "label" or (column.role == "part" and column.label not in whole):
            twin = next((at for at, label in used.items() if label == column.label), None)
            if twin is not None and column.role == "label":
                raise TableError(
                    f"{table.path}: columns {table.header[twin]!r} and {table.header[place]!r} "
                    f"both give {column.label}s; keep one"
                )
            used[place] = column.label
    _need_all(table, set(used.values()))
    return used


def _own_columns(table: Table, headings: list[Heading], own: Collection[str]) -> dict[int, str]:
    """Return the columns of labels that only the other side tells, where one is of that name and
    holds numbers alone."""
    found: dict[str, list[int]] = defaultdict(list)
    for place, column in enumerate(headings):
        label = same_name(table.header[place], own) if column.role == "" else None
        if label is not None:
            found[label].append(place)
    return {
        places[0]: label
        for label, places in found.items()
        if len(places) == 1
        and all(number(cells[places[0]], table.point) is not None for _, cells in table.rows)
    }


def _beside(
    table: Table, headings: list[Heading], used: dict[int, str], places: tuple[int, int | None]
) -> dict[int, str]:
    """Return the columns of parts, such as bands, that a column of all neutrophils does not hold,
    with their label: with them every row adds up to n or to whole hundreds, and without them not.

    All numbers of a row count for that, those of types that are not compared too: where blasts are
    what is left to a hundred, as many bands are not.

    Args:
        places: columns of the group, and of the total.
    """
    total = places[1]
    parts = {
        place: column.label
        for place, column in enumerate(headings)
        if column.role == "part" and place not in used
    }
    others = set(range(len(headings))) - {*places, *used, *parts}
    tells = False
    for _, cells in table.rows if parts else ():
        values = [number(cells[place], table.point) for place in (*used, *parts)]
        if None in values:
            return {}
        known = [value or 0.0 for value in values]
        rest = sum(number(cells[place], table.point) or 0.0 for place in others)
        without, whole = sum(known[: len(used)]) + rest, sum(known) + rest
        wanted = {100.0 * max(1, round(whole / 100))}
        if total is not None and (counted := number(cells[total], table.point)) is not None:
            wanted = {100.0, counted}
        near = min(wanted, key=lambda value: abs(value - whole))
        if abs(near - whole) > _OFF:
            return {}
        tells |= near - without > _OFF
    return parts if tells else {}


def _check_parts(table: Table, headings: list[Heading], used: Mapping[int, str]) -> None:
    """Check that a column of all neutrophils is one: it holds as many as those of its parts.

    Raises:
        TableError: it holds fewer, so its name may say of which neutrophils it is.
    """
    parts = [at for at, column in enumerate(headings) if column.role == "part" and at not in used]
    for line, cells in table.rows if parts else ():
        label = headings[parts[0]].label
        whole = next(at for at, of in used.items() if of == label)
        of_all = number(cells[whole], table.point)
        of_parts = sum(number(cells[at], table.point) or 0.0 for at in parts)
        if of_all is not None and of_all + _OFF < of_parts:
            raise TableError(
                f"{table.path}: line {line}: {table.header[whole]!r} holds fewer cells than "
                f"{some_of(table.header[at] for at in parts)}, so these are no part of it; name "
                f"every column by the {label}s that it holds, such as segmented and band"
            )


def _read_long(
    table: Table, places: tuple[int, int, int, int | None], own: Collection[str]
) -> tuple[list[_Row], bool, list[str]]:
    group_at, label_at, value_at, total_at = places
    rows: dict[str, _Row] = {}
    parts: set[tuple[str, str]] = set()
    unused: list[str] = []
    for line, cells in table.rows:
        group = _group(table, line, cells[group_at])
        row = rows.setdefault(group, _Row(line, group))
        named = cell_type(cells[label_at])
        if not named.role and (label := same_name(cells[label_at], own)) is not None:
            named = Heading("label", label)
        if not named.role:
            unused.append(cells[label_at])
            row.others += number(cells[value_at], table.point) or 0.0
            continue
        value = _value(table, line, table.header[value_at], cells[value_at])
        is_part = named.role == "part"
        if named.label in row.values and not (is_part and (group, named.label) in parts):
            raise TableError(
                f"{table.path}: line {line}: {named.label}s of {group!r} stand twice; keep one row"
            )
        if is_part:
            parts.add((group, named.label))
        row.values[named.label] = row.values.get(named.label, 0.0) + value
        if total_at is not None and cells[total_at]:
            row.total = _value(table, line, table.header[total_at], cells[total_at])
    labels = {label: None for row in rows.values() for label in row.values}
    _need_all(table, set(labels))
    notes = []
    for label in labels:
        without = [group for group, row in rows.items() if label not in row.values]
        if without:
            notes.append(f"no row of {label}, which is taken for 0: {some_of(without)}")
    notes += _unused(unused)
    return list(rows.values()), says_percent(table.header[value_at]), notes


def _are_percentages(rows: list[_Row], marked: bool, path: Path) -> tuple[bool, list[str]]:
    """Tell whether the numbers are percentages, and what was assumed."""
    totals = [row.total for row in rows if row.total is not None]
    whole = all(value == int(value) for row in rows for value in row.values.values())
    notes = []
    if not whole and all(row.sum <= _ONE for row in rows):
        notes.append("every row adds up to 1 or less: taken for shares, 1 being 100 percent")
        for row in rows:
            row.values = {label: 100 * value for label, value in row.values.items()}
    elif not whole and not marked:
        # Cells per volume look like this, too: 4.1 and 1.8 thousand in a microlitre.
        low = next((row for row in rows if row.sum < _LEAST), None)
        if low is not None:
            raise TableError(
                f"{path}: line {low.line}: {low.sum:g} in all, with decimals, are neither cells "
                "nor percentages of a slide; give the numbers of cells, or call the columns percent"
            )
    small = all(row.sum <= _HUNDRED for row in rows)
    told = small and any(total > _HUNDRED for total in totals) and not _add_up_to_totals(rows)
    if told and whole and not marked and any(row.sum + row.others < 100 - _OFF for row in rows):
        notes.append(
            "no row adds up to more than 100, and n is more: taken for percentages; if they are "
            "cells, give every type that was counted a column or a row"
        )
    if marked or not whole or told:
        if len(totals) < len(rows):
            notes.append(
                "no column n says how many cells the percentages are of, so no binomial limits"
            )
        return True, notes
    if not totals and small and all(row.sum >= _NEARLY for row in rows):
        # Rounded percentages add up to 99 or 101, and to less where other types are left out.
        about, cells = ("", "100") if all(row.sum == 100 for row in rows) else ("about ", "so many")
        return False, [
            f"every row adds up to {about}100 and there is no column n: taken for {cells} cells "
            "each; if they are percentages, add n"
        ]
    return False, []


def _add_up_to_totals(rows: list[_Row]) -> bool:
    """Say whether each row is the cells of a slide, those of types that are not compared too: where
    most cells are blasts, the others are less than 100 of 200."""
    return all(row.total is not None and row.sum + row.others == row.total for row in rows)


def _pool(table: Table, rows: list[_Row], percent: bool) -> dict[str, Counted]:
    by_group: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        if percent and row.sum > _HUNDRED:
            raise TableError(
                f"{table.path}: line {row.line}: the percentages of {row.group!r} add up to "
                f"{row.sum:g}"
            )
        if not percent and row.total is not None and row.sum > row.total:
            raise TableError(
                f"{table.path}: line {row.line}: {row.sum:g} cells of {row.group!r} are named, "
                f"but only {row.total:g} counted"
            )
        if percent and row.total is not None and row.total <= 0:
            raise TableError(f"{table.path}: line {row.line}: {row.group!r} has 0 cells counted")
        by_group[row.group].append(row)
    return {group: _add_up(some, percent) for group, some in by_group.items()}


def _add_up(rows: list[_Row], percent: bool) -> Counted:
    labels = list(dict.fromkeys(label for row in rows for label in row.values))
    known = all(row.total is not None for row in rows)
    sums = dict.fromkeys(labels, 0.0)
    for row in rows:
        weight = (row.total or 0.0) / 100 if percent and known else 1.0
        for label, value in row.values.items():
            sums[label] += weight * value
    if not percent:
        return Counted.of(sums)
    if not known:
        return Counted({label: value / len(rows) for label, value in sums.items()}, None)
    cells = sum(row.total or 0.0 for row in rows)
    return Counted({label: 100 * value / cells for label, value in sums.items()}, cells)


def _need_all(table: Table, labels: set[str]) -> None:
    missing = [str(label) for label in LABELS if label not in labels]
    if missing:
        raise TableError(
            f"{table.path}: nothing is named {' or '.join(missing)}; every one of "
            f"{', '.join(str(label) for label in LABELS)} needs a column or a row (0 where none "
            "was seen)"
        )


def _group(table: Table, line: int, text: str) -> str:
    if not text:
        raise TableError(f"{table.path}: line {line}: the slide has no name")
    return text


def _value(table: Table, line: int, name: str, text: str) -> float:
    value = number(text, table.point)
    if value is None or value < 0:
        what = (
            f"{text!r} is no number of cells" if text else "is empty; write 0 where none was seen"
        )
        raise TableError(f"{table.path}: line {line}: {name} {what}")
    return value


def _unused(names: Iterable[str]) -> list[str]:
    unused = list(dict.fromkeys(names))
    return [f"not compared: {', '.join(unused)}"] if unused else []
