"""Thumbnails of cells, and of fields without one: cut in memory, kept in the journal.

They are kept, not cut again when the report is made, so that the report costs no second reading of
the fields and shows what was counted even where a file has gone since. One takes about 3 kB.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from wbcdet.inference.preprocess import crop_cell
from wbcdet.io.colour import Pixels
from wbcdet.io.field import Field
from wbcdet.io.ownership import signed
from wbcdet.records import Cell
from wbcdet.report.journal import JournalError

#: Side of a thumbnail in pixels.
SIDE = 96
#: Longer side of the picture of a field in which no cell was found, px.
OVERVIEW_SIDE = 192
#: Side of what is shown over the longer side of the cell's box: some of its surroundings.
_PADDING = 1.4
_QUALITY = 85


def cut_thumbnails(field: Field, cells: Sequence[Cell]) -> list[bytes]:
    """Return a thumbnail of every cell, in the order of the cells.

    Raises:
        FieldError: the field's file cannot be read any more.
    """
    # From top to bottom: of a large file that is read in parts no part is unpacked twice.
    down = sorted(range(len(cells)), key=lambda number: cells[number].box[1])
    cut = {number: cut_thumbnail(field, cells[number]) for number in down}
    return [cut[number] for number in range(len(cells))]


def cut_thumbnail(field: Field, cell: Cell) -> bytes:
    """Return a cell in the middle of a JPEG picture of ``SIDE`` pixels.

    Raises:
        FieldError: the field's file cannot be read any more.
    """
    x_min, y_min, x_max, y_max = cell.box
    # What cutting the square reads of the field, and no more: a field may be larger than memory.
    reach = int(max(x_max - x_min, y_max - y_min) * _PADDING) + 2
    left, top = max(0, int(x_min) - reach), max(0, int(y_min) - reach)
    part = field.read(left, top, int(x_max) + reach, int(y_max) + reach)
    box = (x_min - left, y_min - top, x_max - left, y_max - top)
    return to_jpeg(crop_cell(part, box, SIDE, _PADDING), _QUALITY)


def cut_overview(field: Field) -> bytes:
    """Return a whole field as a JPEG picture of at most ``OVERVIEW_SIDE`` pixels a side.

    Raises:
        FieldError: the field's file cannot be read any more.
    """
    pixels = field.pixels
    scale = OVERVIEW_SIDE / max(pixels.shape[:2])
    if scale < 1:
        size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return to_jpeg(pixels, _QUALITY)


def from_jpeg(data: bytes) -> Pixels:
    """Return a thumbnail as (height, width, 3) uint8 BGR."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise JournalError("a thumbnail in the journal is damaged")
    result: Pixels = pixels.astype(np.uint8, copy=False)
    return result


def to_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Encode pixels as a JPEG file, which says that they are not a slide."""
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return signed(data.tobytes())


def blank_thumbnail() -> bytes:
    """Return what stands in for a thumbnail that is lost."""
    return to_jpeg(np.full((SIDE, SIDE, 3), 235, np.uint8), 70)
