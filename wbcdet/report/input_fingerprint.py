"""Fingerprints of input files, so that the next run sees whether they have changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypedDict

from wbcdet.utils.files import sha256_of


class _Hashed(TypedDict):
    sha256: str


class FileStamp(_Hashed, total=False):
    """Fingerprint of a file: sha256 (hex); of a count also its bytes and time of change."""

    size: int
    mtime_ns: int


class InputFingerprints:
    """Size, time of change and sha256 of input files.

    The pictures of one file follow each other, so the last file's stamp is kept.
    """

    def __init__(self) -> None:
        self._last: tuple[Path, int, int, str] | None = None

    def take(self, path: Path | str) -> FileStamp | None:
        """Return the stamp of a file; None where it cannot be read."""
        if isinstance(path, str):
            return None
        try:
            key = (path, *_size_and_time(path))
            if self._last is None or self._last[:3] != key:
                self._last = (*key, _sha256(path))
        except (OSError, ValueError):
            return None
        return {"size": key[1], "mtime_ns": key[2], "sha256": self._last[3]}

    def same(self, path: Path | str, stamp: FileStamp | None) -> bool:
        """Say whether the file is the one that was stamped: same size and time of change, or same
        bytes."""
        if isinstance(path, str) or stamp is None:
            return False
        try:
            size, time_ns = _size_and_time(path)
        except (OSError, ValueError):
            return False
        if size != stamp["size"]:
            return False
        if time_ns == stamp["mtime_ns"]:
            return True
        # A copy or a restored backup has new times and the same pictures.
        now = self.take(path)
        return now is not None and now["sha256"] == stamp["sha256"]


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return both; of a slide that is a folder the size of all its files and the latest time.

    Raises:
        OSError: there is no file.
    """
    if not path.is_dir():
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    statuses = [file.stat() for file in path.rglob("*") if file.is_file()]
    if not statuses:
        raise FileNotFoundError(path)
    return sum(status.st_size for status in statuses), max(
        status.st_mtime_ns for status in statuses
    )


def _sha256(path: Path) -> str:
    if path.is_dir():
        digest = hashlib.sha256()
        for part in sorted(part for part in path.rglob("*") if part.is_file()):
            name = part.relative_to(path).as_posix()
            digest.update(f"{_sha256(part)} {name}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    return sha256_of(path)
