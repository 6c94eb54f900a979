"""A large TIFF, read one rectangle at a time in bounded memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import cv2
import numpy as np

from wbcdet.io.decode import FieldError, Pixels, eight_bit, sensor_factor
from wbcdet.io.tiff_layout import Band, Layout, read_layout, reporting

#: Longest side of an overview, in pixels.
OVERVIEW_SIDE = 4096
#: Unpacked strips and tiles that are kept for the next rectangle, in bytes: the less, or a quarter
#: more than the last ones took, so that rectangles side by side unpack a strip across them once.
_MIN_KEPT, _MAX_KEPT = 64 << 20, 320 << 20
#: Rows of the overview are read in parts of about this many bytes.
_PART = 16 << 20
#: Longest side that is read: beyond it not even single rows are small.
_MAX_SIDE = 300_000
#: Stored to upright, by TIFF's orientation: swap the axes, then mirror x, then mirror y.
_TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


class TiffPicture:
    """One picture of a TIFF file; any rectangle of it is upright BGR, 8 bit.

    Values of more than 8 bits are scaled as in :func:`wbcdet.io.decode.decode`, by one factor for
    the whole picture. Blocks that were never written are white. The file is open only while a
    rectangle is read; one picture may be shared between threads.

    Args:
        source: the file, or all its bytes.
        number: which of its pictures, from 1.
        max_pixels: the largest width x height.

    Raises:
        FieldError: it is damaged, cut short, too large or of a kind that is not read.
    """

    def __init__(self, source: Path | bytes, number: int, max_pixels: int) -> None:
        layout = read_layout(source, number)
        width, height = layout.width, layout.height
        if width * height > max_pixels or max(width, height) > _MAX_SIDE:
            raise FieldError(
                f"picture of {width} x {height} pixels is over the limit of "
                f"{max_pixels / 1e6:g} megapixels and {_MAX_SIDE} a side; export a part of it"
            )
        self._source = source
        self._layout: Layout = layout
        self._turn = _TURNS[layout.orientation]
        self.width, self.height = (height, width) if self._turn[0] else (width, height)
        self._kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._bytes = 0
        self._budget = _MIN_KEPT
        self._lock = Lock()

    def read(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
        """A rectangle inside the picture, (y1 - y0, x1 - x0, 3) uint8 BGR, C-contiguous.

        Raises:
            FieldError: its blocks are damaged or the file cannot be read any more.
        """
        swap, mirror_x, mirror_y = self._turn
        if mirror_x:
            x0, x1 = self.width - x1, self.width - x0
        if mirror_y:
            y0, y1 = self.height - y1, self.height - y0
        if swap:
            x0, y0, x1, y1 = y0, x0, y1, x1
        return self._upright(self._stored(x0, y0, x1, y1))

    @cached_property
    def reduction(self) -> int:
        """Pixels of the picture to one of the overview, along a side."""
        return math.ceil(max(self.width, self.height) / OVERVIEW_SIDE)

    @cached_property
    def overview(self) -> Pixels:
        """The whole picture reduced by ``reduction``, its longest side at most 4096 px.

        Raises:
            FieldError: as ``read``.
        """
        layout, by = self._layout, self.reduction
        width, height = max(1, layout.width // by), max(1, layout.height // by)
        out = np.empty((height, width, 3), np.uint8)
        step = max(1, _PART // (layout.width * 3 * by))
        for top in range(0, height, step):
            bottom = min(top + step, height)
            # A picture narrower than the reduction is all there is to average.
            ends = min(width * by, layout.width), min(bottom * by, layout.height)
            part = self._stored(0, top * by, *ends)
            out[top:bottom] = cv2.resize(part, (width, bottom - top), interpolation=cv2.INTER_AREA)
        return self._upright(out)

    def release(self) -> None:
        """Let go of the blocks that are kept in memory; what is read next is unpacked again."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _upright(self, pixels: Pixels) -> Pixels:
        swap, mirror_x, mirror_y = self._turn
        if swap:
            pixels = pixels.transpose(1, 0, 2)
        if mirror_x:
            pixels = pixels[:, ::-1]
        if mirror_y:
            pixels = pixels[::-1]
        return np.ascontiguousarray(pixels)

    def _stored(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
        """A rectangle of the picture as it lies in the file, as BGR."""
        layout = self._layout
        factor = self._factor
        with self._lock, reporting(), self._file() as file:
            bands = [
                self._samples(file, number, band, x0, y0, x1, y1)
                for number, band in enumerate(layout.bands)
            ]
        values = bands[0] if len(bands) == 1 else np.concatenate(bands, 2)
        if layout.palette is not None:
            values = layout.palette[values[:, :, 0]]
        colours = min(values.shape[2], 3) if values.shape[2] > 2 else 1
        alpha = None
        if layout.alpha is not None:
            most = np.iinfo(values.dtype).max
            alpha = values[:, :, colours : colours + 1].astype(np.float32) / most
        values = values[:, :, :colours]
        if layout.inverted:
            values = np.iinfo(values.dtype).max - values
        if factor != 1.0 or alpha is not None:
            values = eight_bit(values, factor, alpha, premultiplied=layout.alpha == "premultiplied")
        turn = cv2.COLOR_GRAY2BGR if colours == 1 else cv2.COLOR_RGB2BGR
        result: Pixels = cv2.cvtColor(np.ascontiguousarray(values), turn)
        return result

    @cached_property
    def _factor(self) -> float:
        """What scales the samples to 8 bits; deeper ones are all looked at once for it."""
        layout = self._layout
        if layout.bits == 8:
            return 1.0
        brightest = 0
        samples = sum(band.samples for band in layout.bands)
        colours = 3 if samples > 2 else 1
        with self._lock, reporting(), self._file() as file:
            for band in layout.bands[:colours]:
                for block in np.flatnonzero(band.counts):
                    values = _unpack(file, band, int(block))[:, :, :colours]
                    if layout.inverted:
                        values = np.iinfo(values.dtype).max - values
                    brightest = max(brightest, int(values.max()))
                    if brightest >= 1 << 14:  # the largest depth already
                        return sensor_factor(brightest)
        return sensor_factor(brightest)

    def _samples(
        self, file: BinaryIO, number: int, band: Band, x0: int, y0: int, x1: int, y1: int
    ) -> np.ndarray:
        """A rectangle of one band, (height, width, channels), put together from its blocks."""
        layout = self._layout
        grid = -(-layout.width // band.columns)
        rows = range(y0 // band.rows, -(-y1 // band.rows))
        columns = range(x0 // band.columns, -(-x1 // band.columns))
        kind = np.uint8 if layout.bits == 8 else np.uint16
        white = 0 if layout.inverted else np.iinfo(kind).max
        out = np.full((y1 - y0, x1 - x0, band.samples), white, kind)
        touched = len(rows) * band.rows * len(columns) * band.columns * band.samples
        wanted = touched * out.itemsize * len(layout.bands) * 5 // 4
        self._budget = min(max(self._budget, wanted), _MAX_KEPT)
        for row in rows:
            top = row * band.rows
            for column in columns:
                left = column * band.columns
                block = row * grid + column
                if band.counts[block] == 0:
                    continue
                values = self._block(file, number, band, block)
                a, b = max(y0, top), min(y1, top + values.shape[0])
                c, d = max(x0, left), min(x1, left + values.shape[1])
                out[a - y0 : b - y0, c - x0 : d - x0] = values[
                    a - top : b - top, c - left : d - left
                ]
        return out

    def _block(self, file: BinaryIO, number: int, band: Band, block: int) -> np.ndarray:
        key = (number, block)
        values = self._kept.pop(key, None)
        if values is None:
            values = _unpack(file, band, block)
            self._bytes += values.nbytes
        self._kept[key] = values  # the youngest now
        while self._bytes > self._budget and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return values

    def _file(self) -> BinaryIO:
        return self._source.open("rb") if isinstance(self._source, Path) else BytesIO(self._source)


def _unpack(file: BinaryIO, band: Band, block: int) -> np.ndarray:
    file.seek(int(band.offsets[block]))
    data = file.read(int(band.counts[block]))
    if len(data) < band.counts[block]:
        raise FieldError("file is cut short; copy it again from its source")
    return band.unpack(data, block)
