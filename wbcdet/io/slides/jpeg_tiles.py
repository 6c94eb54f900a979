"""Look whether the JPEG tiles of a slide in a TIFF are as they were written.

The libraries that read slides decode what is left of a damaged JPEG without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from wbcdet.io.slides.base import Level
from wbcdet.io.tiff import is_damaged_jpeg

#: TIFF's numbers of JPEG, and of samples that stand side by side.
_JPEG, _SIDE_BY_SIDE = 7, 1


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Where the tiles of one level lie in the file, and what stands once for all of them."""

    width: int
    height: int
    columns: int
    offsets: Sequence[int]
    counts: Sequence[int]
    tables: bytes

    def touched(self, x: int, y: int, width: int, height: int) -> Iterator[int]:
        """Yield the numbers of the tiles that a rectangle touches and that were ever written."""
        last = min(-(-len(self.counts) // self.columns) - 1, (y + height - 1) // self.height)
        for row in range(max(0, y) // self.height, last + 1):
            end = min(self.columns - 1, (x + width - 1) // self.width)
            for column in range(max(0, x) // self.width, end + 1):
                number = row * self.columns + column
                if number < len(self.counts) and self.counts[number]:
                    yield number


class JpegTiles:
    """The JPEG tiles of a slide.

    Args:
        path: the slide; of one that is no TIFF nothing is told.
        levels: of the slide, as it is read.
    """

    def __init__(self, path: Path, levels: Sequence[Level]) -> None:
        self._path = path
        self._levels = _tiles_of(path, levels)

    def is_damaged(self, level: int, x: int, y: int, width: int, height: int) -> bool:
        """Say whether a tile that a rectangle of a level touches is damaged.

        Raises:
            OSError: the slide cannot be read.
        """
        tiles = self._levels.get(level)
        if tiles is None:
            return False
        with self._path.open("rb") as file:
            for number in tiles.touched(x, y, width, height):
                file.seek(tiles.offsets[number])
                if is_damaged_jpeg(file.read(tiles.counts[number]), tiles.tables):
                    return True
        return False


def _tiles_of(path: Path, levels: Sequence[Level]) -> dict[int, _Tiles]:
    """Return the tiles of the levels that are pages of JPEG tiles, by the number of the level."""
    import tifffile

    found: dict[int, _Tiles] = {}
    sizes = {(level.width, level.height): number for number, level in enumerate(levels)}
    try:
        with tifffile.TiffFile(path) as file:
            pages = [page for series in file.series for one in series.levels for page in one.pages]
            for page in pages:
                if not isinstance(page, tifffile.TiffPage):
                    continue
                number = sizes.get((page.imagewidth, page.imagelength))
                known = page.is_tiled and int(page.compression) == _JPEG
                if number is None or number in found or not known:
                    continue
                if page.samplesperpixel > 1 and int(page.planarconfig) != _SIDE_BY_SIDE:
                    continue
                found[number] = _Tiles(
                    page.tilewidth,
                    page.tilelength,
                    -(-page.imagewidth // page.tilewidth),
                    page.dataoffsets,
                    page.databytecounts,
                    page.jpegtables or b"",
                )
    # Other files than TIFFs, and what scanners write their own way: the slide's reader says more.
    except Exception:
        return found
    return found
