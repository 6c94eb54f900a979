"""Lock an output folder, so that one process at a time writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import own_file

#: The lock of a folder. It is there while the folder is written to, and after a process was killed.
LOCK = ".wbcdet.lock"


class LockedError(WbcdetError, RuntimeError):
    """Another process writes to the folder; the message is one line."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against every other command, and against a review of it.

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
    lock = FileLock(own_file(folder, LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"another run of wbcdet, or a review, has {folder} open; wait for its end, or choose "
            "another --out"
        ) from error
    try:
        yield
    finally:
        # While the lock is still held: a waiting process sees that the file has gone, and makes a #
        # new one. (Windows keeps open files; there the library removes it.)
        with suppress(OSError):
            (folder / LOCK).unlink()
        lock.release()
