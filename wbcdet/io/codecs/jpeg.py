"""Decode JPEG by libjpeg-turbo, at a half to a third of Pillow's time."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np

from wbcdet.io.codecs.damage import holds_run
from wbcdet.io.codecs.jpeg_header import JpegHeader, is_harmless, read_jpeg_header
from wbcdet.io.codecs.picture import (
    CUT_SHORT,
    DAMAGED_DATA,
    QUICK_PASSES,
    Decoded,
    upright,
)
from wbcdet.io.colour import BAD_PROFILE, from_cmyk, from_samples, in_srgb, named_profile
from wbcdet.io.errors import FieldError

#: Most pixels that a byte of a file can hold: blocks of 64 in which nothing changes.
_MAX_PIXELS_A_BYTE = 1024


#: Tag of a multi-picture file under which its pictures are listed; how many are looked at.
_ENTRIES, _MAX_VIEWS = 0xB002, 100


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
        gaps = any(holds_run(*part) for part in header.parts(self._data))
        if gaps or header.lacks_details:
            remarks.append(DAMAGED_DATA)
        if header.index and (views := count_views(self._data, header)) > 1:
            remarks.append(f"first of {views} pictures in the file")
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
            profile = header.icc or (named_profile("adobe-rgb") if header.adobe_rgb else b"")
            if header.common:
                pixels = in_srgb(self._turbo("BGR", remarks), profile, remarks)
            else:
                pixels = from_samples(_rare(header, self._data), remarks, profile)
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


def _rare(header: JpegHeader, data: bytes) -> np.ndarray:
    import imagecodecs

    values: np.ndarray = (
        imagecodecs.jpegls_decode(data) if header.is_ls else imagecodecs.jpeg_decode(data)
    )
    return values


def count_views(data: bytes, header: JpegHeader) -> int:
    """Count the pictures of a multi-picture file (MPO) that show as much as the first one.

    Telephones append previews, depth and brightness of other sizes, which are no other views.
    """
    order = "<" if data[header.index : header.index + 2] == b"II" else ">"
    number = 1
    with suppress(struct.error, FieldError):
        (tags,) = struct.unpack_from(f"{order}I", data, header.index + 4)
        (entries,) = struct.unpack_from(f"{order}H", data, header.index + tags)
        first = header.index + tags + 2
        for at in range(first, first + 12 * min(entries, _MAX_VIEWS), 12):
            tag, _, size, place = struct.unpack_from(f"{order}HHII", data, at)
            if tag != _ENTRIES:
                continue
            start_of_list = header.index + place
            for entry in range(start_of_list + 16, start_of_list + min(size, 16 * _MAX_VIEWS), 16):
                _, length, start = struct.unpack_from(f"{order}III", data, entry)
                start += header.index
                if data[start : start + 2] == b"\xff\xd8":
                    other = read_jpeg_header(data[start : start + length])
                    same = (other.width, other.height) == (header.width, header.height)
                    number += same and other.channels == header.channels
            break
    return number
