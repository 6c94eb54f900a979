"""Sign-off: an append-only log whose lines hold on to each other and to what was signed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcdet import __version__
from wbcdet.records import NOTICE
from wbcdet.review.counts import machine, progress, reviewed
from wbcdet.review.standing import checked_name
from wbcdet.review.store import Decision

if TYPE_CHECKING:
    from wbcdet.review.session import Session

#: The log, in the report folder.
LOG = "review-log.jsonl"
_FORMAT = "wbcdet-review-log/1"
#: What the first line has in place of the sha256 of the line before it.
_NONE = "0" * 64


class SigningError(ValueError):
    """The review cannot be signed, or its log is not whole; the message is one line."""


class Log:
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


def sign(session: Session, log: Log, name: str, note: str) -> dict[str, Any]:
    """Write the reviewed report, then the line of the log.

    Raises:
        SigningError: unclassified cells are still to be looked at.
        ChangeError: the name is none.
        OSError: a file cannot be written.
    """
    from wbcdet.review.reviewed import write_reviewed

    board = session.board
    name, done = checked_name(name), progress(board)
    if done["open"]:
        raise SigningError(
            f"{done['open']} unclassified cells are not settled; name each, or confirm it with U"
        )
    signature = {
        "name": name,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": " ".join(note.split()),
        "wbcdet": __version__,
        "results_sha256": board.report.sha256,
        "decisions": board.last,
        "decisions_sha256": digest(session.store.decisions()),
        "cells": done["cells"],
        "unreviewed": done["unreviewed"],
        "machine": machine(board).counts,
        "reviewed": reviewed(board).counts,
        "notice": NOTICE,
    }
    files = write_reviewed(session, signature)
    return log.append({**signature, "files": files})


def digest(rows: Sequence[Decision]) -> str:
    """sha256 of decisions, as JSON lines in their order."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps([row.id, row.values()], sort_keys=True).encode() + b"\n")
    return sha.hexdigest()


def check(session: Session) -> list[str]:
    """What does not agree with the log any more, a line each; empty where all does."""
    log, wrong = Log(session.folder), []
    rows = session.store.decisions()
    for entry in log.entries:
        signed = [row for row in rows if row.id <= entry["decisions"]]
        if digest(signed) != entry["decisions_sha256"]:
            wrong.append(f"signature {entry['number']}: decisions before it were changed")
    if log.last is None:
        return wrong
    if log.last["results_sha256"] != session.board.report.sha256:
        wrong.append("results.json is another one than was signed last")
    for file, sha in log.last["files"].items():
        path = session.reviewed_folder / file
        if not path.is_file():
            wrong.append(f"{path}: is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            wrong.append(f"{path}: was changed since it was signed")
    return wrong
