"""Files that hold the right pixels under rare rules: each is as its plain PNG, or says why not."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from wbcdet.datasets.synthetic import render_field
from wbcdet.io.codecs.jpeg_header import read_exif
from wbcdet.io.discover import find_fields
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field

BGR = render_field(5).pixels
RGB = np.ascontiguousarray(BGR[:, :, ::-1])
GREY = cv2.cvtColor(BGR, cv2.COLOR_BGR2GRAY)
PLANES = RGB.transpose(2, 0, 1)


def far(field: Field, expected: np.ndarray) -> float:
    """Return how far a field is from what it should be, levels on average."""
    assert field.pixels.shape == expected.shape
    return float(np.abs(field.pixels.astype(int) - expected).mean())


def shown_in(*colours: int) -> list[np.ndarray]:
    """Return ImageJ's tables of channels that are shown in red (0), green (1) and blue (2)."""
    ramp, none = np.arange(256), np.zeros(256)
    return [
        np.stack([ramp if at == one else none for at in range(3)]).astype(np.uint8)
        for one in colours
    ]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_channels_of_imagej_are_the_colours_that_they_are_shown_in(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    path = tmp_path / "a.tif"
    given = {"axes": "CYX", "mode": "composite", "LUTs": shown_in(*order)}
    tifffile.imwrite(path, PLANES[list(order)], imagej=True, metadata=given)
    assert far(read_field(path), BGR) == 0


def test_channels_of_other_colours_are_no_colour_picture(tmp_path: Path) -> None:
    given = {"axes": "CYX", "mode": "composite", "LUTs": shown_in(0, 1, 1)}
    tifffile.imwrite(tmp_path / "a.tif", PLANES, imagej=True, metadata=given)
    with pytest.raises(FieldError, match="shown in colours other than red, green and blue"):
        read_field(tmp_path / "a.tif")


def test_channels_of_ome_are_the_colours_that_they_are_shown_in(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    blue_first = [0x0000FFFF, 0x00FF00FF, -16776961]
    given = {"axes": "CYX", "Channel": {"Color": blue_first}}
    tifffile.imwrite(path, PLANES[::-1], metadata=given)
    assert far(read_field(path), BGR) == 0
    given = {"axes": "CYX", "Channel": {"Color": [-1, -1, -1]}}
    tifffile.imwrite(path, PLANES, metadata=given)
    assert far(read_field(path), BGR) == 0


def without_tag(data: bytes, tag: int) -> bytes:
    """Return a little TIFF without one of its tags."""
    at = struct.unpack_from("<I", data, 4)[0]
    (number,) = struct.unpack_from("<H", data, at)
    entries = [data[at + 2 + 12 * one : at + 14 + 12 * one] for one in range(number)]
    kept = [one for one in entries if struct.unpack_from("<H", one)[0] != tag]
    directory = struct.pack("<H", len(kept)) + b"".join(kept) + bytes(4)
    end = len(data) + len(data) % 2
    return data[:4] + struct.pack("<I", end) + data[8:].ljust(end - 8, b"\0") + directory


@pytest.mark.parametrize("pixels", [RGB, GREY])
def test_a_tiff_that_says_nothing_of_its_colours(tmp_path: Path, pixels: np.ndarray) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    (tmp_path / "a.tif").write_bytes(without_tag(file.getvalue(), 262))
    expected = BGR if pixels.ndim == 3 else cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)
    assert far(read_field(tmp_path / "a.tif"), expected) == 0


@pytest.mark.parametrize("mask_first", [False, True])
def test_a_mask_beside_its_picture_is_no_plane_of_it(tmp_path: Path, mask_first: bool) -> None:
    mask = ((GREY < 120) * np.uint8(255)).astype(np.uint8)
    pages = [(RGB, "rgb"), (mask, "minisblack")]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels, colours in pages[::-1] if mask_first else pages:
            file.write(pixels, photometric=colours)
    field = read_field(tmp_path / "a.tif")
    assert far(field, BGR) == 0
    assert any("left out" in text for text in field.remarks)


def test_each_picture_has_a_mask_of_its_own(tmp_path: Path) -> None:
    other = np.ascontiguousarray(render_field(9).pixels[:, :, ::-1])
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for pixels in (RGB, other):
            file.write(pixels, photometric="rgb")
            file.write((pixels[:, :, 1] < 120) * np.uint8(255), photometric="minisblack")
    first, second = find_fields([tmp_path / "a.tif"])
    assert far(read_field(first), BGR) == 0
    assert far(read_field(second), other[:, :, ::-1]) == 0


def test_signed_samples_have_a_bit_less(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.int16) * 128, photometric="minisblack")
    assert far(read_field(tmp_path / "a.tif"), cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)) < 1
    less = (GREY.astype(np.int32) * 257 - 32768).astype(np.int16)
    tifffile.imwrite(tmp_path / "b.tif", less, photometric="minisblack")
    assert far(read_field(tmp_path / "b.tif"), cv2.cvtColor(GREY, cv2.COLOR_GRAY2BGR)) == 0


def test_kinds_that_are_not_read_are_not_called_damaged(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, RGB, photometric="rgb")
    data = file.getvalue()
    bits = struct.pack("<3H", 8, 8, 8)
    (tmp_path / "a.tif").write_bytes(data.replace(bits, struct.pack("<3H", 5, 6, 5), 1))
    with pytest.raises(FieldError, match="bits a sample is not read"):
        read_field(tmp_path / "a.tif")
    pixels = np.dstack([RGB, RGB[:, :, :1]])
    header = struct.pack("<IiiHHIIiiII", 40, 640, -480, 1, 32, 3, pixels.nbytes, 0, 0, 0, 0)
    header += struct.pack("<3I", 0x3FF00000, 0xFFC00, 0x3FF)
    start = b"BM" + struct.pack("<IHHI", 66 + pixels.nbytes, 0, 0, 66)
    (tmp_path / "a.bmp").write_bytes(start + header + pixels.tobytes())
    with pytest.raises(FieldError, match="a BMP of a rare kind, which is not read"):
        read_field(tmp_path / "a.bmp")


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tags(turn: int, order: str = ">") -> bytes:
    """Return EXIF tags that hold an orientation alone."""
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, turn, 0, 0)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_orientation_in_a_text_of_a_png(
    tmp_path: Path, deep: bool, packed: bool, behind: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    turned = np.ascontiguousarray(np.rot90(BGR))
    pixels = turned.astype(np.uint16) * 257 if deep else turned
    png = cv2.imencode(".png", pixels)[1].tobytes()
    body = b"Exif\0\0" + tags(6)
    text = f"\nexif\n{len(body):8d}\n{body.hex()}\n".encode()
    text = b"Raw profile type exif\0" + (b"\0" + zlib.compress(text) if packed else text)
    own = chunk(b"zTXt" if packed else b"tEXt", text) + chunk(b"iCCP", b"x\0\0no profile")
    at = len(png) - 12 if behind else 33
    (tmp_path / "a.png").write_bytes(png[:at] + own + png[at:])
    assert far(read_field(tmp_path / "a.png"), BGR) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", [b"", b"\nexif\n 3\nxyz\n", b"\nexif\n 9\n4d4d\n"])
def test_damaged_texts_of_a_png_turn_nothing(tmp_path: Path, text: bytes) -> None:
    png = cv2.imencode(".png", BGR.astype(np.uint16) * 257)[1].tobytes()
    for own in (
        chunk(b"tEXt", b"Raw profile type exif\0" + text),
        chunk(b"zTXt", b"Raw profile type APP1\0\0" + text),
    ):
        (tmp_path / "a.png").write_bytes(png[:33] + own + png[33:])
        assert far(read_field(tmp_path / "a.png"), BGR) == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_whose_mark_is_of_the_other_order(order: str) -> None:
    whole = tags(6, order)
    assert read_exif(whole)[0] == 6
    assert read_exif((b"II" if order == ">" else b"MM") + whole[2:])[0] == 6


def test_further_pictures_of_a_pnm_are_said(tmp_path: Path) -> None:
    for largest, pixels in ((255, RGB), (1023, RGB.astype(">u2") * 4)):
        one = b"P6 640 480 %d\n" % largest + pixels.tobytes()
        (tmp_path / "a.ppm").write_bytes(one + b"\n")
        assert read_field(tmp_path / "a.ppm").remarks == ()
        (tmp_path / "b.ppm").write_bytes(one + b"\n" + one)
        assert read_field(tmp_path / "b.ppm").remarks == ("first of several pictures in the file",)


def test_planes_that_differ_in_focus_alone_are_a_stack_still(tmp_path: Path) -> None:
    planes = [cv2.GaussianBlur(RGB, (0, 0), blur) if blur else RGB for blur in (2, 0, 3)]
    tifffile.imwrite(tmp_path / "a.tif", np.stack(planes), photometric="rgb")
    assert read_field(tmp_path / "a.tif").remarks == (
        "stack of one place: page 2 of 3, the sharpest",
    )


def test_twelve_bits_that_were_turned_over_in_sixteen(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    twelve = GREY.astype(np.uint16) * 16
    expected = np.repeat(GREY[:, :, None], 3, 2)
    for stored in (65535 - twelve, 4095 - twelve, 65535 - twelve * 16):
        tifffile.imwrite(path, stored, photometric="miniswhite")
        assert far(read_field(path), expected) < 1.5


def test_a_tiff_that_does_not_say_its_bits(tmp_path: Path) -> None:
    for name, pixels in (("grey.tif", GREY), ("rgb.tif", RGB)):
        for compression in (None, "zlib"):
            data = io.BytesIO()
            tifffile.imwrite(data, pixels, compression=compression)
            (tmp_path / name).write_bytes(without_tag(data.getvalue(), 258))
            with pytest.raises(FieldError, match="how many bits"):
                read_field(tmp_path / name)


def test_one_grey_channel_in_other_colours_is_no_stain(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    grey = np.stack([np.arange(256)] * 3).astype(np.uint8)
    for deep in (GREY, GREY.astype(np.uint16) * 257):
        tifffile.imwrite(path, deep, imagej=True, metadata={"LUTs": [grey]})
        assert far(read_field(path), np.repeat(GREY[:, :, None], 3, 2)) < 1
        for table in (shown_in(1)[0], grey[:, ::-1]):
            tifffile.imwrite(path, deep, imagej=True, metadata={"LUTs": [table]})
            with pytest.raises(FieldError, match="other colours or as its negative"):
                read_field(path)
