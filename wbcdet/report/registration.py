"""Register two fields: whether they show the same piece of a slide, and how they are shifted.

Both pictures are reduced and freed of slow changes of light, so that what is compared is the
pattern of cells. A shift is looked for with normalised cross-correlation over every possible
overlap, coarsely, then refined. The stage of a microscope moves without turning, so a shift is all
there is to find; fields at another magnification or of another size are never taken to overlap.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.io.colour import Pixels
from wbcdet.report.journal import JournalError
from wbcdet.utils.boxes import Box

Floats = npt.NDArray[np.float32]

#: Longest side of the kept picture of a field, and of the coarse one, in pixels.
_SIDE, _COARSE = 256, 64
#: Sizes (sigma, in pixels) between which the patterns of the two lie.
_FINE, _ROUGH = (0.7, 12.0), (0.5, 5.0)
#: Least overlap that is looked for, as a share of the field.
_MIN_OVERLAP = 0.08
#: Correlation from which a coarse shift is looked at closer. Of 363 BCCD fields, pairs that overlap
#: reach 0.87 and more, 99.9 % of the others stay below 0.75.
_COARSE_MATCH = 0.75
#: Correlation of the ground, without the white cells, from which two fields overlap...
_MATCH = 0.8
#: ...if chance does not explain it: deviations from none (Fisher's z) that it must be away.
_MIN_Z = 6.0
#: A coarse shift is this far off at most, in pixels of the kept picture.
_MARGIN = 6


def encode_registration_image(pixels: Pixels, *, colour: bool = False) -> bytes:
    """Return a field reduced to what ``RegistrationImage`` needs, as a JPEG file.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        colour: keep its colours too, which ``RegistrationImage`` does not look at.
    """
    height, width = pixels.shape[:2]
    scale = _SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = pixels if colour else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    _, data = cv2.imencode(".jpg", cv2.resize(picture, size, interpolation=method))
    return data.tobytes()


@dataclass(frozen=True, slots=True)
class Shift:
    """Shift between two fields.

    Attributes:
        dx, dy: what is at ``(x, y)`` in the second is at ``(x + dx, y + dy)`` in the first, in
            pixels of the fields.
        match: correlation of their ground without the white cells, -1..1.
        sure: how many standard deviations that is away from none, for the amount of detail.
    """

    dx: float
    dy: float
    match: float
    sure: float


class StandsStill(Protocol):
    """What stands still in the pictures of a camera while the slide moves."""

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Say whether it is that of kept pictures of this shape."""
        ...

    def without(self, grey: Floats) -> tuple[Floats, Pixels]:
        """Return a kept picture without it, and where that shows the slide (1, else 0)."""
        ...


class RegistrationImage:
    """A field made ready for comparison.

    Args:
        picture: what ``encode_registration_image`` gave.
        width, height: pixels of the field.
        boxes: its white cells in pixels of the field; they are no evidence that the ground is the
            same, since one white cell looks much like another.
        backdrop: what stands still in all pictures of the camera, and is no evidence either.

    Attributes:
        size: width and height of the field, px.
        scale: pixels of the field in one of the kept picture.
        seen: (rows, columns), the kept picture, with what stands still in it.
    """

    def __init__(
        self,
        picture: bytes,
        width: int,
        height: int,
        boxes: Sequence[Box],
        backdrop: StandsStill | None = None,
    ) -> None:
        grey = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise JournalError("a picture of a field in the journal is damaged")
        self.size = (width, height)
        self.scale = max(width, height) / _SIDE
        self.seen: Pixels = grey.astype(np.uint8, copy=False)
        self._grey: Pixels | Floats = self.seen
        self._shows = np.ones(grey.shape, np.uint8)
        if backdrop is not None and backdrop.fits(grey.shape):
            self._grey, self._shows = backdrop.without(grey.astype(np.float32))
        self._boxes = tuple(boxes)
        rows, columns = (max(4, round(side * _COARSE / _SIDE)) for side in grey.shape)
        small = cv2.resize(self._grey, (columns, rows), interpolation=cv2.INTER_AREA)
        coarse = _pattern(small.astype(np.float32), *_ROUGH)
        shows = np.ones((rows, columns), np.float32)
        if not self._shows.all():
            shows = cv2.resize(self._shows, (columns, rows), interpolation=cv2.INTER_AREA) > 0
            shows = shows.astype(np.float32)
            coarse *= shows
        self._prepare(coarse, shows)

    def with_cells(self, boxes: Sequence[Box]) -> RegistrationImage:
        """Return the same field, now that its white cells are known; ``boxes`` as for the class."""
        same = copy.copy(self)
        same._boxes = tuple(boxes)
        for name in ("clear", "ground", "_grain"):
            same.__dict__.pop(name, None)
        return same

    # Most fields are told apart by their coarse pictures alone: what follows is worked out for the
    # few that are looked at closer.

    @cached_property
    def fine(self) -> Floats:
        """(rows, columns): the pattern of the kept picture."""
        return _pattern(self._grey.astype(np.float32), *_FINE)

    @cached_property
    def clear(self) -> Pixels:
        """(rows, columns): 1 where there is no white cell, else 0."""
        clear = self._shows.copy()
        for box in self._boxes:
            # A rim around each cell: what surrounds a white cell also looks alike.
            x0, y0, x1, y1 = (value / self.scale for value in box)
            rim = 0.1 * max(x1 - x0, y1 - y0) + 1
            low = max(0, int(x0 - rim)), max(0, int(y0 - rim))
            clear[low[1] : int(y1 + rim) + 1, low[0] : int(x1 + rim) + 1] = 0
        return clear

    @cached_property
    def ground(self) -> Floats:
        """(rows, columns): the pattern without the white cells."""
        if not self._boxes:
            return self.fine
        # Filled in with their surroundings: else cells would cast a halo on the ground around them.
        return _pattern(fill(self._grey.astype(np.float32), self.clear), *_FINE)

    @cached_property
    def _grain(self) -> float:
        return _grain(self.ground)

    def shift_to(self, others: Sequence[RegistrationImage]) -> list[Shift | None]:
        """Find where this field, the second, lies on each of the others; None where it does not.

        Args:
            others: fields of the same size.
        """
        if not others:
            return []
        shape = self._frame
        spectra = np.stack([other._spectrum for other in others]) * self._mirrored
        maps: np.ndarray = np.fft.irfft2(spectra, shape).astype(np.float32)
        maps = maps * self._as_second * np.stack([other._as_first for other in others])
        best = maps.reshape(len(others), -1).argmax(1)
        shifts: list[Shift | None] = []
        for other, values, at in zip(others, maps, best, strict=True):
            dy, dx = np.unravel_index(int(at), shape)
            if values[dy, dx] < _COARSE_MATCH:
                shifts.append(None)
                continue
            # The second half of the axes holds negative shifts.
            turned = [
                int(d) - full if d >= full - small else int(d)
                for d, full, small in zip((dx, dy), shape[::-1], self._small[::-1], strict=True)
            ]
            shifts.append(self._refine(other, *turned))
        return shifts

    def match_at(self, other: RegistrationImage, shift: Shift, box: Box) -> float:
        """Correlate the patterns inside a box of the other (first) field, -1..1."""
        dx, dy = round(shift.dx / self.scale), round(shift.dy / self.scale)
        x0, y0, x1, y1 = _overlap(self._grey.shape, dx, dy)
        left, top = max(x0, int(box[0] / self.scale)), max(y0, int(box[1] / self.scale))
        right = min(x1, int(np.ceil(box[2] / self.scale)))
        bottom = min(y1, int(np.ceil(box[3] / self.scale)))
        first = other.fine[top:bottom, left:right]
        second = self.fine[top - dy : bottom - dy, left - dx : right - dx]
        return _correlation(first.ravel(), second.ravel())

    def _refine(self, other: RegistrationImage, dx: int, dy: int) -> Shift | None:
        zoom = _SIDE // _COARSE
        dx, dy = dx * zoom, dy * zoom
        x0, y0, x1, y1 = _overlap(self._grey.shape, dx, dy)
        if min(x1 - x0, y1 - y0) < 3 * _MARGIN:
            return None
        part = self.fine[
            y0 - dy + _MARGIN : y1 - dy - _MARGIN, x0 - dx + _MARGIN : x1 - dx - _MARGIN
        ]
        scores = cv2.matchTemplate(other.fine[y0:y1, x0:x1], part, cv2.TM_CCOEFF_NORMED)
        down, right = np.unravel_index(int(scores.argmax()), scores.shape)
        dx, dy = dx + int(right) - _MARGIN, dy + int(down) - _MARGIN
        x0, y0, x1, y1 = _overlap(self._grey.shape, dx, dy)
        clear = (other.clear[y0:y1, x0:x1] & self.clear[y0 - dy : y1 - dy, x0 - dx : x1 - dx]) > 0
        match = _correlation(
            other.ground[y0:y1, x0:x1][clear],
            self.ground[y0 - dy : y1 - dy, x0 - dx : x1 - dx][clear],
        )
        spots = float(clear.sum()) / max(self._grain, other._grain)
        sure = float(np.arctanh(min(match, 0.999))) * max(0.0, spots - 3) ** 0.5
        if match < _MATCH or sure < _MIN_Z:
            return None
        return Shift(dx * self.scale, dy * self.scale, match, sure)

    def _prepare(self, small: Floats, shows: Floats) -> None:
        """Return transforms of the coarse picture; a correlation of two takes one more.

        Args:
            small: the coarse picture, 0 where it does not show the slide.
            shows: 1 where it does.
        """
        rows, columns = self._small = small.shape
        self._frame = (_even(2 * rows), _even(2 * columns))
        ones = np.fft.rfft2(shows, self._frame)
        shared = np.fft.irfft2(ones * np.conj(ones), self._frame)
        enough = shared >= _MIN_OVERLAP * float(shows.sum())
        energy = np.fft.rfft2(small * small, self._frame)
        self._spectrum = np.fft.rfft2(small, self._frame).astype(np.complex64)
        self._mirrored = np.conj(self._spectrum)
        self._as_first = _weight(np.fft.irfft2(energy * np.conj(ones), self._frame), enough)
        self._as_second = _weight(np.fft.irfft2(ones * np.conj(energy), self._frame), enough)


def _pattern(grey: Floats, fine: float, coarse: float) -> Floats:
    """Return what ``_band`` does, with mean 0 and deviation 1."""
    band = _band(grey, fine, coarse)
    band -= band.mean()
    result: Floats = (band / max(float(band.std()), 1e-3)).astype(np.float32)
    return result


def _blurred(picture: Floats, sigma: float) -> Floats:
    """Return a Gaussian blur; a wide one at a quarter of the size, which is all but the same and
    takes a tenth of the time."""
    if sigma < 8:
        near: Floats = cv2.GaussianBlur(picture, (0, 0), sigma).astype(np.float32, copy=False)
        return near
    height, width = picture.shape
    quarter = (max(1, width // 4), max(1, height // 4))
    small = cv2.resize(picture, quarter, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4)
    result: Floats = cv2.resize(small, (width, height)).astype(np.float32, copy=False)
    return result


def pattern_of(grey: Floats) -> Floats:
    """Return the detail of a kept picture that fields are compared by, in grey values."""
    return _band(grey, *_FINE)


def _band(grey: Floats, fine: float, coarse: float) -> Floats:
    """Return what is between two sizes (sigma, in pixels) in a picture, in grey values."""
    result: Floats = cv2.GaussianBlur(grey, (0, 0), fine) - _blurred(grey, coarse)
    return result


def fill(grey: Floats, clear: Pixels) -> Floats:
    """Return the picture with what is not clear filled in by the mean of what is clear around
    it."""
    weights = clear.astype(np.float32)
    weight = _blurred(weights, _FINE[1])
    mean = float(grey[clear > 0].mean()) if clear.any() else 0.0
    around = _blurred((grey - mean) * weights, _FINE[1]) / np.maximum(weight, 1e-3)
    return np.where(clear > 0, grey, around + mean).astype(np.float32)


def _grain(pattern: Floats) -> float:
    """Estimate the number of pixels of a pattern that vary together: its area over this is its
    number of independent values, which a correlation is judged by."""
    power = np.abs(np.fft.rfft2(pattern)) ** 2
    mean = float(power.mean())
    return float((power**2).mean()) / mean**2 if mean else 1.0


def _weight(energy: np.ndarray, enough: npt.NDArray[np.bool_]) -> Floats:
    return np.where(enough, 1 / np.sqrt(np.maximum(energy, 1e-3)), 0).astype(np.float32)


def _overlap(shape: tuple[int, ...], dx: int, dy: int) -> tuple[int, int, int, int]:
    height, width = shape
    return max(0, dx), max(0, dy), min(width, width + dx), min(height, height + dy)


def _correlation(first: Floats, second: Floats) -> float:
    if first.size < 4:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / spread if spread > 1e-6 else 0.0


def _even(number: int) -> int:
    return number + number % 2
