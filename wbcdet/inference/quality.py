"""Image quality of a field: focus, exposure, stain.

Everything is measured on the field reduced to a scale at which a white cell is 48 px wide, so that
the same slide gives the same figures through any camera. The thresholds come from real fields of
seven laboratories with synthetic damage: docs/quality.md, printed by
``experiments/quality_thresholds.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.io.field import Field
from wbcdet.records import Cell

#: Width of a white cell at the scale that is measured at, px.
_CELL = 48
#: Width of a white cell where none was found, over the longer side of the field: that of the
#: laboratories' median.
_SHARE = 0.3
#: Pixels at that scale that are looked at, and the side of the squares into which more are cut.
_MOST, _SIDE = 160_000, 130
#: Side of the window in which noise is averaged away before something stands out, px.
_SMOOTH = 5

#: Least focus (see :class:`FieldQuality`); half of it where no cell gives the scale.
BLURRED = 17.0
#: Most of the stained area that may be saturated.
OVEREXPOSED = 0.25
#: Least brightness.
DARK = 95.0
#: Least colour.
PALE = 30.0
#: Least share of the field that holds anything.
EMPTY = 0.03


class QualityInfo(TypedDict):
    """Figures of a field in a journal; see :class:`FieldQuality`."""

    focus: float
    saturated: float
    brightness: float
    colour: float
    covered: float
    problems: Sequence[str]


@dataclass(frozen=True, slots=True)
class FieldQuality:
    """Figures of a field.

    Attributes:
        focus: variance of the Laplacian in the stained area over the squared contrast of the
            field, times 10,000; a sharp field has 20 to 300.
        saturated: share of the stained area in which a colour is at its maximum, 0..1.
        brightness: grey value that 5 % of the field exceed, 0..255: that of the clear ground.
        colour: the difference between the strongest and the weakest colour that 1 % of the pixels
            exceed, over the brightness, 0..255.
        covered: share of the field that stands out from its ground, 0..1.
        problems: in plain words, empty for a good field: ``empty``, ``too dark``,
            ``overexposed``, ``no stain``, ``blurred``.
    """

    focus: float
    saturated: float
    brightness: float
    colour: float
    covered: float
    problems: tuple[str, ...]

    def to_dict(self) -> QualityInfo:
        """Return the figures as a journal keeps them."""
        return QualityInfo(
            focus=self.focus,
            saturated=self.saturated,
            brightness=self.brightness,
            colour=self.colour,
            covered=self.covered,
            problems=self.problems,
        )


def measure(pixels: Pixels, cell_px: float | None = None) -> FieldQuality:
    """Measure a picture.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        cell_px: width of its white cells in pixels; by default it is guessed from the size of the
            picture, and only strong blur is called so.
    """
    return measure_field(Field("", None, pixels), cell_px)


def measure_field(field: Field, cell_px: float | None = None) -> FieldQuality:
    """Measure a field; of a large one, squares spread over it. Arguments as for ``measure``.

    Raises:
        FieldError: the field is read in parts, and a part is damaged.
    """
    known = cell_px is not None
    width = cell_px or _SHARE * max(field.width, field.height)
    parts = list(_parts(field, min(1.0, _CELL / width)))
    return _judge(parts, BLURRED if known else BLURRED / 2)


def cell_width(cells: Sequence[Cell]) -> float | None:
    """Return the median of the longer sides of the cells that are not cut, px; None without one."""
    sides = [
        max(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1])
        for cell in cells
        if not cell.touches_edge
    ]
    return float(np.median(sides)) if sides else None


def _parts(field: Field, scale: float) -> Iterator[Pixels]:
    """Yield the field at a scale, or squares on an even grid of it."""
    if scale * field.reduction <= 1:
        scale, field = scale * field.reduction, Field("", None, field.pixels)
    width, height = field.width, field.height
    side = max(width, height)
    starts = [(0, 0)]
    if width * height * scale**2 > _MOST:
        side = round(_SIDE / scale)
        number = _MOST // _SIDE**2
        columns = max(1, round((number * width / height) ** 0.5))
        rows = max(1, number // columns)
        starts = [
            (
                round((c + 0.5) * width / columns - side / 2),
                round((r + 0.5) * height / rows - side / 2),
            )
            for r in range(rows)
            for c in range(columns)
        ]
    for x, y in starts:
        yield _reduced(field.read(x, y, x + side, y + side), scale)


def _reduced(part: Pixels, scale: float) -> Pixels:
    if scale == 1:
        return part
    height, width = part.shape[:2]
    size = (max(3, round(width * scale)), max(3, round(height * scale)))
    # OpenCV averages blocks of whole pixels ten times faster than any others.
    block = int(0.5 / scale)
    if block > 1 and min(width, height) >= 3 * block:
        half = (width // block, height // block)
        part = part[: half[1] * block, : half[0] * block]
        part = cv2.resize(part, half, interpolation=cv2.INTER_AREA)
    result: Pixels = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return result


def _judge(parts: list[Pixels], least_focus: float) -> FieldQuality:
    planes = [cv2.split(part) for part in parts]
    blue, green, red = (np.concatenate([p[c].ravel() for p in planes]) for c in range(3))
    grey = np.concatenate([cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).ravel() for part in parts])
    strongest = np.maximum(np.maximum(blue, green), red)
    weakest = np.minimum(np.minimum(blue, green), red)
    dark, ground, light = _percentiles(green, 1, 95, 99)
    (brightness,) = _percentiles(grey, 95)
    colour = _percentiles(strongest - weakest, 99)[0] * 255 / max(brightness, 1)
    stained = green < 0.9 * ground
    saturated = float((strongest[stained] >= 254).mean()) if stained.any() else 0.0
    white = float((weakest >= 254).mean())
    details, covered = [], []
    for _, plane, _ in planes:
        mask = cv2.dilate((plane < 0.9 * ground).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        details.append(cv2.Laplacian(plane, cv2.CV_32F)[mask])
        smooth = cv2.blur(plane, (_SMOOTH, _SMOOTH))
        around = cv2.blur(plane, (_CELL + 1, _CELL + 1))
        covered.append(cv2.absdiff(smooth, around).ravel() > 0.05 * ground)
    detail = np.concatenate(details)
    contrast = max(light - dark, 1)
    focus = 1e4 * float((detail**2).mean()) / contrast**2 if detail.size else 0.0
    share = float(np.concatenate(covered).mean())
    problems = []
    if share < EMPTY:
        problems.append("empty")
    if brightness < DARK:
        problems.append("too dark")
    if saturated > OVEREXPOSED or (white > 0.5 and share < EMPTY):
        problems.append("overexposed")
    if share >= EMPTY:
        if colour < PALE:
            problems.append("no stain")
        if focus < least_focus:
            problems.append("blurred")
    return FieldQuality(
        round(focus, 1),
        round(saturated, 3),
        float(brightness),
        round(colour, 1),
        round(share, 3),
        tuple(problems),
    )


def _percentiles(values: np.ndarray, *percents: float) -> list[int]:
    """Return the uint8 values below which so many percent lie."""
    below = np.cumsum(np.bincount(values, minlength=256))
    return [int(np.searchsorted(below, percent / 100 * below[-1])) for percent in percents]
