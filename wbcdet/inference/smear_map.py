"""Where on a slide to count: the map of the smear, and the zone where red cells lie side by side.

The slide is cut into squares. At about 1 µm per pixel, where a red cell is 7 px wide, each square
tells how much of it is covered and how much of that is more than one red cell thick.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.io.colour import Pixels

Grid = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: Side of a square, µm: some hundred red cells where they lie side by side.
SQUARE_UM = 150.0
#: µm per pixel at which a square is measured.
_LOOK_UM = 1.0
#: A level without reduction is looked at in parts of this side, µm, one a square.
_SAMPLE_UM = 64.0
#: Pixels of a level that are read as a whole; of larger ones a part of every square.
_MAX_LOOK = 1_500_000_000
#: Pixels along a row that are read at once.
_CHUNK = 8192
#: A pixel is covered from this part of a single red cell's density on, and more than one cell
#: thick from this multiple of it.
_COVERED, _DOUBLE = 0.45, 1.55
#: Density from which a pixel is stained at all.
_STAINED = 0.1
#: A square whose lightest parts have this part of the glass's light shows glass.
_SHADE = 0.75
#: Covered part of a square: below the first it is clear glass, between the second and the third
#: its red cells may lie side by side.
_GLASS, _SPARSE, _DENSE = 0.05, 0.15, 0.78
#: Share of the covered part that is more than one cell thick, up to which cells lie side by side.
_MAX_DOUBLE = 0.3
#: What is this much denser than one red cell over a disc of so many µm is no cell: a fold, a pen.
_DARK, _DARK_UM = 2.2, 24.0
#: Width of the rim of the smear in squares: its edge and tail.
_RIM = 2
#: Part of the variance of the smear's thickness that its slope must explain.
_MIN_SLOPE = 0.1

#: What a square is.
GLASS, THIN, MONOLAYER, THICK, ARTEFACT = range(5)


class Readable(Protocol):
    """What is needed of a slide."""

    @property
    def levels(self) -> tuple[LevelLike, ...]:
        """Its resolutions, the finest first."""
        ...

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of a level, BGR."""
        ...


class LevelLike(Protocol):
    """One resolution."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def downsample(self) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class SmearMap:
    """The squares of a slide; arrays are (rows, columns).

    Attributes:
        side: of a square, in pixels of the finest level.
        cover: covered part of each square, 0..1.
        double: part of that which is more than one cell thick, 0..1.
        kind: ``GLASS``, ``THIN``, ``MONOLAYER``, ``THICK`` or ``ARTEFACT``.
        zone: where to count: cells side by side, away from the rim of the smear.
        edge: cells side by side or thin at the rim of the smear: its edge and tail.
        direction: unit vector from the thick part to the tail; None where there is no slope.
        picture: the slide reduced to a few pixels a square, BGR.
    """

    side: float
    cover: Grid
    double: Grid
    kind: npt.NDArray[np.uint8]
    zone: Mask
    edge: Mask
    direction: tuple[float, float] | None
    picture: Pixels


def map_smear(slide: Readable, um_per_px: float) -> SmearMap:
    """Look at a slide from afar, square by square in bounded memory.

    Args:
        slide: an open slide.
        um_per_px: of its finest level.

    Raises:
        FieldError: the slide is damaged or has gone.
    """
    side = SQUARE_UM / um_per_px
    columns = max(1, math.ceil(slide.levels[0].width / side))
    rows = max(1, math.ceil(slide.levels[0].height / side))
    histograms = np.zeros((rows, columns, 256), np.int32)
    thumbnails = np.full((rows * _SMALL, columns * _SMALL, 3), 255, np.uint8)
    dark = np.zeros((rows, columns, 256), np.int32)
    for row, column, pixels, um in _squares(slide, side, um_per_px, rows, columns):
        green = np.ascontiguousarray(pixels[:, :, 1])
        histograms[row, column] = np.bincount(green.ravel(), minlength=256)
        # The lightest value in each disc of the size that no cell has: what stays dark is dark
        # all over.
        reach = max(1, round(_DARK_UM / um / 2))
        shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        lightest = cv2.dilate(green, shape)[reach:-reach, reach:-reach]
        dark[row, column] = np.bincount(lightest.ravel(), minlength=256)
        y, x = row * _SMALL, column * _SMALL
        thumbnails[y : y + _SMALL, x : x + _SMALL] = cv2.resize(
            pixels, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA
        )
    cover, double, thickness, folded = _measure(histograms, dark)
    kind = _kinds(cover, double, folded)
    zone, edge = _places(kind)
    return SmearMap(side, cover, double, kind, zone, edge, _direction(thickness, kind), thumbnails)


#: Pixels of the map's picture to a square, along a side.
_SMALL = 8


def _squares(
    slide: Readable, side: float, um_per_px: float, rows: int, columns: int
) -> Iterator[tuple[int, int, Pixels, float]]:
    """Every square: its place, its pixels at about 1 µm, and their size in µm."""
    fine = [
        number
        for number, level in enumerate(slide.levels)
        if level.downsample * um_per_px <= _LOOK_UM * 1.3
    ]
    number = fine[-1] if fine else 0
    level = slide.levels[number]
    um = level.downsample * um_per_px
    by = max(1, int(_LOOK_UM / um))  # reduced by hand where the pyramid has no such level
    step = side / level.downsample
    if level.width * level.height > _MAX_LOOK or by > 2:
        part = max(1, round(min(_SAMPLE_UM, SQUARE_UM) / um))
        for row in range(rows):
            for column in range(columns):
                x, y = (round((place + 0.5) * step - part / 2) for place in (column, row))
                x, y = max(0, min(x, level.width - part)), max(0, min(y, level.height - part))
                wide, high = min(part, level.width - x), min(part, level.height - y)
                yield row, column, _reduced(slide.read(number, x, y, wide, high), by), um * by
        return
    across = max(1, int(_CHUNK / step))
    for row in range(rows):
        top, bottom = round(row * step), min(round((row + 1) * step), level.height)
        for first in range(0, columns, across):
            last = min(first + across, columns)
            left, right = round(first * step), min(round(last * step), level.width)
            if bottom <= top or right <= left:
                continue
            strip = slide.read(number, left, top, right - left, bottom - top)
            for column in range(first, last):
                a, b = round(column * step) - left, round((column + 1) * step) - left
                if a < min(b, strip.shape[1]):
                    yield row, column, _reduced(strip[:, a:b], by), um * by


def _reduced(pixels: Pixels, by: int) -> Pixels:
    height, width = (max(1, side // by) for side in pixels.shape[:2])
    if by == 1:
        return pixels
    small: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return small


def _measure(
    histograms: npt.NDArray[np.int32], dark: npt.NDArray[np.int32]
) -> tuple[Grid, Grid, Grid, Mask]:
    """Cover, double, mean density and what is too dark for cells, of every square."""
    total = np.maximum(histograms.sum(2), 1)
    below = np.cumsum(histograms, 2, dtype=np.int64)
    light = (below < 0.95 * total[..., None]).sum(2)  # the value that 5 % of a square exceed
    glass = float(np.percentile(light[histograms.any(2)], 80)) if histograms.any() else 255.0
    # Lamps and lenses light a slide unevenly; only where no glass shows it is that of elsewhere.
    light = np.where(light > _SHADE * glass, light, glass)
    logs = np.log(np.maximum(np.arange(256), 1)).astype(np.float32)
    single = _single(below, total, light)

    def share(counts: npt.NDArray[np.int64], least: float) -> Grid:
        """Part of each square that is at least so dense."""
        value = np.floor(light * math.exp(-least)).astype(np.int64)
        part = np.take_along_axis(counts, value[..., None], 2)[..., 0]
        return np.asarray(part / np.maximum(counts[..., -1], 1), np.float32)

    cover = share(below, _COVERED * single)
    double = share(below, _DOUBLE * single) / np.maximum(cover, 1e-3)
    thickness = np.log(np.maximum(light, 1)) - (histograms @ logs) / total
    folded = share(np.cumsum(dark, 2, dtype=np.int64), _DARK * single) > 0
    return cover, np.minimum(double, 1), thickness.astype(np.float32), folded


def _single(
    below: npt.NDArray[np.int64], total: npt.NDArray[np.int64], light: npt.NDArray[np.float64]
) -> float:
    """Density of one red cell: what most covered pixels have where glass shows between cells."""
    value = np.floor(light * math.exp(-_STAINED)).astype(np.int64)
    stained = np.take_along_axis(below, value[..., None], 2)[..., 0]
    share = stained / total
    chosen = (share > 0.1) & (share < 0.7)
    if not chosen.any():
        chosen = share > 0.1
    if not chosen.any():
        return 0.3
    middle = (below[chosen] < stained[chosen][:, None] / 2).sum(1)
    density = np.log(np.maximum(light[chosen], 1) / np.maximum(middle, 1))
    return max(0.1, float(np.median(density)))


def _kinds(cover: Grid, double: Grid, folded: Mask) -> npt.NDArray[np.uint8]:
    kind = np.full(cover.shape, GLASS, np.uint8)
    kind[cover > _GLASS] = THIN
    kind[(cover >= _SPARSE) & (cover <= _DENSE) & (double <= _MAX_DOUBLE)] = MONOLAYER
    kind[(cover > _DENSE) | ((cover >= _SPARSE) & (double > _MAX_DOUBLE))] = THICK
    kind[folded & (kind != THICK)] = ARTEFACT
    return kind


def _places(kind: npt.NDArray[np.uint8]) -> tuple[Mask, Mask]:
    """Return the zone, and the edge and tail of the smear."""
    inside = cv2.morphologyEx(
        (kind != GLASS).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
    )
    # The border of the scan is no border of the smear: beyond it there is more of the same.
    padded = cv2.copyMakeBorder(inside, _RIM, _RIM, _RIM, _RIM, cv2.BORDER_REPLICATE)
    deep = cv2.erode(padded, np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8))
    deep = deep[_RIM:-_RIM, _RIM:-_RIM] > 0
    mono = kind == MONOLAYER
    around = cv2.blur(mono.astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE)
    zone = mono & (around > 0.5) & deep
    edge = np.isin(kind, (MONOLAYER, THIN)) & (inside > 0) & ~deep
    return _without_specks(zone), edge


def _without_specks(zone: Mask) -> Mask:
    """Drop parts that are small against the largest one."""
    number, parts, stats, _ = cv2.connectedComponentsWithStats(zone.astype(np.uint8))
    if number < 2:
        return zone
    areas = stats[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0
    return np.asarray((areas >= 0.05 * areas.max())[parts] & zone)


def _direction(thickness: Grid, kind: npt.NDArray[np.uint8]) -> tuple[float, float] | None:
    """Along which the smear grows thinner."""
    rows, columns = np.nonzero((kind != GLASS) & (kind != ARTEFACT))
    if len(rows) < 6:
        return None
    values = np.minimum(thickness[rows, columns], np.percentile(thickness[rows, columns], 98))
    places = np.stack([columns - columns.mean(), rows - rows.mean(), np.ones(len(rows))], 1)
    slope, *_ = np.linalg.lstsq(places, values, rcond=None)
    spread = float(((values - values.mean()) ** 2).sum())
    explained = float(((places @ slope - values.mean()) ** 2).sum())
    length = float(np.hypot(slope[0], slope[1]))
    if length == 0 or explained < _MIN_SLOPE * max(spread, 1e-12):
        return None
    return -float(slope[0]) / length, -float(slope[1]) / length
