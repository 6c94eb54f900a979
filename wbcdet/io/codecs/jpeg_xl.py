"""Decode JPEG XL by imagecodecs; its size and colours are read here."""

from __future__ import annotations

import math

import numpy as np

from wbcdet.io.codecs.picture import Decoded, animation_remark
from wbcdet.io.colour import FRACTIONAL, from_samples
from wbcdet.io.errors import FieldError

#: In the name that libjxl gives to colours of straight samples.
_STRAIGHT = "_Rel_Lin".encode("utf-16-be")


class JpegXlPicture:
    is_quick = False
    most_pixels: float = math.inf

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.width, self.height = _jpeg_xl_size(data)
        self.working_bytes = self.width * self.height * (16 + 8 + 3) + len(data)

    def decode(self) -> Decoded:
        import imagecodecs

        values = imagecodecs.jpegxl_decode(self._data, numthreads=1)
        remarks: list[str] = []
        if values.ndim == 4 or (values.ndim == 3 and values.shape[2] > 4):
            remarks, values = [animation_remark(len(values))], values[0]
        if values.dtype.kind == "f":
            raise FieldError(FRACTIONAL)
        profile = self._profile()
        # Programs of microscopes save a sensor's values, which are shown as they are in TIFFs.
        if values.dtype != np.uint8 and _STRAIGHT in profile:
            profile = b""
        return Decoded(from_samples(values, remarks, profile), tuple(remarks))

    def _profile(self) -> bytes:
        """Return the colours of the decoded samples, which imagecodecs does not hand out."""
        import pillow_jxl

        profile: bytes = pillow_jxl.Decoder(num_threads=0)(self._data)[3]
        return profile or b""


def _jpeg_xl_size(data: bytes) -> tuple[int, int]:
    """Return width and height; the size stands in the first bits of the codestream."""
    start = 0
    if not data.startswith(b"\xff\x0a"):
        start = data.find(b"\xff\x0a", 12)
        if start < 0:
            raise FieldError("file is damaged (JPEG XL: no picture in it); copy it again")
    bits = int.from_bytes(data[start + 2 : start + 14], "little")

    def take(number: int) -> int:
        nonlocal bits
        value = bits & ((1 << number) - 1)
        bits >>= number
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    shares = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
    width = side() if ratio == 0 else height * shares[ratio][0] // shares[ratio][1]
    return width, height
