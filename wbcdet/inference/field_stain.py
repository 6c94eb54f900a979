"""Measure a field's colours, which differ with a laboratory's stain, lamp and camera, and match
them to those that the detector was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from wbcdet.inference.preprocess import DENSITY, halved, median_colour
from wbcdet.io.colour import Pixels

#: Longest side of what is measured, px: the field is reduced by a whole number to at most that.
_MAX_SIDE = 96
#: From this reduction on it is halved first.
_MANY = 16
#: The ground is looked for in so many blocks along each side, as their lightest part.
_BLOCKS, _LIGHTEST = 8, 0.1
#: Of the blocks in order of their lightest part, those that show the ground where no surface fits:
#: a flare of the lamp is in fewer, and so many have some ground.
_GROUND_BLOCKS = (0.15, 0.35)
#: Densities, of the three colours together, within which a block belongs to the ground: the fit
#: begins with the first and ends with the last.
_NEAR = (0.5, 0.25, 0.15, 0.1)
#: What is darker than the ground is more often a cell than what is lighter is a flare.
_DARKER = 0.5
#: How strongly slope and curvature of the ground are held to zero.
_RIDGE = np.diag([0.0, 0.1, 0.1, 0.2, 0.2, 0.2])
#: The surface is believed if it is the ground of this part of the blocks, in so many of the nine
#: ninths of the field.
_LEAST_GROUND, _LEAST_NINTHS = 0.6, 7
#: Least difference over the field, of the three colours together, that is levelled.
_UNEVEN = 0.1
#: The ground is even if the lightest seven tenths of the blocks differ by less, the differences of
#: the three colours together.
_EVEN = 0.08
#: Part of the field that stands for the nuclei in it.
_NUCLEI = 0.02
#: Density above the ground, of the three colours together, from which a pixel is stained: as a
#: part of that of the nuclei, so that a faint stain is measured as a strong one is; and at least.
_STAINED, _LEAST_STAINED = 0.06, 0.05
#: Least part of the field that must be stained: clear glass has no stain to compare.
_MIN_STAINED = 0.02

#: Most that red light's factor is, as a part of that of blue and green light together. Red cells
#: take up little red light, and on some slides hardly any: their own factor would be chance then,
#: and turn nuclei, which take up much, into blots.
_MOST_RED = 1.0

#: Names of the numbers that :func:`measure_stain` gives.
STAIN_COLUMNS: tuple[str, ...] = tuple(
    f"{part}_{colour}"
    for part in ("ground", "stained", "nuclei")
    for colour in ("blue", "green", "red")
)


@dataclass(frozen=True, slots=True)
class FieldStain:
    """Colours of a field, measured once for all that needs them.

    Optical densities are of blue, green and red light.

    Attributes:
        ground: (3,) of the ground, in the middle of its range where it is uneven.
        surface: (6, 3) coefficients of the ground over the field, see :func:`_terms`; None where
            it is even or cannot be told.
        stained: (3,) above the ground, median of what is stained.
        nuclei: (3,) above the ground, mean of the densest part.
    """

    ground: np.ndarray
    surface: np.ndarray | None
    stained: np.ndarray
    nuclei: np.ndarray

    @property
    def values(self) -> tuple[float, ...]:
        """Numbers under ``STAIN_COLUMNS``, see :func:`measure_stain`."""
        parts = self.ground, self.stained, self.nuclei
        return tuple(round(float(value), 3) for value in np.concatenate(parts))


def measure_stain(pixels: Pixels) -> tuple[float, ...] | None:
    """Return the optical density of the ground, and above it of what is stained and of the nuclei.

    Args:
        pixels: (height, width, 3) uint8 BGR.

    Returns:
        numbers under ``STAIN_COLUMNS``: density of the ground; median of what is denser (mostly
        red cells); mean of the densest 2 % (mostly nuclei). None where nearly nothing is stained.
    """
    measured = measure_field(pixels)
    return None if measured is None else measured.values


def match_field_stain(
    pixels: Pixels,
    ground: Sequence[float],
    red_cell: Sequence[float],
    limits: Sequence[float],
    colour_grain: int = 1,
    colours: FieldStain | None = None,
) -> Pixels:
    """Bring a field's clear ground and its red cells to fixed colours.

    In optical density, colour by colour, the ground is an offset (lamp, mountant, white balance),
    which may rise and fall over the field (vignette, tilted lamp), and the amount of stain a factor
    (Beer-Lambert); both are taken out, red light stretched no more than the others. A field in
    which nearly nothing is stained stays as it is.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        ground, red_cell: densities that clear ground, and above it the median of what is stained,
            are brought to: blue, green, red.
        limits: least and greatest factor.
        colour_grain: side in pixels of the squares over which colour, not brightness, is averaged
            first: its finer detail is that of the camera, not of the cell.
        colours: of the field; None measures them on ``pixels``.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    pixels = coarsen_colour(pixels, colour_grain)
    measured = colours or measure_field(pixels)
    if measured is None:
        return pixels
    if measured.surface is not None:
        pixels = _level(pixels, measured.surface, measured.ground)
    wanted = np.array(red_cell) / np.maximum(measured.stained, 1e-3)
    factor = np.clip(wanted, limits[0], limits[1])
    factor[2] = min(factor[2], _MOST_RED * np.sqrt(factor[0] * factor[1]))
    table = np.exp(-((DENSITY[:, None] - measured.ground) * factor + np.array(ground))) * 256 - 1
    matched: Pixels = cv2.LUT(pixels, np.clip(table, 0, 255).astype(np.uint8)[:, None])
    return matched


def coarsen_colour(pixels: Pixels, grain: int) -> Pixels:
    """Average the colour, not the brightness, over squares of ``grain`` px.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        grain: side of the squares in pixels; 1 leaves the picture as it is.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    if grain == 1:
        return pixels
    height, width = pixels.shape[:2]
    fine = cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)
    size = max(1, round(width / grain)), max(1, round(height / grain))
    coarse = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.insertChannel(cv2.extractChannel(fine, 0), coarse, 0)
    coarsened: Pixels = cv2.cvtColor(coarse, cv2.COLOR_YCrCb2BGR)
    return coarsened


def measure_field(pixels: Pixels) -> FieldStain | None:
    """Measure the colours of a field (height, width, 3) uint8 BGR; None where nearly nothing is
    stained."""
    density = cv2.LUT(reduced(pixels, _MAX_SIDE)[0], DENSITY)
    height, width = density.shape[:2]
    ground, surface = _ground(density)
    if surface is None:
        above = (density - ground).reshape(-1, 3)
    else:
        above = density.reshape(-1, 3) - _over(surface, height, width)
    total = above[:, 0] + above[:, 1] + above[:, 2]
    number = max(1, round(len(total) * _NUCLEI))
    densest = np.argpartition(-total, number - 1)[:number]
    stained = total > max(_LEAST_STAINED, _STAINED * float(total[densest].mean()))
    if np.count_nonzero(stained) / len(stained) < _MIN_STAINED:
        return None
    colours = above.compress(stained, 0)  # four times as fast as above[stained]
    return FieldStain(ground, surface, median_colour(colours), above[densest].mean(0))


def reduced(pixels: Pixels, longest: int) -> tuple[Pixels, int]:
    """Return a field (H, W, 3) uint8 BGR reduced by a whole number, its longer side to at most
    ``longest`` px, and that number."""
    by = -(-max(pixels.shape[:2]) // longest)
    halvings = 3 if by >= _MANY and min(pixels.shape[:2]) >= 2 * by else 0
    by = -(-by >> halvings) << halvings
    height, width = (max(1, side // by) for side in pixels.shape[:2])
    # OpenCV averages blocks of whole pixels ten times faster than any others.
    part = pixels[: height * by, : width * by]
    for _ in range(halvings):
        part = halved(part)
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), by


def above_ground(pixels: Pixels, colours: FieldStain) -> np.ndarray:
    """Return the optical density of a field, or of a reduced one, above its ground.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        colours: of the field.

    Returns:
        (H, W, 3) float32, blue, green, red.
    """
    density: np.ndarray = cv2.LUT(pixels, DENSITY)
    if colours.surface is None:
        cv2.subtract(density, (*colours.ground.tolist(), 0.0), density)
    else:
        density -= _over(colours.surface, *density.shape[:2]).reshape(density.shape)
    return density


def _ground(density: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the density (3,) of the ground of a (H, W, 3) field, and its surface if uneven."""
    places, lightest = _lightest_of_blocks(density)
    total = lightest.sum(1)
    order = np.argsort(total)
    low, high = (int(part * len(total)) for part in _GROUND_BLOCKS)
    even = lightest[order[low : max(high, low + 1)]].mean(0)
    if np.ptp(lightest[order[: 1 + int(0.7 * len(total))]], 0).sum() < _EVEN:
        return even, None  # most often; the fit would take as long as all the rest
    terms = _terms(*places.T)
    weights = np.ones(len(total))
    for near in _NEAR:
        weighted = weights[:, None] * terms
        normal = weighted.T @ terms + _RIDGE
        away = total - terms @ np.linalg.solve(normal, weighted.T @ total)
        weights = (1 + (away / np.where(away > 0, _DARKER * near, near)) ** 2) ** -2
    weighted = weights[:, None] * terms
    surface = np.linalg.solve(weighted.T @ terms + _RIDGE, weighted.T @ lightest)
    fitted = terms @ surface
    belongs = np.abs(total - fitted.sum(1)) < 1.2 * _NEAR[-1]
    ninths = np.minimum((places + 1) * 1.5, 2).astype(int) @ (1, 3)
    if belongs.mean() < _LEAST_GROUND or len(set(ninths[belongs])) < _LEAST_NINTHS:
        return even, None
    middle = median_colour(fitted)
    return middle, surface if np.ptp(fitted, 0).sum() >= _UNEVEN else None


def _lightest_of_blocks(density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where blocks of a field lie, (N, 2) from -1 to 1, and their lightest part (N, 3)."""
    height, width = density.shape[:2]
    rows, columns = min(_BLOCKS, height), min(_BLOCKS, width)
    high, wide = height // rows, width // columns
    top, left = (height - rows * high) // 2, (width - columns * wide) // 2
    part = density[top : top + rows * high, left : left + columns * wide]
    blocks = part.reshape(rows, high, columns, wide, 3).swapaxes(1, 2)
    blocks = blocks.reshape(rows * columns, high * wide, 3)
    number = max(1, round(_LIGHTEST * high * wide))
    total = blocks[..., 0] + blocks[..., 1] + blocks[..., 2]
    chosen = np.argpartition(total, number - 1, axis=1)[:, :number]
    lightest = np.take_along_axis(blocks, chosen[..., None], 1).mean(1)
    return _places_of_blocks(height, width, rows, columns), lightest.astype(np.float64)


# Fields of one camera have one size: what follows from it alone is worked out once.


@lru_cache(maxsize=8)
def _places_of_blocks(height: int, width: int, rows: int, columns: int) -> np.ndarray:
    """Return the middle of each block of a field, (rows * columns, 2), x and y from -1 to 1."""
    high, wide = height // rows, width // columns
    top, left = (height - rows * high) // 2, (width - columns * wide) // 2
    y = 2 * (top + high * (np.arange(rows) + 0.5)) / height - 1
    x = 2 * (left + wide * (np.arange(columns) + 0.5)) / width - 1
    return _kept(np.stack([np.tile(x, rows), np.repeat(y, columns)], 1))


@lru_cache(maxsize=8)
def _terms_of_pixels(height: int, width: int) -> np.ndarray:
    """Return the terms of a surface at every pixel, (height * width, 6)."""
    x = (2 * np.arange(width) + 1) / width - 1
    y = (2 * np.arange(height) + 1) / height - 1
    return _kept(_terms(np.tile(x, height), np.repeat(y, width)))


def _kept(array: np.ndarray) -> np.ndarray:
    """Return an array that all threads share, and none may change."""
    array.flags.writeable = False
    return array


def _terms(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the terms of a surface of second order, (N, 6)."""
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)


def _over(surface: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a surface at every pixel, (height * width, 3) float32."""
    result: np.ndarray = (_terms_of_pixels(height, width) @ surface).astype(np.float32)
    return result


def _level(pixels: Pixels, surface: np.ndarray, ground: np.ndarray) -> Pixels:
    """Return a field as if its ground were the same everywhere."""
    height, width = pixels.shape[:2]
    rows, columns = min(height, 32), min(width, 32)
    gain = np.exp(_over(surface, rows, columns) - ground.astype(np.float32))
    gain = cv2.resize(gain.reshape(rows, columns, 3), (width, height))
    levelled: Pixels = cv2.multiply(pixels, gain, dtype=cv2.CV_8U)
    return levelled
