"""Check that the tiles of a slide lie where their positions say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError

#: Pairs of neighbours that are compared, px that they must share, response of the comparison from
#: which it tells anything, and px that they may be off: a third of a cell at 0.25 µm.
_PAIRS, _MIN_OVERLAP, _SURE, _MAX_SHIFT = 8, 40, 0.1, 16.0
#: Where two pictures show no common place: shared px and contrast (of 255, without shading) from
#: which it is told, correlation below which it is so, and px that it is looked for around.
_MIN_SHARED, _MIN_CONTRAST, _UNLIKE, _AROUND = 20_000, 6.0, 0.35, 64


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, the corner of it on the slide, its size as stored, px, and EXIF's orientation."""

    path: Path
    x: int
    y: int
    width: int
    height: int
    orientation: int = 1


def seam_remarks(tiles: Sequence[Tile], pixels_of: Callable[[Tile], Pixels]) -> tuple[str, ...]:
    """Compare what a few pairs of neighbours both show: positions may be wrong, and pictures those
    of another slide.

    Args:
        tiles: in the order in which they were taken.
        pixels_of: reads a tile, (height, width, 3) uint8.

    Returns:
        what is wrong, a line each.
    """
    shifts, strangers = [], []
    for first, second in dict.fromkeys([*_neighbours(tiles), *_most_shared(tiles)]):
        try:
            first_part, second_part = _shared(first, second, pixels_of)
        except FieldError:
            continue  # is said where it is read
        (across, down), sure = cv2.phaseCorrelate(
            first_part,
            second_part,
            cv2.createHanningWindow(first_part.shape[::-1], cv2.CV_32F),
        )
        if sure > _SURE:
            shifts.append(float(np.hypot(across, down)))
        elif _is_unlike(first_part, second_part):
            strangers.append(f"{first.path.name} and {second.path.name}")
    remarks: tuple[str, ...] = ()
    shift = float(np.median(shifts)) if shifts else 0.0
    if shift >= _MAX_SHIFT:
        remarks = (
            f"tiles do not join: neighbours are about {shift:.0f} px off, and cells there may "
            "be counted twice or cut; stitch them first, in Fiji for example",
        )
    if strangers:
        remarks += (
            f"{strangers[0]} lie over each other and do not show the same place: where they "
            "are of two slides, cells of each are hidden by the other; give each slide a "
            "folder of its own",
        )
    return remarks


def _neighbours(tiles: Sequence[Tile]) -> Iterator[tuple[Tile, Tile]]:
    """Yield pairs of tiles that follow each other and overlap, from all over the slide."""
    pairs = [
        (tile, following)
        for tile, following in pairwise(tiles)
        if min(_overlap(tile, following)[2:]) >= _MIN_OVERLAP
    ]
    step = max(1, len(pairs) // _PAIRS)
    yield from pairs[step // 2 :: step][:_PAIRS]


def _most_shared(tiles: Sequence[Tile]) -> list[tuple[Tile, Tile]]:
    """Return the pairs of tiles at two places that share most: of tiles of two slides some
    share more than neighbours on one do, wherever the two lie over each other."""
    # Of a place the first is looked at.
    tiles = list({(tile.x, tile.y): tile for tile in reversed(tiles)}.values())
    corners = np.array([(tile.x, tile.y) for tile in tiles])
    ends = corners + np.array([(tile.width, tile.height) for tile in tiles])
    pairs = []
    for number in range(len(tiles) - 1):
        left_top = np.maximum(corners[number], corners[number + 1 :])
        shared = np.minimum(ends[number], ends[number + 1 :]) - left_top
        area = np.where(shared.min(1) >= _MIN_OVERLAP, shared.prod(1), 0)
        most = int(area.argmax())
        pairs.append((int(area[most]), tiles[number], tiles[number + 1 + most]))
    pairs.sort(key=lambda pair: -pair[0])
    return [(first, second) for area, first, second in pairs[:_PAIRS] if area]


def _overlap(tile: Tile, other: Tile) -> tuple[int, int, int, int]:
    """Return corner and size of what both show, on the slide."""
    x, y = max(tile.x, other.x), max(tile.y, other.y)
    right = min(tile.x + tile.width, other.x + other.width)
    return x, y, right - x, min(tile.y + tile.height, other.y + other.height) - y


def _shared(first: Tile, second: Tile, pixels_of: Callable[[Tile], Pixels]) -> list[np.ndarray]:
    x, y, width, height = _overlap(first, second)
    return [
        pixels_of(tile)[y - tile.y :, x - tile.x :][:height, :width, 1].astype(np.float32)
        for tile in (first, second)
    ]


def _is_unlike(first: np.ndarray, second: np.ndarray) -> bool:
    """Say whether two pictures of one place, (height, width) float32, show different ones; False
    where there is too little on them to tell."""
    if first.size < _MIN_SHARED:
        return False
    # The light of a microscope falls off to the borders, which is the same on all pictures.
    first, second = (part - cv2.GaussianBlur(part, (0, 0), 16) for part in (first, second))
    if min(first.std(), second.std()) < _MIN_CONTRAST:
        return False
    margin = min(*(side // 4 for side in first.shape), _AROUND)
    inner = first[margin:-margin, margin:-margin]
    return float(cv2.matchTemplate(second, inner, cv2.TM_CCOEFF_NORMED).max()) < _UNLIKE
