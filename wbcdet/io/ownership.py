"""Recognise what wbcdet wrote: its output folders by a marker, its pictures by a signature.

Annotated fields, contact sheets, maps, crops and thumbnails carry a JPEG comment and the EXIF tags
Software and ImageDescription, so that they are known wherever they are moved: most programs that
convert or copy a picture keep one of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from wbcdet.utils.safe_files import own_file
from wbcdet.utils.schemas import parse_json

#: The marker, in every folder that a command wrote (:mod:`wbcdet.results.output_folder`).
MARKER = "wbcdet-output.json"
MARKER_FORMAT = "wbcdet-output/1"

#: Folders of drawings and state in a report: no picture in them is a slide.
DRAWN = frozenset({"annotated", "cells", "crops", "maps", "mosaic", "reviewed", "journal"})

#: How the documents of reports start that were written before there was a marker.
_OLD_STARTS = {
    "results.json": re.compile(rb'\s*\{\s*"format":\s*"wbcdet-results/'),
    "evaluation.json": re.compile(rb'\s*\{\s*"format":\s*"wbcdet-evaluation/'),
    "agreement.json": re.compile(rb'\s*\{\s*"format":\s*"wbcdet-agreement/'),
    "journal/fields.jsonl": re.compile(rb'\{"journal":\s*"wbcdet-journal/'),
}

#: Signature in the metadata of pictures, whatever their format.
TEXT = b"Drawn by wbcdet: not a slide"
#: Signature of a field that a stream has kept: a slide, as the camera saw it.
_VIEW = b"Kept by wbcdet: a field of a stream"

#: Bytes at the start and at the end of a file that are searched: metadata stand there.
_SEARCHED = 16_384
_COMMENT, _EXIF, _JFIF = b"\xff\xfe", b"\xff\xe1", b"\xff\xe0"
_SOFTWARE, _DESCRIPTION = 0x0131, 0x010E


def read_marker(folder: Path) -> dict[str, object] | None:
    """Return the marker of a folder; None without one."""
    try:
        with (folder / MARKER).open("rb") as file:
            document = parse_json(file.read(100_000))
    except (OSError, ValueError):
        return None
    known = isinstance(document, dict) and document.get("format") == MARKER_FORMAT
    return document if known else None


def written_by(folder: Path) -> str | None:
    """Return the command that wrote a folder, by its marker; None for all other folders."""
    marker = read_marker(folder)
    return None if marker is None else str(marker.get("command"))


def is_old_report(folder: Path) -> bool:
    """Say whether the folder holds a report that was written before there was a marker."""
    return any(_starts(folder / name, start) for name, start in _OLD_STARTS.items())


def is_journal(path: Path) -> bool:
    """Say whether the file is the journal of a count or a stream."""
    return _starts(path, _OLD_STARTS["journal/fields.jsonl"])


def signed(jpeg: bytes, *, view: bool = False) -> bytes:
    """Return a JPEG file with our signature in its metadata; its pixels are as they were.

    Args:
        jpeg: the file; one that has the signature already stays as it is.
        view: it is a field that a stream has kept, not a drawing.
    """
    text = _VIEW if view else TEXT
    if text in jpeg[:_SEARCHED]:
        return jpeg
    at = 2
    if jpeg[at : at + 2] == _JFIF:  # has to stay the first segment
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return jpeg[:at] + _segments(text) + jpeg[at:]


def is_signed(path: Path) -> bool:
    """Say whether the file is a picture that wbcdet has drawn; False where it cannot be read."""
    return _says(path, TEXT)


def is_own(path: Path) -> bool:
    """Say whether the file is a picture that wbcdet has written, drawn or kept, and no link to one.

    Only such pictures are ever removed.
    """
    try:
        own_file(path.parent, path.name)
    except OSError:
        return False
    return _says(path, TEXT) or _says(path, _VIEW)


def _says(path: Path, text: bytes) -> bool:
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            if text in file.read(_SEARCHED):
                return True
            size = file.seek(0, 2)
            if size <= _SEARCHED:
                return False
            file.seek(max(0, size - _SEARCHED))
            return text in file.read()
    except (OSError, ValueError):
        return False


@lru_cache(maxsize=2)
def _segments(text: bytes) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[_DESCRIPTION], exif[_SOFTWARE] = text.decode(), "wbcdet"
    return _segment(_EXIF, exif.tobytes()) + _segment(_COMMENT, text)


def _segment(mark: bytes, data: bytes) -> bytes:
    return mark + (len(data) + 2).to_bytes(2, "big") + data


def _starts(path: Path, start: re.Pattern[bytes]) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return start.match(file.read(100)) is not None
    except (OSError, ValueError):
        return False
