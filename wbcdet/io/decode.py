"""Bytes of a picture file to upright BGR pixels, or one clear reason why not.

Pillow reads every header and decodes everything but 16-bit data and plain JPEG: it says when a file
is cut short, as ``cv2.imdecode`` does not. Plain JPEG, which is most fields, takes libjpeg-turbo at
a half to a third of the time; the pixels are the same.
"""

from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from wbcdet.utils.errors import WbcdetError

Pixels = npt.NDArray[np.uint8]

#: Depths of camera sensors, in bits: 16-bit files mostly hold fewer.
_SENSOR_BITS = (8, 10, 12, 14, 16)
#: EXIF's tag for how the camera was held.
_ORIENTATION = 0x0112

_OTHER_FILES = (
    (b"%PDF", "a PDF document; export the picture itself"),
    (b"PK\x03\x04", "a zip archive or office document; unpack the pictures first"),
    (b"\xd0\xcf\x11\xe0", "an office document; export the picture itself"),
    (b"\x1aE\xdf\xa3", "a video; save single frames as JPEG or PNG"),
    (b"<!DOCTYPE", "a web page; save the picture itself"),
    (b"<html", "a web page; save the picture itself"),
)


FRACTIONAL = "picture has 32-bit or fractional values; export it as 8 or 16 bit"


class FieldError(WbcdetError):
    """A field could not be read; the message is one line that names the remedy."""


def decode(data: bytes, max_pixels: int) -> Pixels:
    """The picture in the bytes of a file.

    16-bit data is scaled by the smallest sensor depth (8, 10, 12, 14 or 16 bits) that holds its
    brightest value. Transparency is laid on white, CMYK becomes RGB, the EXIF orientation is
    applied, and of an animation or a multi-page file the first picture is taken.

    Args:
        data: the whole file: JPEG, PNG, BMP, WebP, TIFF or GIF.
        max_pixels: the largest width x height that is decoded; checked against the header.

    Returns:
        (height, width, 3) uint8, BGR, C-contiguous.

    Raises:
        FieldError: the bytes are no whole picture of these formats, or it is too large.
    """
    if not data:
        raise FieldError("file is empty (0 bytes); copy it again from its source")
    kind = _sniff(data)
    # Pillow's plugins raise nearly any exception on damaged bytes, and one corrupt file must
    # never end a batch: whatever they raise is this file's failure.
    try:
        picture = _open(data, kind)
        width, height = picture.size
        if width * height > max_pixels:
            raise FieldError(
                f"picture of {width} x {height} pixels is over the limit of "
                f"{max_pixels / 1e6:g} megapixels; crop it or scale it down"
            )
        if min(width, height) < 1:
            raise FieldError("picture has no pixels; save it again")
        if not _is_whole(data, kind):
            raise FieldError("file is cut short; copy it again from its source")
        deep = _is_deep(picture, data, kind)
        pixels = _decode_deep(data) if deep else _decode_turbo(picture, data)
        if pixels is None:
            pixels = _decode_plain(picture)
    except FieldError:
        raise
    except MemoryError as error:
        raise FieldError("picture does not fit into memory; scale it down") from error
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "truncated" in text.lower():
            raise FieldError("file is cut short; copy it again from its source") from error
        raise FieldError(f"file is damaged ({kind}: {text}); copy or export it again") from error
    return np.ascontiguousarray(pixels)


def is_tiff(data: bytes) -> bool:
    """The bytes start as a TIFF or BigTIFF file does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _sniff(data: bytes) -> str:
    """Pillow's name of the format, by the first bytes: a file's ending may lie."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"BM"):
        return "BMP"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if is_tiff(data):
        return "TIFF"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[4:8] == b"ftyp":
        heif = data[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"msf1")
        what = "a HEIC or AVIF photograph; export it as JPEG" if heif else _OTHER_FILES[3][1]
        raise FieldError(f"file is {what}")
    for magic, what in _OTHER_FILES:
        if data[:16].lstrip().lower().startswith(magic.lower()):
            raise FieldError(f"file is {what}")
    if not data.strip(b"\0"):
        raise FieldError("file holds only zeros; copy it again from its source")
    raise FieldError("file is not a JPEG, PNG, BMP, WebP, TIFF or GIF picture; export it as one")


def _open(data: bytes, kind: str) -> Image.Image:
    # The plugin is called directly because Image.open applies its own process-wide pixel limit
    # first (lower than ours, and as a warning on stderr below that).
    if kind not in Image.OPEN:
        Image.preinit()  # the common plugins; all of them take 50 ms
    if kind not in Image.OPEN:
        Image.init()
    return Image.OPEN[kind][0](BytesIO(data), b"")


def _is_whole(data: bytes, kind: str) -> bool:
    """The end mark of the picture is there.

    Pillow sees most cuts itself, but not zeros in place of the end of a JPEG.
    """
    if kind == "JPEG":
        start = _jpeg_scan_start(data)
        return start >= 0 and data.rfind(b"\xff\xd9") > start
    if kind == "PNG":
        return b"IEND" in data
    return True


def _jpeg_scan_start(data: bytes) -> int:
    """Where the first scan of the picture starts, past thumbnails in its headers; else -1."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return -1
        mark = data[at + 1]
        if mark == 0xDA:
            return at
        if mark == 0xFF:
            at += 1
        elif mark == 0x01 or 0xD0 <= mark <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return -1


def _is_deep(picture: Image.Image, data: bytes, kind: str) -> bool:
    """More than 8 bits a channel. Pillow keeps only the high byte of 16-bit colour."""
    if kind == "PNG":
        return data[24] == 16
    if kind == "TIFF":
        # Only Pillow's class of TIFF pictures has it, which a file of that kind is.
        bits = picture.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        depth = max(bits) if isinstance(bits, tuple) else int(bits)
        formats = picture.tag_v2.get(339, (1,))  # type: ignore[attr-defined]
        if depth > 16 or 3 in (formats if isinstance(formats, tuple) else (formats,)):
            raise FieldError(FRACTIONAL)
        return depth > 8
    return False


def _decode_deep(data: bytes) -> Pixels:
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None:
        raise FieldError("16-bit file cannot be decoded; export it as 8-bit JPEG, PNG or TIFF")
    deep = np.atleast_3d(deep)
    alpha = None
    if deep.shape[2] in (2, 4):
        alpha = deep[:, :, -1:].astype(np.float32) / np.iinfo(deep.dtype).max
        deep = deep[:, :, :-1]
    pixels = eight_bit(deep, sensor_factor(int(deep.max())), alpha)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def sensor_factor(brightest: int) -> float:
    """What turns 16-bit values into 0..255: by the smallest sensor depth that holds them all."""
    bits = next(bits for bits in _SENSOR_BITS if brightest < 1 << bits)
    return 255.0 / ((1 << bits) - 1)


def eight_bit(
    deep: np.ndarray,
    factor: float,
    alpha: np.ndarray | None = None,
    *,
    premultiplied: bool = False,
) -> Pixels:
    """Values scaled to 8 bits and laid on white.

    Args:
        deep: (height, width, channels) of any depth.
        factor: one for all channels, as a stretch of each by itself would change the stain.
        alpha: (height, width, 1) float, 0 transparent to 1 opaque; None for an opaque picture.
        premultiplied: the values have been multiplied by alpha already.
    """
    scaled = deep.astype(np.float32) * factor
    if alpha is not None:
        scaled = scaled * (1.0 if premultiplied else alpha) + 255.0 * (1.0 - alpha)
    result: Pixels = np.rint(np.minimum(scaled, 255.0)).astype(np.uint8)
    return result


def _decode_turbo(picture: Image.Image, data: bytes) -> Pixels | None:
    """The pixels of a JPEG without peculiarities; None for all others, for Pillow to judge."""
    if picture.format != "JPEG" or picture.mode not in ("RGB", "L"):
        return None
    if picture.getexif().get(_ORIENTATION, 1) != 1:
        return None
    import simplejpeg

    try:
        result: Pixels | None = simplejpeg.decode_jpeg(data, colorspace="BGR", strict=True)
        return result
    except ValueError:
        return None


def _decode_plain(picture: Image.Image) -> Pixels:
    picture.load()
    if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
        raise FieldError(FRACTIONAL)
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        upright = Image.alpha_composite(ground, layer)
    # Pillow reads CMYK JPEG by Adobe's inverted convention, as every writer of them does.
    result: Pixels = cv2.cvtColor(np.asarray(upright.convert("RGB")), cv2.COLOR_RGB2BGR)
    return result
