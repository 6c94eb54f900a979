"""Read files of labels as people have them, within limits: a file may be anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wbcdet.utils.decode_text import MAX_BYTES, TooLargeError, read_bytes, unicode_text

#: The largest file of one picture's labels, or of class names, bytes: 80,000 boxes.
MAX_BYTES_OF_A_PICTURE = 8_000_000
#: What a JSON file may hold of lists and objects: each takes far more memory than its two signs.
_MAX_CONTAINERS = 3_000_000
#: What is read of a file to see what it is, bytes.
_START = 8_000


def read_text(path: Path, most: int = MAX_BYTES_OF_A_PICTURE) -> str:
    """Return a text file; signs that Unicode does not have are replaced.

    Raises:
        OSError: it cannot be read.
        TooLargeError: it is larger than ``most`` bytes.
    """
    return unicode_text(read_bytes(path, most), "replace")


def read_start(path: Path) -> str:
    """Return how a text file begins.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return unicode_text(file.read(_START), "replace")


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        OSError: it cannot be read.
        TooLargeError: it is larger, or holds more, than labels may.
        ValueError: it is no JSON.
    """
    text = read_text(path, MAX_BYTES)
    if text.count("{") + text.count("[") > _MAX_CONTAINERS:
        raise TooLargeError(f"holds more than {_MAX_CONTAINERS:,} lists and objects; split it")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
