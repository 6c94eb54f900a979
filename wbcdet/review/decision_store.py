"""Where decisions are kept: one SQLite file in the report folder, rows only ever added.

Every change is one transaction that is on the disk before it is answered (write-ahead log,
``synchronous=FULL``): a killed server and a power cut lose no decision that the page showed as
made. Triggers refuse to alter or delete a row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError

from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError

#: The file in the report folder.
DATABASE = "review.sqlite"

_FORMAT = "wbcdet-review/1"


class StoreError(WbcdetError, ValueError):
    """The database cannot be used; the message is one line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One row: what became of one cell in one step.

    Attributes:
        id: running number, from 1; 0 before it is kept.
        time: ISO 8601, UTC.
        who: name of the person.
        step: number of the step; what was selected together is one step.
        kind: ``change``, ``undo`` or ``redo``.
        of: the step that is undone or redone, else None.
        file, cell: the cell, by its field's name and its number there.
        box: its box in pixels of the field.
        before, after: ``{"label": ..., "reviewed": ...}``; None where the cell is not there.
    """

    id: int
    time: str
    who: str
    step: int
    kind: str
    of: int | None
    file: str
    cell: int
    box: Box
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def values(self) -> dict[str, Any]:
        """The row as plain values, JSON in its columns; without the number."""
        return {
            "time": self.time,
            "who": self.who,
            "step": self.step,
            "kind": self.kind,
            "of": self.of,
            "file": self.file,
            "cell": self.cell,
            "box": json.dumps(list(self.box)),
            "before": _json(self.before),
            "after": _json(self.after),
        }


_metadata = MetaData()
_decisions = Table(
    "decisions",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("time", String, nullable=False),
    Column("who", String, nullable=False),
    Column("step", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("of", Integer),
    Column("file", String, nullable=False),
    Column("cell", Integer, nullable=False),
    Column("box", String, nullable=False),
    Column("before", String),
    Column("after", String),
    sqlite_autoincrement=True,
)
_thumbnails = Table(
    "thumbnails",
    _metadata,
    Column("file", String, primary_key=True),
    Column("cell", Integer, primary_key=True),
    Column("jpeg", LargeBinary, nullable=False),
)
_notes = Table(
    "notes",
    _metadata,
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)


class Store:
    """The database of a report, made where it does not exist.

    The caller sees to it that one process alone has it, and one thread at a time.

    Raises:
        StoreError: the file is none of ours, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        self._engine = create_engine(f"sqlite:///{self.path}")
        event.listen(self._engine, "connect", _set_pragmas)
        try:
            _metadata.create_all(self._engine)
            with self._engine.begin() as connection:
                for action in ("UPDATE", "DELETE"):
                    connection.execute(
                        text(
                            f"CREATE TRIGGER IF NOT EXISTS no_{action.lower()} "
                            f"BEFORE {action} ON decisions BEGIN "
                            "SELECT RAISE(ABORT, 'decisions are only ever added'); END"
                        )
                    )
            if self.note("format") not in (None, _FORMAT):
                raise StoreError(
                    f"{self.path}: has format {self.note('format')!r}, this version reads "
                    f"{_FORMAT!r}"
                )
            self.set_note("format", _FORMAT)
        except DatabaseError as error:
            raise StoreError(f"{self.path}: cannot be used ({error.orig})") from error

    def decisions(self) -> list[Decision]:
        """All rows, in the order in which they were made."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_decisions).order_by(_decisions.c.id))
            return [_decision(row._mapping) for row in rows]

    def add(self, rows: Sequence[Decision], thumbnail: bytes | None = None) -> list[int]:
        """Add the rows of one step, all or none; they are on the disk when this returns.

        Args:
            rows: the rows.
            thumbnail: picture of the cell of the first row, where that is one that a person drew.

        Returns:
            their numbers.
        """
        numbers = []
        with self._engine.begin() as connection:
            for row in rows:
                done = connection.execute(insert(_decisions).values(row.values()))
                assert done.inserted_primary_key is not None
                numbers.append(int(done.inserted_primary_key[0]))
            if thumbnail is not None:
                values = {"file": rows[0].file, "cell": rows[0].cell, "jpeg": thumbnail}
                connection.execute(insert(_thumbnails).values(values))
        return numbers

    def thumbnail(self, file: str, cell: int) -> bytes | None:
        """The picture of a cell that a person drew."""
        wanted = (_thumbnails.c.file == file) & (_thumbnails.c.cell == cell)
        with self._engine.connect() as connection:
            row = connection.execute(select(_thumbnails.c.jpeg).where(wanted)).first()
        return None if row is None else bytes(row[0])

    def note(self, key: str) -> str | None:
        """What was last set under a key."""
        with self._engine.connect() as connection:
            found = connection.execute(select(_notes.c.value).where(_notes.c.key == key)).first()
        return None if found is None else str(found[0])

    def set_note(self, key: str, value: str) -> None:
        """Keep a value under a key."""
        with self._engine.begin() as connection:
            connection.execute(
                insert(_notes).prefix_with("OR REPLACE"), {"key": key, "value": value}
            )

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _decision(row: Any) -> Decision:
    box = tuple(json.loads(row["box"]))
    before, after = (None if row[k] is None else json.loads(row[k]) for k in ("before", "after"))
    plain = {
        name: row[name] for name in ("id", "time", "who", "step", "kind", "of", "file", "cell")
    }
    return Decision(**plain, box=box, before=before, after=after)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
