"""Crash-safe journal of a run: one JSON line a field.

``fields.jsonl`` holds a header line and then, in the order of work, one line for every field;
``pictures.bin`` holds the small pictures that the lines point into. Both only ever grow. What a
killed process, a full disk or a power cut leaves behind is a line without an end, which is dropped
before the next one is written, or bytes that no line points to, which do no harm.

Every line ends with a checksum of itself, and every place of a picture has one of the picture: what
a disk, a copy or a hand has changed is not taken for a result. That is no signature: who changes a
line on purpose can compute its checksum too.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, cast

from wbcdet.inference.run_info import RunInfo
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import open_own
from wbcdet.utils.schemas import JsonObject, parse_json

FORMAT = "wbcdet-journal/2"
#: Journals without checksums, of earlier versions; they are still read.
_WITHOUT_CHECKSUMS = "wbcdet-journal/1"

LINES, PICTURES = "fields.jsonl", "pictures.bin"
#: How the first line of every journal begins.
_START = b'{"journal":"wbcdet-journal/'
#: What stands around the checksum at the end of a line, and its letters (of a sha256).
_BEFORE, _LETTERS, _AFTER = b',"check":"', 16, b'"}\n'
_CHECK_BYTES = len(_BEFORE) + _LETTERS + len(_AFTER)

#: Seconds of work that a power cut may cost; a killed process loses none.
_SYNC_S = 2.0

_JPEG = b"\xff\xd8"
#: Bytes that are read at once.
_BLOCK = 1 << 20

#: Largest picture that is read from a journal, in bytes.
_MAX_PICTURE = 1 << 24

#: Where a picture stands in ``pictures.bin``: first byte, number of bytes and CRC-32. Journals of
#: earlier versions lack the last.
Place = tuple[int, ...]


class JournalError(WbcdetError, ValueError):
    """The journal cannot be continued; the message is one line."""


class Journal:
    """The journal in a folder, opened for reading and appending.

    Only where each line stands is kept in memory. The caller sees to it that no other process
    writes (``wbcdet.utils.lock``). Opening changes nothing but making files that do not exist.

    Args:
        folder: made where it does not exist.
        read_only: open for reading; nothing is made.

    Attributes:
        header: what ``start`` was given; None where no run was begun.
        lists: the last list of names under each key that ``note`` was given.
        damaged: lines that are not as they were written, named by number and, where it can be
            read, field. They are passed over: their fields have no line.
        without_checksums: it was begun by a version that wrote none, so that damage shows only
            where a line breaks its schema.

    Raises:
        OSError: the folder cannot be written, or a file in it is a link or no plain file.
        JournalError: it holds something else, or its header is broken.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / LINES
        self.header: RunInfo | None = None
        self.lists: dict[str, tuple[str, ...]] = {}
        self.damaged: list[str] = []
        self.without_checksums = False
        self._places: dict[str, Place] = {}
        self._synced = time.monotonic()
        self._whole = 0  # bytes up to which lines have an end
        mode = "rb" if read_only else "a+b"
        self._lines = open_own(self._path, mode)
        try:
            self._pictures = open_own(folder / PICTURES, mode)
        except BaseException:
            self._lines.close()
            raise
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

    def start(self, header: RunInfo) -> None:
        """Begin again: drop every line and picture of the run before, and write a header."""
        self._places.clear()
        if self.header is not None:  # else the pictures are of another program: it was no journal
            self._pictures.truncate(0)
        self._lines.truncate(0)
        self._whole = 0
        self.lists.clear()
        self.damaged.clear()
        self.without_checksums = False
        self.header = {**header, "journal": FORMAT}
        self._append_line({"journal": FORMAT, **header})
        self.sync()

    def note(self, key: str, names: Sequence[str]) -> None:
        """Write down a list of names, where it is not the last one under its key."""
        if tuple(names) != self.lists.get(key):
            self._append_line({"list": key, "names": list(names)})
            self.lists[key] = tuple(names)
            self.sync()

    def append(self, record: JsonObject, pictures: Sequence[bytes] = ()) -> None:
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
        places: list[Place] = []
        for picture in pictures:
            places.append((at, len(picture), zlib.crc32(picture)))
            at += len(picture)
        _write_all(self._pictures, b"".join(pictures))
        return places

    def read(self, file: str) -> JsonObject:
        """Return the last line of a field.

        Raises:
            KeyError: it has none.
            JournalError: it has changed since the journal was opened.
        """
        at, size = self._places[file]
        record = self._parse(_read_at(self._lines, at, size))
        if not isinstance(record, dict):
            raise JournalError(f"{self._path}: the line of {_shown(file)} is damaged")
        return record

    def name_damaged(self, file: str) -> None:
        """Mark a line as damaged that has its checksum and yet holds no result."""
        self.damaged.append(_shown(file))
        self._places.pop(file, None)

    def pictures(self, record: JsonObject) -> list[bytes]:
        """Return the pictures of a line."""
        return [self.picture(place) for place in record["pictures"]]

    def picture(self, place: Sequence[int]) -> bytes:
        """Return one picture, by its place.

        Raises:
            JournalError: it is not there, or not as it was written.
        """
        at, size, *check = place
        if not 0 < size <= _MAX_PICTURE or at < 0:
            raise JournalError(f"{self._pictures.name}: holds no picture at {at}")
        data = _read_at(self._pictures, at, size)
        if not data.startswith(_JPEG) or (check and zlib.crc32(data) != check[0]):
            raise JournalError(f"{self._pictures.name}: the picture at {at} is damaged")
        return data

    def has_pictures(self, record: JsonObject) -> bool:
        """Say whether the pictures of a line are there: a power cut may keep a line and lose
        them."""
        try:
            for place in record["pictures"]:
                self.picture(place)
        except JournalError:
            return False
        return True

    def sync(self) -> None:
        """Bring everything to the disk, pictures before the lines that point to them."""
        os.fsync(self._pictures.fileno())
        os.fsync(self._lines.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        self._pictures.close()

    def _append_line(self, value: Mapping[str, object]) -> Place:
        # Files that are not the journal's own were refused when it was opened: this is a cut line.
        if self._lines.seek(0, os.SEEK_END) > self._whole:
            self._lines.truncate(self._whole)
        line = _sealed(json.dumps(value, separators=(",", ":")).encode())
        _write_all(self._lines, line)
        at, self._whole = self._whole, self._whole + len(line)
        return at, len(line)

    def _load(self) -> None:
        self._lines.seek(0)
        rest = b""
        number = 0
        while block := self._lines.read(_BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                number += 1
                self._take(number, line + b"\n")
            # The first line cut short is a run that was hardly begun; anything else is not ours.
            if self.header is None and not _START.startswith(rest[: len(_START)]):
                raise JournalError(f"{self._path} is no journal of wbcdet")

    def _take(self, number: int, line: bytes) -> None:
        if number == 1:
            self.header = self._checked_header(line)
        else:
            value = self._parse(line)
            if isinstance(value, dict) and isinstance(value.get("file"), str):
                self._places[value["file"]] = (self._whole, len(line))
            elif isinstance(value, dict) and isinstance(value.get("names"), list):
                self.lists[str(value.get("list"))] = tuple(map(str, value["names"]))
            else:
                self._pass_over(number, line)
        self._whole += len(line)

    def _pass_over(self, number: int, line: bytes) -> None:
        try:
            value = parse_json(line)
        except ValueError:
            value = None
        file = value.get("file") if isinstance(value, dict) else None
        if not isinstance(file, str):
            self.damaged.append(f"line {number}")
            return
        self.damaged.append(f"line {number} ({_shown(file)})")
        # What was said of a field before is not what was said last. A stream cannot look again.
        if not (self.header or {}).get("stream"):
            self._places.pop(file, None)

    def _parse(self, line: bytes) -> Any:
        """Return a line's value without its checksum; None where the two do not agree."""
        try:
            body = _unsealed(line)
            if body is None and not self.without_checksums:
                return None
            return parse_json(line if body is None else body)
        except ValueError:
            return None

    def _checked_header(self, line: bytes) -> RunInfo:
        try:
            value = parse_json(line)
        except ValueError:
            value = None
        if not isinstance(value, dict) or "journal" not in value:
            raise JournalError(f"{self._path} is no journal of wbcdet")
        if value["journal"] not in (FORMAT, _WITHOUT_CHECKSUMS):
            raise JournalError(
                f"{self._path} has format {value['journal']!r}, this version reads {FORMAT!r}"
            )
        self.without_checksums = value["journal"] == _WITHOUT_CHECKSUMS
        header = self._parse(line)
        if header is None:
            raise JournalError(f"{self._path}: its first line is damaged")
        return cast("RunInfo", dict(header))


def _sealed(body: bytes) -> bytes:
    """Return a line: a JSON object with a checksum of itself as its last value."""
    return body[:-1] + _BEFORE + _checksum(body) + _AFTER


def _unsealed(line: bytes) -> bytes | None:
    """Return the object of a line; None where it has no checksum.

    Raises:
        ValueError: the checksum is that of another line.
    """
    start, end = line[:-_CHECK_BYTES], line[-_CHECK_BYTES:]
    if not (end.startswith(_BEFORE) and end.endswith(_AFTER)):
        return None
    body = start + b"}"
    if end[len(_BEFORE) : -len(_AFTER)] != _checksum(body):
        raise ValueError("checksum differs")
    return body


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_LETTERS].encode()


def _shown(name: str) -> str:
    return " ".join(name.split())[:200]


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
