"""Decode binary PGM and PPM of any depth; Pillow goes through deep ones sample by sample."""

from __future__ import annotations

import re

import numpy as np

from wbcdet.io.codecs.picture import CUT_SHORT, QUICK_PIXELS, Decoded
from wbcdet.io.colour import eight_bit, from_samples, in_bgr
from wbcdet.io.errors import FieldError

_SPACE = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P([56])" + (_SPACE + rb"(\d{1,7})") * 3 + rb"\s")
#: Bytes in which the header ends; programs write a line of comment or two.
_MAX_HEADER = 1 << 16
#: How another picture in the same file begins; what may lie between the two.
_NEXT, _MAX_BETWEEN = re.compile(rb"P[1-7]\s"), 100


class PnmPicture:
    def __init__(self, data: bytes) -> None:
        header = _HEADER.match(data[:_MAX_HEADER])
        if header is None:
            raise FieldError("file is damaged (PNM: no whole header); copy or export it again")
        self.width, self.height, self._most = (int(header[at]) for at in (2, 3, 4))
        if not 0 < self._most <= 65535:
            raise FieldError("file is damaged (PNM: no largest value); copy or export it again")
        self._channels = 3 if header[1] == b"6" else 1
        self._data, self._start = data, header.end()
        self._kind = np.dtype(">u2" if self._most > 255 else "u1")
        pixels = self.width * self.height
        self.most_pixels: float = (len(data) - self._start) // (
            self._channels * self._kind.itemsize
        )
        self.working_bytes = pixels * (2 * self._channels * self._kind.itemsize + 6) + len(data)
        self.is_quick = pixels <= QUICK_PIXELS

    def decode(self) -> Decoded:
        shape = self.height, self.width, self._channels
        number = self.height * self.width * self._channels
        if len(self._data) - self._start < number * self._kind.itemsize:
            raise FieldError(CUT_SHORT)
        values = np.frombuffer(self._data, self._kind, number, self._start).reshape(shape)
        if self._most in (255, 65535):
            pixels = from_samples(values.astype(self._kind.newbyteorder("="), copy=False))
        else:
            pixels = in_bgr(eight_bit(values, 255.0 / self._most))
        rest = self._data[self._start + values.nbytes :][:_MAX_BETWEEN].lstrip()
        return Decoded(pixels, ("first of several pictures in the file",) * bool(_NEXT.match(rest)))
