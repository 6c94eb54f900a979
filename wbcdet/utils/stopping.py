"""End the program at Ctrl-C while there is nothing to lose yet."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_INTERRUPTED = 130


@contextmanager
def stops_at_once() -> Iterator[None]:
    """Let Ctrl-C end the program with one line.

    For the time while programs and models are loaded: an interrupt in the middle of an import comes
    out as any error, or is lost, and nothing has been done that could be kept. No folder may be
    held meanwhile: its locks and its mark would stay.
    """
    before = signal.getsignal(signal.SIGINT)
    # A background job ignores Ctrl-C, and only the main thread may set a signal's handler.
    if before is not signal.default_int_handler or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end(_signal: int, _frame: FrameType | None) -> None:
    os.write(2, b"wbcdet: stopped; nothing was done yet\n")
    os._exit(_INTERRUPTED)
