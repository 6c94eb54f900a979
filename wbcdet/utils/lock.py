"""Lock an output folder, so that one process at a time writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import written_file

#: The lock of a folder. It is there while the folder is written to, and after a process was killed.
LOCK = ".wbcdet.lock"
#: The lock of the second reader of a report: two persons may read one at the same time.
SECOND_LOCK = ".wbcdet-second.lock"


class LockedError(WbcdetError, RuntimeError):
    """Another process writes to the folder; the message is one line."""


@contextmanager
def locked(folder: Path, *names: str) -> Iterator[None]:
    """Hold a folder against every other command, and against a review of it.

    The lock belongs to the process: the system takes it back when the process ends, however it
    ends, so that no stale lock is ever in the way.

    Args:
        folder: made where it does not exist.
        names: of the locks that are taken; none given takes all of them.

    Raises:
        LockedError: another run holds it.
        OSError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for name in names or (LOCK, SECOND_LOCK):
            held.enter_context(_held(folder, name))
        yield


@contextmanager
def _held(folder: Path, name: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(written_file(folder, name))
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
        # While the lock is still held: a waiting process sees that the file has gone, and makes a
        # new one. (Windows keeps open files; there the library removes it.)
        with suppress(OSError):
            (folder / name).unlink()
        lock.release()
