"""Signatures of a report, in an append-only log of chained lines."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from wbcdet.utils.errors import WbcdetError

#: The log, in the report folder.
LOG = "review-log.jsonl"


_FORMAT = "wbcdet-review-log/1"


#: What the first line has in place of the sha256 of the line before it.
_NONE = "0" * 64


class SigningError(WbcdetError, ValueError):
    """The review cannot be signed, or its log is not whole; the message is one line."""


class SignatureLog:
    """The signatures of a report, one JSON line each.

    Every line names the sha256 of the line before it, of the machine's results, of all decisions
    and of the files that were written. That shows a change of any of these afterwards, as long as
    the last line (or a copy of it) is trusted; it is no electronic signature: whoever can write
    to the folder can write the whole log anew.

    Args:
        folder: the report folder.

    Raises:
        SigningError: a line is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG
        self.entries: list[dict[str, Any]] = []
        self._tail = _NONE
        lines = self.path.read_bytes().split(b"\n") if self.path.is_file() else []
        for number, line in enumerate(lines[:-1], 1):
            try:
                entry = json.loads(line)
                previous = entry["previous"]
            except (ValueError, KeyError, TypeError) as error:
                raise SigningError(f"{self.path}: line {number} is damaged") from error
            if previous != self._tail:
                raise SigningError(
                    f"{self.path}: line {number} does not follow the one before it; a line was "
                    "changed or taken out"
                )
            self.entries.append(entry)
            self._tail = hashlib.sha256(line).hexdigest()
        # A line without an end was cut off by a power cut while it was written: it signs nothing.
        self._end = sum(len(line) + 1 for line in lines[:-1])

    @property
    def last(self) -> dict[str, Any] | None:
        """The last signature."""
        return self.entries[-1] if self.entries else None

    def append(self, values: dict[str, Any]) -> dict[str, Any]:
        """Add a signature; it is on the disk when this returns.

        Raises:
            OSError: it cannot be written.
        """
        entry = {"format": _FORMAT, "number": len(self.entries) + 1, **values}
        entry["previous"] = self._tail
        line = json.dumps(entry, ensure_ascii=False).encode()
        with self.path.open("ab") as file:
            file.truncate(self._end)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)
        self._tail = hashlib.sha256(line).hexdigest()
        self._end += len(line) + 1
        return entry
