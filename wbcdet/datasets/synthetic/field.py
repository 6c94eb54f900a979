"""Compose a smear: place the white cells, fill the ground around them, photograph it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wbcdet.datasets.synthetic.background import Crowd, density, platelets, red_cells
from wbcdet.datasets.synthetic.leukocytes import MAX_REACH, SMEAR_LABELS, draw_radius, paint
from wbcdet.datasets.synthetic.optics import eyepiece_radius, photograph
from wbcdet.datasets.synthetic.shapes import Map
from wbcdet.datasets.synthetic.stain import STAINS, Stain, vary

#: The yardstick: a neutrophil of mean size, µm. ``cell_px`` is its width in pixels.
NEUTROPHIL_UM = 13.5

#: Shares of the labels in a smear: a differential with the rare cells made less rare.
SMEAR_MIX: Mapping[str, float] = {
    "neutrophil": 0.5,
    "lymphocyte": 0.28,
    "monocyte": 0.11,
    "eosinophil": 0.11,
}

_MAX_PIXELS = 200_000_000


@dataclass(frozen=True, slots=True)
class SmearCell:
    """One white blood cell of a synthetic smear.

    Attributes:
        label: one of ``SMEAR_LABELS``.
        box: ``(x_min, y_min, x_max, y_max)`` px, tight around the cytoplasm, inside the field.
        center: ``(x, y)`` px, the middle of the box.
        diameter: mean of the box's sides, px.
    """

    label: str
    box: tuple[float, float, float, float]
    center: tuple[float, float]
    diameter: float


@dataclass(frozen=True, slots=True, eq=False)
class SmearField:
    """A synthetic field and the truth about it.

    Attributes:
        pixels: picture (H, W, 3), BGR, 8 bit.
        cells: every white blood cell, from top to bottom.
        stain: the colours that it was drawn with.
        scale: pixels per µm.
    """

    pixels: npt.NDArray[np.uint8]
    cells: tuple[SmearCell, ...]
    stain: Stain
    scale: float


def render_field(
    seed: int,
    width: int = 640,
    height: int = 480,
    *,
    cell_px: float | None = None,
    counts: Mapping[str, int] | None = None,
    stain: Stain | None = None,
    eyepiece: bool = False,
    red_share: float | None = None,
) -> SmearField:
    """Render one microscope field.

    The same arguments give the same bytes with the same versions of numpy and OpenCV.

    Args:
        seed: 0 or more; everything that is not given follows from it.
        width: px, at least 32.
        height: px, at least 32.
        cell_px: width of a mean neutrophil (13.5 µm) in px, 8..1000; by default 110 px at
            640x480 and in proportion to the shorter side otherwise.
        counts: white cells by label (``SMEAR_LABELS``), 0 where missing; by default one to four
            cells of the product's labels by chance.
        stain: colours, drawn exactly so; by default one of ``STAINS``, varied.
        eyepiece: as a phone sees it through an eyepiece: black outside a round disc.
        red_share: area of the red cells over the field's area, 0..0.8; by default 0.3..0.55.

    Returns:
        The field; its cells lie whole inside it (inside the disc with ``eyepiece``) and apart.

    Raises:
        ValueError: an argument is out of range, a label is unknown, or the cells do not fit.
    """
    _check(seed, width, height)
    if cell_px is None:
        cell_px = max(8.0, 110 * min(width / 640, height / 480))
    if not (math.isfinite(cell_px) and 8 <= cell_px <= 1000):
        raise ValueError(f"cell_px must lie in 8..1000, not {cell_px}")
    if red_share is not None and not 0 <= red_share <= 0.8:
        raise ValueError(f"red_share must lie in 0..0.8, not {red_share}")
    rng = np.random.default_rng(seed)
    chosen = vary(STAINS[int(rng.integers(len(STAINS)))], rng)
    share = float(rng.uniform(0.3, 0.55))
    number = int(rng.integers(1, 5))
    labels = [str(label) for label in rng.choice(list(SMEAR_LABELS[:4]), number)]
    if counts is not None:
        labels = _listed(counts)
    stain = chosen if stain is None else stain
    share = share if red_share is None else red_share
    scale = cell_px / NEUTROPHIL_UM
    places, crowd = _place(rng, labels, (width, height), scale, eyepiece, strict=counts is not None)
    thickness = red_cells(rng, (width, height), scale, stain.pallor, share, crowd)
    area_um = width * height / scale**2
    flakes = int(rng.poisson(area_um * rng.uniform(0.0003, 0.002)))
    body, grain = platelets(rng, (width, height), scale, flakes, crowd)
    slide = density(thickness, body, grain, stain)
    cells = []
    for label, radius, x, y in places:
        painted, covered = paint(rng, label, radius, scale, stain)
        cells.append(_lay(slide, label, painted, covered, x, y))
    pixels = photograph(rng, slide, scale, stain, eyepiece)
    cells.sort(key=lambda cell: (cell.center[1], cell.center[0]))
    return SmearField(pixels, tuple(cells), stain, scale)


def render_smear(
    seed: int,
    width: int = 4000,
    height: int = 3000,
    *,
    cell_px: float = 110.0,
    cells_per_mm2: float = 200.0,
    mix: Mapping[str, float] | None = None,
    stain: Stain | None = None,
) -> SmearField:
    """Render one large smear to pan across.

    Args:
        seed: 0 or more.
        width: px.
        height: px.
        cell_px: width of a mean neutrophil in px, 8..1000.
        cells_per_mm2: white cells per mm² of glass (a healthy smear: about 50 to 200); 200 at
            the default sizes is about 36 cells in 4000x3000 px.
        mix: shares of the labels, made to sum to 1; by default ``SMEAR_MIX``.
        stain: colours; by default as in ``render_field``.

    Returns:
        The smear, as ``render_field`` returns it.

    Raises:
        ValueError: as ``render_field``; or a share or the density is negative or not finite.
    """
    _check(seed, width, height)
    if not (math.isfinite(cell_px) and 8 <= cell_px <= 1000):
        raise ValueError(f"cell_px must lie in 8..1000, not {cell_px}")
    if not (math.isfinite(cells_per_mm2) and cells_per_mm2 >= 0):
        raise ValueError(f"cells_per_mm2 must be 0 or more, not {cells_per_mm2}")
    shares = dict(SMEAR_MIX if mix is None else mix)
    _check_labels(shares)
    total = sum(shares.values())
    if not all(math.isfinite(v) and v >= 0 for v in shares.values()) or total <= 0:
        raise ValueError("mix needs shares of 0 or more, one of them above 0")
    area_mm2 = width * height / (cell_px / NEUTROPHIL_UM) ** 2 / 1e6
    number = round(cells_per_mm2 * area_mm2)
    drawn = np.random.default_rng([seed, 1]).multinomial(
        number, [share / total for share in shares.values()]
    )
    counts = {label: int(n) for label, n in zip(shares, drawn, strict=True)}
    return render_field(seed, width, height, cell_px=cell_px, counts=counts, stain=stain)


def _check(seed: int, width: int, height: int) -> None:
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, not {seed}")
    if width < 32 or height < 32 or width * height > _MAX_PIXELS:
        raise ValueError(
            f"a field of {width}x{height} px: sides of 32 px up, 200 megapixels at most"
        )


def _check_labels(labels: Mapping[str, object]) -> None:
    for label in labels:
        if label not in SMEAR_LABELS:
            raise ValueError(f"unknown label {label!r}; known: {', '.join(SMEAR_LABELS)}")


def _listed(counts: Mapping[str, int]) -> list[str]:
    _check_labels(counts)
    for label, count in counts.items():
        if count < 0 or count != int(count):
            raise ValueError(f"count of {label} must be a whole number from 0, not {count}")
    # In a fixed order, so that the caller's order of keys does not change the picture.
    return [label for label in SMEAR_LABELS for _ in range(int(counts.get(label, 0)))]


def _place(
    rng: np.random.Generator,
    labels: list[str],
    size: tuple[int, int],
    scale: float,
    eyepiece: bool,
    *,
    strict: bool,
) -> tuple[list[tuple[str, float, float, float]], Crowd]:
    """Place the white cells: (label, radius in µm, x, y), and the same as a crowd, px.

    Unless ``strict``, cells for which there is no room are left out.
    """
    width, height = size
    sized = sorted(((draw_radius(rng, label), label) for label in labels), reverse=True)
    largest = sized[0][0] * MAX_REACH * scale if sized else 1.0
    crowd = Crowd(largest + 4 * scale)
    places = []
    for radius, label in sized:
        reach = radius * MAX_REACH * scale
        inset = reach + 2
        for _ in range(400):
            if 2 * inset >= min(width, height):
                break
            x = float(rng.uniform(inset, width - inset))
            y = float(rng.uniform(inset, height - inset))
            from_middle = math.hypot(x - width / 2, y - height / 2)
            if eyepiece and from_middle + inset > eyepiece_radius(width, height):
                continue
            if all(math.hypot(x - ox, y - oy) > reach + o for ox, oy, o in crowd.near(x, y)):
                crowd.add(x, y, reach)
                places.append((label, radius, x, y))
                break
        else:
            if strict:
                break
    if strict and len(places) < len(labels):
        raise ValueError(
            f"no room for {len(labels)} white cells in {width}x{height} px at this cell size"
        )
    # Red cells may lie close to the cytoplasm: they keep to the mean outline, not the reach.
    rims = Crowd(largest + 4 * scale)
    for _, radius, x, y in places:
        rims.add(x, y, radius * scale)
    return places, rims


def _lay(
    slide: npt.NDArray[np.float32],
    label: str,
    painted: npt.NDArray[np.float32],
    covered: Map,
    x: float,
    y: float,
) -> SmearCell:
    """Lay a painted cell over the slide in place; nothing shows through it but clear glass."""
    half = covered.shape[0] // 2
    left, top = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(top, 0)
    x1 = min(left + covered.shape[1], slide.shape[1])
    y1 = min(top + covered.shape[0], slide.shape[0])
    part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    below = slide[y0:y1, x0:x1]
    below *= 1 - covered[part][..., None]
    below += painted[part]
    rows = np.flatnonzero((covered >= 0.5).any(axis=1))
    columns = np.flatnonzero((covered >= 0.5).any(axis=0))
    box = (
        float(max(0, left + columns[0])),
        float(max(0, top + rows[0])),
        float(min(slide.shape[1], left + columns[-1] + 1)),
        float(min(slide.shape[0], top + rows[-1] + 1)),
    )
    center = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return SmearCell(label, box, center, (box[2] - box[0] + box[3] - box[1]) / 2)
