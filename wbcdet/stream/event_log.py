"""Log the events of a run: printed in a line, and written to ``events.csv``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from wbcdet.utils.csv_text import harmless, table_writer
from wbcdet.utils.safe_files import own_file, written_file

EVENTS = "events.csv"
COLUMNS = ("time", "frame", "event", "text")


def remove_events(out: Path) -> None:
    """Forget the events of earlier runs; a table that is not of events stays."""
    path = own_file(out, EVENTS)
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            ours = file.readline().rstrip("\n") == ",".join(COLUMNS)
        if ours:
            path.unlink()


class EventLog:
    """The log of a report folder; runs that go on add to it.

    Args:
        out: the folder.
        say: what prints a line; None says nothing.

    Raises:
        OSError: it cannot be written, or is a link.
    """

    def __init__(self, out: Path, say: Callable[[str], None] | None) -> None:
        path = written_file(out, EVENTS)
        new = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", newline="", encoding="utf-8")
        self._table = table_writer(self._file)
        self._say = say
        if new:
            self._table.writerow(COLUMNS)
            self._file.flush()

    def add(self, event: str, text: str, frame: int, *, silent: bool = False) -> None:
        """Write down, and unless ``silent`` say, what happened after a frame (-1: before any)."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        self._table.writerow((now, frame if frame >= 0 else "", event, harmless(text)))
        self._file.flush()
        if self._say is not None and not silent:
            self._say(text)

    def beep(self) -> None:
        """Make the terminal beep."""
        if self._say is not None and sys.stderr.isatty():
            print("\a", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
