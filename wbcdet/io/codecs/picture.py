"""What every codec gives: a picture whose header has been read, and its decoded pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from wbcdet.io.colour import Pixels

#: Pixels, times the passes over them, that any decoder has done long before the time is up.
QUICK_PIXELS, QUICK_PASSES = 25_000_000, 2_000_000_000
#: Formats whose decoders may take any time for a picture of any size.
UNBOUNDED = frozenset({"HEIF", "AVIF", "JPEGXL", "JPEG2000"})
CUT_SHORT = "file is cut short; copy it again from its source"
#: Remark on a picture that is read although a part of it is damaged.
DAMAGED_DATA = "damaged: a part of its data is not as it was written; copy it again"


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded picture, with remarks for its reader.

    Attributes:
        pixels: (height, width, 3) uint8, BGR, upright, C-contiguous.
        remarks: a line each, such as ``animation: first of 12 pictures``.
    """

    pixels: Pixels
    remarks: tuple[str, ...] = ()


class Picture(Protocol):
    """A file whose header has been read.

    Attributes:
        width, height: pixels as the header says.
        most_pixels: what the bytes of the file can hold at most.
        working_bytes: memory at the peak of ``decode``.
        is_quick: it is decoded within seconds, whatever its bytes are.
    """

    width: int
    height: int
    most_pixels: float
    working_bytes: int
    is_quick: bool

    def decode(self) -> Decoded:
        """Return the pixels; raises nearly anything on damaged bytes."""
        ...


#: Stored to upright, by EXIF's orientation: swap the axes, then mirror x, then mirror y.
TURNS = {
    1: (False, False, False),
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn stored pixels upright."""
    swap, mirror_x, mirror_y = TURNS[orientation]
    if swap:
        pixels = pixels.transpose(1, 0, 2)
    if mirror_x:
        pixels = pixels[:, ::-1]
    if mirror_y:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def as_stored(pixels: Pixels, orientation: int) -> Pixels:
    """Turn upright pixels back to how the file stores them."""
    swap, mirror_x, mirror_y = TURNS[orientation]
    if mirror_y:
        pixels = pixels[::-1]
    if mirror_x:
        pixels = pixels[:, ::-1]
    if swap:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels)


def animation_remark(frames: int) -> str:
    return f"animation: first of {frames} pictures"
