"""What a laboratory calls a slide: optional, printed on its sheet, never part of a file name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from wbcdet.differential.csv_table import TableError, column_names, read_table

#: Letters of an identifier that still fit on the sheet.
_MAX_LETTERS = 100


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The identifiers of one slide; each may be empty."""

    patient: str = ""
    order: str = ""
    slide: str = ""

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if len(value) > _MAX_LETTERS or not value.isprintable():
                raise ValueError(
                    f"{name} identifier {value[:30]!r}: it must be one line of at most "
                    f"{_MAX_LETTERS} letters"
                )

    def to_dict(self) -> dict[str, str]:
        """All three by name."""
        return asdict(self)

    def __bool__(self) -> bool:
        return any(self.to_dict().values())


#: Their names, in the order in which they are shown.
IDENTIFIERS: tuple[str, ...] = tuple(field.name for field in fields(Identifiers))


def read_identifiers(path: str | Path) -> Mapping[str, Identifiers]:
    """Read identifiers by group.

    Args:
        path: CSV with a column ``group``, named as in the report, and any of ``patient``, ``order``
            and ``slide``; other columns are ignored.

    Raises:
        TableError: the file is not such a table; the message names the line and the remedy.
    """
    table = read_table(path)
    header = column_names(table, ("group", *IDENTIFIERS))
    if "group" not in header or not {*header} & {*IDENTIFIERS}:
        raise TableError(
            f"{table.path}: the header must name group and one or more of {', '.join(IDENTIFIERS)}"
        )
    identifiers: dict[str, Identifiers] = {}
    for line, cells in table.rows:
        row = dict(zip(header, cells, strict=True))
        if row["group"] in identifiers:
            raise TableError(f"{table.path}: line {line}: {row['group']!r} stands twice")
        try:
            identifiers[row["group"]] = Identifiers(
                **{name: row.get(name, "") for name in IDENTIFIERS}
            )
        except ValueError as error:
            raise TableError(f"{table.path}: line {line}: {error}") from error
    return identifiers
