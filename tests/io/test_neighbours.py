"""Pictures beside the usual ones: rare kinds are read or refused for the reason that is true."""

from __future__ import annotations

import io
import struct
import time
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import close_to, encode, encode_tiff, grain
from PIL import Image

from wbcdet.io.codecs.jpeg import count_views
from wbcdet.io.codecs.jpeg_header import read_jpeg_header
from wbcdet.io.colour import BAD_PROFILE, measured_profile
from wbcdet.io.discover import search
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.formats import picture_kind
from wbcdet.results.writer import PictureNames

RGB = np.ascontiguousarray(grain(60, 80))
GREY = cv2.cvtColor(RGB, cv2.COLOR_RGB2GRAY)
DEEP = RGB.astype(np.uint16) * 257
#: Straight samples: the curve of sRGB is taken away.
LINEAR = np.where(RGB <= 10, RGB / 255 / 12.92, ((RGB / 255 + 0.055) / 1.055) ** 2.4)
LINEAR_16 = np.rint(LINEAR * 65535).astype(np.uint16)
STRAIGHT = measured_profile(1.0, ())


def read(folder: Path, data: bytes, name: str = "a.png") -> Field:
    (folder / name).write_bytes(data)
    return read_field(folder / name)


def tiff(array: np.ndarray = RGB, **options: Any) -> bytes:
    return encode_tiff(array, **{"photometric": "rgb", **options})


def with_tag(data: bytes, tag: int, value: int) -> bytes:
    """Return a TIFF with another value of a tag."""
    file = io.BytesIO(data)
    with tifffile.TiffFile(file, mode="r+b") as opened:
        opened.pages[0].tags[tag].overwrite(value)  # type: ignore[union-attr]
    return file.getvalue()


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    size, check = struct.pack(">I", len(body)), struct.pack(">I", zlib.crc32(name + body))
    return png[:33] + size + name + body + check + png[33:]


@pytest.mark.parametrize(
    "data",
    [
        with_chunk(imagecodecs.png_encode(LINEAR_16), b"gAMA", struct.pack(">I", 100_000)),
        with_chunk(imagecodecs.png_encode(LINEAR_16), b"iCCP", b"x\0\0" + zlib.compress(STRAIGHT)),
        tiff(LINEAR_16, iccprofile=STRAIGHT),
        tiff(LINEAR.astype(np.float32), iccprofile=STRAIGHT),
        tiff(
            np.dstack([LINEAR_16, np.full(GREY.shape, 65535, np.uint16)]),
            iccprofile=STRAIGHT,
            extrasamples=["unassalpha"],
        ),
    ],
)
def test_curves_are_followed_before_depth_is_reduced(tmp_path: Path, data: bytes) -> None:
    field = read(tmp_path, data)
    assert np.abs(field.pixels[:, :, ::-1].astype(int) - RGB).max() <= 1 and field.remarks == ()


def test_grey_curves_and_profiles_that_do_not_fit(tmp_path: Path) -> None:
    straight = np.rint((GREY / 255) ** 2.2 * 65535).astype(np.uint16)
    grey_profile = bytes(imagecodecs.cms_profile("gray", gamma=1.0, whitepoint=(0.3127, 0.329, 1)))
    for profile in (grey_profile, STRAIGHT):
        field = read(tmp_path, tiff(straight, photometric="minisblack", iccprofile=profile))
        assert close_to(field.pixels, np.dstack([GREY] * 3), 2.0)
    for profile in (grey_profile, b"no profile" * 20):
        field = read(tmp_path, tiff(DEEP, iccprofile=profile))
        assert np.array_equal(field.pixels[:, :, ::-1], RGB) and field.remarks == (BAD_PROFILE,)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jls", imagecodecs.jpegls_encode(RGB)),
        ("deep.jls", imagecodecs.jpegls_encode(DEEP)),
        ("a.ppm", b"P6\n# made by hand\n80 60\n255\n" + RGB.tobytes()),
        ("a16.ppm", b"P6 80 60 65535\n" + DEEP.astype(">u2").tobytes()),
        (
            "a10.ppm",
            b"P6\n80 60\n1023\n" + np.rint(RGB / 255 * 1023).astype(">u2").tobytes(),
        ),
        ("a.tif", with_tag(tiff(compression="lzw", rowsperstrip=60), 279, 0)),
        ("a.nef", encode(Image.fromarray(RGB), "PNG")),
        ("a.dcm", encode(Image.fromarray(RGB), "PNG")),
        ("a.vsi", encode(Image.fromarray(RGB), "PNG")),
    ],
)
def test_rare_kinds_and_wrong_endings(tmp_path: Path, name: str, data: bytes) -> None:
    field = read(tmp_path, data, name)
    assert np.array_equal(field.pixels[:, :, ::-1], RGB) and field.remarks == ()
    [found] = search([tmp_path]).fields
    assert found.problem is None


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.ppm", b"P6 80 60 255\n" + RGB.tobytes()[:-9], "cut short"),
        ("a.ppm", b"P6 80 60 0\n" + RGB.tobytes(), "no largest value"),
        ("a.ppm", b"P6 80", "no whole header"),
        ("a.pam", b"P7\nWIDTH 80\n", "rare format"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (
            "a.j2k",
            imagecodecs.jpeg2k_encode(np.concatenate([RGB, RGB[:, :, :2]], 2), level=0),
            "of 5 channels",
        ),
        # Its header would be the picture.
        ("a.tif", with_tag(tiff(rowsperstrip=60), 273, 0), "place or size"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(FieldError, match=said):
        read(tmp_path, data, name)


def test_slides_in_the_wrapping_of_plain_pictures_go_by_their_ending(tmp_path: Path) -> None:
    (tmp_path / "a.mrxs").write_bytes(encode(Image.fromarray(RGB), "JPEG"))
    kind = picture_kind(tmp_path / "a.mrxs")
    assert kind is not None and kind.codec is None


@pytest.mark.parametrize("given", [(274, 5, 1, (6, 1), True), (274, 2, 2, "6", True)])
def test_orientation_in_another_type(tmp_path: Path, given: tuple[object, ...]) -> None:
    field = read(tmp_path, tiff(extratags=[given]), "a.tif")
    assert np.array_equal(field.pixels[:, :, ::-1], np.rot90(RGB, -1))
    field = read(tmp_path, tiff(extratags=[(274, 2, 2, "x", True)]), "b.tif")
    assert np.array_equal(field.pixels[:, :, ::-1], RGB)


def test_scans_that_are_missing_at_the_end_are_damage(tmp_path: Path) -> None:
    for mode in ("RGB", "L", "CMYK"):
        whole = encode(Image.fromarray(RGB).convert(mode), "JPEG", progressive=True, quality=95)
        assert read(tmp_path, whole, "a.jpg").remarks == ()
        at = whole.find(b"\xff\xda")
        while (at := whole.find(b"\xff\xda", at + 2)) >= 0:
            field = read(tmp_path, whole[:at] + b"\xff\xd9", "a.jpg")
            assert any("damaged" in text for text in field.remarks), mode


def test_zeros_in_a_plain_jpeg_are_damage(tmp_path: Path) -> None:
    for options in ({}, {"subsampling": 0}):
        whole = encode(Image.fromarray(np.tile(RGB, (3, 3, 1))), "JPEG", quality=90, **options)
        assert read(tmp_path, whole, "a.jpg").remarks == ()
        for at in range(len(whole) // 4, len(whole) - 200, len(whole) // 20):
            data = whole[:at] + bytes(72) + whole[at + 72 :]
            assert any("damaged" in text for text in read(tmp_path, data, "a.jpg").remarks)
        # Behind the picture and before its end, nobody reads them.
        for data in (whole + bytes(500), whole[:-2] + bytes(500) + whole[-2:]):
            assert read(tmp_path, data, "a.jpg").remarks == ()
    # Where nothing changes, zeros may be what an encoder writes.
    for value in (0, 255):
        blank = Image.new("RGB", (900, 900), (value,) * 3)
        for optimize in (False, True):
            data = encode(blank, "JPEG", optimize=optimize)
            assert read(tmp_path, data, "b.jpg").remarks == ()


def test_several_pictures_in_one_file_are_said(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    first, other = Image.fromarray(RGB), Image.fromarray(np.roll(RGB, 9, 1))
    more: dict[str, Any] = {"save_all": True, "append_images": [other]}
    field = read(tmp_path, encode(first, "MPO", **more), "a.jpg")
    assert field.remarks == ("first of 2 pictures in the file",)
    # Previews, depth and brightness are no other views.
    more["append_images"] = [other.resize((40, 30)), other.convert("L")]
    assert read(tmp_path, encode(first, "MPO", **more), "b.jpg").remarks == ()
    more["append_images"] = [other]
    field = read(tmp_path, encode(first, "HEIF", **more), "c.heic")
    assert field.remarks == ("main one of 2 pictures in the file",)


def test_names_that_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~x.png").write_bytes(encode(Image.fromarray(RGB), "PNG"))
    assert [item.problem for item in search(["~x.png"]).fields] == [None]
    for name in ("~nobody/x.png", "", "a\0b.png"):
        [item] = search([name]).fields
        assert item.problem is not None
    assert "empty name" in str(search([""]).problem())


def test_an_endless_list_of_pictures_takes_no_time() -> None:
    jpeg = encode(Image.fromarray(RGB), "JPEG")
    list_of = b"II*\0" + struct.pack("<IH", 8, 65535) + struct.pack("<HHII", 0xB002, 7, 1 << 30, 8)
    body = b"MPF\0" + list_of * 2000
    data = jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    start = time.process_time()
    assert count_views(data + bytes(3_000_000), read_jpeg_header(data)) == 1
    assert time.process_time() - start < 1


def test_accents_written_in_two_ways_are_two_pictures() -> None:
    names = PictureNames()
    first, second = names.take("d/e\u0301.png"), names.take("d/\u00e9.png")
    assert unicodedata.normalize("NFC", first) != unicodedata.normalize("NFC", second)
