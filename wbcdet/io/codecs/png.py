"""Decode PNG: its chunks are read here, its pixels by Pillow, deep ones by imagecodecs."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from wbcdet.io.codecs.by_pillow import bgr_of, open_by_pillow, orientation_of
from wbcdet.io.codecs.jpeg_header import read_exif
from wbcdet.io.codecs.picture import (
    CUT_SHORT,
    DAMAGED_DATA,
    QUICK_PIXELS,
    Decoded,
    animation_remark,
    upright,
)
from wbcdet.io.colour import coded_profile, from_samples, in_srgb, measured_profile
from wbcdet.io.errors import FieldError

#: Chunks without which there are no pixels; all others say how they are meant.
_OF_PIXELS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
#: How programs wrote EXIF before PNG had a place for it: a text, its bytes in hexadecimal.
_RAW_EXIF = re.compile(rb"Raw profile type (?:exif|APP1)\0")
_MAX_TEXT = 1 << 20

#: Chunks that are read; writers make them of 8 kB or more.
_MAX_CHUNKS = 100_000
#: Most bytes that a byte of deflate can hold.
_MAX_INFLATION = 1040


class PngPicture:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._frames = 1
        self._damaged = False
        self._deflated = 0
        self._exif = self._xmp = self._code = b""
        self._bare: list[bytes | memoryview] = [data[:8]]
        self._corners: tuple[int, ...] = ()
        header = b""
        for name, size, body, place in self._chunks():
            if name in _OF_PIXELS:
                self._bare.append(place)
            if name == b"IHDR" and not header:
                header = body
            elif name == b"IDAT":
                self._deflated += size
            elif name == b"acTL":
                self._frames = max(1, int.from_bytes(body[:4], "big"))
            elif name == b"eXIf":
                self._exif = body
            elif name == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
                self._xmp = body
            elif name in (b"tEXt", b"zTXt") and _RAW_EXIF.match(body):
                self._exif = self._exif or _raw_profile(body, name == b"zTXt")
            elif name == b"cICP":
                self._code = body
            elif name == b"cHRM" and len(body) == 32:
                self._corners = struct.unpack(">8I", body)
        if len(header) < 13:
            raise FieldError("file is damaged (PNG: no header); copy it again from its source")
        self.width, self.height = (int.from_bytes(header[at : at + 4], "big") for at in (0, 4))
        self._bits = header[8]
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(header[9], 1)
        self._turn = read_exif(self._exif, self._xmp)[0] if self._exif or self._xmp else 1
        pixels = self.width * self.height
        stored = 2 * channels + 4 * (channels in (2, 4)) if self._bits == 16 else 4
        self.working_bytes = pixels * (stored + 3 + 3 * (self._turn != 1)) + len(data)
        self.is_quick = pixels <= QUICK_PIXELS
        self.most_pixels: float = (
            8 * _MAX_INFLATION * self._deflated / max(1, self._bits * channels)
        )

    def decode(self) -> Decoded:
        remarks = [animation_remark(self._frames)] * (self._frames > 1)
        if self._damaged:
            remarks.append(DAMAGED_DATA)
        picture = open_by_pillow(self._data, "PNG")
        # The code comes first, then the profile, then gamma and corners: as the format rules.
        profile = coded_profile(self._code[:2], remarks)
        if len(self._code) < 2:
            profile = picture.info.get("icc_profile") or b""
            if not profile and "srgb" not in picture.info:
                profile = measured_profile(picture.info.get("gamma"), self._corners)
        if self._bits == 16:
            import imagecodecs

            # Of other chunks libpng may say something on standard error.
            values = imagecodecs.png_decode(b"".join(self._bare))
            pixels = from_samples(values, remarks, profile)
            turn = self._turn
        else:
            picture.load()
            # After the pixels there may be more of what says how they are turned.
            pixels = in_srgb(bgr_of(picture, b"", remarks), profile, remarks)
            turn = max(self._turn, orientation_of(picture))
        return Decoded(upright(pixels, turn), tuple(remarks))

    def _chunks(self) -> Iterator[tuple[bytes, int, bytes, memoryview]]:
        """Yield names, sizes, bodies (of pixels none) and whole chunks; notes failed checksums."""
        data, at = memoryview(self._data), 8
        for _ in range(_MAX_CHUNKS):
            size, name = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
            end = at + 12 + size
            if end > len(data):
                raise FieldError(CUT_SHORT)
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                self._damaged = True
            body = b"" if name == b"IDAT" else bytes(data[at + 8 : end - 4])
            yield name, size, body, data[at:end]
            if name == b"IEND":
                return
            at = end
        raise FieldError(f"file has more than {_MAX_CHUNKS} chunks and is no picture")


def _raw_profile(body: bytes, packed: bool) -> bytes:
    """Return the EXIF tags that a text holds: its name, its length, then the bytes; none where it
    is damaged."""
    text = body.split(b"\0", 1)[1]
    try:
        if packed:
            text = zlib.decompressobj().decompress(text[1:], _MAX_TEXT)
        tags = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except (ValueError, zlib.error):
        return b""
    return tags.removeprefix(b"Exif\0\0")
