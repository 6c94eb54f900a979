"""The record of a folder run that survives whatever ends it: one JSON line a field.

``fields.jsonl`` holds a header line and then, in the order of work, one line for every field;
``pictures.bin`` holds the small pictures that the lines point into. Both only ever grow. What a
killed process, a full disk or a power cut leaves behind is a line without an end, which is dropped
when the journal is opened again, or bytes that no line points to, which do no harm.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from wbcdet.utils.errors import WbcdetError

FORMAT = "wbcdet-journal/1"

#: Seconds of work that a power cut may cost; a killed process loses none.
_SYNC_S = 2.0

_JPEG = b"\xff\xd8"

#: Where a picture stands in ``pictures.bin``: first byte and number of bytes.
Place = tuple[int, int]


class JournalError(WbcdetError, ValueError):
    """The journal cannot be gone on with; the message is one line."""


class Journal:
    """The journal in a folder, opened for reading and appending.

    Only where each line stands is kept in memory. The caller sees to it that no other process
    writes (``wbcdet.utils.lock``).

    Args:
        folder: made where it does not exist.

    Attributes:
        header: what ``start`` was given; None where no run was begun.
        lists: the last list of names under each key that ``note`` was given.

    Raises:
        OSError: the folder cannot be written.
        JournalError: it holds something else, or its header is broken.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "fields.jsonl"
        self._pictures_path = folder / "pictures.bin"
        self.header: dict[str, Any] | None = None
        self.lists: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, Place] = {}
        self._synced = time.monotonic()
        self._lines = FileIO(self._path, "a+b")
        self._pictures = FileIO(self._pictures_path, "a+b")
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, file: str) -> bool:
        return file in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def start(self, header: Mapping[str, Any]) -> None:
        """Begin anew: drop every line and picture, and write a header."""
        self._places.clear()
        self._lines.truncate(0)
        self._pictures.truncate(0)
        self.lists.clear()
        self.header = {"journal": FORMAT, **header}
        self._append_line(self.header)
        self.sync()

    def note(self, key: str, names: Sequence[str]) -> None:
        """Write down a list of names, where it is not the last one under its key."""
        if tuple(names) != self.lists.get(key):
            self._append_line({"list": key, "names": list(names)})
            self.lists[key] = tuple(names)
            self.sync()

    def append(self, record: Mapping[str, Any], pictures: Sequence[bytes] = ()) -> None:
        """Add the line of one field; it stands in for an earlier line of the same field.

        Args:
            record: plain JSON values; ``file`` names the field. ``pictures``, where there is one,
                holds places that ``keep`` gave.
            pictures: JPEG files that go with it too, given back by ``pictures``.

        Raises:
            OSError: the disk is full or gone. What was there before can still be read.
        """
        places = [*record.get("pictures", ()), *self.keep(pictures)]
        self._places[str(record["file"])] = self._append_line({**record, "pictures": places})
        if time.monotonic() - self._synced > _SYNC_S:
            self.sync()

    def keep(self, pictures: Sequence[bytes]) -> list[Place]:
        """Add JPEG files, and say where they stand, for the lines that go with them.

        Raises:
            OSError: the disk is full or gone.
        """
        at = self._pictures.seek(0, os.SEEK_END)
        places = []
        for picture in pictures:
            places.append((at, len(picture)))
            at += len(picture)
        _write_all(self._pictures, b"".join(pictures))
        return places

    def read(self, file: str) -> dict[str, Any]:
        """The last line of a field.

        Raises:
            KeyError: it has none.
        """
        at, size = self._places[file]
        record: dict[str, Any] = json.loads(_read_at(self._lines, at, size))
        return record

    def pictures(self, record: Mapping[str, Any]) -> list[bytes]:
        """The pictures of a line."""
        return [self.picture(place) for place in record["pictures"]]

    def picture(self, place: Sequence[int]) -> bytes:
        """One picture, by its place."""
        at, size = place
        return _read_at(self._pictures, at, size)

    def has_pictures(self, record: Mapping[str, Any]) -> bool:
        """The pictures of a line are there: a power cut may keep a line and lose them."""
        end = self._pictures.seek(0, os.SEEK_END)
        return all(
            at + size <= end and _read_at(self._pictures, at, 2) == _JPEG
            for at, size in record["pictures"]
        )

    def sync(self) -> None:
        """Bring everything to the disk, pictures before the lines that point to them."""
        os.fsync(self._pictures.fileno())
        os.fsync(self._lines.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        self._pictures.close()

    def _append_line(self, value: Mapping[str, Any]) -> Place:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        at = self._lines.seek(0, os.SEEK_END)
        _write_all(self._lines, line)
        return at, len(line)

    def _load(self) -> None:
        end = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines):
                if not line.endswith(b"\n"):
                    break
                value = _parse(line)
                if number == 0:
                    self.header = self._checked(value)
                # A line that the disk has damaged is passed over: its field is done again.
                elif isinstance(value, dict) and isinstance(value.get("file"), str):
                    self._places[value["file"]] = (end, len(line))
                elif isinstance(value, dict) and isinstance(value.get("names"), list):
                    self.lists[str(value.get("list"))] = tuple(map(str, value["names"]))
                end += len(line)
        self._lines.truncate(end)

    def _checked(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or "journal" not in value:
            raise JournalError(f"{self._path} is no journal of wbcdet")
        if value["journal"] != FORMAT:
            raise JournalError(
                f"{self._path} has format {value['journal']!r}, this version reads {FORMAT!r}"
            )
        return value


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _write_all(file: FileIO, data: bytes) -> None:
    # A nearly full disk takes a part and says so only at the next write.
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _read_at(file: FileIO, at: int, size: int) -> bytes:
    file.seek(at)
    data = file.read(size)
    if data is None or len(data) != size:
        raise JournalError(f"{file.name} is cut short")
    return data
