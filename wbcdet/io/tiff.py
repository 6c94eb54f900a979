"""Read a large TIFF one rectangle at a time, in bounded memory."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from io import BytesIO
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, BinaryIO

import cv2
import numpy as np

from wbcdet.io.codecs.by_pillow import decode_by_pillow
from wbcdet.io.codecs.jpeg_header import is_harmless
from wbcdet.io.codecs.picture import DAMAGED_DATA, TURNS, upright
from wbcdet.io.colour import (
    ALL_CLEAR,
    BAD_PROFILE,
    FRACTIONAL,
    Pixels,
    deep_in_srgb,
    eight_bit,
    from_cmyk,
    from_lab,
    in_bgr,
    in_srgb,
    sensor_factor,
)
from wbcdet.io.errors import FieldError
from wbcdet.io.tiff_layout import Band, Layout, UnreadKind, read_layout
from wbcdet.io.tiff_pages import reporting

#: Longest side of an overview, in pixels.
OVERVIEW_SIDE = 4096
#: Unpacked strips and tiles that are kept for the next rectangle, in bytes: the less, or a quarter
#: more than the last ones took, so that rectangles side by side unpack a strip across them once.
_MIN_KEPT, _MAX_KEPT = 64 << 20, 320 << 20
#: Rows of the overview are read in parts of about this many bytes.
_PART = 16 << 20
#: Longest side that is read: beyond it not even single rows are small.
_MAX_SIDE = 300_000


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
        self._turn = TURNS[layout.orientation]
        self.width, self.height = (height, width) if self._turn[0] else (width, height)
        self._kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._bytes = 0
        self._budget = _MIN_KEPT
        self._lock = Lock()
        self._most_kept, self._timeout_s = _MAX_KEPT, math.inf
        #: Remarks on what was read so far, a line each.
        self.remarks: list[str] = []
        if layout.kind == "f":
            _ = self._scale  # raises where the values are not those of colours

    @property
    def working_bytes(self) -> int:
        """Memory that reading the whole picture takes at its peak."""
        samples = sum(band.samples for band in self._layout.bands)
        stored = samples * (4 if self._layout.kind == "f" else 1 if self._layout.bits <= 8 else 2)
        return self.width * self.height * (2 * stored + 6)

    def set_limits(self, memory_bytes: int, timeout_s: float) -> None:
        """Set what a rectangle may take.

        Args:
            memory_bytes: of which a third is for blocks that are kept, at most.
            timeout_s: seconds, checked after each block.

        Raises:
            FieldError: single blocks are larger.
        """
        self._most_kept = min(_MAX_KEPT, memory_bytes // 3)
        self._timeout_s = timeout_s
        for band in self._layout.bands:
            block = band.rows * band.columns * band.samples * max(1, self._layout.bits // 8)
            if block > memory_bytes // 3:
                raise FieldError(
                    f"TIFF in blocks of {block / 1e6:.0f} MB takes too much memory; save it again "
                    "with smaller tiles, or allow more with --memory"
                )

    def read(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
        """Return a rectangle inside the picture, (y1 - y0, x1 - x0, 3) uint8 BGR, C-contiguous.

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
        return upright(self._stored(x0, y0, x1, y1), self._layout.orientation)

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
        return upright(out, layout.orientation)

    def release(self) -> None:
        """Let go of the blocks that are kept in memory; what is read next is unpacked again."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _stored(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
        """Return a rectangle of the picture as it lies in the file, as BGR."""
        layout = self._layout
        factor, offset = self._scale
        has_alpha = layout.alpha is not None and layout.colours in ("grey", "rgb")
        is_clear = has_alpha and self._is_clear
        with self._lock, reporting(), self._file() as file:
            bands = [
                self._samples(file, number, band, x0, y0, x1, y1)
                for number, band in enumerate(layout.bands)
            ]
        values = bands[0] if len(bands) == 1 else np.concatenate(bands, 2)
        del bands
        if layout.palette is not None:
            index = np.minimum(values[:, :, 0], len(layout.palette) - 1)
            return self._in_srgb(np.ascontiguousarray(layout.palette[index][:, :, ::-1]))
        if layout.colours == "cmyk":
            ink = values[:, :, :4]
            if layout.bits != 8:
                ink = eight_bit(ink, 255.0 / self._most)
            try:
                return from_cmyk(ink, layout.profile)
            except ValueError:
                self._remark(BAD_PROFILE)
                return from_cmyk(ink)
        if layout.colours in ("lab", "icc-lab"):
            return from_lab(_lab(values, self._most, layout.colours == "lab"))
        colours = 3 if layout.colours == "rgb" else 1
        alpha = None
        if is_clear:
            self._remark(ALL_CLEAR)
        elif has_alpha:
            alpha = values[:, :, colours : colours + 1].astype(np.float32) / self._most
        values = values[:, :, :colours]
        if offset:
            values = values.astype(np.int32) + offset
        if layout.inverted:
            # Of the depth that holds all values, as 12 bits in 16.
            values = round(255 / factor) - values.astype(np.int32)
        premultiplied = layout.alpha == "premultiplied"
        if layout.bits > 8:
            remarks: list[str] = []
            values = deep_in_srgb(
                values, factor, layout.profile, remarks, alpha, premultiplied=premultiplied
            )
            for remark in remarks:
                self._remark(remark)
            return in_bgr(values)
        if values.dtype != np.uint8 or factor != 1.0 or alpha is not None:
            values = eight_bit(values, factor, alpha, premultiplied=premultiplied)
        return self._in_srgb(in_bgr(values))

    def _in_srgb(self, pixels: Pixels) -> Pixels:
        remarks: list[str] = []
        pixels = in_srgb(pixels, self._layout.profile, remarks)
        for remark in remarks:
            self._remark(remark)
        return pixels

    def _remark(self, text: str) -> None:
        if text not in self.remarks:
            self.remarks.append(text)

    @property
    def _most(self) -> int:
        """The largest value of a sample."""
        layout = self._layout
        return 1 if layout.kind == "f" else (1 << layout.bits) - 1

    @cached_property
    def _scale(self) -> tuple[float, int]:
        """Factor that scales samples to 8 bits, and what is added before.

        Those of other depths are all looked at once for it.
        """
        layout = self._layout
        if layout.bits <= 8 and layout.kind == "u":
            return 255.0 / self._most, 0
        if layout.colours not in ("grey", "rgb"):
            return 1.0, 0  # ink and Lab have one scale
        least, most = math.inf, 0.0
        for values in self._colours(layout):
            least, most = min(least, float(values.min())), max(most, float(values.max()))
            if layout.kind == "u" and most >= 1 << 14 and not layout.inverted:
                break  # the largest depth already
            if layout.kind == "f" and not (
                least >= -0.01 and most <= 1.01 and np.isfinite(values).all()
            ):
                raise FieldError(FRACTIONAL)
        if layout.kind == "f":
            return 255.0, 0
        if layout.bits <= 8 and layout.kind == "i":
            return 1.0, 128 if least < 0 else 0
        if layout.inverted and layout.kind == "u" and self._most - least < 1 << 14 <= least:
            # Fewer bits that were turned over in 16: 12 bits are 61440..65535.
            factor = sensor_factor(self._most - int(least))
            return factor, round(255 / factor) - self._most
        # Signed values are written as they are, with noise below 0, or all of them less half.
        half = 1 << (layout.bits - 1)
        offset = half if least < -max(most, 1) / 8 else 0
        depth = layout.bits - (layout.kind == "i" and not offset)
        return sensor_factor(int(most) + offset, depth), offset

    @cached_property
    def _is_clear(self) -> bool:
        """Whether the whole picture is transparent: no part of it can tell that by itself."""
        layout = self._layout
        at = 3 if layout.colours == "rgb" else 1
        apart = len(layout.bands) > 1
        band, channel = layout.bands[at if apart else 0], 0 if apart else at
        # Blocks that were never written are white, not clear.
        return bool(band.counts.all()) and not any(
            values[:, :, channel].any() for values in self._blocks(band)
        )

    def _colours(self, layout: Layout) -> Iterator[np.ndarray]:
        """Yield the grey or colour samples of every block."""
        colours = 3 if layout.colours == "rgb" else 1
        for band in layout.bands[:colours]:
            for values in self._blocks(band):
                yield values[:, :, :colours]

    def _blocks(self, band: Band) -> Iterator[np.ndarray]:
        """Yield the samples of every block of a band that was written."""
        with self._lock, reporting(), self._file() as file:
            for block in np.flatnonzero(band.counts):
                yield self._unpack(file, band, int(block))

    def _samples(
        self, file: BinaryIO, number: int, band: Band, x0: int, y0: int, x1: int, y1: int
    ) -> np.ndarray:
        """Return a rectangle of one band, (height, width, channels), put together from its
        blocks."""
        layout = self._layout
        grid = -(-layout.width // band.columns)
        rows = range(y0 // band.rows, -(-y1 // band.rows))
        columns = range(x0 // band.columns, -(-x1 // band.columns))
        if layout.kind == "f":
            kind: np.dtype[Any] = np.dtype(np.float32)
        else:
            kind = np.dtype(f"{layout.kind}{1 if layout.bits <= 8 else 2}")
        white: int = 0 if layout.inverted or layout.colours == "cmyk" else self._most
        white = min(white, np.iinfo(kind).max) if layout.kind != "f" else 1
        out = np.full((y1 - y0, x1 - x0, band.samples), white, kind)
        touched = len(rows) * band.rows * len(columns) * band.columns * band.samples
        wanted = touched * out.itemsize * len(layout.bands) * 5 // 4
        self._budget = min(max(self._budget, wanted), self._most_kept)
        until = monotonic() + self._timeout_s
        for row in rows:
            if monotonic() > until:
                raise FieldError(
                    f"takes more than {self._timeout_s:.0f} s to read; save it again, or allow "
                    "more with --timeout"
                )
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
            values = self._unpack(file, band, block)
            self._bytes += values.nbytes
        self._kept[key] = values  # the youngest now
        while self._bytes > self._budget and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return values

    def _file(self) -> BinaryIO:
        return self._source.open("rb") if isinstance(self._source, Path) else BytesIO(self._source)

    def _unpack(self, file: BinaryIO, band: Band, block: int) -> np.ndarray:
        file.seek(int(band.offsets[block]))
        data = file.read(int(band.counts[block]))
        if len(data) < band.counts[block]:
            raise FieldError("file is cut short; copy it again from its source")
        if band.jpeg_tables is not None and is_damaged_jpeg(data, band.jpeg_tables):
            self._remark(DAMAGED_DATA)
        return band.unpack(data, block)


def read_tiff(source: Path | bytes, number: int, max_pixels: int) -> tuple[Pixels, tuple[str, ...]]:
    """Return a picture of a TIFF file as a whole, with its remarks.

    Raises:
        FieldError: as :class:`TiffPicture`.
    """
    try:
        picture = TiffPicture(source, number, max_pixels)
        pixels = picture.read(0, 0, picture.width, picture.height)
    except UnreadKind as unread:
        if number != 1:
            raise
        data = source.read_bytes() if isinstance(source, Path) else source
        try:
            with reporting():
                decoded = decode_by_pillow(data, max_pixels)
        except FieldError as error:  # its words are those of a program that was not made for it
            raise unread from error
        return decoded.pixels, decoded.remarks
    return pixels, tuple(picture.remarks)


def is_damaged_jpeg(data: bytes, tables: bytes) -> bool:
    """Say whether a block that is a JPEG is not as it was written; it is decoded at an eighth of
    its size."""
    import simplejpeg

    whole = tables[:-2] + data[2:] if tables else data
    try:
        simplejpeg.decode_jpeg(
            whole, colorspace="GRAY", min_height=1, min_width=1, min_factor=8, strict=True
        )
    except ValueError as error:
        text = str(error)
        return text.startswith(("Corrupt", "Premature")) and not is_harmless(text, whole)
    return False


def _lab(values: np.ndarray, most: int, signed: bool) -> np.ndarray:
    """Convert samples to L*, a* and b*; TIFF stores the last two signed, ICC profiles shifted."""
    scaled = values[:, :, :3].astype(np.float32) / most
    scaled[:, :, 0] *= 100
    colour = scaled[:, :, 1:] * (255 if most == 255 else 65535 / 256)
    if signed:
        colour -= np.where(colour >= 128, 256, 0)
    else:
        colour -= 128
    scaled[:, :, 1:] = colour
    return scaled
