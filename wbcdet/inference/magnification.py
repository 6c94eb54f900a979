"""Choose the magnification at which the detector sees a large field.

The detector sees every picture at the same small size. A field is best cut into views in which
its cells come out at a size that the detector knows well, so the field's own cells are asked: it
is looked at from far away, then nearer, until some are found, and each is looked at once more at
the size that suits it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.io.field import Field
from wbcdet.settings import Settings
from wbcdet.utils.boxes import ious

#: ``pixels`` to boxes (N, 4) and scores (N,), those that count as found.
Detect = Callable[[Pixels], tuple[np.ndarray, np.ndarray]]

#: Longest side, in pixels, up to which a field is looked at as a whole.
MAX_WHOLE = 2600
#: Longest side of a view that is read from the file, in pixels; of larger ones the overview is
#: enough.
MAX_READ = 4096
#: Cells in a view: of about this size in the detector's input, and whole fields from this size on.
#: Views are a whole number of times as large as that input: OpenCV reduces those ten times faster.
_CELL, _MIN_CELL = 45, 30
#: Tiles more than so many times as large as the input are taken only where cells would otherwise
#: be larger than this in it: of strips, memory holds a whole row of tiles.
_MAX_TIMES, _MAX_CELL = 5, 90
#: Mean width of a white cell, µm: what a field of known scale need not be asked.
CELL_UM = 13.5
#: Side of the tiles of a field in which no cell is found, px.
_DEFAULT_TILE = 2048
#: Views at one magnification, and among them such as need the file's own pixels.
_MAX_VIEWS, _MAX_NEAR = 64, 16
#: Longest side of the picture on which stain is looked for, px.
_STAIN_SIDE = 1600
#: Cells that settle the size, and how many found at one magnification are looked at again.
_ENOUGH, _AGAIN = 3, 6
#: IoU from which a cell that is looked at again is the same.
_SAME = 0.4


@dataclass(frozen=True, slots=True)
class View:
    """Side of the tiles and what neighbours share, in pixels of the field."""

    size: int
    overlap: int


def choose_view(field: Field, detect: Detect, input_size: int, settings: Settings) -> View | None:
    """Return the tiles in which a field is looked at; None for the field as a whole.

    Args:
        field: any field.
        detect: the detector.
        input_size: longer side of the detector's input in pixels.
        settings: ``tile_size`` and ``tile_overlap`` are followed where they are given.

    Raises:
        FieldError: the field is read in parts, and a part is damaged.
    """
    longest = max(field.width, field.height)
    region = field.region
    if region is None and longest <= (settings.tile_size or MAX_WHOLE):
        return None
    if settings.tile_size is not None:
        size, share = settings.tile_size, settings.tile_size // 4
    else:
        known = None if region is None else CELL_UM / region.um_per_px
        width = known or cell_size(field, detect, input_size)
        if width is None:
            size, share = _DEFAULT_TILE, _DEFAULT_TILE // 4
        elif width * input_size / longest >= _MIN_CELL:
            return None
        else:
            times = min(max(1, round(width / _CELL)), max(_MAX_TIMES, round(width / _MAX_CELL)))
            size, share = input_size * times, round(2 * width)
    return View(size, min(settings.tile_overlap or share, size // 2))


def cell_size(field: Field, detect: Detect, input_size: int) -> float | None:
    """Return the median of the longer sides of some cells of the field, in pixels; None where none
    is found.

    Args and errors as for :func:`choose_view`.
    """
    sizes: list[float] = []
    side, near = max(field.width, field.height), False
    times = -(-side // input_size)
    while times > 0:
        candidates: list[tuple[float, list[float]]] = []
        for x, y in _places(field, side, input_size):
            boxes, scores = _detect_in(field, x, y, side, detect, input_size)
            candidates += zip((-scores).tolist(), boxes.tolist(), strict=True)
        for _, box in sorted(candidates)[:_AGAIN]:
            sizes += _measure_again(field, np.array(box), detect, input_size)
        if near:
            break
        near = len(sizes) >= _ENOUGH  # one look nearer: these may be clumps of smaller cells
        times //= 2
        side = times * input_size
    return float(np.median(sizes)) if sizes else None


def _places(field: Field, side: int, input_size: int) -> list[tuple[int, int]]:
    """Return corners of views of one size: over the whole field, or where the stain is
    strongest."""
    corners = [(x, y) for y in _starts(field.height, side) for x in _starts(field.width, side)]
    most = _MAX_NEAR if _needs_file(field, side, input_size) else _MAX_VIEWS
    if len(corners) > most:
        stain, by = _nuclear_stain(field.pixels)
        by *= field.reduction
        strength = [
            int(stain[y // by : (y + side) // by, x // by : (x + side) // by].max(initial=0))
            for x, y in corners
        ]
        best = sorted(range(len(corners)), key=lambda i: (-strength[i], i))[:most]
        corners = [corners[i] for i in sorted(best)]
    return corners


def _starts(length: int, side: int) -> list[int]:
    number = -(-length // side)
    return [round(i * (length - side) / max(1, number - 1)) for i in range(number)]


def _needs_file(field: Field, side: int, input_size: int) -> bool:
    """Say whether the overview holds fewer pixels of such a view than the detector takes."""
    return side < field.reduction * input_size and side <= MAX_READ


def show(
    field: Field, x0: int, y0: int, x1: int, y1: int, *, full: bool
) -> tuple[Pixels, int, tuple[int, int]]:
    """Return a rectangle of a field in full resolution, or as its overview shows it.

    Returns:
        its pixels, how much they are reduced, and its corner in pixels of the field.

    Raises:
        FieldError: the file is damaged there.
    """
    by = 1 if full else field.reduction
    if by == 1:
        return field.read(x0, y0, x1, y1), 1, (x0, y0)
    view = field.pixels[y0 // by : -(-y1 // by), x0 // by : -(-x1 // by)]
    return view, by, (x0 // by * by, y0 // by * by)


def _detect_in(
    field: Field, x: int, y: int, side: int, detect: Detect, input_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes in pixels of the field, and scores, of the cells that a square view shows
    whole."""
    x0, y0, x1, y1 = max(0, x), max(0, y), min(x + side, field.width), min(y + side, field.height)
    full = _needs_file(field, side, input_size)
    view, by, (x0, y0) = show(field, x0, y0, x1, y1, full=full)
    boxes, scores = detect(view)
    boxes = boxes * by + np.array([x0, y0, x0, y0])
    near = side / 100
    inner = [x0 > 0, y0 > 0, x1 < field.width, y1 < field.height]
    gaps = np.concatenate([boxes[:, :2] - [x0, y0], [x1, y1] - boxes[:, 2:]], 1)
    whole = ~((gaps < near) & inner).any(1)
    return boxes[whole], scores[whole]


def _measure_again(field: Field, box: np.ndarray, detect: Detect, input_size: int) -> list[float]:
    """Return the longer side of a cell, seen at the size that suits it; empty where it is no
    cell."""
    side = round(max(box[2:] - box[:2]) * input_size / _CELL)
    x, y = (box[:2] + box[2:] - side) / 2
    boxes, _ = _detect_in(field, round(x), round(y), side, detect, input_size)
    same = boxes[ious(box, boxes) > _SAME]
    return [float(max(found_box[2:] - found_box[:2])) for found_box in same[:1]]


def _nuclear_stain(pixels: Pixels) -> tuple[np.ndarray, int]:
    """Return how purple a picture is, reduced, and by what: nuclei absorb green more than all
    else."""
    by = -(-max(pixels.shape[:2]) // _STAIN_SIDE)
    height, width = (max(1, side // by) for side in pixels.shape[:2])
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    blue, green, red = cv2.split(small)
    return cv2.subtract(cv2.min(blue, red), green), by
