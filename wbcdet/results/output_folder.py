"""The folders that wbcdet writes: marked as its own, locked, and never a user's.

A marker file tells an output folder from every other one. It keeps what wbcdet wrote from being
taken for slides (:mod:`wbcdet.io.discover`), and what a user keeps from being written over: a
command writes into a folder that is empty or that the same command wrote, and into no other.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from wbcdet.io.ownership import (
    MARKER,
    MARKER_FORMAT,
    is_journal,
    is_old_report,
    is_signed,
    read_marker,
)
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.files import PART_PREFIX, atomic_write
from wbcdet.utils.lock import LOCK, SECOND_LOCK, locked

#: Where new files wait until all are there, where old ones wait to be removed, and where the new
#: ones wait once all old ones are out of the way.
_NEW, _OLD, _READY = (f"{PART_PREFIX}{name}" for name in ("new", "old", "ready"))

_COUNT = (
    "annotated", "cells", "journal", "report.html", "differential.csv", "cells.csv", "fields.csv",
    "report.xlsx", "report.pdf", "results.json", "maps",
)  # fmt: skip
#: Files and folders that each command writes, in the order in which they are put in place.
ENTRIES: dict[str, tuple[str, ...]] = {
    "predict": ("annotated", "cells.csv", "fields.csv", "results.json"),
    "demo": ("fields", "annotated", "cells.csv", "fields.csv", "results.json"),
    "count": _COUNT,
    "stream": (*_COUNT, "views", "crops", "mosaic", "events.csv"),
    "evaluate": ("figures.csv", "cells.csv", "evaluation.json", "evaluation.html"),
    "agree": ("agreement.csv", "agreement_groups.csv", "agreement.json", "agreement.html"),
    "learn": (
        "detector.onnx",
        "detector.safetensors",
        "detector.json",
        "classifier.onnx",
        "classifier.safetensors",
        "classifier.json",
        "learned.json",
        "README.md",
    ),
    # Other files for each format: they wait until all are there, and are put into an empty folder.
    "export": (),
}
#: Contents of the folders of these commands, in words.
_COUNTS = {"count": "the count of a folder", "stream": "the count of a stream"}
#: Files that operating systems leave in every folder.
_SYSTEM = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
#: Number of a user's files that a refusal names.
_MAX_NAMED = 3


class OutputError(WbcdetError, ValueError):
    """A folder is not written to; the message is one line that names the remedy."""


def mark(folder: Path, command: str, entries: tuple[str, ...] = ()) -> None:
    """Write the marker.

    Args:
        folder: an output folder.
        command: which command wrote it.
        entries: what in it may be written over by the same command.

    Raises:
        OSError: it cannot be written.
    """
    document = {
        "format": MARKER_FORMAT,
        "about": "wbcdet wrote this folder: its pictures are never analysed as slides.",
        "command": command,
        "entries": list(entries),
    }
    atomic_write(folder / MARKER, f"{json.dumps(document, indent=1)}\n".encode())


def mark_new(folder: Path, command: str) -> None:
    """Write the marker into a folder that nobody has put anything into yet.

    Raises:
        OSError: it cannot be written.
    """
    if is_empty(folder):
        mark(folder, command)


def is_empty(folder: Path) -> bool:
    """Tell whether the folder holds only what systems and wbcdet itself leave in every folder."""
    return all(_is_leftover(entry.name) for entry in folder.iterdir())


def check_output(out: Path, command: str) -> None:
    """Find out whether a command may write into a folder. Nothing is written.

    Raises:
        OutputError: it holds what is not the command's own.
        OSError: it is not a folder, or cannot be looked into.
    """
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(out))
    there = sorted(entry.name for entry in out.iterdir() if not _is_leftover(entry.name))
    marker = read_marker(out)
    if marker is None:
        if there and not (command in ("count", "stream") and _is_old_count(out, there, command)):
            _refuse_strange(out, there)
        return
    owner = marker.get("command")
    if owner != command:
        what = _COUNTS.get(str(owner), f"what wbcdet {owner} wrote")
        raise OutputError(f"{out}: holds {what}, which stays; choose another --out")
    reviews = ("review.sqlite", "review-second.sqlite")
    if any((out / name).exists() for name in reviews) and command not in ("count", "stream"):
        raise OutputError(f"{out}: has been reviewed, which stays; choose another --out")
    own = marker.get("entries")
    own = set(own) if isinstance(own, list) else set()
    for name in ENTRIES[command]:
        if os.path.lexists(out / name) and name not in own:
            raise _not_ours(out / name)
    if command in ("predict", "demo"):
        _check_pictures(out, command)


class Output:
    """An output folder while a command writes to it: checked, locked and marked.

    With ``replaces`` what an earlier run of the command left stays until :meth:`finish` puts the
    new files in its place, all together; a run that ends before leaves the old ones.

    Args:
        out: the folder; made where it does not exist.
        command: a key of ``ENTRIES``.
        replaces: the files take the place of those of an earlier run. Those of a command without
            entries of its own always wait until all are there.
        whole: the files wait in an empty folder too, since some of them alone would be used.

    Attributes:
        folder: where to write: ``out`` itself, or a folder in it.

    Raises:
        OutputError: the folder is not the command's.
        LockedError: another run writes to it.
        OSError: it cannot be written.
    """

    def __init__(
        self, out: str | Path, command: str, *, replaces: bool = False, whole: bool = False
    ) -> None:
        self.out, self._command = Path(out), command
        self._entries = ENTRIES[command]
        self._closing, self._closed = ExitStack(), False
        check_output(self.out, command)
        self._closing.enter_context(locked(self.out))
        try:
            check_output(self.out, command)  # once more: another run may just have ended
            self._finish_replacement()
            for part in self.out.glob(f"{PART_PREFIX}*.part"):  # what a killed run was writing
                part.unlink(missing_ok=True)
            if not self._entries and not is_empty(self.out):
                raise OutputError(not_empty(self.out))
            there = [name for name in self._entries if (self.out / name).exists()]
            self._fresh = not there
            mark(self.out, command, self._entries)
            self.folder = self.out
            if whole or (replaces and there) or not self._entries:
                self.folder = self.out / _NEW
                self.folder.mkdir()
        except BaseException:
            self._closing.close()
            raise

    def finish(self) -> None:
        """Put the new files in place of the old ones, and end.

        Raises:
            OSError: they cannot be moved.
        """
        if self.folder != self.out:
            _replace(self.out, self._entries)
        self.close()

    def _finish_replacement(self) -> None:
        _finish_replacement(self.out, self._entries)

    def close(self) -> None:
        """Let others write; what waits to be put in place is dropped."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):
            self._finish_replacement()
            there = tuple(name for name in self._entries if (self.out / name).exists())
            if self._fresh and is_empty(self.out):  # it ended before it wrote anything
                (self.out / MARKER).unlink(missing_ok=True)
            else:
                mark(self.out, self._command, there)
        self._closing.close()

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def replaced_together(out: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield a folder for files of an output folder, which then take the place of the old ones all
    together: what ends the writing, a full disk or a kill, leaves the old ones.

    Args:
        out: the output folder, held by this run. Opening it as an :class:`Output` mends what was
            ended between the first and the last file.
        names: the files, those that the others belong to last. One that is not written is removed.

    Raises:
        OSError: they cannot be put in place.
    """
    _finish_replacement(out, names)
    (out / _NEW).mkdir()
    try:
        yield out / _NEW
        _replace(out, names)
    except BaseException:
        with suppress(OSError):
            _finish_replacement(out, names)
        raise


def _replace(out: Path, entries: tuple[str, ...]) -> None:
    (out / _OLD).mkdir()
    # The results are the first to go and the last to come: where they are, all belongs to them.
    # What ends this half-way is mended by the next run (`_finish_replacement`).
    for name in reversed(entries):
        if (out / name).exists():
            (out / name).rename(out / _OLD / name)
    (out / _NEW).rename(out / _READY)
    _finish_replacement(out, entries)


def _finish_replacement(out: Path, entries: tuple[str, ...]) -> None:
    """End a replacement that was begun: forward where all old files were out of the way, else back;
    and remove what is left over."""
    ready, old = out / _READY, out / _OLD
    source = ready if ready.is_dir() else old
    for name in entries or _names(source):
        if (source / name).exists() and not (out / name).exists():
            (source / name).rename(out / name)
    # What was ready goes after the old files: without it, one would go back to them.
    for left in (_OLD, _READY, _NEW):
        shutil.rmtree(out / left, ignore_errors=True)


def not_empty(out: Path) -> str:
    """Say that a folder must be empty, and is not."""
    return f"{out} is not empty; name a new folder, so that no older export is mixed in"


def _names(folder: Path) -> list[str]:
    """Return what a folder holds, folders first; nothing where there is none."""
    if not folder.is_dir():
        return []
    return [path.name for path in sorted(folder.iterdir(), key=lambda path: path.is_file())]


def check_target(path: Path) -> None:
    """Check that a drawing may be written to a path: it is free, or holds a drawing.

    Raises:
        OutputError: it is a user's file.
    """
    if os.path.lexists(path) and not is_signed(path):
        raise _not_ours(path)


def _is_leftover(name: str) -> bool:
    """Neither a user's nor a command's: what the system or an ended run leaves."""
    return (
        name in (LOCK, SECOND_LOCK, MARKER)
        or name.startswith(PART_PREFIX)
        or name.lower() in _SYSTEM
    )


def _is_old_count(out: Path, there: list[str], command: str) -> bool:
    """Say whether the folder is a count that an older version began, and nothing else is in it."""
    known = {
        *ENTRIES[command],
        "reviewed",
        "review.sqlite",
        "review-second.sqlite",
        "review-log.jsonl",
    }
    journal = out / "journal" / "fields.jsonl"
    # Of a run that was killed before its first line was whole, too.
    begun = is_journal(journal) or (journal.is_file() and not journal.stat().st_size)
    return begun and {*there} <= known


def _check_pictures(out: Path, command: str) -> None:
    """Refuse where a user put pictures among the annotated ones, which would be replaced."""
    for folder, _, names in os.walk(out / "annotated"):
        for name in names:
            path = Path(folder) / name
            if not _is_leftover(name) and not is_signed(path):
                raise _not_ours(path)
    drawn = out / "fields"
    if command == "demo" and drawn.is_dir():
        for path in drawn.iterdir():
            if not _is_leftover(path.name) and not re.fullmatch(r"smear-\d+\.png", path.name):
                raise _not_ours(path)


def _refuse_strange(out: Path, there: list[str]) -> None:
    if is_old_report(out):
        raise OutputError(
            f"{out}: holds files without the mark that tells wbcdet's from yours; choose another "
            "--out, or delete the folder"
        )
    named = ", ".join(" ".join(name.split()) for name in there[:_MAX_NAMED])
    more = f" and {len(there) - _MAX_NAMED} more" if len(there) > _MAX_NAMED else ""
    raise OutputError(
        f"{out}: holds files that wbcdet did not write ({named}{more}); choose another --out: a "
        "new or an empty folder"
    )


def _not_ours(path: Path) -> OutputError:
    return OutputError(f"{path}: was not written by wbcdet; move it, or choose another --out")
