"""Decode the bytes of a picture file of any kind."""

from __future__ import annotations

from wbcdet.io.codecs import check_size, kind_of, open_picture, reporting
from wbcdet.io.codecs.picture import Decoded
from wbcdet.io.colour import Pixels
from wbcdet.io.tiff import read_tiff


def decode(data: bytes, max_pixels: int) -> Pixels:
    """Return the picture in the bytes of a file, as ``decode_whole`` gives it, without its
    remarks."""
    return decode_whole(data, max_pixels).pixels


def decode_whole(data: bytes, max_pixels: int) -> Decoded:
    """Return the picture in the bytes of a file, decoded here and now.

    16-bit data is scaled by the smallest sensor depth (8, 10, 12, 14 or 16 bits) that holds its
    brightest value. Transparency is laid on white, CMYK becomes RGB, colours are brought to sRGB,
    the EXIF orientation is applied, and of an animation the first picture is taken.

    Args:
        data: the whole file, of a kind that :mod:`wbcdet.io.formats` calls read.
        max_pixels: the largest width x height that is decoded; checked against the header.

    Raises:
        FieldError: the bytes are no whole picture of these formats, or it is too large.
    """
    kind = kind_of(data)
    if kind.codec == "TIFF":
        return Decoded(*read_tiff(data, 1, max_pixels))
    with reporting(kind):
        picture = open_picture(data, kind)
        check_size(picture, max_pixels)
        return picture.decode()
