"""Store decisions in one SQLite file in the report folder; rows are only ever added.

Every change is one transaction that is on the disk before it is answered (write-ahead log,
``synchronous=FULL``): a killed server and a power cut lose no decision that the page showed as
made. Triggers refuse to alter or delete a row. No other account of the computer can read the file.

A file that is there already is looked at without changing it first, and used only if it is what
this module makes: another program's database, or one with anything added to it, stays as it is.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
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
    func,
    insert,
    select,
    text,
)
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.pool import StaticPool

from wbcdet.review.cell_state import RecordedState
from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import make_private, own_file

#: The file in the report folder, and the one of the second reader.
DATABASE, SECOND_DATABASE = "review.sqlite", "review-second.sqlite"

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
        box: the box in pixels of the field by which it is known again: as it was found or drawn.
        before, after: ``{"label": ..., "reviewed": ...}``, with ``"box"`` where a person has moved
            it; None where the cell is not there.
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
    before: RecordedState | None
    after: RecordedState | None

    def values(self) -> dict[str, Any]:
        """Return the row as plain values, JSON in its columns; without the number."""
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

    Args:
        folder: the report folder.
        name: of the file.

    Raises:
        StoreError: the file is not one of ours.
        OSError: it cannot be written, or is a link.
    """

    def __init__(self, folder: Path, name: str = DATABASE) -> None:
        self.path = _checked(folder, name)
        make_private(self.path)
        self._engine = create_engine(f"sqlite:///{self.path}")
        event.listen(self._engine, "connect", _set_pragmas)
        try:
            _make_tables(self._engine)
            if self.note("format") not in (None, _FORMAT):
                raise StoreError(
                    f"{self.path}: has format {self.note('format')!r}, this version reads "
                    f"{_FORMAT!r}"
                )
            self.set_note("format", _FORMAT)
        except DatabaseError as error:
            raise StoreError(f"{self.path}: cannot be used ({error.orig})") from error

    def decisions(self) -> list[Decision]:
        """Return all rows, in the order in which they were made.

        Raises:
            StoreError: a row is not as this module writes it.
        """
        with self._engine.connect() as connection:
            rows = connection.execute(select(_decisions).order_by(_decisions.c.id)).all()
        return _decisions_of(self.path, (row._mapping for row in rows))

    def add(self, rows: Sequence[Decision], thumbnail: bytes | None = None) -> list[int]:
        """Add the rows of one step, all or none; they are on the disk when this returns.

        Args:
            rows: the rows.
            thumbnail: picture of the cell of the first row, where that is one that a person drew.

        Returns:
            their numbers.

        Raises:
            OSError: the disk is full, gone or read-only; none is added.
        """
        with self._writing() as connection:
            # One process has the file: nobody else takes a number meanwhile.
            last = connection.execute(select(func.max(_decisions.c.id))).scalar() or 0
            numbers = list(range(last + 1, last + 1 + len(rows)))
            values = [{"id": n, **row.values()} for n, row in zip(numbers, rows, strict=True)]
            connection.execute(insert(_decisions), values)
            if thumbnail is not None:
                drawn = {"file": rows[0].file, "cell": rows[0].cell, "jpeg": thumbnail}
                connection.execute(insert(_thumbnails).values(drawn))
        return numbers

    def thumbnail(self, file: str, cell: int) -> bytes | None:
        """Return the picture of a cell that a person drew."""
        wanted = (_thumbnails.c.file == file) & (_thumbnails.c.cell == cell)
        with self._engine.connect() as connection:
            row = connection.execute(select(_thumbnails.c.jpeg).where(wanted)).first()
        return None if row is None else bytes(row[0])

    def note(self, key: str) -> str | None:
        """Return what was last set under a key."""
        with self._engine.connect() as connection:
            found = connection.execute(select(_notes.c.value).where(_notes.c.key == key)).first()
        return None if found is None else str(found[0])

    def set_note(self, key: str, value: str) -> None:
        """Keep a value under a key.

        Raises:
            OSError: it cannot be written.
        """
        with self._writing() as connection:
            connection.execute(
                insert(_notes).prefix_with("OR REPLACE"), {"key": key, "value": value}
            )

    @contextmanager
    def _writing(self) -> Iterator[Any]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except OperationalError as error:
            raise OSError(f"{self.path.name}: {error.orig}") from error

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()


def read_decisions(folder: Path, name: str) -> list[Decision]:
    """Read all rows of a database that another process may be adding to; nothing is written.

    Args:
        folder: the report folder.
        name: of the file; without one there are no rows.

    Raises:
        StoreError: the file is not one of ours, or a row is not as this module writes it.
        OSError: it is a link.
    """
    path = _checked(folder, name)
    if not path.exists() or not path.stat().st_size:
        return []
    try:
        with closing(_open_unchanged(path)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute("SELECT * FROM decisions ORDER BY id").fetchall()
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used ({error})") from error
    return _decisions_of(path, rows)


def _decisions_of(path: Path, rows: Iterable[Any]) -> list[Decision]:
    found = []
    for row in rows:
        try:
            found.append(_decision(row))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"{path}: decision {row['id']} is damaged ({error})") from error
    return found


def _checked(folder: Path, name: str) -> Path:
    """Return the path of a database that is not there yet, or has the tables and triggers of this
    module and nothing else."""
    path = own_file(folder, name)
    for beside in ("-wal", "-shm", "-journal"):
        own_file(folder, name + beside)
    if not path.exists() or not path.stat().st_size:
        return path
    try:
        with closing(_open_unchanged(path)) as connection:
            found = _schema(connection)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be used ({error})") from error
    # Killed while it was made, it has a part of them.
    if not found <= _own_schema():
        raise StoreError(
            f"{path}: cannot be used: it is a database of something else; move it away"
        )
    return path


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA trusted_schema=OFF")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _make_tables(engine: Any) -> None:
    _metadata.create_all(engine)
    with engine.begin() as connection:
        for action in ("UPDATE", "DELETE"):
            connection.execute(
                text(
                    f"CREATE TRIGGER IF NOT EXISTS no_{action.lower()} "
                    f"BEFORE {action} ON decisions BEGIN "
                    "SELECT RAISE(ABORT, 'decisions are only ever added'); END"
                )
            )


def _open_unchanged(path: Path) -> sqlite3.Connection:
    """Open a database so that neither it nor a file beside it is changed or made."""
    address = path.resolve().as_uri()
    # Without a write-ahead log the file alone is all there is, and is not even locked.
    alone = not path.with_name(f"{path.name}-wal").exists()
    return sqlite3.connect(f"{address}?mode=ro{'&immutable=1' if alone else ''}", uri=True)


def _schema(connection: sqlite3.Connection) -> set[str]:
    """Return everything that a database declares, white space made even."""
    rows = connection.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    return {" ".join(" ".join(map(str, row)).split()) for row in rows}


def _own_schema() -> set[str]:
    """Return what a database of this module declares."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    try:
        _make_tables(engine)
        with engine.connect() as connection:
            raw = connection.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            return _schema(raw)
    finally:
        engine.dispose()


def _decision(row: Any) -> Decision:
    box = _box(json.loads(row["box"]))
    before, after = (_state(row[name]) for name in ("before", "after"))
    plain = {
        name: row[name] for name in ("id", "time", "who", "step", "kind", "of", "file", "cell")
    }
    for name, value in plain.items():
        kind = str if name in ("time", "who", "kind", "file") else int
        if not (isinstance(value, kind) or (name == "of" and value is None)):
            raise TypeError(f"its {name} is {value!r}")
    return Decision(**plain, box=box, before=before, after=after)


def _state(text: str | None) -> RecordedState | None:
    if text is None:
        return None
    value = json.loads(text)
    label, reviewed = value["label"], value["reviewed"]
    if not isinstance(label, str) or not label or not isinstance(reviewed, bool):
        raise ValueError("its label is invalid")
    recorded = RecordedState(label=label, reviewed=reviewed)
    if "box" in value:
        recorded["box"] = list(_box(value["box"]))
    return recorded


def _box(values: Any) -> Box:
    box = tuple(float(value) for value in values)
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError("its box is invalid")
    return box


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
