"""Decode the other formats by Pillow: WebP, HEIC, AVIF, JPEG 2000, GIF, BMP and PNM."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from PIL import Image

from wbcdet.io.codecs.damage import has_gap
from wbcdet.io.codecs.picture import (
    CUT_SHORT,
    DAMAGED_DATA,
    QUICK_PIXELS,
    TURNS,
    UNBOUNDED,
    Decoded,
    animation_remark,
    upright,
)
from wbcdet.io.colour import (
    ALL_CLEAR,
    BAD_PROFILE,
    FRACTIONAL,
    Pixels,
    coded_profile,
    from_cmyk,
    from_samples,
    in_srgb,
)
from wbcdet.io.errors import FieldError

#: Most pixels that a byte of a file can hold: the longest string of a GIF's code.
_MAX_PIXELS_A_BYTE = 2700


class PillowPicture:
    def __init__(self, data: bytes, codec: str) -> None:
        self._data, self._codec = data, codec
        if codec == "JPEG2000" and (channels := _jpeg_2000_channels(data)) > 4:
            raise FieldError(
                f"JPEG 2000 of {channels} channels is no colour picture; export it as RGB"
            )
        # Pillow takes the memory for a WebP when it opens it.
        self._opened = None if codec == "WEBP" else open_by_pillow(data, codec)
        size: tuple[int, int] = self._opened.size if self._opened else _webp_size(data)
        self.width, self.height = size
        pixels = self.width * self.height
        # Channels as Pillow holds them (of deep ones as imagecodecs does), the result, its turn.
        self.working_bytes = pixels * ((12 if codec == "WEBP" else 8) + 3 + 3) + len(data)
        if self._opened and self._opened.mode in ("L", "P", "1") and codec in ("GIF", "BMP", "PPM"):
            self.working_bytes = pixels * (1 + 3) + len(data)
        self.is_quick = codec not in UNBOUNDED and pixels <= QUICK_PIXELS
        self.most_pixels: float = _MAX_PIXELS_A_BYTE * len(data) if codec == "GIF" else math.inf

    def decode(self) -> Decoded:
        picture, remarks = self._opened or open_by_pillow(self._data, self._codec), list[str]()
        frames = int(getattr(picture, "n_frames", 1))
        if frames > 1:
            burst = f"main one of {frames} pictures in the file"
            remarks.append(burst if self._codec == "HEIF" else animation_remark(frames))
        if has_gap(self._data, self._codec, self.width * self.height):
            remarks.append(DAMAGED_DATA)
        profile = picture.info.get("icc_profile") or _jpeg_2000_profile(self._data, self._codec)
        if not profile:
            profile = coded_profile(_colour_code(self._data, self._codec), remarks)
        if self._codec == "JPEG2000" and _jpeg_2000_bits(self._data) > 8:
            import imagecodecs

            values = imagecodecs.jpeg2k_decode(self._data)
            pixels, turn = from_samples(values, remarks, profile), 1
        else:
            picture.load()
            pixels, turn = bgr_of(picture, profile, remarks), orientation_of(picture)
            if self._codec == "HEIF" and not any(
                box in self._data[: 1 << 16] for box in (b"irot", b"imir")
            ):  # pi-heif takes what EXIF says for done, which those boxes are the deed of
                turn = picture.info.get("original_orientation") or turn
            if picture.mode != "CMYK":
                pixels = in_srgb(pixels, profile, remarks)
        return Decoded(upright(pixels, turn), tuple(remarks))


def open_by_pillow(data: bytes, codec: str) -> Any:
    # The plugin is called directly because Image.open applies its own process-wide pixel limit
    # first (lower than ours, and as a warning on stderr below that).
    if codec == "HEIF":
        import pi_heif

        pi_heif.register_heif_opener()
    if codec not in Image.OPEN:
        Image.preinit()  # the common plugins; all of them take 50 ms
    if codec not in Image.OPEN:
        Image.init()
    return Image.OPEN[codec][0](BytesIO(data), b"")


def decode_by_pillow(data: bytes, max_pixels: int) -> Decoded:
    """Return the first picture of a TIFF of a kind that only libtiff reads."""
    picture, remarks = open_by_pillow(data, "TIFF"), list[str]()
    width, height = picture.size
    if width * height > max_pixels:
        raise FieldError(f"picture of {width} x {height} pixels is too large; export it as RGB")
    profile = picture.info.get("icc_profile") or b""
    picture.load()
    pixels = in_srgb(bgr_of(picture, b"", remarks), profile, remarks)
    return Decoded(upright(pixels, orientation_of(picture)), tuple(remarks))


def orientation_of(picture: Image.Image) -> int:
    turn = picture.getexif().get(0x0112, 1)
    return turn if turn in TURNS else 1


def bgr_of(picture: Image.Image, profile: bytes = b"", remarks: list[str] | None = None) -> Pixels:
    """Return the pixels of a loaded picture as BGR, as stored; a profile is used of ink alone."""
    mode = picture.mode
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PPM"):
        return from_samples(np.asarray(picture).astype(np.uint16))
    if mode in ("I", "F"):
        raise FieldError(FRACTIONAL)
    if mode == "CMYK":
        try:
            return from_cmyk(np.asarray(picture), profile)
        except ValueError:
            (remarks if remarks is not None else []).append(BAD_PROFILE)
            return from_cmyk(np.asarray(picture))
    width, height = picture.size
    out = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP // width)
    clear = picture.has_transparency_data
    if clear and "A" in picture.getbands() and not picture.getchannel("A").getextrema()[1]:
        clear = False
        picture = picture.convert("RGB" if "RGB" in picture.mode else "L")
        (remarks if remarks is not None else []).append(ALL_CLEAR)
    for top in range(0, height, step):
        part = picture.crop((0, top, width, min(top + step, height)))
        if clear:
            layer = part.convert("RGBA")
            part = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        rgb = np.asarray(part.convert("RGB"))
        out[top : top + step] = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return out


#: Pixels that are converted at once.
_STRIP = 1 << 21


def _colour_code(data: bytes, codec: str) -> bytes:
    """Return the numbers by which a HEIC or AVIF names its colours: corners, then brightness."""
    if codec not in ("HEIF", "AVIF"):
        return b""
    at = data.find(b"colrnclx", 0, 1 << 16)
    return data[at + 9 : at + 12 : 2] if at > 0 else b""


def _jpeg_2000_profile(data: bytes, codec: str) -> bytes:
    """Return the colour profile of a JPEG 2000, which Pillow does not hand out."""
    at = data.find(b"colr", 0, data.find(b"jp2c")) if codec == "JPEG2000" else -1
    size = int.from_bytes(data[at - 4 : at], "big") if at > 4 else 0
    return data[at + 7 : at - 4 + size] if size and data[at + 4] in (2, 3) else b""


def _jpeg_2000_bits(data: bytes) -> int:
    at = data.find(b"\xff\x4f\xff\x51")
    return (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 8


def _jpeg_2000_channels(data: bytes) -> int:
    at = data.find(b"\xff\x4f\xff\x51")
    return int.from_bytes(data[at + 40 : at + 42], "big") if at >= 0 else 0


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height by the first chunk of a WebP."""
    if len(data) < 30:
        raise FieldError(CUT_SHORT)
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    bits = int.from_bytes(data[21:25] if data[12:16] == b"VP8L" else data[26:30], "little")
    if data[12:16] == b"VP8L":
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return bits & 0x3FFF, bits >> 16 & 0x3FFF
