"""Decoding: whole pictures give upright BGR pixels, anything else one clear line."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import close_to, encode, grain
from PIL import Image, ImageCms

from wbcdet.io.decode import decode
from wbcdet.io.errors import FieldError
from wbcdet.settings import Settings


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""
    body = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    idat = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body) + idat + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95}),
        ("JPEG", {"quality": 95, "progressive": True}),
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_formats_give_the_same_bgr_pixels(kind: str, options: dict[str, object]) -> None:
    rgb = grain()
    pixels = decode(encode(Image.fromarray(rgb), kind, **options), 10_000)
    assert pixels.shape == (48, 64, 3)
    assert pixels.dtype == np.uint8 and pixels.flags.c_contiguous
    assert close_to(pixels, rgb)


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 92},
        {"quality": 60, "subsampling": 2},
        {"quality": 95, "subsampling": 0},
        {"progressive": True},
        {"optimize": True, "restart_marker_rows": 1},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_read_as_pillow_reads_it(mode: str, options: dict[str, object]) -> None:
    data = encode(Image.fromarray(grain(99, 131)).convert(mode), "JPEG", **options)
    expected = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    assert np.array_equal(decode(data, Settings().max_pixels)[:, :, ::-1], expected)


def test_a_damaged_jpeg_is_left_to_pillow() -> None:
    data = encode(Image.fromarray(grain(99, 131)), "JPEG")
    middle = len(data) * 3 // 4
    odd = data[:middle] + bytes(value ^ 0x15 for value in data[middle : middle + 4])
    odd += data[middle + 4 :]
    expected = np.asarray(Image.open(BytesIO(odd)).convert("RGB"))
    assert np.array_equal(decode(odd, Settings().max_pixels)[:, :, ::-1], expected)


@pytest.mark.parametrize("archive", ["bccd", "bcisc", "txl-pbc"])
def test_real_jpeg_is_read_as_pillow_reads_it(data_dir: Path, archive: str) -> None:
    with zipfile.ZipFile(data_dir / f"{archive}.zip") as packed:
        names = [name for name in sorted(packed.namelist()) if name.endswith(".jpg")]
        for name in names[:: len(names) // 5]:
            data = packed.read(name)
            expected = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
            assert np.array_equal(decode(data, 10**8)[:, :, ::-1], expected), name


def test_grey_and_palette_become_three_channels() -> None:
    grey = grain()[:, :, 0]
    for kind in ("JPEG", "PNG", "GIF"):
        pixels = decode(encode(Image.fromarray(grey), kind), 10_000)
        assert pixels.shape == (48, 64, 3)
        assert np.abs(pixels[:, :, 1].astype(int) - grey).mean() < 4
    palette = Image.fromarray(grain()).quantize(64)
    assert close_to(decode(encode(palette, "PNG"), 10_000), np.asarray(palette.convert("RGB")), 1)


def test_alpha_is_laid_on_white() -> None:
    rgba = np.dstack([grain(), np.full((48, 64), 255, np.uint8)])
    rgba[:, :32, 3] = 0
    for kind in ("PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        pixels = decode(encode(Image.fromarray(rgba), kind, **options), 10_000)
        assert (pixels[:, :32] == 255).all()
        assert close_to(pixels[:, 32:], rgba[:, 32:, :3], 1)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    rgb = grain()
    cmyk = Image.fromarray(rgb).convert("CMYK")
    data = encode(cmyk, "JPEG", quality=95)
    assert b"Adobe" in data  # the writer stores it inverted, as Adobe does
    assert close_to(decode(data, 10_000), rgb, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    rgb = grain()
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(turns[orientation](rgb))
    exif = Image.Exif()
    exif[274] = orientation
    pixels = decode(encode(Image.fromarray(stored), "JPEG", quality=95, exif=exif), 10_000)
    assert pixels.shape == rgb.shape
    assert close_to(pixels, rgb)


@pytest.mark.parametrize(("tag", "turned"), [(None, True), (1, False)])
def test_an_old_xmp_does_not_turn_what_exif_says_is_upright(tag: int | None, turned: bool) -> None:
    rgb = grain()
    exif = Image.Exif()
    exif[271] = "camera"
    if tag is not None:
        exif[274] = tag
    xmp = b'<rdf:Description tiff:Orientation="3"/>'
    data = encode(Image.fromarray(rgb), "JPEG", quality=95, exif=exif, xmp=xmp)
    assert close_to(decode(data, 10_000), rgb[::-1, ::-1] if turned else rgb)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("ending", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_files_of_any_sensor_depth(bits: int, ending: str, channels: int) -> None:
    bgr = grain()[:, :, :channels].astype(np.float64)
    bgr[0, 0] = 255  # a bright-field ground reaches near the top of the range
    deep = np.rint(bgr / 255 * ((1 << bits) - 1)).astype(np.uint16)
    done, data = cv2.imencode(ending, deep)
    assert done
    pixels = decode(data.tobytes(), 10_000)
    assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(float) - bgr).max() <= 1.0


def test_animations_and_pages_give_their_first_picture() -> None:
    first, second = Image.new("RGB", (20, 10), (200, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 200))
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encode(first, kind, save_all=True, append_images=[second])
        pixels = decode(data, 1000)
        assert pixels.shape == (10, 20, 3)
        assert pixels[5, 5, 2] > 150 and pixels[5, 5, 0] < 60, kind


def test_colour_profile_and_thumbnail_do_no_harm() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = grain()
    data = encode(Image.fromarray(rgb), "JPEG", quality=95, icc_profile=profile)
    assert close_to(decode(data + b"camera's own trailer" * 20, 10_000), rgb)


def test_a_bomb_is_refused_by_its_header() -> None:
    with pytest.raises(FieldError, match="20000 x 20000 pixels is over the limit"):
        decode(png_header(20_000, 20_000), Settings().max_pixels)
    with pytest.raises(FieldError, match="over the limit"):
        decode(encode(Image.new("RGB", (64, 48)), "JPEG"), 3000)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.98])
def test_a_cut_file_is_a_failure_never_half_a_field(kind: str, share: float) -> None:
    rng = np.random.default_rng(1)
    data = encode(Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)), kind)
    part = data[: int(len(data) * share)]
    with pytest.raises(FieldError):
        decode(part, 10_000)
    # What an interrupted copy leaves where the space was reserved: zeros in place of the end.
    if kind in ("JPEG", "PNG"):
        with pytest.raises(FieldError):
            decode(part + bytes(len(data) - len(part)), 10_000)


def test_a_cut_jpeg_with_a_whole_thumbnail_is_a_failure() -> None:
    thumbnail = encode(Image.new("RGB", (16, 16)), "JPEG")
    whole = encode(Image.fromarray(grain(200, 200)), "JPEG", quality=95)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 8) + b"Thumb\0" + thumbnail
    data = whole[:2] + segment + whole[2:]
    assert decode(data, 100_000).shape == (200, 200, 3)
    with pytest.raises(FieldError, match="cut short"):
        decode(data[: len(data) // 2], 100_000)


def test_random_damage_never_escapes_as_another_error() -> None:
    rng = np.random.default_rng(3)
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"):
        data = encode(Image.fromarray(grain()), kind)
        for _ in range(60):
            damaged = bytearray(data)
            for at in rng.integers(0, len(data), 6):
                damaged[at] = int(rng.integers(256))
            try:
                pixels = decode(bytes(damaged), 100_000)
            except FieldError:
                continue
            assert pixels.ndim == 3 and pixels.dtype == np.uint8
