"""Decode JPEG by libjpeg-turbo, at a half to a third of Pillow's time."""

from __future__ import annotations

import numpy as np

from wbcdet.io.codecs.damage import holds_run
from wbcdet.io.codecs.jpeg_header import JpegHeader, is_harmless, read_jpeg_header
from wbcdet.io.codecs.picture import (
    CUT_SHORT,
    DAMAGED_DATA,
    QUICK_PASSES,
    Decoded,
    in_srgb,
    upright,
)
from wbcdet.io.colour import BAD_PROFILE, from_cmyk, from_samples, named_profile
from wbcdet.io.errors import FieldError

#: Most pixels that a byte of a file can hold: blocks of 64 in which nothing changes.
_MAX_PIXELS_A_BYTE = 1024


class JpegPicture:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.header: JpegHeader = read_jpeg_header(data)
        header = self.header
        self.width, self.height = header.width, header.height
        pixels = self.width * self.height
        sample = 3 + 3 * (header.orientation != 1) + 6 * (header.scans > 1)
        if not header.common:
            sample += 2 * header.channels
        self.working_bytes = pixels * (sample + 4 * (header.channels == 4)) + len(data)
        self.most_pixels: float = _MAX_PIXELS_A_BYTE * len(data)
        self.is_quick = pixels * header.scans <= QUICK_PASSES

    def decode(self) -> Decoded:
        header, remarks = self.header, list[str]()
        if header.scans > 1 and any(holds_run(*part) for part in header.parts(self._data)):
            remarks.append(DAMAGED_DATA)
        if header.channels == 4:
            ink = self._turbo("CMYK", remarks)
            if header.inverted:
                ink = 255 - ink
            try:
                pixels = from_cmyk(ink, header.icc)
            except ValueError:
                pixels = from_cmyk(ink)
                remarks.append(BAD_PROFILE)
        else:
            if header.common:
                pixels = self._turbo("BGR", remarks)
            else:
                import imagecodecs

                pixels = from_samples(imagecodecs.jpeg_decode(self._data))
            profile = header.icc or (named_profile("adobe-rgb") if header.adobe_rgb else b"")
            pixels = in_srgb(pixels, profile, remarks)
        return Decoded(upright(pixels, header.orientation), tuple(remarks))

    def _turbo(self, colours: str, remarks: list[str]) -> np.ndarray:
        import simplejpeg

        try:
            pixels: np.ndarray = simplejpeg.decode_jpeg(self._data, colorspace=colours, strict=True)
            return pixels
        except ValueError as error:
            warning = str(error)
            pixels = simplejpeg.decode_jpeg(self._data, colorspace=colours, strict=False)
        if "Premature end" in warning:
            raise FieldError(CUT_SHORT)
        if not is_harmless(warning, self._data) and DAMAGED_DATA not in remarks:
            remarks.append(DAMAGED_DATA)
        return pixels
