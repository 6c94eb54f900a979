"""Signatures of a report, in an append-only log of lines that are chained by sha256."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TypedDict

from wbcdet.results.schemas import check_line
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import make_private, open_own, own_file, read_own, written_file
from wbcdet.utils.schemas import SchemaError, parse_json

#: The log, in the report folder.
LOG = "review-log.jsonl"
_FORMAT = "wbcdet-review-log/1"
#: How every line begins.
_START = b'{"format": "wbcdet-review-log/'
#: Stands in the first line in place of the sha256 of the line before.
_NONE = "0" * 64


class _Signed(TypedDict):
    name: str
    time: str
    note: str
    wbcdet: str
    results_sha256: str
    decisions: int
    decisions_sha256: str
    cells: int
    unreviewed: int
    machine: dict[str, int]
    reviewed: dict[str, int]
    notice: str


class Signed(_Signed, total=False):
    """What is signed: who, when, and the state of the report and of its cells.

    Attributes:
        slide: the one that was signed; None for all of them.
        slides_sha256: by slide, sha256 of what the machine's results said of it then.
        one_by_one, in_bulk: cells that were looked at alone, and together with others.
        number: of the signature in its log.
    """

    slide: str | None
    slides_sha256: dict[str, str]
    one_by_one: int
    in_bulk: int
    number: int


class SignatureEntry(Signed):
    """A line of the log: with the signed files and the line before, both as sha256."""

    format: str
    previous: str
    files: dict[str, str]


def signs(entry: SignatureEntry, slide: str) -> bool:
    """Say whether a signature covers a slide; one of all slides covers those that were there."""
    of = entry.get("slide")
    return of == slide or (of is None and slide in entry.get("slides_sha256", (slide,)))


class SigningError(WbcdetError, ValueError):
    """The review cannot be signed, or its log is not whole; the message is one line."""


class SignatureLog:
    """The signatures of a report, one JSON line each.

    Every line names the sha256 of the line before it, of the machine's results, of all decisions
    and of the files that were written. That shows a change of any of these afterwards, as long as
    the last line (or a copy of it) is trusted; it is no electronic signature: anyone who can write
    to the folder can write the whole log again.

    Args:
        folder: the report folder.

    Raises:
        SigningError: a line is damaged.
        OSError: it cannot be read, or is a link.
    """

    def __init__(self, folder: Path) -> None:
        self.path = own_file(folder, LOG)
        self.entries: list[SignatureEntry] = []
        self._tail = _NONE
        lines = read_own(folder, LOG).split(b"\n") if self.path.exists() else []
        # Something else that has no whole line is not cut off either.
        if lines and len(lines) == 1 and not _START.startswith(lines[0][: len(_START)]):
            raise SigningError(f"{self.path}: line 1 is damaged")
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = parse_json(line)
                check_line("signature", entry)
            except (ValueError, SchemaError) as error:
                raise SigningError(f"{self.path}: line {number} is damaged: {error}") from error
            if entry["previous"] != self._tail:
                raise SigningError(
                    f"{self.path}: line {number} does not follow the one before it; a line was "
                    "changed or taken out"
                )
            self.entries.append(entry)
            self._tail = hashlib.sha256(line).hexdigest()
        # A line without an end was cut off by a power cut while it was written: it signs nothing.
        self._end = sum(len(line) + 1 for line in lines[:-1])

    @property
    def last(self) -> SignatureEntry | None:
        """The last signature."""
        return self.entries[-1] if self.entries else None

    def append(self, signed: Signed, files: dict[str, str]) -> SignatureEntry:
        """Add a signature; it is on the disk when this returns.

        Args:
            signed: what is signed.
            files: sha256 of every file of the signed report, by its path.

        Raises:
            OSError: it cannot be written; the log is as it was.
        """
        entry: SignatureEntry = {
            "format": _FORMAT,
            **signed,
            "number": len(self.entries) + 1,
            "files": files,
            "previous": self._tail,
        }
        line = json.dumps(entry, ensure_ascii=False).encode()
        make_private(written_file(self.path.parent, LOG))
        with open_own(self.path, "ab") as file:
            file.truncate(self._end)
            try:
                if file.write(line + b"\n") <= len(line):  # a nearly full disk takes a part
                    raise OSError("the disk is full")
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(self._end)
                raise
        self.entries.append(entry)
        self._tail = hashlib.sha256(line).hexdigest()
        self._end += len(line) + 1
        return entry
