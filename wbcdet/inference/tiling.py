"""Split large fields into overlapping tiles, and assign each cell to one tile.

A tile claims the cells whose centre lies in its core; cores share no pixel and cover the field, so
inside them nothing needs merging. Only near a seam, where the centres of one cell as two tiles see
it may fall on different sides, both claim it, and the claims are settled there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wbcdet.utils.boxes import shares

Rect = tuple[int, int, int, int]

#: A tile also claims cells beyond its core, up to this share of the overlap: more than the centre
#: of a cell jitters between two tiles.
_REACH = 0.15
#: Claims of two tiles are one cell when their boxes share more than this IoU...
_SAME_IOU = 0.4
#: ...or one lies in the other with more than this share of its area.
_SAME_PART = 0.75
#: A cut box is part of a cell that holds more than this share of it.
_CUT_PART = 0.4
#: A box that ends this near to an inner border of its tile, as a share of the tile, may be cut.
_CUT = 1 / 100


@dataclass(frozen=True, slots=True)
class Tile:
    """One view of a large field; pixels of the field, ends excluded.

    Attributes:
        box: ``(x0, y0, x1, y1)`` that the detector sees.
        core: the part of it that this tile alone owns.
    """

    box: Rect
    core: Rect


def plan(width: int, height: int, size: int, overlap: int) -> list[Tile]:
    """Cover a field with tiles, from left to right and top to bottom.

    All are as large as ``size``, or as the field where that is smaller, and neighbours share at
    least ``overlap`` pixels.

    Args:
        width, height: pixels of the field.
        size: side of a tile in pixels.
        overlap: pixels, less than ``size``.
    """
    columns = _spans(width, size, overlap)
    rows = _spans(height, size, overlap)
    return [
        Tile((x0, y0, x1, y1), (left, top, right, bottom))
        for y0, y1, top, bottom in rows
        for x0, x1, left, right in columns
    ]


def _spans(length: int, size: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Return start and end of each tile along one side, then of its core."""
    if length <= size:
        return [(0, length, 0, length)]
    number = -(-(length - overlap) // (size - overlap))
    starts = [round(i * (length - size) / (number - 1)) for i in range(number)]
    seams = [(after + before + size) // 2 for before, after in pairwise(starts)]
    edges = [0, *seams, length]
    return [(start, start + size, edges[i], edges[i + 1]) for i, start in enumerate(starts)]


@dataclass(frozen=True, slots=True, eq=False)
class TileDetections:
    """The cells that one tile claims.

    Attributes:
        boxes: (N, 4) pixels of the field.
        scores: (N,) 0..1.
        seam: (N,) bool: another tile may claim the cell too.
        cut: (N,) bool: the box reaches a border of the tile inside the field, so that another tile
            sees more of the cell.
    """

    boxes: np.ndarray
    scores: np.ndarray
    seam: np.ndarray
    cut: np.ndarray

    def only(self, which: np.ndarray) -> TileDetections:
        """Return some of them, (N,) bool."""
        return TileDetections(
            self.boxes[which], self.scores[which], self.seam[which], self.cut[which]
        )


def assign(
    tile: Tile, boxes: np.ndarray, scores: np.ndarray, width: int, height: int
) -> TileDetections:
    """Return the cells of a tile that it owns, or may own.

    Args:
        tile: the tile.
        boxes: (N, 4) as the detector found them, pixels of the field.
        scores: (N,).
        width, height: pixels of the field.
    """
    x0, y0, x1, y1 = tile.box
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    low, high = boxes[:, :2], boxes[:, 2:]
    # Borders of the field are no seams: nothing lies beyond them.
    inner_low = np.array([x0 > 0, y0 > 0])
    inner_high = np.array([x1 < width, y1 < height])
    near = max(x1 - x0, y1 - y0) * _CUT
    cut = ((low < [x0 + near, y0 + near]) & inner_low).any(1)
    cut |= ((high > [x1 - near, y1 - near]) & inner_high).any(1)
    core_low, core_high = np.array(tile.core[:2]), np.array(tile.core[2:])
    reach_low = (core_low - [x0, y0]) * 2 * _REACH
    reach_high = (np.array([x1, y1]) - core_high) * 2 * _REACH
    centre = (low + high) / 2
    mine = ((centre >= core_low - reach_low) & (centre <= core_high + reach_high)).all(1)
    sure = (centre >= core_low + reach_low) | ~inner_low
    sure &= (centre <= core_high - reach_high) | ~inner_high
    seam = ~sure.all(1) | cut
    return TileDetections(boxes, np.asarray(scores, float), seam, cut).only(mine)


def owned(tile: Tile, boxes: np.ndarray) -> np.ndarray:
    """Tell which boxes (N, 4), in pixels of the field, have their centre in the tile's core, (N,)
    bool."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = (centre >= tile.core[:2]) & (centre < tile.core[2:])
    return np.asarray(inside.all(1))


def merge(claims: Sequence[TileDetections]) -> list[tuple[int, int, np.ndarray]]:
    """Merge the claims of all tiles, so that each cell is there once.

    A cell that only one tile claims stays. Of several claims to one cell the best whole box stays;
    a cell larger than the overlap, which no tile sees whole, gets the box around its parts.

    Returns:
        ``(tile, row, box)`` of every cell: the tile that owns it, its row in that tile's claims,
        and its box (4,) in pixels of the field; best score first.
    """
    if not claims:
        return []
    boxes = np.concatenate([c.boxes for c in claims])
    scores = np.concatenate([c.scores for c in claims])
    seam = np.concatenate([c.seam for c in claims])
    cut = np.concatenate([c.cut for c in claims])
    tiles = np.repeat(np.arange(len(claims)), [len(c.scores) for c in claims])
    rows = np.concatenate([np.arange(len(c.scores)) for c in claims])
    kept = ~seam
    for row in sorted(np.flatnonzero(seam), key=lambda i: (cut[i], -scores[i], i)):
        others = np.flatnonzero(kept & (tiles != tiles[row]))
        shared, part_of_one, part_of_other = shares(boxes[row], boxes[others])
        if cut[row]:
            whole = ~cut[others]
            lost = whole & (part_of_one > _CUT_PART)
            halves = others[~whole & (np.maximum(part_of_one, part_of_other) > _CUT_PART)]
            if not lost.any() and halves.size:
                first = halves[0]
                boxes[first, :2] = np.minimum(boxes[first, :2], boxes[row, :2])
                boxes[first, 2:] = np.maximum(boxes[first, 2:], boxes[row, 2:])
            kept[row] = not (lost.any() or halves.size)
        else:
            same = (shared > _SAME_IOU) | (np.maximum(part_of_one, part_of_other) > _SAME_PART)
            kept[row] = not same.any()
    order = sorted(np.flatnonzero(kept), key=lambda i: (-scores[i], *boxes[i]))
    return [(int(tiles[i]), int(rows[i]), boxes[i]) for i in order]
