"""End the program at Ctrl-C while there is nothing to lose yet."""

from __future__ import annotations

import atexit
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
    if not _is_ours():
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


def end_with(code: object) -> None:
    """Let a further Ctrl-C end the program at once, with the code that it ends with anyhow.

    For the time when all is written and said, and only threads are waited for: an interrupt there
    comes out as a traceback and another code.
    """
    if _is_ours():
        number = code if isinstance(code, int) else int(code is not None)
        signal.signal(signal.SIGINT, lambda *_: os._exit(number))
        # No thread is waited for then, and Python takes back what handles signals.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def _is_ours() -> bool:
    """Say whether Ctrl-C comes as ``KeyboardInterrupt`` here: a background job ignores it, and only
    the main thread may set a signal's handler."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return usual and threading.current_thread() is threading.main_thread()
