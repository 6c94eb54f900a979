"""One run at a time on a report folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import own_file


class LockedError(WbcdetError, RuntimeError):
    """Another process writes to the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against other runs.

    The lock belongs to the process: the system takes it back when the process ends, however it
    ends, so that no stale lock is ever in the way.

    Args:
        folder: made where it does not exist.

    Raises:
        LockedError: another run holds it.
        OSError: nothing can be written there.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(own_file(folder, "lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(str(folder)) from error
    try:
        yield
    finally:
        lock.release()
