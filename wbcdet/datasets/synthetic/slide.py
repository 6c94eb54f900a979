"""A synthetic slide with a known gradient: thick at its left, then a monolayer, then the tail.

It is put together from a few drawn squares, turned and mirrored, so that a slide of any size is
drawn in the time of these squares, level by level, and never lies in memory whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.datasets.synthetic.field import NEUTROPHIL_UM, SmearCell, render_field
from wbcdet.datasets.synthetic.stain import STAINS

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

#: Ends of the parts of a slide, of its width: clear glass, thick, monolayer, thin; then glass.
PARTS = (0.06, 0.34, 0.74, 0.9)
#: Clear glass above and below, of the height.
MARGIN = 0.08
#: Red cells' share of the area, by part; the thick part is three such layers over each other.
_SHARES = (0.0, 0.6, 0.42, 0.08, 0.0)
_LAYERS = (1, 3, 1, 1, 1)
#: White cells of a square, by part.
_COUNTS: tuple[dict[str, int], ...] = (
    {},
    {"neutrophil": 1, "lymphocyte": 1},
    {"neutrophil": 3, "lymphocyte": 2, "monocyte": 1, "eosinophil": 1},
    {"monocyte": 1, "neutrophil": 1},
    {},
)  # fmt: skip
GLASS_PART, THICK_PART, MONOLAYER_PART, THIN_PART = range(4)


@dataclass(frozen=True, slots=True)
class _Square:
    pixels: Pixels
    cells: tuple[SmearCell, ...]


class SyntheticSlide:
    """A slide, its pixels at any level and the truth about it.

    Args:
        width, height: pixels.
        um_per_px: scale.
        seed: 0 or more; everything follows from it.
        side: of the squares, px; a multiple of 16.
        kinds: different squares of each part.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        um_per_px: float = 0.25,
        seed: int = 0,
        side: int = 1024,
        kinds: int = 3,
    ) -> None:
        self.width, self.height, self.um_per_px = width, height, um_per_px
        self.side, self._seed, self._kinds = side, seed, kinds
        self._small: dict[tuple[int, int, int], Pixels] = {}
        rng = np.random.default_rng([seed, 7])
        self._rows, self._columns = -(-height // side), -(-width // side)
        self._choice = rng.integers(0, 8 * kinds, (self._rows, self._columns))

    def part(self, x: float, y: float) -> int:
        """Which part of the smear a place (px) lies in: an index into ``PARTS``; 4 is glass."""
        if not MARGIN * self.height <= y <= (1 - MARGIN) * self.height:
            return len(PARTS)
        return int(np.searchsorted(PARTS, x / self.width))

    @cached_property
    def cells(self) -> list[tuple[str, Box]]:
        """Every white cell that lies whole on the slide: label and box, px."""
        cells = []
        for row in range(self._rows):
            for column in range(self._columns):
                part, number, turn = self._at(row, column)
                for cell in self._squares[part][number].cells:
                    x0, y0, x1, y1 = _turned(cell.box, turn, self.side)
                    box = (
                        x0 + column * self.side,
                        y0 + row * self.side,
                        x1 + column * self.side,
                        y1 + row * self.side,
                    )
                    if box[2] <= self.width and box[3] <= self.height:
                        cells.append((cell.label, box))
        return cells

    def read(self, x: int, y: int, width: int, height: int, by: int = 1) -> Pixels:
        """Return a rectangle of the slide reduced by ``by`` (1, 2, 4, 8 or 16), in reduced pixels;
        BGR."""
        side = self.side // by
        out = np.full((height, width, 3), 255, np.uint8)
        for row in range(y // side, min(-(-(y + height) // side), self._rows)):
            for column in range(x // side, min(-(-(x + width) // side), self._columns)):
                pixels = self._reduced(row, column, by)
                top, left = row * side, column * side
                a, b = max(y, top), min(y + height, top + side)
                c, d = max(x, left), min(x + width, left + side)
                out[a - y : b - y, c - x : d - x] = pixels[a - top : b - top, c - left : d - left]
        return out

    @cached_property
    def _squares(self) -> list[list[_Square]]:
        return [
            [self._draw(part, number) for number in range(self._kinds)]
            for part in range(len(PARTS) + 1)
        ]

    def _draw(self, part: int, number: int) -> _Square:
        cell_px = NEUTROPHIL_UM / self.um_per_px
        stain = STAINS[self._seed % len(STAINS)]
        first = render_field(
            100 * part + number + 1000 * self._seed,
            self.side,
            self.side,
            cell_px=cell_px,
            counts=_COUNTS[part],
            stain=stain,
            red_share=_SHARES[part],
        )
        pixels = first.pixels.astype(np.float32)
        for layer in range(1, _LAYERS[part]):
            over = render_field(
                100 * part + number + 50 * layer,
                self.side,
                self.side,
                cell_px=cell_px,
                counts={},
                stain=stain,
                red_share=_SHARES[part],
            )
            # What lies over each other lets through the product of the light.
            pixels *= over.pixels / np.asarray(stain.ground, np.float32)
        return _Square(np.clip(pixels, 0, 255).astype(np.uint8), first.cells)

    def _at(self, row: int, column: int) -> tuple[int, int, int]:
        """Part, number of the square and turn."""
        middle = (column + 0.5) * self.side, (row + 0.5) * self.side
        choice = int(self._choice[row, column])
        return self.part(*middle), choice % self._kinds, choice // self._kinds

    def _reduced(self, row: int, column: int, by: int) -> Pixels:
        part, number, turn = self._at(row, column)
        key = (part, number, by)
        if key not in self._small:
            pixels = self._squares[part][number].pixels
            size = (self.side // by, self.side // by)
            self._small[key] = (
                pixels if by == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
            )
        pixels = np.rot90(self._small[key], turn % 4)
        return pixels[:, ::-1] if turn >= 4 else pixels


def _turned(box: Box, turn: int, side: int) -> Box:
    """Return a box after ``np.rot90`` by turn % 4 quarters, then a mirror for turns of 4 and
    more."""
    x0, y0, x1, y1 = box
    for _ in range(turn % 4):
        x0, y0, x1, y1 = y0, side - x1, y1, side - x0
    return (side - x1, y0, side - x0, y1) if turn >= 4 else (x0, y0, x1, y1)


def write_pyramid(
    slide: SyntheticSlide, path: Path, *, levels: Sequence[int] = (1, 4, 16), ome: bool = False
) -> None:
    """Write a slide as a tiled JPEG pyramid: pages of their own, or OME-TIFF with SubIFDs.

    Args:
        slide: the slide.
        path: the file.
        levels: reductions, the first 1.
        ome: OME-TIFF.
    """
    import tifffile

    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as writer:
        for number, by in enumerate(levels):
            shape = (slide.height // by, slide.width // by, 3)
            um = slide.um_per_px * by
            said = {"axes": "YXS", "PhysicalSizeX": um, "PhysicalSizeY": um,
                    "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}  # fmt: skip
            writer.write(
                _encoded(_tiles(slide, shape, by)),
                shape=shape,
                dtype=np.uint8,
                tile=(_TILE, _TILE),
                photometric="rgb",
                compression="jpeg",
                resolution=(1e4 / um, 1e4 / um),
                resolutionunit="CENTIMETER",
                metadata=said if ome and number == 0 else None,
                subifds=len(levels) - 1 if ome and number == 0 else 0,
                subfiletype=0 if number == 0 else 1,
            )


#: Side of the tiles of a pyramid, px.
_TILE = 512
#: Different tiles whose JPEG is remembered: the finest level repeats some hundreds of them.
_REMEMBERED = 1024


def _encoded(tiles: Iterator[Pixels]) -> Iterator[bytes]:
    """Yield the JPEG of each tile; tiles that repeat are encoded once."""
    import imagecodecs

    known: dict[bytes, bytes] = {}
    for tile in tiles:
        key = hashlib.blake2b(tile).digest()
        if key not in known:
            if len(known) == _REMEMBERED:
                known.clear()
            jpeg = imagecodecs.jpeg8_encode(
                tile, level=88, colorspace="RGB", outcolorspace="YCBCR", subsampling="420"
            )
            known[key] = bytes(jpeg)
        yield known[key]


def _tiles(slide: SyntheticSlide, shape: tuple[int, int, int], by: int) -> Iterator[Pixels]:
    for y in range(0, shape[0], _TILE):
        for x in range(0, shape[1], _TILE):
            tile = slide.read(x, y, _TILE, _TILE, by)
            tile[shape[0] - y :] = 255
            tile[:, shape[1] - x :] = 255
            yield np.ascontiguousarray(tile[:, :, ::-1])


def write_tiles(
    slide: SyntheticSlide, folder: Path, *, side: int = 1600, overlap: int = 200
) -> None:
    """Write a slide as overlapping JPEG tiles with a ``TileConfiguration.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["dim = 2", ""]
    step = side - overlap
    for row, y in enumerate(range(0, max(1, slide.height - overlap), step)):
        for column, x in enumerate(range(0, max(1, slide.width - overlap), step)):
            width, height = min(side, slide.width - x), min(side, slide.height - y)
            name = f"tile-{row:03}-{column:03}.jpg"
            cv2.imwrite(str(folder / name), slide.read(x, y, width, height))
            lines.append(f"{name}; ; ({x}.0, {y}.0)")
    (folder / "TileConfiguration.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
