"""Read which pages of a TIFF file make up its pictures.

tifffile reads the structure; nothing here reads a picture.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from wbcdet.io.errors import FieldError
from wbcdet.io.tiff_channels import order_of_channels, refuse_false_colours

if TYPE_CHECKING:
    from tifffile import TiffFile

#: tifffile's TiffPage or TiffFrame: its types call nearly every attribute optional.
Page = Any

# What tifffile says of odd tags does not concern the user.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

#: Scanners' formats whose further series are labels and overviews of the slide, no fields.
_SCANNERS = ("svs", "ndpi", "bif", "scn", "philips", "avs", "qpi")
#: Pages of a file that are looked at; a slide in fields has hundreds.
MAX_PAGES = 2000


def count_pictures(source: Path | bytes) -> int:
    """Return the number of pictures in a TIFF file: pages, planes and series of full resolution.

    Raises:
        FieldError: the file's structure cannot be read.
    """
    with reporting():
        return len(structure_of(source).pictures)


def stack_axes(source: Path | bytes) -> tuple[str, ...]:
    """Return the axes along which each picture of a TIFF file is one of several: ``Z``, ``T``...

    Raises:
        FieldError: the file's structure cannot be read.
    """
    with reporting():
        return tuple(structure_of(source).axes)


def has_more_pages(source: Path | bytes) -> bool:
    """Say whether the file has more pages than the ``MAX_PAGES`` that are looked at.

    Raises:
        FieldError: the file's structure cannot be read.
    """
    with reporting():
        return structure_of(source).has_more


@contextmanager
def reporting(what: str = "file is damaged") -> Iterator[None]:
    """Turn whatever reading a TIFF raises into one line."""
    try:
        yield
    except FieldError:
        raise
    except MemoryError as error:
        raise FieldError("picture does not fit into memory; scale it down") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise FieldError(f"file cannot be read ({reason}); check the disk") from error
    # tifffile and the codecs raise nearly any exception on damaged bytes.
    except Exception as error:
        text = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        raise FieldError(f"{what} (TIFF: {text}); copy or export it again") from error


class Structure:
    """The pictures of a file, which is open only while something is read from it.

    Attributes:
        pictures: the pages of each: one, or one for each of three channels.
        axes: along which each is one of several.
        has_more: the file has more pages than are looked at.
        lock: to be held while the file is open.
    """

    def __init__(self, source: Path | BytesIO) -> None:
        from tifffile import TiffFile

        self.lock = Lock()
        self._file = TiffFile(source)
        with self.open():
            first = _first_pages(self._file)
            self.has_more = first is not None
            pictures = first or list(_pictures(self._file))
        if not pictures:
            raise FieldError("TIFF holds no picture; copy it again from its source")
        self.pictures = [pages for pages, _ in pictures]
        self.axes = [axes for _, axes in pictures]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Open the file."""
        self._file.filehandle.open()
        try:
            yield
        finally:
            self._file.filehandle.close()


def structure_of(source: Path | bytes) -> Structure:
    """Return the structure of a file, or of all its bytes.

    Raises:
        FieldError, or nearly any exception of tifffile's: to be turned by :func:`reporting`.
    """
    if isinstance(source, bytes):
        return Structure(BytesIO(source))
    status = source.stat()
    return _cached(source, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _cached(path: Path, changed: int, size: int) -> Structure:
    # The fields of a file follow each other: its structure is read once, not for each of them.
    return Structure(path)


#: The pages of a picture, one or one for each of three channels, and the axes it stands in.
_Found = tuple[tuple[Page, ...], str]


def _first_pages(file: TiffFile) -> list[_Found] | None:
    """Return the first pages of a file of too many, each for itself; None for any other file."""
    try:
        _ = file.pages[MAX_PAGES]  # finds pages one by one; asking for all of them may not end
    except IndexError:
        return None
    pages: dict[int, Page] = {}
    with suppress(IndexError):  # tifffile drops pages that it finds again
        pages = {page.offset: page for page in (file.pages[at] for at in range(MAX_PAGES))}
    if len(pages) < MAX_PAGES:
        raise FieldError("file is damaged (TIFF: its pages go round in a circle); copy it again")
    return [((page,), "") for page in pages.values() if not page.subfiletype & 0b101]


def _pictures(file: TiffFile) -> Iterator[_Found]:
    series = file.series
    if any(getattr(file, f"is_{name}") for name in _SCANNERS):
        series = series[:1]
    # Smaller copies and masks beside the pictures, by the tag that says so.
    full = [part for part in series if not int(part.keyframe.subfiletype) & 0b101]
    below = [] if full else list(_sub_pictures(file))
    if below:
        yield from below
        return
    for part in full or series[:1]:
        yield from _of_series(file, part)


def _sub_pictures(file: TiffFile) -> Iterator[_Found]:
    """Yield pictures below pages that are only thumbnails of them, as cameras write (TIFF/EP)."""
    for page in file.pages:
        for own in page.pages or () if getattr(page, "subifds", None) else ():
            if not int(own.keyframe.subfiletype) & 0b101:
                yield (own,), ""


def _of_series(file: TiffFile, series: Any) -> Iterator[_Found]:
    own = [page for page in series.pages if page is not None and page.parent is file]
    key = series.keyframe
    lead = [
        (axis, length)
        for axis, length in zip(series.get_axes(False), series.get_shape(False), strict=True)
        if axis not in "YXS" and length > 1
    ]
    if math.prod(length for _, length in lead) != len(own):
        raise FieldError(
            "TIFF stack that is spread over several files or has planes without a page; "
            "export its pictures one by one"
        )
    axes = [axis for axis, _ in lead]
    stack = "".join(axis for axis in axes if axis in "ZT")
    if "C" not in axes or key.samplesperpixel > 1:
        if key.samplesperpixel == 1:
            refuse_false_colours(file)
        yield from (((page,), stack) for page in own)
        return
    at = axes.index("C")
    channels = lead[at][1]
    if channels != 3:
        raise FieldError(
            f"TIFF with {channels} separate channels is no colour picture; export it as RGB"
        )
    order = np.arange(len(own)).reshape([length for _, length in lead])
    colours = list(order_of_channels(file))
    for pages in np.moveaxis(order, at, -1).reshape(-1, channels):
        yield tuple(own[page] for page in pages[colours]), stack
