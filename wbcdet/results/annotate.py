"""Annotated pictures: every cell boxed and named.

Drawn with OpenCV and Pillow, not with supervision's annotators. Those move labels apart even where
they then cover cells, have no dashed box and no dark rim, and take 0.4 s more to import (measured),
which is longer than drawing dozens of fields takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from wbcdet.io.colour import Pixels, array_in_bgr
from wbcdet.records import Cell, CellType
from wbcdet.results.palette import rgb_of

Rect = tuple[int, int, int, int]


#: Longest side, in pixels, that an annotated picture has at least: on less, text that can be
#: read would hide the cells.
_MIN_SIDE = 640
#: Longest side of an annotated picture; JPEG ends at 65535.
_MAX_SIDE = 16_384


def annotate(pixels: Pixels, cells: Sequence[Cell]) -> Pixels:
    """Return a copy of a field with its cells boxed and named.

    Boxes of unclassified cells are dashed, and have the reason in the place of a name.

    Args:
        pixels: (height, width, 3) uint8 BGR, or (height, width) uint8 grey.
        cells: the cells, with boxes in pixels of this field; coordinates outside are cut to it.

    Returns:
        (height, width, 3) uint8 BGR. A field below 640 pixels on its longer side is enlarged to
        that, so that the labels can be read; one above 16,384 is reduced to that.

    Raises:
        ValueError: an array of another shape or type, or with masked pixels.
    """
    pixels = array_in_bgr(pixels)
    height, width = pixels.shape[:2]
    zoom = min(max(1.0, _MIN_SIDE / max(height, width)), _MAX_SIDE / max(height, width))
    if zoom == 1.0:
        picture = pixels.copy()
    else:
        size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
        picture = cv2.resize(
            pixels, size, interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA
        )
    height, width = picture.shape[:2]
    boxes = [_scaled(cell, zoom, width, height) for cell in cells]
    line, font_size = _strokes(boxes, max(height, width))
    for cell, box in zip(cells, boxes, strict=True):
        _draw_box(picture, box, cell.label, line)
    occupied = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    placed = np.zeros_like(occupied)
    for number, (cell, box) in enumerate(zip(cells, boxes, strict=True)):
        mask = _text_mask(label_text(cell), font_size)
        size = (mask.shape[1], mask.shape[0])
        rect = _place(size, box, occupied, placed[:number], (width, height))
        placed[number] = rect
        _draw_label(picture, mask, rect, cell.label)
    return picture


def _strokes(boxes: Sequence[Rect], longest: int) -> tuple[int, int]:
    """Return the width of lines and height of letters: by the picture, but no larger than small
    cells bear."""
    line, font_size = max(2, round(longest / 400)), max(15, round(longest / 50))
    if boxes:
        cell = float(np.median([max(box[2] - box[0], box[3] - box[1]) for box in boxes]))
        line, font_size = (
            min(line, max(2, round(cell / 12))),
            min(font_size, max(14, round(cell / 2))),
        )
    return line, font_size


def label_text(cell: Cell) -> str:
    """Return the text at a cell: label and label score, or the reason it has none."""
    if cell.label is CellType.UNCLASSIFIED:
        return cell.reason or str(cell.label)
    # A name that a person gave has no score.
    return f"{cell.label} {cell.label_score:.2f}" if cell.label_score else str(cell.label)


def _scaled(cell: Cell, zoom: float, width: int, height: int) -> Rect:
    x_min, y_min, x_max, y_max = (round(value * zoom) for value in cell.box)
    return max(0, x_min), max(0, y_min), min(width - 1, x_max), min(height - 1, y_max)


def _bgr(label: str) -> tuple[int, int, int]:
    red, green, blue = rgb_of(label)
    return blue, green, red


def _draw_box(picture: Pixels, box: Rect, label: str, line: int) -> None:
    # A dark rim keeps the light colours visible on white and yellow grounds.
    rim = max(1, line // 2)
    x_min, y_min, x_max, y_max = box
    corners = ((x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max), (x_min, y_min))
    dash = 5 * line if label is CellType.UNCLASSIFIED else None
    for colour, thickness in (((30, 30, 30), line + 2 * rim), (_bgr(label), line)):
        for start, end in pairwise(corners):
            for first, last in _dashes(start, end, dash):
                cv2.line(picture, first, last, colour, thickness, cv2.LINE_8)


def _dashes(
    start: tuple[int, int], end: tuple[int, int], dash: int | None
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    if dash is None or length == 0:
        return [(start, end)]
    # An odd number of equal steps: every side starts and ends with a dash at its corners.
    steps = max(1, 2 * (length // (2 * dash)) + 1)
    points = [
        (
            round(start[0] + (end[0] - start[0]) * step / steps),
            round(start[1] + (end[1] - start[1]) * step / steps),
        )
        for step in range(steps + 1)
    ]
    return [(points[step], points[step + 1]) for step in range(0, steps, 2)]


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the letters of a height, whose file takes longer to open than a label to draw."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=512)
def _text_mask(text: str, font_size: int) -> npt.NDArray[np.float32]:
    """Return coverage 0..1 of a line of text on a box with a margin, (height, width, 1)."""
    font = _font(font_size)
    _, top, _, bottom = font.getbbox("Ay" + text)
    margin = max(2, font_size // 5)
    width = int(font.getlength(text)) + 2 * margin
    height = int(bottom - top) + 2 * margin
    sheet = Image.new("L", (width, height), 0)
    ImageDraw.Draw(sheet).text((margin, margin - top), text, fill=255, font=font)
    return np.asarray(sheet, dtype=np.float32)[:, :, None] / 255.0


def _place(
    size: tuple[int, int],
    box: Rect,
    boxes: npt.NDArray[np.int64],
    placed: npt.NDArray[np.int64],
    limits: tuple[int, int],
) -> Rect:
    """Return the best place at its box for a label: inside the picture, off other labels and
    cells."""
    width, height = size
    x_min, y_min, x_max, y_max = box
    middle = (y_min + y_max - height) // 2
    corners = [
        (x_min, y_min - height),
        (x_max - width, y_min - height),
        (x_min, y_max),
        (x_max - width, y_max),
        (x_max, middle),
        (x_min - width, middle),
        (x_min, y_min),
        (x_min, y_max - height),
        (x_min, y_min - 2 * height),
        (x_min, y_max + height),
    ]
    left_top = np.clip(corners, 0, np.maximum(np.array(limits) - size, 0))
    rects = np.concatenate([left_top, left_top + size], axis=1)
    # Text over text cannot be read; text over a cell hides some of it; else the first wins.
    cost = 20.0 * _covered(rects, placed) + _covered(rects, boxes)
    cost += 0.02 * width * height * np.arange(len(corners))
    left, top, right, bottom = rects[cost.argmin()].tolist()
    return left, top, right, bottom


def _covered(rects: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return pixels that each rectangle (M, 4) shares with others (N, 4), summed."""
    low = np.maximum(rects[:, None, :2], others[:, :2])
    high = np.minimum(rects[:, None, 2:], others[:, 2:])
    shared: npt.NDArray[Any] = (high - low).clip(0).prod(2).sum(1)
    return shared


def _draw_label(picture: Pixels, mask: npt.NDArray[np.float32], rect: Rect, label: str) -> None:
    colour = np.array(_bgr(label), dtype=np.float32)
    luminance = float(colour @ np.array([0.114, 0.587, 0.299], dtype=np.float32))
    ink = 0.0 if luminance > 110 else 255.0
    left, top, right, bottom = rect
    # A picture narrower than its label keeps the start of the text.
    part = picture[max(0, top) : bottom, max(0, left) : right]
    mask = mask[: part.shape[0], : part.shape[1]]
    part[:] = np.rint(mask * ink + (1.0 - mask) * colour).astype(np.uint8)
