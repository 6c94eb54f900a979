"""Differentials to compare, and the reader of wbcdet's side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wbcdet.differential.csv_table import Table, TableError, column_names, number, read_table
from wbcdet.differential.differential import NOT_CLASSIFIED
from wbcdet.differential.grouping import FOLDER, NO_GROUP, group_of
from wbcdet.evaluation.agreement.headers import cell_type
from wbcdet.io.source import RootInfo, below
from wbcdet.records import LABELS, CellType
from wbcdet.results.document import ResultsError, load_document, roots_in
from wbcdet.results.signed_slides import signed_notes

#: The cells of a report: ``(file, id)``.
CellKey = tuple[str, str]

#: Groups named in one sentence; the rest are counted.
_MAX_NAMED = 8
_OWN = tuple(str(label) for label in LABELS)


@dataclass(frozen=True, slots=True)
class Counted:
    """One differential of one group.

    Attributes:
        percent: share of each label in percent; they need not add up to 100.
        cells: number of cells that 100 percent are, or None where nobody wrote it down.
    """

    percent: dict[str, float]
    cells: float | None

    @classmethod
    def of(cls, counts: Mapping[str, float]) -> Counted:
        """Return the differential of counts by label; their sum must be more than 0."""
        total = sum(counts.values())
        return cls({label: 100 * count / total for label, count in counts.items()}, total)

    def among(self, labels: Iterable[str]) -> Counted | None:
        """Return the shares among some labels only, as 100 percent; None without one of
        them."""
        part = {label: self.percent.get(label, 0.0) for label in labels}
        total = sum(part.values())
        if total <= 0:
            return None
        cells = None if self.cells is None else self.cells * total / 100
        return Counted({label: 100 * share / total for label, share in part.items()}, cells)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of the comparison.

    Attributes:
        groups: differentials by group.
        names: label of every cell, where single cells are known.
        manual: what a person called them, where the same table says so.
        notes: what a reader should know about how it was read, in sentences.
        group_of_field: group of every field with single cells.
    """

    groups: dict[str, Counted]
    names: dict[CellKey, str] = field(default_factory=dict)
    manual: dict[CellKey, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    group_of_field: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> set[str]:
        """Every label that it has cells of."""
        return {
            label
            for counted in self.groups.values()
            for label, share in counted.percent.items()
            if share
        }


def read_machine_counts(path: str | Path, by: str | None = None) -> Side:
    """Read wbcdet's differentials.

    Args:
        path: a report folder, or its ``results.json``, ``cells.csv`` or ``differential.csv``.
        by: ``folder`` or a pattern (``grouping.group_of``), told from the names below the folder
            that was counted; None takes the groups of the report, and ``folder`` where it has none.

    Raises:
        TableError: nothing can be read there.
        grouping.GroupingError: ``by`` is not usable.
    """
    path = Path(path)
    side = _read_report(path, by) if path.is_dir() else _read_file(path, by)
    signed = signed_notes(path if path.is_dir() else path.parent)
    return replace(side, notes=[*side.notes, *signed])


def _read_report(path: Path, by: str | None) -> Side:
    counted = path / "differential.csv"
    singles = next(
        (path / name for name in ("cells.csv", "results.json") if (path / name).is_file()), None
    )
    if by is None and counted.is_file():
        side = _read_file(counted, None)
        if singles is None:
            return side
        cells = _read_file(singles, None)
        return replace(cells, groups=side.groups, notes=side.notes)
    if singles is None:
        raise TableError(
            f"{path}: holds no differential.csv, cells.csv or results.json; name a report of "
            "wbcdet count or wbcdet predict"
        )
    return _read_file(singles, by)


def group_cells(
    names: Mapping[CellKey, str], group_of_field: Mapping[str, str]
) -> dict[str, Counted]:
    """Compute the differentials of single cells; groups without a classified cell are left out."""
    counts: dict[str, dict[str, float]] = {}
    for (file, _), label in names.items():
        if label not in NOT_CLASSIFIED:
            cells = counts.setdefault(group_of_field[file], dict.fromkeys(_OWN, 0.0))
            cells[label] = cells.get(label, 0.0) + 1
    return {group: Counted.of(cells) for group, cells in counts.items()}


def group_fields(
    files: Iterable[str], said: Mapping[str, str], by: str | None, roots: Sequence[RootInfo] = ()
) -> dict[str, str]:
    """Return the group of each field.

    Args:
        files: the fields.
        said: the groups that a report says.
        by: as of ``read_machine_counts``; it stands before what the report says.
        roots: where the fields are, as far as it is known.

    Raises:
        grouping.GroupingError: ``by`` is not usable.
    """

    def group(file: str) -> str:
        if by is None:
            return said.get(file) or group_of(file, FOLDER)
        # The folders above the one that was counted may hold what a pattern looks for, too.
        short = group_of(below(file, roots), by)
        return group_of(file, by) if (by, short) == (FOLDER, NO_GROUP) else short

    return {file: group(file) for file in files}


def read_cells(
    table: Table,
) -> tuple[dict[CellKey, str], dict[CellKey, str], dict[str, str]]:
    """Return labels and manual labels by cell, of a table with ``file``, ``id`` and one of both;
    and the groups of their fields, where it says them.

    Cells that a count left out are not among them.

    Raises:
        TableError: a cell or a column stands there twice, or a cell has no label.
    """
    header = column_names(table, ("file", "id", "label", "manual", "left_out", "group"))
    names: dict[CellKey, str] = {}
    manual: dict[CellKey, str] = {}
    groups: dict[str, str] = {}
    for line, cells in table.rows:
        row = dict(zip(header, cells, strict=True))
        key = (row["file"], row["id"])
        if key in names or key in manual:
            raise TableError(f"{table.path}: line {line}: cell {key[1]} of {key[0]} stands twice")
        if row.get("left_out"):
            continue
        if row.get("group"):
            groups[row["file"]] = row["group"]
        if "label" in row:
            if not row["label"]:
                raise TableError(f"{table.path}: line {line}: the cell has no label")
            names[key] = plain_label(row["label"])
        if row.get("manual"):
            manual[key] = plain_label(row["manual"])
    return names, manual, groups


def has_cells(table: Table) -> bool:
    """Say whether the table has a row for every cell."""
    header = {name.casefold() for name in table.header}
    return {"file", "id"} <= header and bool({"label", "manual"} & header)


def _read_file(path: Path, by: str | None) -> Side:
    if path.suffix.lower() == ".json":
        given, groups = _read_document(path, by)
        names = {key: plain_label(label) for key, label in given.items()}
        notes = _added(given.values())
        return Side(group_cells(names, groups), names, notes=notes, group_of_field=groups)
    table = read_table(path)
    if has_cells(table):
        names, manual, said = read_cells(table)
        if not names:
            raise TableError(f"{path}: column label is missing; name a cells.csv of wbcdet")
        roots = () if by is None else _roots_beside(path)
        groups = group_fields((file for file, _ in names), said, by, roots)
        at = column_names(table, ("label", "left_out")).index("label")
        notes = _added(cells[at] for _, cells in table.rows)
        return Side(group_cells(names, groups), names, manual, notes, groups)
    if not {"group", "label", "count"} <= set(table.header):
        raise TableError(
            f"{path}: is no differential.csv (group, label, count) and no cells.csv "
            "(file, id, label)"
        )
    if by is not None:
        raise TableError(f"{path}: its groups are fixed; leave out --group-by or name cells.csv")
    return _read_differential(table)


def _roots_beside(cells: Path) -> list[RootInfo]:
    """Return where the fields of a ``cells.csv`` are, as the document of its run says."""
    try:
        return roots_in(load_document(cells.with_name("results.json"))[0])
    except ResultsError:  # the table was copied without it
        return []


def _read_document(path: Path, by: str | None) -> tuple[dict[CellKey, str], dict[str, str]]:
    try:
        info, results = load_document(path)
        roots = roots_in(info)
    except ResultsError as error:
        raise TableError(str(error)) from error
    # What wbcdet count says of a cell beyond its record is not part of the records.
    entries = json.loads(path.read_text(encoding="utf-8"))["fields"]
    names = {
        (result.file, str(cell.id)): str(cell.label)
        for result, entry in zip(results, entries, strict=True)
        for cell, more in zip(result.cells, entry["cells"], strict=True)
        if not more.get("left_out")
    }
    said = {str(entry["file"]): str(entry["group"]) for entry in entries if entry.get("group")}
    return names, group_fields((file for file, _ in names), said, by, roots)


def _read_differential(table: Table) -> Side:
    counts: dict[str, dict[str, float]] = {}
    seen: dict[tuple[str, str], float] = {}
    for line, cells in table.rows:
        row = dict(zip(table.header, cells, strict=True))
        # Rows without a percentage (unclassified, artefacts, cut by the border) are counted apart.
        if row["label"] in NOT_CLASSIFIED or (row["label"] not in _OWN and not row.get("percent")):
            continue
        count = number(row["count"], table.point)
        if count is None or count < 0:
            raise TableError(f"{table.path}: line {line}: count {row['count']!r} is no number")
        group, label = counts.setdefault(row["group"], {}), plain_label(row["label"])
        if (row["group"], row["label"]) in seen:
            raise TableError(
                f"{table.path}: line {line}: {row['label']} of {row['group']} stands twice"
            )
        seen[row["group"], row["label"]] = count
        group[label] = group.get(label, 0.0) + count
    empty = [group for group, cells in counts.items() if sum(cells.values()) <= 0]
    notes = [f"without a classified cell, not compared: {', '.join(empty)}"] if empty else []
    groups = {name: Counted.of(cells) for name, cells in counts.items() if name not in empty}
    if not groups:
        raise TableError(f"{table.path}: no group has a classified cell")
    return Side(groups, notes=[*notes, *_added(label for (_, label), n in seen.items() if n)])


def plain_label(label: str) -> str:
    """Return the type that a label is compared as: bands and segmented cells are neutrophils, as in
    a manual count that does not tell them apart."""
    return cell_type(label).label or label.casefold()


def _added(labels: Iterable[str]) -> list[str]:
    """Return what of labels is compared as another type, as a sentence; none where nothing is."""
    parts = sorted({label for label in labels if cell_type(label).role == "part"})
    return [f"{', '.join(parts)}: counted with the neutrophils"] if parts else []


def category(label: str) -> str:
    """Reduce a label to one of the four or ``unclassified``, which both sides can give."""
    return label if label in _OWN else CellType.UNCLASSIFIED.value


def some_of(names: Iterable[str]) -> str:
    """Return the first of some names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - _MAX_NAMED} more" if len(listed) > _MAX_NAMED else ""
    return ", ".join(listed[:_MAX_NAMED]) + more
