"""Standard input, output and errors that are closed, full or not listened to any more."""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any

from wbcdet.utils.errors import WbcdetError


class PrintError(WbcdetError, RuntimeError):
    """What a command prints cannot be written; the message is one line."""


def fill_closed() -> None:
    """Open what the caller has closed of the three (``>&-``), as a place that keeps nothing.

    Else the next file that is opened has its number: what a library written in C says of a picture
    would then be written into a journal.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            with suppress(OSError):
                setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115


def make_robust() -> None:
    """Let standard output tell that it is full in one line, and standard errors never end a run.

    A terminal that lacks a letter of a file name shows a mark in its place.
    """
    for name, must_arrive in (("stdout", True), ("stderr", False)):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.flush()
        raw = getattr(stream.buffer, "raw", stream.buffer)
        pipe: Any = _Pipe(stream, raw, must_arrive=must_arrive)
        buffer = pipe if raw is stream.buffer else io.BufferedWriter(pipe)
        robust = io.TextIOWrapper(
            buffer,
            encoding=stream.encoding,
            errors="replace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, robust)


class _Pipe(io.RawIOBase):
    """What is below a standard stream.

    Args:
        stream: the stream so far; it would close what writes when nobody held it any more.
        raw: what writes.
        must_arrive: what cannot be written is an error, at the first time. A reader that has gone
            (``| head``) is always told by ``BrokenPipeError``.
    """

    def __init__(self, stream: io.TextIOWrapper, raw: Any, *, must_arrive: bool) -> None:
        self._stream, self._raw, self._must_arrive = stream, raw, must_arrive

    def write(self, data: Any) -> int:
        try:
            while (written := self._raw.write(data)) is None:  # a full pipe that does not wait
                select.select([], [self.fileno()], [])
            return int(written)
        except OSError as error:
            if self._must_arrive and isinstance(error, BrokenPipeError):
                raise
            must_arrive, self._must_arrive = self._must_arrive, False
            if must_arrive:
                why = error.strerror or error
                raise PrintError(
                    f"standard output cannot be written ({why}): make room where it goes, or send "
                    "it elsewhere; files that were written are whole"
                ) from error
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())
