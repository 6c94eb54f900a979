"""Which of the cells that a part of a slide shows are counted there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.io.slide_part import slide_of
from wbcdet.records import Cell, FieldResult

#: What neighbouring parts share beyond their cores, µm: more than the largest cell.
OVERLAP_UM = 40.0
#: Beyond its core a part keeps cells for so much of the overlap: more than a centre jitters.
_REACH = 0.3

Mask = npt.NDArray[np.bool_]
Polygons = Sequence[Sequence[Sequence[Sequence[float]]]]


@dataclass(frozen=True, slots=True, eq=False)
class SlideClaims:
    """The parts of one slide and the zone; small, so that it can be sent to other machines.

    Attributes:
        um_per_px: of the finest level.
        size: width and height of the finest level, px.
        cores: by name of a part, what it alone owns, in pixels of the finest level.
        side: of a square of the map, in the same pixels.
        zone: squares in which cells are counted, (rows, columns).
        edge: squares of the edge and tail, in which the parts there count.
        polygons: the zone that a person drew, as ``read_zone`` gives it; it stands for ``zone``.
    """

    um_per_px: float
    size: tuple[int, int]
    cores: Mapping[str, tuple[float, float, float, float]]
    side: float
    zone: Mask
    edge: Mask
    polygons: Polygons = field(default_factory=list)

    def of(self, result: FieldResult) -> FieldResult:
        """Return a part's record with the cells that are its own, or may be.

        The others are a neighbour's, or their middle lies outside of the zone.
        """
        region = result.region
        if region is None or result.file not in self.cores:
            return result
        x0, y0, x1, y1 = self.cores[result.file]
        reach = _REACH * OVERLAP_UM / self.um_per_px
        kept: list[Cell] = []
        for cell in result.cells:
            a, b, c, d = region.on_slide(cell.box)
            x, y = (a + c) / 2, (b + d) / 2
            mine = x0 - reach <= x < x1 + reach and y0 - reach <= y < y1 + reach
            if mine and self._counts(x, y, edge=region.edge):
                limits = (min(a, b), self.size[0] - c, self.size[1] - d)
                kept.append(replace(cell, id=len(kept), touches_edge=min(limits) < 1))
        return replace(result, cells=tuple(kept), region=region)

    def _counts(self, x: float, y: float, *, edge: bool) -> bool:
        if self.polygons and not edge:
            return inside(x, y, self.polygons)
        mask = self.edge if edge else self.zone
        row, column = int(y // self.side), int(x // self.side)
        return 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and bool(mask[row, column])


class Claims:
    """The claims of all slides of a run.

    Args:
        slides: by the slide's name.
    """

    def __init__(self, slides: Mapping[str, SlideClaims]) -> None:
        self._slides = dict(slides)

    def __call__(self, result: FieldResult) -> FieldResult:
        """Return a part's record without the cells that are not counted there."""
        own = self._slides.get(slide_of(result.file))
        return result if own is None else own.of(result)


def inside(x: float, y: float, polygons: Polygons) -> bool:
    """Say whether a place lies in one of the polygons, and in none of its holes."""
    return any(sum(_in_ring(x, y, ring) for ring in rings) % 2 == 1 for rings in polygons)


def _in_ring(x: float, y: float, ring: Sequence[Sequence[float]]) -> bool:
    outline = np.asarray(ring, np.float32).reshape(-1, 1, 2)
    return len(ring) > 2 and cv2.pointPolygonTest(outline, (x, y), False) >= 0
