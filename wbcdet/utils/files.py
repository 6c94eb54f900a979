"""Write files atomically: they appear whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from wbcdet.utils.csv_text import write_rows
from wbcdet.utils.safe_files import set_mode

#: How the names of files that are being written start.
PART_PREFIX = ".wbcdet-"
_CHUNK = 1 << 20


def sha256_of(path: Path) -> str:
    """Return sha256 (hex) of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def csv_bytes(columns: tuple[str, ...], rows: Iterable[Mapping[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    write_rows(text, columns, rows)
    return text.getvalue().encode()


def write_csv(path: Path, columns: tuple[str, ...], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a table of any length a row at a time, whole or not at all."""
    with open_atomic(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        write_rows(text, columns, rows)
        text.flush()
        text.detach()


def atomic_write(path: Path, data: bytes, *, synced: bool = True) -> None:
    """Write beside the target, then rename: a reader never meets half a file.

    Args:
        path: the target.
        data: all of it.
        synced: as of :func:`open_atomic`.
    """
    with open_atomic(path, synced=synced) as file:
        file.write(data)


@contextmanager
def open_atomic(path: Path, *, synced: bool = True) -> Iterator[BinaryIO]:
    """Yield a file to write a piece at a time, that takes its name when all is written.

    Args:
        path: the file.
        synced: it is on the disk before it takes its name, so that a power cut leaves no table
            under it that was cut off and looks whole. That takes some 4 ms, a fifth of the
            analysis of a field: pictures, of which one is seen to be cut off, go without.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PART_PREFIX, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            if synced:
                file.flush()
                os.fsync(file.fileno())
        set_mode(part, 0o666 & ~_UMASK)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _read_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


# Read once, at import: the only way to read it sets it, which no thread may see.
_UMASK = _read_umask()
