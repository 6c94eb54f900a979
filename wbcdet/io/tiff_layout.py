"""Read where the samples of each picture of a TIFF file lie.

tifffile unpacks single strips and tiles; nothing here reads a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsInt, cast

import numpy as np
import numpy.typing as npt

from wbcdet.io.colour import FRACTIONAL
from wbcdet.io.errors import FieldError
from wbcdet.io.tiff_pages import Page, reporting, structure_of

#: Bytes at the start of a file that belong to its header.
_MIN_OFFSET = 8
#: Largest strip or tile that is unpacked at once, in bytes.
_MAX_BLOCK = 1 << 28
#: Uncompressed rows are read in blocks of about this many bytes.
_RAW_BLOCK = 1 << 22
#: TIFF's values of PhotometricInterpretation that are read.
_INVERTED, _BLACK, _RGB, _YCBCR = 0, 1, 2, 6
_COLOURS = {
    0: "grey",
    1: "grey",
    2: "rgb",
    3: "palette",
    5: "cmyk",
    8: "lab",
    9: "icc-lab",
}
#: Those of pixels as a camera's sensor has them, each of one colour.
_SENSOR = frozenset({32803, 34892})
_CHANNELS = {"grey": 1, "rgb": 3, "palette": 1, "cmyk": 4, "lab": 3, "icc-lab": 3}
_JPEG = frozenset({6, 7, 34892, 33007})
#: Compressions of pages that have one bit a sample.
_FAX = frozenset({2, 3, 4})


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Channels of a picture that are stored together, in a grid of blocks.

    Attributes:
        samples: number of channels.
        rows, columns: height and width of a block in pixels.
        offsets, counts: (blocks,) where each block lies in the file, in bytes, row by row of the
            grid; a count of 0 means that it was never written.
        unpack: ``(data, number of the block)`` to samples (height, width, channels).
        jpeg_tables: of blocks that are JPEGs, what stands once for all of them; else None.
    """

    samples: int
    rows: int
    columns: int
    offsets: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    unpack: Callable[[bytes, int], np.ndarray]
    jpeg_tables: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """One picture of a TIFF file.

    Attributes:
        width, height: pixels as stored, before the orientation is applied.
        orientation: 1..8, TIFF's tag.
        bands: one, or one for each channel that is stored apart.
        bits: of a sample, 1..16, or more where it is fractional.
        kind: ``u`` unsigned, ``i`` signed, ``f`` fractional samples.
        colours: ``grey``, ``rgb``, ``palette``, ``cmyk``, ``lab`` or ``icc-lab``.
        inverted: 0 is white.
        palette: (colours, 3) uint8 RGB that samples point into, else None.
        alpha: the sample after grey or colour is transparency: ``straight`` or
            ``premultiplied``; None without one.
    """

    width: int
    height: int
    orientation: int
    bands: tuple[Band, ...]
    bits: int
    inverted: bool
    palette: npt.NDArray[np.uint8] | None
    alpha: str | None
    kind: str = "u"
    colours: str = "grey"
    profile: bytes = b""


class UnreadKind(FieldError):
    """The picture is of a kind that is not read here; the plain decoder may know it."""


def read_layout(source: Path | bytes, number: int = 1) -> Layout:
    """Read where the samples of a picture lie.

    Args:
        source: the file, or all its bytes.
        number: which of its pictures, from 1.

    Raises:
        FieldError: it is damaged, cut short, or of a kind that is not read.
    """
    with reporting():
        tiff = structure_of(source)
        if number > len(tiff.pictures):
            raise FieldError(f"file has no picture {number}; it was changed, start the run again")
        with tiff.lock, tiff.open():
            return _layout(tiff.pictures[number - 1])


def _layout(pages: tuple[Page, ...]) -> Layout:
    key = pages[0].keyframe
    photometric, samples, bits = int(key.photometric), key.samplesperpixel, key.bitspersample
    if 262 not in key.tags and bits != 1:  # says nothing of its colours
        photometric = _RGB if samples >= 3 else _BLACK
    if photometric in _SENSOR:
        raise FieldError("file is a camera's raw file; develop it to TIFF or JPEG first")
    if 258 not in key.tags and not _holds_one_bit(key):
        raise FieldError("TIFF does not say how many bits a sample has; export it again")
    if not isinstance(bits, int) or key.dtype is None:
        raise UnreadKind(f"TIFF with {bits} bits a sample is not read; export it as 8-bit RGB")
    if photometric == _YCBCR and int(key.compression) in _JPEG:
        colours = "rgb" if samples > 1 else "grey"  # the codec has turned it to RGB
    else:
        colours = _COLOURS.get(photometric, "")
    if not colours or samples < _CHANNELS[colours]:
        name = getattr(key.photometric, "name", str(photometric))
        raise UnreadKind(f"TIFF with colours of the kind {name} is not read; export it as RGB")
    kind = "u" if key.dtype.kind == "b" else key.dtype.kind
    # Grey fractions are measurements on any scale; RGB ones are colours, from 0 to 1.
    if kind not in ("uif" if colours == "rgb" else "ui") or (kind != "f" and bits > 16):
        raise FieldError(FRACTIONAL)
    apart = key.planarconfig == 2 and samples > 1
    bands = tuple(_band(page, plane) for page in pages for plane in range(samples if apart else 1))
    extra = tuple(int(extrasample) for extrasample in key.extrasamples)[
        : samples - _CHANNELS[colours]
    ]
    alpha = {1: "premultiplied", 2: "straight"}.get(extra[0]) if extra else None
    if colours == "grey" and alpha is None and samples * len(pages) > 2:
        colours = "rgb"  # stored as channels of grey, apart or not
    palette = None
    if colours == "palette":
        if key.colormap is None:
            raise UnreadKind("TIFF with an odd palette is not read; export it as RGB")
        table = np.asarray(key.colormap).reshape(3, -1).T
        # Its values have 16 bits; some programs write 8.
        palette = (table >> 8 if table.max() > 255 else table).astype(np.uint8)
    turn = _whole(key.tags.valueof(274, 1))
    profile = key.tags.valueof(34675, b"")
    return Layout(
        key.imagewidth,
        key.imagelength,
        turn if 1 <= turn <= 8 else 1,
        bands,
        bits,
        photometric == _INVERTED,
        palette,
        alpha,
        kind,
        colours,
        bytes(profile) if isinstance(profile, bytes) else b"",
    )


def _holds_one_bit(key: Page) -> bool:
    """Say whether a page that does not tell the bits of its samples holds one, as TIFF then has it.

    Programs that forget the tag mostly mean 8.
    """
    if int(key.compression) in _FAX:
        return True
    row = -(-key.imagewidth * key.samplesperpixel // 8)
    return int(key.compression) == 1 and sum(key.databytecounts) == row * key.imagelength


def _whole(value: object) -> int:
    """Return the number that a tag holds, whatever type some program gave it; 1 for none."""
    if isinstance(value, tuple) and len(value) == 2 and value[1]:  # a ratio
        value = value[0] / value[1]
    try:
        return int(cast("SupportsInt", value))
    except (TypeError, ValueError):
        return 1


def _band(page: Page, plane: int) -> Band:
    """Return a plane of a page that stores channels apart, or (plane 0) all of its channels."""
    key = page.keyframe
    samples = 1 if key.planarconfig == 2 else key.samplesperpixel
    raw = key.is_final and _without_gaps(page)
    band = (_raw_band if raw else _packed_band)(page, plane, samples)
    # Single blocks without a size were never written, as where a slide is empty.
    if not band.counts.any() or np.any(band.offsets[band.counts > 0] < _MIN_OFFSET):
        raise FieldError("file is damaged (TIFF: blocks without a place or size); copy it again")
    # Also what tells a bomb: a header may claim any size, but not hold the blocks for it.
    if np.any(band.counts < 0) or np.any(band.offsets + band.counts > page.parent.filehandle.size):
        raise FieldError("file is cut short; copy it again from its source")
    return band


def _packed_band(page: Page, plane: int, samples: int) -> Band:
    """Return strips or tiles as they are."""
    key = page.keyframe
    rows = key.tilelength if key.is_tiled else min(key.rowsperstrip, key.imagelength)
    columns = key.tilewidth if key.is_tiled else key.imagewidth
    if not rows * columns * samples:
        raise FieldError("file is damaged (TIFF: blocks of no size); copy it again")
    if rows * columns * samples * key.dtype.itemsize > _MAX_BLOCK:
        raise FieldError(
            "TIFF whose rows are packed in one large block cannot be read in parts; "
            "save it again with tiles or strips"
        )
    number = -(-key.imagelength // rows) * -(-key.imagewidth // columns)
    first = plane * number
    offsets = np.array(page.dataoffsets[first : first + number], np.int64)
    counts = np.array(page.databytecounts[first : first + number], np.int64)
    if number == 1 and len(offsets) == 1 and not counts.any() and offsets[0] >= _MIN_OFFSET:
        # Old programs leave the size of an only block out: it ends where it ends.
        counts = np.array([page.parent.filehandle.size - offsets[0]], np.int64)
    if len(offsets) != number or len(counts) != number:
        raise FieldError("file is damaged (TIFF: blocks are missing); copy it again")
    decode, tables, header = key.decode, page.jpegtables, key.jpegheader

    def unpack(data: bytes, block: int) -> np.ndarray:
        samples: np.ndarray = decode(data, first + block, jpegtables=tables, jpegheader=header)[0]
        result: np.ndarray = samples[0]
        return result

    jpeg = bytes(tables or b"") if int(key.compression) in (7, 33007) else None
    return Band(samples, rows, columns, offsets, counts, unpack, jpeg)


def _without_gaps(page: Page) -> bool:
    offsets = np.array(page.dataoffsets, np.int64)
    counts = np.array(page.databytecounts, np.int64)
    return bool(np.all(offsets[:-1] + counts[: len(offsets) - 1] == offsets[1:]))


def _raw_band(page: Page, plane: int, samples: int) -> Band:
    """Return uncompressed rows that follow each other, however the file calls them, in small
    blocks."""
    key = page.keyframe
    width, height = key.imagewidth, key.imagelength
    dtype = np.dtype(key.parent.byteorder + key.dtype.char)
    row = width * samples * dtype.itemsize
    rows = min(max(1, _RAW_BLOCK // row), height)
    starts = np.arange(0, height, rows, dtype=np.int64)
    counts = np.minimum(rows, height - starts) * row

    def unpack(data: bytes, block: int) -> np.ndarray:
        values: np.ndarray = np.frombuffer(data, dtype).reshape(-1, width, samples)
        return values.astype(dtype.newbyteorder("="), copy=False)

    offset = int(page.dataoffsets[0]) + plane * height * row
    return Band(samples, rows, width, offset + starts * row, counts, unpack)
