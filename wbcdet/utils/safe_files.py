"""Resolve paths and open files of a report so that nothing outside of its folder is reached.

A report may come from somebody else, and a folder may hold more than this program wrote there. So a
name from a report is resolved below the folder that it belongs to and never followed out by a link,
and files of a report are opened only where they are plain files.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path, PurePosixPath

from wbcdet.utils.errors import WbcdetError

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
#: A pipe must be seen to be one, not waited for.
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)


class OutsideError(WbcdetError, OSError):
    """A path leads out of its folder, or is no plain file; the message is one line."""


def inside(folder: Path, name: str) -> Path:
    """Return the path of a name below a folder, whether it exists or not.

    Args:
        folder: trusted; it may itself be a link.
        name: as a report gives it, with ``/`` between its parts.

    Raises:
        OutsideError: the name is absolute, goes up, or a link on its way leads out.
    """
    parts = PurePosixPath(name).parts
    foreign = os.sep != "/" and (":" in name or "\\" in name)
    if not parts or parts[0] == "/" or ".." in parts or foreign:
        raise OutsideError(f"{_shown(name)}: the name leads out of {folder}")
    path = folder.joinpath(*parts)
    try:
        leads_out = not _leads_into(path, folder)
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that cannot be
        raise OutsideError(f"{_shown(name)}: is no usable name ({error})") from error
    if leads_out:
        raise OutsideError(f"{path}: is a link out of {folder}; remove it")
    return path


def is_below(path: Path, folder: Path) -> bool:
    """Tell whether no link on the way to a path leads out of a folder; False where that is
    unknown."""
    try:
        return _leads_into(path, folder)
    except (OSError, RuntimeError, ValueError):
        return False


def _leads_into(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def own_folder(folder: Path, name: str) -> Path:
    """Return a folder in a report, whether it exists or not.

    Raises:
        OutsideError: it is a link or no folder.
    """
    path = folder / name
    if path.is_symlink():
        raise OutsideError(f"{path}: is a link; remove it, or put the folder itself there")
    if path.exists() and not path.is_dir():
        raise OutsideError(f"{path}: is no folder; move it away")
    return path


def own_file(folder: Path, name: str) -> Path:
    """Return a file that a report holds, whether it exists or not.

    Raises:
        OutsideError: it is a link, a folder, a device or a pipe.
    """
    path = folder / name
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if stat.S_ISLNK(mode):
        raise OutsideError(f"{path}: is a link; remove it, or put the file itself there")
    if not stat.S_ISREG(mode):
        raise OutsideError(f"{path}: is no plain file; move it away")
    return path


def written_file(folder: Path, name: str) -> Path:
    """Return a file of a report that is written in place, whether it exists or not.

    Raises:
        OutsideError: as of :func:`own_file`, or it has another name elsewhere (a hard link): what
            is written here would change that file too.
    """
    path = own_file(folder, name)
    if path.exists() and path.stat().st_nlink > 1:
        raise OutsideError(_linked(path))
    return path


def _linked(path: Path) -> str:
    return f"{path}: is also a file elsewhere (a hard link); put a copy of it in its place"


def open_own(path: Path, mode: str, permissions: int = 0o666) -> FileIO:
    """Open a plain file, never through a link.

    Args:
        path: the file.
        mode: as of ``FileIO``.
        permissions: of a file that is made, before the umask.

    Raises:
        OutsideError: it is a link, a folder, a device or a pipe; or it is to be written, and is a
            file elsewhere too (a hard link).
        OSError: it cannot be opened.
    """
    own_file(path.parent, path.name)

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | _NO_FOLLOW | _NO_WAIT, permissions)

    file = FileIO(str(path), mode, opener=opener)
    now = os.fstat(file.fileno())
    if not stat.S_ISREG(now.st_mode):
        file.close()
        raise OutsideError(f"{path}: is no plain file; move it away")
    if file.writable() and now.st_nlink > 1:
        file.close()
        raise OutsideError(_linked(path))
    return file


def read_own(folder: Path, name: str) -> bytes:
    """Return all bytes of a file that a report holds.

    Raises:
        OSError: it cannot be read; ``OutsideError`` as of :func:`open_own`.
    """
    with open_own(folder / name, "rb") as file:
        return file.readall()


def make_private(path: Path) -> None:
    """Let no other account of this computer read a file; create it where it does not exist."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_FOLLOW, 0o600)
    try:
        if hasattr(os, "fchmod"):
            with _where_owners_are_kept(path.parent):
                os.fchmod(handle, 0o600)
    finally:
        os.close(handle)


def set_mode(path: Path, mode: int) -> None:
    """Set who may read and write a file or folder, where its disk keeps that.

    Raises:
        OSError: the file is another account's.
    """
    with _where_owners_are_kept(path.parent):
        path.chmod(mode)


@contextmanager
def _where_owners_are_kept(folder: Path) -> Iterator[None]:
    """Let permissions be as they are where they cannot be set: on a network drive or an exFAT stick
    the mount gives all files one owner, and only that account may change them."""
    try:
        yield
    except OSError:
        if _keeps_owners(folder):
            raise


def _keeps_owners(folder: Path) -> bool:
    """Tell whether a file that is made in a folder belongs to the account that makes it."""
    if not hasattr(os, "geteuid"):
        return True
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.fstat(file.fileno()).st_uid == os.geteuid()


def _shown(name: str) -> str:
    return " ".join(name.split())[:200].encode(errors="replace").decode() or repr(name)
