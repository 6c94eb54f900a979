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

from wbcdet.review.cell_state import RecordedState, is_short_line
from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import make_private, written_file
from wbcdet.utils.schemas import parse_json
from wbcdet.utils.text import one_line

#: The file in the report folder, and the one of the second reader.
DATABASE, SECOND_DATABASE = "review.sqlite", "review-second.sqlite"

_FORMAT = "wbcdet-review/1"
#: Largest number of a decision or step: a page can still tell it from its neighbours.
_MAX_ROW = 2**52


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
        file, cell: the cell, by its field's name and its number there: of a cell that a person
            drew the number that it was drawn with.
        box: the box in pixels of the field by which it is known again: as it was found or drawn.
        before, after: ``{"label": ..., "reviewed": ...}``, with ``"box"`` where a person has moved
            it, and ``"picture"`` where they draw it; None where the cell is not there.
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

    def values(self) -> dict[str, object]:
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


#: A file is known by these words: changed ones are another format.
_TABLES = """
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, time VARCHAR NOT NULL, who VARCHAR NOT NULL,
    step INTEGER NOT NULL, kind VARCHAR NOT NULL, "of" INTEGER, file VARCHAR NOT NULL,
    cell INTEGER NOT NULL, box VARCHAR NOT NULL, "before" VARCHAR, "after" VARCHAR );
CREATE TABLE IF NOT EXISTS thumbnails (
    file VARCHAR NOT NULL, cell INTEGER NOT NULL, jpeg BLOB NOT NULL, PRIMARY KEY (file, cell) );
CREATE TABLE IF NOT EXISTS notes (
    "key" VARCHAR NOT NULL, value VARCHAR NOT NULL, PRIMARY KEY ("key") );
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON decisions BEGIN
    SELECT RAISE(ABORT, 'decisions are only ever added'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON decisions BEGIN
    SELECT RAISE(ABORT, 'decisions are only ever added'); END;
"""
_ADD = """
INSERT INTO decisions (id, time, who, step, kind, "of", file, cell, box, "before", "after")
VALUES (:id, :time, :who, :step, :kind, :of, :file, :cell, :box, :before, :after)
"""


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
        with _readable(self.path):
            # One thread at a time, though not always the same one.
            self._connection = sqlite3.connect(self.path, check_same_thread=False)
        self._connection.row_factory = sqlite3.Row
        try:
            with _readable(self.path):
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        for pragma in ("trusted_schema=OFF", "journal_mode=WAL", "synchronous=FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_TABLES)
        version = self.note("format")
        if version not in (None, _FORMAT):
            raise StoreError(f"{self.path}: has format {version!r}, this version reads {_FORMAT!r}")
        self.set_note("format", _FORMAT)

    def decisions(self) -> list[Decision]:
        """Return all rows, in the order in which they were made.

        Raises:
            StoreError: a row is not as this module writes it.
        """
        return _decisions_of(self.path, self._rows("SELECT * FROM decisions ORDER BY id"))

    def add(self, rows: Sequence[Decision], thumbnail: bytes | None = None) -> list[int]:
        """Add the rows of one step, all or none; they are on the disk when this returns.

        Args:
            rows: the rows.
            thumbnail: picture of the cell of the first row, where that is one that a person drew.

        Returns:
            their numbers.

        Raises:
            OSError: the disk is full, gone or read-only; none is added.
            StoreError: there is no number left, as in a file that somebody has made so.
        """
        with self._writing() as connection:
            # One process has the file: nobody else takes a number meanwhile.
            last = connection.execute("SELECT max(id) FROM decisions").fetchone()[0] or 0
            numbers = list(range(last + 1, last + 1 + len(rows)))
            if max(numbers[-1], rows[-1].step) > _MAX_ROW:
                raise StoreError(f"{self.path}: has no number left for another decision")
            values = [{"id": n, **row.values()} for n, row in zip(numbers, rows, strict=True)]
            connection.executemany(_ADD, values)
            if thumbnail is not None:
                drawn = (rows[0].file, rows[0].cell, thumbnail)
                connection.execute("INSERT INTO thumbnails VALUES (?, ?, ?)", drawn)
        return numbers

    def thumbnail(self, file: str, cell: int) -> bytes | None:
        """Return the picture of a cell that a person drew."""
        rows = self._rows("SELECT jpeg FROM thumbnails WHERE file=? AND cell=?", file, cell)
        # Any value may stand in a column of a file from somebody else.
        return rows[0]["jpeg"] if rows and isinstance(rows[0]["jpeg"], bytes) else None

    def note(self, key: str) -> str | None:
        """Return what was last set under a key."""
        rows = self._rows('SELECT value FROM notes WHERE "key"=?', key)
        return str(rows[0]["value"]) if rows else None

    def set_note(self, key: str, value: str) -> None:
        """Keep a value under a key.

        Raises:
            OSError: it cannot be written.
        """
        with self._writing() as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, value))

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with _readable(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Keep all that is done inside, or nothing of it."""
        try:
            with self._connection:
                yield self._connection
        except sqlite3.Error as error:
            raise OSError(f"{self.path.name}: {one_line(str(error))}") from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


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
    with _readable(path), closing(_open_unchanged(path)) as connection:
        connection.row_factory = sqlite3.Row
        rows = connection.execute("SELECT * FROM decisions ORDER BY id").fetchall()
    return _decisions_of(path, rows)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one line that a file cannot be read as a database, or not all of it."""
    try:
        yield
    except (sqlite3.Error, UnicodeError) as error:  # an error may name bytes that are not text
        why = one_line(str(error))[:200]
        raise StoreError(
            f"{path}: cannot be used ({why}); put a copy of it in its place, or move it away"
        ) from error


def _decisions_of(path: Path, rows: Iterable[Any]) -> list[Decision]:
    decisions = []
    for row in rows:
        try:
            decisions.append(_decision(row))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{path}: decision {row['id']} is damaged ({error})") from error
    return decisions


def _checked(folder: Path, name: str) -> Path:
    """Return the path of a database that is not there yet, or has the tables and triggers of this
    module and nothing else."""
    path = written_file(folder, name)
    for beside in ("-wal", "-shm", "-journal"):
        written_file(folder, name + beside)
    if not path.exists() or not path.stat().st_size:
        return path
    with _readable(path), closing(_open_unchanged(path)) as connection:
        schema = _schema(connection)
    # Killed while it was made, it has a part of them.
    if not schema <= _own_schema():
        raise StoreError(
            f"{path}: cannot be used: it is a database of something else; move it away"
        )
    return path


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
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(_TABLES)
        return _schema(connection)


def _decision(row: Any) -> Decision:
    box = _box(parse_json(row["box"]))
    before, after = (_state(row[name]) for name in ("before", "after"))
    plain = {
        name: row[name] for name in ("id", "time", "who", "step", "kind", "of", "file", "cell")
    }
    for name, value in plain.items():
        kind = str if name in ("time", "who", "kind", "file") else int
        if not (isinstance(value, kind) or (name == "of" and value is None)):
            raise TypeError(f"its {name} is {str(value)[:50]!r}")
        if isinstance(value, int) and not 0 <= value <= _MAX_ROW:
            raise ValueError(f"its {name} is {value}")
    if not is_short_line(row["who"]) or not is_short_line(row["time"]):
        raise ValueError("its person or time is no text of one line")
    return Decision(**plain, box=box, before=before, after=after)


def _state(text: str | None) -> RecordedState | None:
    if text is None:
        return None
    value = parse_json(text)
    label, reviewed = value["label"], value["reviewed"]
    if not isinstance(label, str) or not is_short_line(label) or not isinstance(reviewed, bool):
        raise ValueError("its label is invalid")
    recorded = RecordedState(label=label, reviewed=reviewed)
    if "box" in value:
        recorded["box"] = list(_box(value["box"]))
    if "picture" in value:
        if not isinstance(value["picture"], str):
            raise ValueError("its picture is no sha256")
        recorded["picture"] = value["picture"]
    return recorded


def _box(values: Any) -> Box:
    box = tuple(float(value) for value in values)
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise ValueError("its box is invalid")
    return box


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)
