"""Measure a field's colours, which differ with a laboratory's stain, lamp and camera, and match
them to those that the detector was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from wbcdet.inference.preprocess import DENSITY, halved, median_colour
from wbcdet.io.colour import Pixels

#: Longest side of what is measured, px: the field is reduced by a whole number to at most that.
_MAX_SIDE = 96
#: From this reduction on it is halved first.
_MANY = 16
#: Parts of the field that stand for its clear ground, and for the nuclei in it.
_GROUND, _NUCLEI = 0.06, 0.02
#: Density above the ground, of the three colours together, from which a pixel is stained.
_STAINED = 0.15
#: Least part of the field that must be stained: clear glass has no stain to compare.
_MIN_STAINED = 0.02

#: Names of the numbers that :func:`measure_stain` gives.
STAIN_COLUMNS: tuple[str, ...] = tuple(
    f"{part}_{colour}"
    for part in ("ground", "stained", "nuclei")
    for colour in ("blue", "green", "red")
)


@dataclass(frozen=True, slots=True)
class FieldColours:
    """Colours of a field, measured once for all that needs them.

    Attributes:
        above: (h, w, 3) float32, optical density above the ground of the field, reduced.
        by: pixels of the field to one of ``above``, along a side.
        stain: numbers under ``STAIN_COLUMNS``, see :func:`measure_stain`.
    """

    above: np.ndarray
    by: int
    stain: tuple[float, ...] | None


def measure_colours(pixels: Pixels) -> FieldColours:
    """Measure the colours of a field (height, width, 3) uint8 BGR."""
    by = -(-max(pixels.shape[:2]) // _MAX_SIDE)
    halvings = 3 if by >= _MANY else 0
    by = -(-by >> halvings) << halvings
    height, width = (max(1, side // by) for side in pixels.shape[:2])
    # OpenCV averages blocks of whole pixels ten times faster than any others.
    part = pixels[: height * by, : width * by]
    if min(pixels.shape[:2]) >= by:
        for _ in range(halvings):
            part = halved(part)
    small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    density = cv2.LUT(small, DENSITY).reshape(-1, 3)
    total = density[:, 0] + density[:, 1] + density[:, 2]
    number = max(1, round(len(total) * _GROUND))
    ground = density[np.argpartition(total, number - 1)[:number]].mean(0)
    above, total = density - ground, total - ground.sum()
    reduced = above.reshape(height, width, 3)
    stained = total > _STAINED
    if stained.mean() < _MIN_STAINED:
        return FieldColours(reduced, by, None)
    number = max(1, round(len(total) * _NUCLEI))
    nuclei = above[np.argpartition(-total, number - 1)[:number]].mean(0)
    values = np.concatenate([ground, median_colour(above[stained]), nuclei])
    return FieldColours(reduced, by, tuple(round(float(value), 3) for value in values))


def measure_stain(pixels: Pixels) -> tuple[float, ...] | None:
    """Return the optical density of the ground, and above it of what is stained and of the nuclei.

    Args:
        pixels: (height, width, 3) uint8 BGR.

    Returns:
        numbers under ``STAIN_COLUMNS``: mean density of the lightest 6 % of the field; median of
        what is denser than that ground (mostly red cells); mean of the densest 2 % (mostly
        nuclei). None where nearly nothing is stained.
    """
    return measure_colours(pixels).stain


def match_field_stain(
    pixels: Pixels,
    ground: Sequence[float],
    red_cell: Sequence[float],
    limits: Sequence[float],
    colours: FieldColours | None = None,
) -> Pixels:
    """Bring a field's clear ground and its red cells to fixed colours.

    In optical density, colour by colour, the ground is an offset (lamp, mountant, white balance)
    and the amount of stain a factor (Beer-Lambert); both are taken out. A field in which nearly
    nothing is stained stays as it is.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        ground, red_cell: densities that clear ground, and above it the median of what is stained,
            are brought to: blue, green, red.
        limits: least and greatest factor.
        colours: of the field; None measures them on ``pixels``.

    Returns:
        (height, width, 3) uint8 BGR.
    """
    measured = measure_stain(pixels) if colours is None else colours.stain
    if measured is None:
        return pixels
    clear, stained = np.array(measured[:3]), np.array(measured[3:6])
    factor = np.clip(np.array(red_cell) / np.maximum(stained, 1e-3), limits[0], limits[1])
    table = np.exp(-((DENSITY[:, None] - clear) * factor + np.array(ground))) * 256 - 1
    matched: Pixels = cv2.LUT(pixels, np.clip(table, 0, 255).astype(np.uint8)[:, None])
    return matched
