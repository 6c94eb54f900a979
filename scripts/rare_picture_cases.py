"""Picture files that keep their colours, planes and turns in rare places."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import tifffile
from picture_stage import Stage, case, chunk


def _shown_in(*colours: int) -> list[np.ndarray]:
    """Return ImageJ's tables of channels that are shown in red (0), green (1) and blue (2)."""
    ramp, none = np.arange(256), np.zeros(256)
    return [
        np.stack([ramp if at == one else none for at in range(3)]).astype(np.uint8)
        for one in colours
    ]


def _blue_first(stage: Stage) -> np.ndarray:
    return np.ascontiguousarray(stage.rgb.transpose(2, 0, 1)[::-1])


@case("4", "ImageJ composite, channels shown in blue, green, red")
def _(stage: Stage) -> None:
    given = {"axes": "CYX", "mode": "composite", "LUTs": _shown_in(2, 1, 0)}
    data = stage.tiff(_blue_first(stage), photometric="minisblack", imagej=True, metadata=given)
    stage.write("bgr.tif", data)


@case("4", "OME-TIFF, channels shown in blue, green, red")
def _(stage: Stage) -> None:
    given = {"axes": "CYX", "Channel": {"Color": [0x0000FFFF, 0x00FF00FF, -16776961]}}
    data = stage.tiff(_blue_first(stage), photometric="minisblack", ome=True, metadata=given)
    stage.write("bgr.ome.tif", data)


@case("4", "ImageJ composite, channels shown in red, green, green", "refused")
def _(stage: Stage) -> None:
    given = {"axes": "CYX", "mode": "composite", "LUTs": _shown_in(0, 1, 1)}
    data = stage.tiff(_blue_first(stage), photometric="minisblack", imagej=True, metadata=given)
    stage.write("rgg.tif", data)


for _title, _first in (("a mask behind the picture", False), ("a mask before it", True)):

    @case("4", _title, "same+marked")
    def _(stage: Stage, first: bool = _first) -> None:
        grey = cv2.cvtColor(stage.rgb, cv2.COLOR_RGB2GRAY)
        pages = [(stage.rgb, "rgb"), ((grey < 120) * np.uint8(255), "minisblack")]
        with tifffile.TiffWriter(stage.folder / "mask.tif") as file:
            for pixels, colours in pages[::-1] if first else pages:
                file.write(pixels, photometric=colours)


@case("4", "TIFF that does not say what its samples are (no PhotometricInterpretation)")
def _(stage: Stage) -> None:
    data = bytearray(stage.tiff())
    tag = struct.pack("<HHI", 262, 3, 1)
    at = data.index(tag)
    # The entry becomes one that no program knows, at its place in the order.
    data[at : at + 2] = struct.pack("<H", 261)
    stage.write("silent.tif", bytes(data))


@case("4", "RGB of 5, 6 and 5 bits", "refused")
def _(stage: Stage) -> None:
    bits = struct.pack("<3H", 8, 8, 8)
    stage.write("565.tif", stage.tiff().replace(bits, struct.pack("<3H", 5, 6, 5), 1))


def _tags(turn: int, order: str = ">") -> bytes:
    """Return EXIF tags that hold an orientation alone."""
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, turn, 0, 0)


@case("3", "16-bit PNG, its orientation in a text as ImageMagick writes it")
def _(stage: Stage) -> None:
    turned = np.ascontiguousarray(np.rot90(stage.rgb)[:, :, ::-1]).astype(np.uint16) * 257
    png = cv2.imencode(".png", turned)[1].tobytes()
    body = b"Exif\0\0" + _tags(6)
    text = zlib.compress(f"\nexif\n{len(body):8d}\n{body.hex()}\n".encode())
    own = chunk(b"zTXt", b"Raw profile type exif\0\0" + text)
    stage.write("magick.png", png[:33] + own + png[33:])


@case("3", "JPEG whose EXIF has the mark of the other order of bytes")
def _(stage: Stage) -> None:
    turned = np.ascontiguousarray(np.rot90(stage.rgb)[:, :, ::-1])
    jpeg = cv2.imencode(".jpg", turned, [cv2.IMWRITE_JPEG_QUALITY, 97])[1].tobytes()
    body = b"Exif\0\0II" + _tags(6)[2:]
    own = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    stage.write("mark.jpg", jpeg[:2] + own + jpeg[2:])


@case("5", "PPM of two pictures", "same+marked")
def _(stage: Stage) -> None:
    one = b"P6 640 480 255\n" + stage.rgb.tobytes()
    stage.write("two.ppm", one + one)


@case("2", "BMP of ten bits a colour", "refused")
def _(stage: Stage) -> None:
    pixels = np.dstack([stage.rgb, stage.rgb[:, :, :1]]).tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, 640, -480, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<3I", 0x3FF00000, 0xFFC00, 0x3FF)
    start = b"BM" + struct.pack("<IHHI", 66 + len(pixels), 0, 0, 66)
    stage.write("ten.bmp", start + header + pixels)
