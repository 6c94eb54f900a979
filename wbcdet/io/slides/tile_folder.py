"""A folder of overlapping tiles with their positions, as one slide."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from threading import Lock

import numpy as np

from wbcdet.io.codecs.by_pillow import orientation_of
from wbcdet.io.codecs.picture import TURNS, as_stored
from wbcdet.io.colour import Pixels
from wbcdet.io.decode import decode_whole
from wbcdet.io.errors import FieldError
from wbcdet.io.slides.base import Level
from wbcdet.io.slides.tile_positions import read_positions, without_position
from wbcdet.io.slides.tile_seams import Tile, seam_remarks
from wbcdet.records import DAMAGED
from wbcdet.utils.text import plural

#: Decoded tiles that are kept, bytes.
_KEPT = 256 << 20
#: Largest tile, pixels.
_MAX_TILE = 50_000_000
#: Area that tiles may spread over, as a multiple of their own.
_MAX_SPREAD = 2000


class TileFolderReader:
    """See ``SlideReader``.

    Where tiles overlap, each pixel comes from the tile in whose middle it lies most, so that seams
    run where lenses are good and each cell is seen whole by one tile or continues in the next.

    Raises:
        FieldError: positions or pictures cannot be read; the message is one line.
    """

    def __init__(self, folder: Path) -> None:
        placed, self.um_per_px = read_positions(folder)
        if not placed:
            raise FieldError("folder holds no tile that its positions name; check the file names")
        missing = [path.name for path, _, _ in placed if not path.is_file()]
        placed = [position for position in placed if position[0].is_file()]
        if not placed:
            raise FieldError(f"tiles are missing ({missing[0]} and the others); copy them again")
        left, top = min(x for _, x, _ in placed), min(y for _, _, y in placed)
        self._tiles = [
            Tile(path, round(x - left), round(y - top), *_size_and_orientation(path))
            for path, x, y in placed
        ]
        width = max(tile.x + tile.width for tile in self._tiles)
        height = max(tile.y + tile.height for tile in self._tiles)
        if width * height > _MAX_SPREAD * sum(tile.width * tile.height for tile in self._tiles):
            raise FieldError(
                f"tiles lie on {width} x {height} px, too far from each other for the positions to "
                "be right; export the positions again"
            )
        self.levels: tuple[Level, ...] = (Level(width, height, 1.0),)
        self._kept: OrderedDict[Path, Pixels] = OrderedDict()
        self._lock = Lock()
        self.remarks: tuple[str, ...] = ()
        if missing:
            are = "is" if len(missing) == 1 else "are"
            self.remarks = (
                f"{plural(len(missing), 'tile')} {are} missing, the first {missing[0]}",
            )
        if others := without_position([path for path, _, _ in placed]):
            self.remarks += (
                f"{plural(len(others), 'picture')} of the folder, the first {others[0]}, "
                f"{'has' if len(others) == 1 else 'have'} no position and cannot be looked at",
            )
        hidden = len(self._tiles) - len({(tile.x, tile.y) for tile in self._tiles})
        if hidden:
            self.remarks += (
                f"{plural(hidden, 'picture')} lie{'s' * (hidden == 1)} at the place of another: of "
                "each place the first is looked at",
            )
        self.remarks += seam_remarks(self._tiles, self._pixels)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle; see ``SlideReader.read``."""
        out = np.full((height, width, 3), 255, np.uint8)
        depth = np.zeros((height, width), np.float32)
        for tile in self._tiles:
            wide, high = tile.width, tile.height
            x0, y0 = max(x, tile.x), max(y, tile.y)
            x1, y1 = min(x + width, tile.x + wide), min(y + height, tile.y + high)
            if x0 >= x1 or y0 >= y1:
                continue
            pixels = self._pixels(tile)
            across = np.arange(x0 - tile.x, x1 - tile.x)
            down = np.arange(y0 - tile.y, y1 - tile.y)
            # How far inside its tile each pixel lies, of the way from border to middle.
            inside = np.minimum(
                (np.minimum(down + 1, high - down) / high)[:, None],
                (np.minimum(across + 1, wide - across) / wide)[None],
            ).astype(np.float32)
            place = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
            better = inside > depth[place]
            depth[place][better] = inside[better]
            part = pixels[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
            out[place][better] = part[better]
        return out

    def _pixels(self, tile: Tile) -> Pixels:
        path = tile.path
        with self._lock:
            pixels = self._kept.pop(path, None)
        if pixels is None:
            try:
                decoded = decode_whole(path.read_bytes(), _MAX_TILE)
            except FieldError as error:
                raise FieldError(f"tile {path.name}: {error}") from error
            # A slide has no remark of a part of it that would be seen beside its cells.
            if damaged := [remark for remark in decoded.remarks if remark.startswith(DAMAGED)]:
                raise FieldError(f"tile {path.name}: {damaged[0]}, or remove it")
            # The programs that stitch pass over the orientation, and so do their positions.
            pixels = as_stored(decoded.pixels, tile.orientation)
            if pixels.shape[1::-1] != (tile.width, tile.height):
                raise FieldError(f"tile {path.name} has changed; start the run again")
        with self._lock:
            self._kept[path] = pixels
            while (
                sum(pixels.nbytes for pixels in self._kept.values()) > _KEPT and len(self._kept) > 1
            ):
                self._kept.popitem(last=False)
        return pixels


def _size_and_orientation(path: Path) -> tuple[int, int, int]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            (width, height), turn = picture.size, orientation_of(picture)
            # Of a TIFF Pillow says the size that it has when it is turned upright.
            turned = picture.format == "TIFF" and TURNS[turn][0]
            return (height, width, turn) if turned else (width, height, turn)
    except (OSError, ValueError) as error:
        raise FieldError(f"tile {path.name} cannot be read; copy it again or remove it") from error
