"""Tell which pages of a TIFF file are fields, and which show the same place again.

A stack of focal planes, a time series, a page written twice or a thumbnail that no tag tells from
a picture would count each cell once a page. Programs label stacks as they like (ImageJ calls any
stack a Z stack), so it is the pictures that decide: pages show one place when their details agree
without being shifted. Of such pages the sharpest is the field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from wbcdet.io.errors import FieldError
from wbcdet.io.tiff import TiffPicture
from wbcdet.io.tiff_layout import read_layout
from wbcdet.io.tiff_pages import MAX_PAGES, count_pictures, has_more_pages, stack_axes

#: Longest side of what is compared, px; details in it are up to this large.
_SIDE, _DETAIL = 256, 33
#: Width of the filter against noise before sharpness is measured, px.
_NOISE = 2.0
#: Side of the part in the middle of a page that is looked at, px.
_MIDDLE = 1024
#: Pages may be shifted by this much from each other, px of what is compared: by the stage's play.
_SEARCHED, _SHIFT = 10, 2
#: Least correlation of two pages of one place; of a Z stack, in which planes are blurred.
_SAME, _SAME_FOCUS = 0.6, 0.3
#: Correlation from which pages are copies.
_EQUAL = 0.9999
#: What a page holds, least first: a mask (of few levels of grey), grey, colours.
_MASK, _GREY, _COLOUR = range(3)
#: Levels of grey up to which a page is a mask; how far colours lie apart from grey on average.
_MASK_LEVELS, _COLOURED = 8, 2.0
#: Pages of one shape differ by no more than this in width over height.
_SHAPE = 0.03
#: Larger pages, and those after so many pixels of a file, are separate fields: a slide is not read
#: to find that out. No clock: a file has the same fields on every machine.
_MAX_PIXELS, _MAX_TOTAL = 25_000_000, 5_000_000_000
_NOT_COMPARED = (
    "page not compared with others of its size in the file; where they show one place, its cells "
    "count once a page"
)


@dataclass(frozen=True, slots=True)
class TiffField:
    """A field of a TIFF file: which of its pictures is read, from 1, and remarks on it."""

    number: int
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class _Page:
    number: int
    size: tuple[int, int]
    axes: str
    view: np.ndarray
    focus: float
    content: int = _GREY


@dataclass(slots=True)
class _Place:
    pages: list[_Page] = field(default_factory=list)
    are_equal: bool = True
    was_compared: bool = True


def fields_of(source: Path | bytes) -> tuple[TiffField, ...]:
    """Return the fields of a TIFF file, in the order of their first pages.

    Raises:
        FieldError: the file's structure cannot be read.
    """
    if isinstance(source, bytes):
        return _fields(source)
    try:
        status = source.stat()
    except OSError as error:
        raise FieldError(f"file cannot be read ({error.strerror}); check the disk") from error
    return _cached(source, status.st_mtime_ns, status.st_size)


def pages_left_out(source: Path | bytes) -> str | None:
    """Tell why pages of the file are no fields; None where all are looked at.

    Raises:
        FieldError: the file's structure cannot be read.
    """
    if not has_more_pages(source):
        return None
    return (
        f"file has more than {MAX_PAGES} pages, of which the first {MAX_PAGES} are analysed; "
        "split it into several files"
    )


@lru_cache(maxsize=16)
def _cached(path: Path, changed: int, size: int) -> tuple[TiffField, ...]:
    return _fields(path)


def _fields(source: Path | bytes) -> tuple[TiffField, ...]:
    number = count_pictures(source)
    if number == 1:
        return (TiffField(1),)
    fields: list[TiffField] = []
    places = list(_places(source, number))
    alone = Counter(place.pages[0].size for place in places if not place.was_compared)
    for place in places:
        best = max(
            place.pages,
            key=lambda page: (
                page.content > _MASK,
                page.size[0] * page.size[1],
                page.content,
                page.focus,
            ),
        )
        remarks = list(_remarks(place, best))
        if not place.was_compared and min(best.size) and alone[best.size] > 1:
            remarks.append(_NOT_COMPARED)
        fields.append(TiffField(best.number, tuple(remarks)))
    return tuple(fields)


def _places(source: Path | bytes, number: int) -> Iterator[_Place]:
    axes = stack_axes(source)
    total = 0
    place = _Place()
    for at in range(1, number + 1):
        size = _size(source, at)
        total += size[0] * size[1]
        is_small = size[0] * size[1] <= _MAX_PIXELS and total <= _MAX_TOTAL
        page = _read_page(source, at, axes[at - 1]) if is_small else None
        if page is None:  # too large, or damaged: reading it says what is wrong
            if place.pages:
                yield place
            size = (0, 0) if is_small else size
            yield _Place([_Page(at, size, "", np.empty(0), 0.0)], was_compared=False)
            place = _Place()
            continue
        if place.pages:
            # The next picture has nothing to do with the mask of this one.
            pictures = [other for other in place.pages if other.content != _MASK] or place.pages
            alike = max(_alike(pictures[0], page), _alike(pictures[-1], page))
            if alike < (_SAME_FOCUS if "Z" in page.axes else _SAME):
                yield place
                place = _Place()
            elif alike < _EQUAL or page.size != place.pages[0].size:
                place.are_equal = False
        place.pages.append(page)
    if place.pages:
        yield place


def _size(source: Path | bytes, number: int) -> tuple[int, int]:
    """Return width and height of a page, as stored; 0 of one whose structure is damaged."""
    try:
        layout = read_layout(source, number)
    except FieldError:
        return 0, 0
    return layout.width, layout.height


def _read_page(source: Path | bytes, number: int, axes: str) -> _Page | None:
    try:
        picture = TiffPicture(source, number, _MAX_PIXELS)
        width, height = picture.width, picture.height
        # The same part of each page of a shape, whatever its size.
        share = min(1.0, _MIDDLE / max(width, height)) if min(width, height) > _MIDDLE else 1.0
        x, y = round(width * (1 - share) / 2), round(height * (1 - share) / 2)
        part = picture.read(x, y, width - x, height - y)
        picture.release()
    except FieldError:
        return None
    grey = cv2.cvtColor(part, cv2.COLOR_BGR2GRAY)
    # Of what is left when noise is averaged away, which blurred planes have no less of.
    focus = float(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), _NOISE), cv2.CV_32F).var())
    small = min(1.0, _SIDE / max(grey.shape))
    size = (max(1, round(grey.shape[1] * small)), max(1, round(grey.shape[0] * small)))
    view = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    view -= cv2.blur(view, (_DETAIL, _DETAIL))
    return _Page(number, (width, height), axes, view, focus, _content(part, grey))


def _content(part: np.ndarray, grey: np.ndarray) -> int:
    apart = part.max(2).astype(np.float32) - part.min(2)
    if apart.mean() > _COLOURED:
        return _COLOUR
    levels = len(np.unique(grey))  # a page of one level is an empty field
    return _MASK if 1 < levels <= _MASK_LEVELS else _GREY


def _alike(first: _Page, second: _Page) -> float:
    """Correlate two pages; 0 where they would have to be shifted to agree."""
    if first.size == second.size and (first.content == _MASK) != (second.content == _MASK):
        return _SAME  # cells are marked in it: it is brightest where the picture is darkest
    a, b = first.view, second.view
    shapes = [page.size[0] / page.size[1] for page in (first, second)]
    if abs(shapes[0] / shapes[1] - 1) > _SHAPE or min(*a.shape, *b.shape) <= 4 * _SEARCHED:
        return float(first.size == second.size and np.array_equal(a, b))
    if a.shape != b.shape:
        a = cv2.resize(a, (b.shape[1], b.shape[0]), interpolation=cv2.INTER_AREA)
    if np.array_equal(a, b):
        return 1.0
    if min(a.std(), b.std()) < 1e-3:
        return 0.0
    inner = np.ascontiguousarray(b[_SEARCHED:-_SEARCHED, _SEARCHED:-_SEARCHED])
    correlation = cv2.matchTemplate(a, inner, cv2.TM_CCOEFF_NORMED)
    _, best, _, (x, y) = cv2.minMaxLoc(correlation)
    return best if max(abs(x - _SEARCHED), abs(y - _SEARCHED)) <= _SHIFT else 0.0


def _remarks(place: _Place, best: _Page) -> Iterator[str]:
    like = [page for page in place.pages if page.content == best.content]
    others = len(place.pages) - len(like)
    if others:
        what = "masks or copies" if others > 1 else "mask or copy"
        yield f"{others} {what} of it without its colours in the file left out"
    same = [page for page in like if page.size == best.size]
    smaller = len(like) - len(same)
    if smaller:
        yield f"{smaller} smaller {'copy' if smaller == 1 else 'copies'} of it in the file left out"
    if len(same) < 2:
        return
    plane = f"{same.index(best) + 1} of {len(same)}"
    if place.are_equal:
        yield f"{len(same)} equal pages in the file, read once"
    elif "Z" in best.axes:
        yield f"z-stack: plane {plane}, the sharpest"
    elif "T" in best.axes:
        yield f"time series of one place: picture {plane}, the sharpest"
    else:
        yield f"stack of one place: page {plane}, the sharpest"
