"""Colours, turns and depths that a file says in ways of its own."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from conftest import encode_tiff
from PIL import Image, ImageCms

from wbcdet.datasets.synthetic import render_field
from wbcdet.io.codecs.picture import TURNS
from wbcdet.io.colour import ALL_CLEAR, HIGH_CONTRAST, named_profile
from wbcdet.io.decode import decode_whole

RGB = np.ascontiguousarray(render_field(3).pixels[:240, :320, ::-1])
GREY = RGB[:, :, 1]


def off(data: bytes, expected: np.ndarray = RGB) -> float:
    """Mean difference of what is read, levels."""
    pixels = decode_whole(data, 10**6).pixels[:, :, ::-1].astype(int)
    return float(np.abs(pixels - expected.reshape(*expected.shape[:2], -1)).mean())


def saved(picture: Image.Image | np.ndarray, kind: str, **options: object) -> bytes:
    data = BytesIO()
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(data, kind, **options)
    return data.getvalue()


def chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    packed = struct.pack(">I", len(body)) + name + body
    return png[:33] + packed + struct.pack(">I", zlib.crc32(name + body)) + png[33:]


def in_profile(profile: bytes) -> Image.Image:
    turned = ImageCms.profileToProfile(
        Image.fromarray(RGB), ImageCms.createProfile("sRGB"), BytesIO(profile)
    )
    assert turned is not None
    turned.info.pop("icc_profile", None)
    return turned


@pytest.mark.parametrize("name", ["adobe-rgb", "display-p3", "bt2020"])
@pytest.mark.parametrize("kind", ["jxl", "jp2", "heic", "avif", "png16"])
def test_profiles_are_followed_in_every_format(kind: str, name: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    profile = named_profile(name)
    picture = in_profile(profile)
    if kind == "jxl":
        jpeg = saved(picture, "JPEG", quality=97, subsampling=0, icc_profile=profile)
        data = imagecodecs.jpegxl_encode_jpeg(jpeg)
    elif kind == "jp2":
        plain = saved(picture, "JPEG2000")
        head, at = plain.find(b"jp2h") - 4, plain.find(b"colr") - 4
        size = int.from_bytes(plain[at : at + 4], "big")
        box = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
        length = int.from_bytes(plain[head : head + 4], "big") - size + len(box)
        data = plain[:head] + struct.pack(">I", length) + plain[head + 4 : at] + box
        data += plain[at + size :]
    elif kind == "png16":
        deep = imagecodecs.png_encode(np.asarray(picture).astype(np.uint16) * 257)
        data = chunk(deep, b"iCCP", b"x\0\0" + zlib.compress(profile))
    elif kind == "heic":
        data = saved(picture, "HEIF", quality=97, chroma=444, icc_profile=profile)
    else:
        data = saved(picture, "AVIF", quality=97, subsampling="4:4:4", icc_profile=profile)
    assert off(data) < 1.8 < off(saved(picture, "PNG"))


def test_deep_jpeg_xl_of_a_sensor_is_shown_as_it_is() -> None:
    assert off(imagecodecs.jpegxl_encode(RGB.astype(np.uint16) * 257, lossless=True)) < 0.01


def test_a_png_names_its_colours_in_four_ways() -> None:
    picture = saved(in_profile(named_profile("display-p3")), "PNG")
    corners = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    assert off(chunk(picture, b"cICP", bytes([12, 13, 0, 1]))) < 1
    assert off(chunk(picture, b"cHRM", corners)) < 1
    value = RGB / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    straight = imagecodecs.png_encode(np.rint(linear * 65535).astype(np.uint16))
    assert off(chunk(straight, b"gAMA", struct.pack(">I", 100_000))) < 1
    assert off(chunk(straight, b"cICP", bytes([1, 8, 0, 1]))) < 1


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"gAMA", bytes(4)),
        (b"gAMA", b"\xff" * 4),
        (b"cHRM", bytes(32)),
        (b"cHRM", b"\xff" * 32),
        (b"cICP", bytes([1, 13, 0, 1])),
        (b"cICP", b"\x0c"),
    ],
)
def test_usual_and_senseless_colours_of_a_png_change_nothing(name: bytes, body: bytes) -> None:
    assert off(chunk(saved(RGB, "PNG"), name, body)) == 0


def test_srgb_goes_before_gamma_and_high_contrast_is_said() -> None:
    plain = saved(RGB, "PNG")
    straight = chunk(plain, b"gAMA", struct.pack(">I", 100_000))
    assert off(chunk(straight, b"sRGB", b"\0")) == 0
    assert decode_whole(chunk(plain, b"cICP", bytes([9, 16, 0, 1])), 10**6).remarks == (
        HIGH_CONTRAST,
    )


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("by", ["boxes", "EXIF"])
def test_heic_is_turned_once(turn: int, by: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    swap, mirror_x, mirror_y = TURNS[turn]
    stored = RGB[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    stored = np.ascontiguousarray(stored.transpose(1, 0, 2) if swap else stored)
    tags = Image.Exif()
    tags[274] = turn
    exif = tags.tobytes() if by == "boxes" else tags  # pillow-heif writes boxes for bytes alone
    data = saved(stored, "HEIF", quality=97, chroma=444, exif=exif)
    assert (b"irot" in data or b"imir" in data) == (by == "boxes")
    assert off(data) < 2


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_of_any_depth_in_16_bits(bits: int, photometric: str) -> None:
    most = (1 << bits) - 1
    values = np.rint(GREY / GREY.max() * most).astype(np.uint16)
    expected = np.repeat(np.rint(values / most * 255)[:, :, None], 3, 2)
    stored = values if photometric == "minisblack" else most - values
    assert off(encode_tiff(stored, photometric=photometric), expected) < 3


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("shift", [0, 8])
def test_palettes_of_two_depths_and_two_scales(bits: int, shift: int) -> None:
    few = Image.fromarray(RGB).quantize(256)
    colours = np.array(few.getpalette()).reshape(-1, 3)
    table = np.zeros((3, 1 << bits), np.uint16)
    table[:, : len(colours)] = colours.T << shift
    index = np.asarray(few).astype(np.uint8 if bits == 8 else np.uint16)
    assert off(encode_tiff(index, photometric="palette", colormap=table), colours[index]) < 0.01


def test_an_empty_fourth_channel_hides_nothing() -> None:
    clear = np.dstack([RGB, np.zeros(GREY.shape, np.uint8)])
    for data in (
        imagecodecs.png_encode(clear),
        imagecodecs.png_encode(clear.astype(np.uint16) * 257),
        saved(clear, "WEBP", lossless=True, exact=True),
        encode_tiff(clear, photometric="rgb", extrasamples=["unassalpha"]),
    ):
        assert off(data) < 0.01
        assert decode_whole(data, 10**6).remarks == (ALL_CLEAR,)
