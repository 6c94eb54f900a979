"""Decode picture files to upright BGR pixels in sRGB, or give one clear reason why not.

Each format is opened, which reads its header alone, and then decoded; both end in
:mod:`wbcdet.io.colour`, so that depth, transparency, ink and profiles mean the same in all of them.
Plain JPEG, which is most fields, takes libjpeg-turbo at a half to a third of Pillow's time.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image

from wbcdet.io.colour import (
    ALL_CLEAR,
    BAD_PROFILE,
    FRACTIONAL,
    Pixels,
    coded_profile,
    from_cmyk,
    from_samples,
    measured_profile,
    named_profile,
    to_srgb,
)
from wbcdet.io.errors import FieldError
from wbcdet.io.formats import HEAD_BYTES, PictureKind, kind_of_bytes
from wbcdet.io.jpeg import JpegHeader, is_harmless, read_exif, read_jpeg_header

#: Pixels, times the passes over them, that any decoder has done long before the time is up.
_QUICK_PIXELS, _QUICK_PASSES = 25_000_000, 2_000_000_000
#: Bytes of a file that Pillow's readers, which go through some headers byte by byte, see at once.
_QUICK_BYTES = 4 << 20
#: Formats whose decoders may take any time for a picture of any size.
_UNBOUNDED = frozenset({"HEIF", "AVIF", "JPEGXL", "JPEG2000"})
#: Chunks of a PNG; writers make them of 8 kB or more.
_MAX_CHUNKS = 100_000
#: Most that a byte of a file can hold: bytes, of deflate; pixels, of the longest string of a GIF's
#: code, and of a JPEG's blocks of 64 in which nothing changes.
_DEFLATED, _CODED, _IN_BLOCKS = 1040, 2700, 1024
#: Equal bytes in a row that compressed pictures do not hold: a part was never written or copied.
_GAP = 64
#: In the name that libjxl gives to colours of straight samples.
_STRAIGHT = "_Rel_Lin".encode("utf-16-be")

_CUT = "file is cut short; copy it again from its source"
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


def kind_of(data: bytes) -> PictureKind:
    """Return what kind of picture bytes are.

    Raises:
        FieldError: they are no picture of a kind that is read.
    """
    if not data:
        raise FieldError("file is empty (0 bytes); copy it again from its source")
    kind = kind_of_bytes(data[:HEAD_BYTES])
    if kind is None:
        if not data.strip(b"\0"):
            raise FieldError("file holds only zeros; copy it again from its source")
        raise FieldError(
            "file is not a JPEG, PNG, TIFF, HEIC, WebP, BMP or GIF picture; export it as one"
        )
    if kind.problem is not None:
        raise FieldError(kind.problem)
    return kind


def is_tiff(data: bytes) -> bool:
    """Say whether the bytes start as a TIFF or BigTIFF file does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def opens_quickly(kind: PictureKind, size: int) -> bool:
    """Say whether the header of a file is read within seconds, whatever its bytes are.

    Args:
        kind: of the file.
        size: its bytes.
    """
    if kind.codec in ("JPEG", "PNG"):  # their headers are read here, in bounded steps
        return True
    return kind.codec not in _UNBOUNDED and size <= _QUICK_BYTES


def open_picture(data: bytes, kind: PictureKind) -> Picture:
    """Read the header of a picture; ``kind`` is what ``kind_of`` says, but not TIFF.

    Raises:
        FieldError: it is damaged or cut short. Decoders may raise nearly anything else; see
            ``reporting``.
    """
    if kind.codec == "JPEG":
        return _Jpeg(data)
    if kind.codec == "PNG":
        return _Png(data)
    if kind.codec == "JPEGXL":
        return _JpegXl(data)
    return _ByPillow(data, str(kind.codec))


def check_size(picture: Picture, max_pixels: int) -> None:
    """Check that a picture is of a size that is decoded.

    Raises:
        FieldError: it is not.
    """
    width, height = picture.width, picture.height
    if width * height > max_pixels:
        raise FieldError(
            f"picture of {width} x {height} pixels is over the limit of "
            f"{max_pixels / 1e6:g} megapixels; crop it or scale it down"
        )
    if min(width, height) < 1:
        raise FieldError("picture has no pixels; save it again")
    if width * height > picture.most_pixels:
        raise FieldError(_CUT)


#: Names under which modules are installed, where they are others.
_PACKAGES = {"pillow_heif": "pillow-heif", "pillow_jxl": "pillow-jxl-plugin"}


@contextmanager
def reporting(kind: PictureKind) -> Iterator[None]:
    """Turn whatever a decoder raises into one line: a corrupt file must never end a batch."""
    name = kind.name.split(" ", 1)[1]
    try:
        yield
    except FieldError:
        raise
    except MemoryError as error:
        raise FieldError("picture does not fit into memory; scale it down") from error
    except ImportError as error:
        package = _PACKAGES.get(str(error.name), str(error.name))
        raise FieldError(
            f"file is {kind.name}, which needs the package {package}: pip install {package}, or "
            "export it as JPEG"
        ) from error
    except Exception as error:
        text = str(error).splitlines()[0][:80] if str(error) else type(error).__name__
        if "truncated" in text.lower():
            raise FieldError(_CUT) from error
        raise FieldError(f"file is damaged ({name}: {text}); copy or export it again") from error


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


def in_srgb(pixels: Pixels, profile: bytes, remarks: list[str]) -> Pixels:
    """Convert pixels by their colour profile; a profile that cannot be used is remarked."""
    if not profile:
        return pixels
    try:
        return to_srgb(pixels if pixels.flags.writeable else pixels.copy(), profile)
    except ValueError:
        remarks.append(BAD_PROFILE)
        return pixels


class _Jpeg:
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
        self.most_pixels: float = _IN_BLOCKS * len(data)
        self.is_quick = pixels * header.scans <= _QUICK_PASSES

    def decode(self) -> Decoded:
        header, remarks = self.header, list[str]()
        if header.scans > 1 and any(_holds_run(*part) for part in header.parts(self._data)):
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
            raise FieldError(_CUT)
        if not is_harmless(warning, self._data) and DAMAGED_DATA not in remarks:
            remarks.append(DAMAGED_DATA)
        return pixels


class _Png:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._frames = 1
        self._damaged = False
        self._deflated = 0
        self._exif = self._xmp = self._code = b""
        self._corners: tuple[int, ...] = ()
        header = b""
        for name, size, body in self._chunks():
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
        self.is_quick = pixels <= _QUICK_PIXELS
        self.most_pixels: float = 8 * _DEFLATED * self._deflated / max(1, self._bits * channels)

    def decode(self) -> Decoded:
        remarks = [_animation(self._frames)] * (self._frames > 1)
        if self._damaged:
            remarks.append(DAMAGED_DATA)
        picture = _pillow(self._data, "PNG")
        # The code comes first, then the profile, then gamma and corners: as the format rules.
        profile = coded_profile(self._code[:2], remarks)
        if len(self._code) < 2:
            profile = picture.info.get("icc_profile") or b""
            if not profile and "srgb" not in picture.info:
                profile = measured_profile(picture.info.get("gamma"), self._corners)
        if self._bits == 16:
            import imagecodecs

            pixels = from_samples(imagecodecs.png_decode(self._data), remarks)
            turn = self._turn
        else:
            picture.load()
            # After the pixels there may be more of what says how they are turned.
            pixels, turn = _rgb(picture, b"", remarks), max(self._turn, _orientation(picture))
        return Decoded(upright(in_srgb(pixels, profile, remarks), turn), tuple(remarks))

    def _chunks(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield names, sizes and bodies (of pixels none); notes bodies that fail their checksum."""
        data, at = memoryview(self._data), 8
        for _ in range(_MAX_CHUNKS):
            size, name = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
            end = at + 12 + size
            if end > len(data):
                raise FieldError(_CUT)
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                self._damaged = True
            yield name, size, b"" if name == b"IDAT" else bytes(data[at + 8 : end - 4])
            if name == b"IEND":
                return
            at = end
        raise FieldError(f"file has more than {_MAX_CHUNKS} chunks and is no picture")


class _JpegXl:
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
            remarks, values = [_animation(len(values))], values[0]
        if values.dtype.kind == "f":
            raise FieldError(FRACTIONAL)
        profile = self._profile()
        # Programs of microscopes save a sensor's values, which are shown as they are in TIFFs.
        if values.dtype != np.uint8 and _STRAIGHT in profile:
            profile = b""
        return Decoded(in_srgb(from_samples(values, remarks), profile, remarks), tuple(remarks))

    def _profile(self) -> bytes:
        """Return the colours of the decoded samples, which imagecodecs does not hand out."""
        import pillow_jxl

        profile: bytes = pillow_jxl.Decoder(num_threads=0)(self._data)[3]
        return profile or b""


class _ByPillow:
    def __init__(self, data: bytes, codec: str) -> None:
        self._data, self._codec = data, codec
        # Pillow takes the memory for a WebP when it opens it.
        self._opened = None if codec == "WEBP" else _pillow(data, codec)
        size: tuple[int, int] = self._opened.size if self._opened else _webp_size(data)
        self.width, self.height = size
        pixels = self.width * self.height
        # Channels as Pillow holds them (of deep ones as imagecodecs does), the result, its turn.
        self.working_bytes = pixels * ((12 if codec == "WEBP" else 8) + 3 + 3) + len(data)
        if self._opened and self._opened.mode in ("L", "P", "1") and codec in ("GIF", "BMP", "PPM"):
            self.working_bytes = pixels * (1 + 3) + len(data)
        self.is_quick = codec not in _UNBOUNDED and pixels <= _QUICK_PIXELS
        self.most_pixels: float = _CODED * len(data) if codec == "GIF" else math.inf

    def decode(self) -> Decoded:
        picture, remarks = self._opened or _pillow(self._data, self._codec), list[str]()
        frames = int(getattr(picture, "n_frames", 1))
        if frames > 1:
            remarks.append(_animation(frames))
        if _has_gap(self._data, self._codec, self.width * self.height):
            remarks.append(DAMAGED_DATA)
        profile = picture.info.get("icc_profile") or _jpeg_2000_profile(self._data, self._codec)
        if not profile:
            profile = coded_profile(_colour_code(self._data, self._codec), remarks)
        if self._codec == "JPEG2000" and _jpeg_2000_bits(self._data) > 8:
            import imagecodecs

            pixels, turn = from_samples(imagecodecs.jpeg2k_decode(self._data), remarks), 1
        else:
            picture.load()
            pixels, turn = _rgb(picture, profile, remarks), _orientation(picture)
            if self._codec == "HEIF" and not any(
                box in self._data[: 1 << 16] for box in (b"irot", b"imir")
            ):  # pillow-heif takes what EXIF says for done, which those boxes are the deed of
                turn = picture.info.get("original_orientation") or turn
        if picture.mode != "CMYK":
            pixels = in_srgb(pixels, profile, remarks)
        return Decoded(upright(pixels, turn), tuple(remarks))


def _animation(frames: int) -> str:
    return f"animation: first of {frames} pictures"


def _pillow(data: bytes, codec: str) -> Any:
    # The plugin is called directly because Image.open applies its own process-wide pixel limit
    # first (lower than ours, and as a warning on stderr below that).
    if codec == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    if codec not in Image.OPEN:
        Image.preinit()  # the common plugins; all of them take 50 ms
    if codec not in Image.OPEN:
        Image.init()
    return Image.OPEN[codec][0](BytesIO(data), b"")


def decode_by_pillow(data: bytes, max_pixels: int) -> Decoded:
    """Return the first picture of a TIFF of a kind that only libtiff reads."""
    picture, remarks = _pillow(data, "TIFF"), list[str]()
    width, height = picture.size
    if width * height > max_pixels:
        raise FieldError(f"picture of {width} x {height} pixels is too large; export it as RGB")
    profile = picture.info.get("icc_profile") or b""
    picture.load()
    pixels = in_srgb(_rgb(picture, b"", remarks), profile, remarks)
    return Decoded(upright(pixels, _orientation(picture)), tuple(remarks))


def _orientation(picture: Image.Image) -> int:
    turn = picture.getexif().get(0x0112, 1)
    return turn if turn in TURNS else 1


def _rgb(picture: Image.Image, profile: bytes = b"", remarks: list[str] | None = None) -> Pixels:
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


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height by the first chunk of a WebP."""
    if len(data) < 30:
        raise FieldError(_CUT)
    if data[12:16] == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return width, height
    bits = int.from_bytes(data[21:25] if data[12:16] == b"VP8L" else data[26:30], "little")
    if data[12:16] == b"VP8L":
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return bits & 0x3FFF, bits >> 16 & 0x3FFF


def _has_gap(data: bytes, codec: str, pixels: int) -> bool:
    """Tell whether data without checksums hold a row of equal bytes that no encoder writes."""
    if codec == "WEBP":
        return any(_holds_run(part, most) for part, most in _webp_parts(data, pixels))
    if codec == "JPEG2000":
        return _holds_run(memoryview(data)[max(0, data.find(b"\xff\x4f\xff\x51")) :], _GAP)
    if codec in ("HEIF", "AVIF"):
        start = max(0, data.find(b"mdat"))
        tags = data.find(b"Exif\0\0", start)  # cameras' tags are padded with zeros
        parts = [(start, tags), (tags + (1 << 16), len(data))] if tags >= 0 else [(start, None)]
        return any(_holds_run(memoryview(data)[a:b], _GAP) for a, b in parts)
    return False


def _webp_parts(data: bytes, pixels: int) -> Iterator[tuple[memoryview, int]]:
    """Yield the coded parts of a WebP, each with the most equal bytes that it may hold."""
    at, view = 12, memoryview(data)
    for _ in range(_MAX_CHUNKS):
        name, size = bytes(view[at : at + 4]), int.from_bytes(view[at + 4 : at + 8], "little")
        body = view[at + 8 : at + 8 + size]
        if name == b"VP8L":
            yield body, _GAP
        elif name == b"VP8 ":
            modes = 10 + (int.from_bytes(body[:3], "little") >> 5)
            yield body[10:modes], _GAP
            # Of blocks of 256 pixels in which nothing changes, fifty or more take one byte.
            yield body[modes:], max(_GAP, pixels // 256 // 32)
        elif name == b"ANMF":
            return
        at += 8 + size + size % 2
        if at >= len(data):
            return


def _holds_run(part: memoryview, length: int) -> bool:
    whole = bytes(part)
    return bytes(length) in whole or b"\xff" * length in whole
