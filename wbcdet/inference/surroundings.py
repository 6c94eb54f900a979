"""Measure what a cell is compared with: ground, red cells, and its own nucleus.

A haematologist judges colours and sizes against the red cells beside. Stain, lamp and camera change
from laboratory to laboratory; what red cells and nuclei take up of the two dyes changes with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np

from wbcdet.inference.preprocess import DENSITY, median_colour

#: How far is looked from the middle of a cell, over the longer side of its box.
REACH = 2.2
#: Pixels that the longer side of the box has where this is measured.
_UNIT = 24
#: Of its rows and columns, which are enough for what is a mean, a median or a share.
_STEP = 2
#: Part of the pixels that are the ground, from the lightest on.
_GROUND = 0.06
#: Densest part of the middle of the box that is nucleus.
_NUCLEUS = 0.25
#: Fewest pixels and components from which something is concluded.
_FEW_PIXELS, _FEW_SIZES = 15, 2
#: Density above the ground, blue and green together, from which it is a red cell at all: by
#: itself, and over that of the nucleus (shadows of unstained red cells have less).
_RED_LEAST, _RED_OF_NUCLEUS = 0.12, 0.13
#: A red cell takes up less red light than this part of what the nucleus does.
_RED_LIGHT = 0.6
#: Least part of the surroundings that red cells cover.
_RED_PART = 0.05
#: Diameters of red cells that are believed, over the longer side of the box.
_SIZES = (0.28, 1.3)
#: A shape of no more pixels than this is no red cell.
_LEAST_AREA = 12
#: The neighbours of which a peak of depth is the deepest.
_PEAK = np.ones((5, 5), np.uint8)
#: 4 pi area / perimeter^2 from which a shape is one red cell and no clump (1 is a circle).
_ROUND = 0.72


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Optical densities are of blue, green and red light.

    Attributes:
        ground: (3,) density of the empty ground.
        nucleus: (3,) density above the ground of the cell's densest part.
        red_cell: (3,) density above the ground of the red cells; None without any.
        diameter: of the red cells, over the longer side of the box; None where unknown.
    """

    ground: np.ndarray
    nucleus: np.ndarray
    red_cell: np.ndarray | None
    diameter: float | None


def measure_surroundings(pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> Surroundings:
    """Measure what stands around a cell, ``REACH`` times the longer side of its box far.

    Args:
        pixels: (H, W, 3) uint8 BGR, the field or the part of it within reach.
        box: ``x_min, y_min, x_max, y_max`` in pixels.
    """
    small, (x0, y0, x1, y1) = _window(pixels, box)
    density = cv2.LUT(small, DENSITY)
    height, width = density.shape[:2]
    ground = _lightest(density[::_STEP, ::_STEP].reshape(-1, 3))
    above = density - ground
    rim_x, rim_y = (x1 - x0) / 10, (y1 - y0) / 10
    inner = above[_between(y0 + rim_y, y1 - rim_y), _between(x0 + rim_x, x1 - rim_x)]
    middle = inner.reshape(-1, 3)
    nucleus = _densest(middle if len(middle) else above.reshape(-1, 3))
    outside = np.ones((height, width), bool)
    outside[_between(y0 - 2, y1 + 2), _between(x0 - 2, x1 + 2)] = False
    red = _red_cells(above, outside, nucleus)
    if red is None:
        return Surroundings(ground, nucleus, None, None)
    colour, mask = red
    return Surroundings(ground, nucleus, colour, _diameter(mask, outside))


def _window(
    pixels: np.ndarray, box: Sequence[float] | np.ndarray
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Return the part of the field within reach, at ``_UNIT``, and the box in it."""
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0, 1.0)
    cx, cy, reach = (x0 + x1) / 2, (y0 + y1) / 2, side * REACH
    height, width = pixels.shape[:2]
    left, right = (int(min(max(v, 0), width)) for v in (cx - reach, cx + reach))
    top, bottom = (int(min(max(v, 0), height)) for v in (cy - reach, cy + reach))
    part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = _UNIT / side
    nearer, times = part, max(1, min(int(1 / scale), *(length // 8 for length in part.shape[:2])))
    if times > 1:
        # By a whole number first: OpenCV is several times as fast there.
        part = part[: part.shape[0] // times * times, : part.shape[1] // times * times]
        nearer = cv2.resize(part, None, fx=1 / times, fy=1 / times, interpolation=cv2.INTER_AREA)
    size = max(round(part.shape[1] * scale), 8), max(round(part.shape[0] * scale), 8)
    way = cv2.INTER_AREA if scale * times < 1 else cv2.INTER_LINEAR
    small = cv2.resize(nearer, size, interpolation=way)
    fx, fy = size[0] / part.shape[1], size[1] / part.shape[0]
    return small, ((x0 - left) * fx, (y0 - top) * fy, (x1 - left) * fx, (y1 - top) * fy)


def _between(low: float, high: float) -> slice:
    """Return the whole numbers from 0 on that lie between two others, both excluded."""
    return slice(max(floor(low) + 1, 0), max(ceil(high), 0))


def _lightest(flat: np.ndarray) -> np.ndarray:
    total = flat[:, 0] + flat[:, 1] + flat[:, 2]  # five times as fast as a sum along three
    number = max(1, int(len(flat) * _GROUND))
    result: np.ndarray = flat[np.argpartition(total, number)[:number]].mean(0)
    return result


def _densest(flat: np.ndarray) -> np.ndarray:
    total = flat[:, 1] + flat[:, 2]  # green and red: what a nucleus takes up
    number = max(1, int(len(flat) * _NUCLEUS))
    chosen = np.argpartition(-total, min(number, len(flat) - 1))[:number]
    result: np.ndarray = flat[chosen].mean(0)
    return result


def _red_cells(
    above: np.ndarray, outside: np.ndarray, nucleus: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Colour (3,) and mask (H, W) of the red cells; None without any."""
    taken_up = above[..., 0] + above[..., 1]  # haemoglobin and eosin: blue and green light
    some = above[::_STEP, ::_STEP]
    free = outside[::_STEP, ::_STEP] & (some[..., 2] < _RED_LIGHT * max(float(nucleus[2]), 1e-3))
    values = taken_up[::_STEP, ::_STEP][free]
    if len(values) < _FEW_PIXELS:
        return None
    at = int(0.99 * (len(values) - 1))
    top = float(np.partition(values, at)[at])
    if top < _RED_LEAST:
        return None
    levels = np.minimum(np.maximum(values / top * 255, 0), 255).astype(np.uint8)
    threshold, _ = cv2.threshold(levels[None], 0, 255, cv2.THRESH_OTSU)
    stained = levels > threshold
    if not _RED_PART < stained.mean() < 1 - _RED_PART / 2:
        return None
    colours = some.reshape(-1, 3).compress(free.reshape(-1), 0)  # faster than some[free]
    colour, rest = (median_colour(colours.compress(part, 0)) for part in (stained, ~stained))
    least = max(_RED_LEAST, _RED_OF_NUCLEUS * float(nucleus[0] + nucleus[1]))
    if float((colour - rest)[:2].sum()) < least:
        return None
    # Somewhat below the threshold: up to the rim of the cells.
    return colour, outside & (taken_up > 0.85 * threshold / 255 * top)


def _diameter(mask: np.ndarray, outside: np.ndarray) -> float | None:
    """Median diameter of the red cells over the longer side of the box."""
    height, width = mask.shape
    shapes, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros((height, width), np.uint8)
    cv2.drawContours(filled, shapes, -1, 1, -1)  # red cells may be paler in their middle
    filled[~outside] = 0
    diameters: list[tuple[float, float]] = []
    for shape in shapes:
        if len(shape) < 9 or (area := cv2.contourArea(shape)) <= _LEAST_AREA:
            continue  # most shapes are specks, and a short outline has less area than that
        x, y, w, h = cv2.boundingRect(shape)
        if not (x > 1 and y > 1 and x + w < width - 1 and y + h < height - 1):
            continue
        if 4 * np.pi * area > _ROUND * cv2.arcLength(shape, True) ** 2:
            diameters.append((2 * (area / np.pi) ** 0.5, 1.0))
    # Of red cells in a clump, the largest circles that fit in; they count half.
    bordered = cv2.copyMakeBorder(filled, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    depth = cv2.distanceTransform(bordered, cv2.DIST_L2, 5)[1:-1, 1:-1]
    peaks = (depth == cv2.dilate(depth, _PEAK)) & (depth > 2.3)
    ys, xs = np.nonzero(peaks)
    for radius, y, x in zip(depth[ys, xs].tolist(), ys.tolist(), xs.tolist(), strict=True):
        if radius < min(x, y, width - 1 - x, height - 1 - y):
            diameters.append((2 * radius, 0.5))
    sizes = np.array(diameters).reshape(-1, 2)
    least, most = _SIZES[0] * _UNIT, _SIZES[1] * _UNIT
    sizes = sizes[(sizes[:, 0] > least) & (sizes[:, 0] < most)]
    if len(sizes) < _FEW_SIZES:
        return None
    sizes = sizes[np.argsort(sizes[:, 0])]
    weights = np.cumsum(sizes[:, 1])
    return float(sizes[np.searchsorted(weights, weights[-1] / 2), 0]) / _UNIT
