"""Decode text files that people made, whatever their editor or spreadsheet called Unicode."""

from __future__ import annotations

import codecs
from pathlib import Path

#: The largest file of labels or of a table that is read, bytes: half a million cells.
MAX_BYTES = 64_000_000
#: Marks at the start of a file, the longest first.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
#: Bytes in which the zeros are counted.
_LOOKED_AT = 4096


class TooLargeError(ValueError):
    """A file is larger than any that people make; the message says how large it may be."""


def read_bytes(path: Path, most: int = MAX_BYTES) -> bytes:
    """Return all bytes of a file that is not larger than ``most``; an endless one ends there.

    Raises:
        OSError: it cannot be read.
        TooLargeError: it is larger.
    """
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise TooLargeError(f"is larger than {most / 1e6:.0f} MB; split it")
    return data


def unicode_text(data: bytes, errors: str = "strict") -> str:
    """Return the text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
        data: the whole file.
        errors: as of ``bytes.decode``.

    Raises:
        UnicodeDecodeError: it is in none of them.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data.decode(name, errors)
    # In UTF-16 without a mark, every second byte of Latin letters and of figures is zero.
    start = data[: min(_LOOKED_AT, len(data) // 2 * 2)]
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = start[first::2].count(0), start[1 - first :: 2].count(0)
        if start and 2 * zeros > len(start) // 2 and not others:
            return data.decode(name, errors)
    return data.decode("utf-8", errors)
