"""Formats and their ways of saying the same picture: all give the pixels of the plain one."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import close_to, encode, encode_tiff, grain
from PIL import Image, ImageCms

from wbcdet.datasets.synthetic import render_field
from wbcdet.io.discover import find_fields
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.formats import picture_kind

RGB = np.ascontiguousarray(grain(150, 200))


def read(folder: Path, name: str, data: bytes) -> Field:
    (folder / name).write_bytes(data)
    return read_field(folder / name)


def tiff(array: np.ndarray = RGB, **options: Any) -> bytes:
    return encode_tiff(array, **{"photometric": "rgb", **options})


@pytest.fixture(scope="module")
def smear() -> np.ndarray:
    """Return a field of cells, RGB."""
    return np.ascontiguousarray(render_field(4, counts={"neutrophil": 1}).pixels[:, :, ::-1])


def heif(picture: Image.Image, **options: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return encode(picture, "HEIF", **options)


def test_formats_of_telephones_and_archives(tmp_path: Path) -> None:
    picture = Image.fromarray(RGB)
    deep = RGB.astype(np.uint16) * 257
    cases = {
        "a.heic": heif(picture, quality=95),
        "a.avif": encode(picture, "AVIF", quality=95),
        "a.jxl": imagecodecs.jpegxl_encode(RGB, lossless=True),
        "deep.jxl": imagecodecs.jpegxl_encode(deep, lossless=True),
        "a.jp2": encode(picture, "JPEG2000"),
        "deep.j2k": imagecodecs.jpeg2k_encode(deep, level=0),
        "a.ppm": encode(picture, "PPM"),
    }
    for name, data in cases.items():
        field = read(tmp_path, name, data)
        assert close_to(field.pixels, RGB, 2.0), name
        assert field.remarks == (), name
    assert len(find_fields([tmp_path])) == len(cases)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("a.heic", "pi_heif", "pi-heif"),
        ("a.avif", "pi_heif", "pi-heif"),
        ("a.jxl", "pillow_jxl", "pillow-jxl-plugin"),
    ],
)
def test_a_format_without_its_package_names_the_remedy(
    tmp_path: Path, name: str, module: str, package: str
) -> None:
    picture = Image.fromarray(RGB)
    data = {
        "a.heic": lambda: heif(picture),
        "a.avif": lambda: encode(picture, "AVIF"),
        "a.jxl": lambda: imagecodecs.jpegxl_encode(RGB, lossless=True),
    }[name]()
    (tmp_path / name).write_bytes(data)
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from wbcdet.io.decode import decode\nfrom wbcdet.io.errors import FieldError\n"
        f"data = open({str(tmp_path / name)!r}, 'rb').read()\n"
        "try:\n    decode(data, 10**6)\n    print('read')\n"
        "except FieldError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Newer versions of Pillow read AVIF by themselves.
    read_by_itself = name == "a.avif" and told.stdout == "read\n"
    assert read_by_itself or f"pip install {package}" in told.stdout


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.btf", tiff(bigtiff=True)),
        ("a.tf8", tiff(bigtiff=True)),
        ("a.svs", tiff()),
        ("a.apng", encode(Image.fromarray(RGB), "PNG")),
        ("a.dib", encode(Image.fromarray(RGB), "BMP")),
        ("tiff.jpg", tiff()),
    ],
)
def test_what_is_read_under_one_name_is_read_under_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(read(tmp_path, name, data).pixels[:, :, ::-1], RGB)
    assert [item.name for item in find_fields([tmp_path])] == [name]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.czi", b"ZISRAWFILE", "Zeiss microscope file"),
        ("a.vsi", tiff(), "Olympus slide"),
        ("a.mrxs", encode(Image.fromarray(RGB), "JPEG"), "3DHISTECH slide"),
        ("a.lif", b"\x70\0\0\0\x10\0\0\0*", "Leica"),
        ("a.nd2", b"\0\0\0\x0cjP  \r\n\x87\n", "Nikon"),
        ("scan", bytes(128) + b"DICM", "DICOM"),
        ("a.nef", tiff(), "raw file"),
        ("a.zip", b"PK\x03\x04", "zip archive"),
        ("a.ims", b"\x89HDF\r\n\x1a\n", "Imaris"),
        ("a.psd", b"8BPS", "Photoshop"),
        ("a.svg", b"<?xml version='1.0'?><svg/>", "drawing"),
    ],
)
def test_what_is_not_read_says_what_it_is(
    tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    with pytest.raises(FieldError, match=said) as caught:
        read(tmp_path, name, data)
    kind = picture_kind(tmp_path / name)
    assert kind is not None and kind.problem == str(caught.value)
    assert "; " in kind.problem and len(kind.problem) < 160


def test_other_files_are_no_pictures(tmp_path: Path) -> None:
    for name, data in (("a.csv", b"a,b\n"), ("notes", b"text"), ("empty", b"")):
        (tmp_path / name).write_bytes(data)
        assert picture_kind(tmp_path / name) is None


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_deep_png_is_turned_as_a_plain_one(tmp_path: Path, orientation: int) -> None:
    tags = Image.Exif()
    tags[274] = orientation
    plain = read(tmp_path, "a.png", encode(Image.fromarray(RGB), "PNG", exif=tags)).pixels
    data = imagecodecs.png_encode(RGB.astype(np.uint16) * 257)
    body = tags.tobytes().removeprefix(b"Exif\0\0")
    field = read(tmp_path, "b.png", data[:33] + chunk(b"eXIf", body) + data[33:])
    assert np.array_equal(field.pixels, plain)


def cielab(bits: int) -> bytes:
    lab = cv2.cvtColor((RGB / 255).astype(np.float32), cv2.COLOR_RGB2Lab)
    light = np.rint(lab[:, :, :1] / 100 * ((1 << bits) - 1))
    colour = np.rint(lab[:, :, 1:] * (1 if bits == 8 else 256))
    kind, signed = (np.uint8, np.int8) if bits == 8 else (np.uint16, np.int16)
    return tiff(
        np.concatenate([light.astype(kind), colour.astype(signed).view(kind)], 2),
        photometric="cielab",
    )


GREY = RGB[:, :, :1].astype(np.uint16) * 257
DEPTHS: dict[str, Callable[[], bytes]] = {
    "packed 12 bit": lambda: tiff(np.rint(RGB / 255 * 4095).astype(np.uint16), bitspersample=12),
    "fractions": lambda: tiff((RGB / 255).astype(np.float32)),
    "half fractions": lambda: tiff((RGB / 255).astype(np.float16)),
    "signed": lambda: tiff(np.rint(RGB / 255 * 16383).astype(np.int16)),
    "signed, less half": lambda: tiff((RGB.astype(np.int32) * 257 - 32768).astype(np.int16)),
    "Lab 8": lambda: cielab(8),
    "Lab 16": lambda: cielab(16),
    "CMYK 16": lambda: tiff(
        np.asarray(Image.fromarray(RGB).convert("CMYK")).astype(np.uint16) * 257,
        photometric="separated",
    ),
    "12-bit JPEG": lambda: imagecodecs.jpeg_encode(
        np.rint(RGB / 255 * 4095).astype(np.uint16), level=97, bitspersample=12
    ),
    "CMYK JPEG": lambda: encode(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=97),
}


@pytest.mark.parametrize("kind", DEPTHS)
def test_samples_of_any_depth_and_colour_space(tmp_path: Path, kind: str) -> None:
    pixels = read(tmp_path, "a.tif", DEPTHS[kind]()).pixels
    # Lab of OpenCV is of white D65, the file's of D50: a few levels of blue.
    assert close_to(pixels, RGB, 4.0), np.abs(pixels[:, :, ::-1].astype(int) - RGB).mean()


def test_deep_grey_with_alpha_and_from_white_to_black(tmp_path: Path) -> None:
    opaque = np.concatenate([GREY, np.full_like(GREY, 65535)], 2)
    cases = {
        "alpha.png": imagecodecs.png_encode(opaque),
        "alpha.tif": tiff(
            opaque,
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        "white.tif": tiff(65535 - GREY[:, :, 0], photometric="miniswhite"),
        "plain.tif": tiff(GREY[:, :, 0], photometric="minisblack"),
    }
    for name, data in cases.items():
        pixels = read(tmp_path, name, data).pixels
        assert np.array_equal(pixels, RGB[:, :, :1].repeat(3, 2)), name


def focal_planes(smear: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0)
    blurred = [cv2.GaussianBlur(smear, (0, 0), blur) for blur in (5, 3, 0.01, 3, 5)]
    return np.stack([np.clip(p + noise.normal(0, 2, p.shape), 0, 255) for p in blurred]).astype(
        np.uint8
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ome": True, "metadata": {"axes": "ZYXS"}}, "z-stack: plane 3 of 5, the sharpest"),
        ({"imagej": True, "metadata": {"axes": "ZYXS"}}, "z-stack: plane 3 of 5, the sharpest"),
        (
            {"ome": True, "metadata": {"axes": "TYXS"}},
            "time series of one place: picture 3 of 5, the sharpest",
        ),
        ({"metadata": None}, "stack of one place: page 3 of 5, the sharpest"),
        (
            {"metadata": None, "compression": "zlib", "tile": (64, 64)},
            "stack of one place: page 3 of 5, the sharpest",
        ),
    ],
)
def test_planes_of_one_place_are_one_field(
    tmp_path: Path, smear: np.ndarray, options: dict[str, Any], said: str
) -> None:
    planes = focal_planes(smear)
    (tmp_path / "a.tif").write_bytes(tiff(planes, **options))
    [item] = find_fields([tmp_path])
    field = read_field(item)
    assert field.name == "a.tif" or item.number is None
    assert field.remarks == (said,)
    assert np.array_equal(field.pixels[:, :, ::-1], planes[2])


def test_copies_thumbnails_and_other_fields(tmp_path: Path, smear: np.ndarray) -> None:
    other = np.ascontiguousarray(render_field(9).pixels[:, :, ::-1])
    small = cv2.resize(smear, (160, 120), interpolation=cv2.INTER_AREA)
    cases: dict[str, tuple[list[tuple[np.ndarray, dict[str, Any]]], list[tuple[str, ...]]]] = {
        "equal": ([(smear, {})] * 3, [("3 equal pages in the file, read once",)]),
        "told": ([(small, {"subfiletype": 1}), (smear, {})], [()]),
        "untold": ([(small, {}), (smear, {})], [("1 smaller copy of it in the file left out",)]),
        "below": ([(small, {"subfiletype": 1, "subifds": 1}), (smear, {"subfiletype": 0})], [()]),
        "two": ([(smear, {}), (other, {}), (smear[::-1], {})], [(), (), ()]),
        "twice": (
            [(smear, {}), (smear, {}), (other, {})],
            [("2 equal pages in the file, read once",), ()],
        ),
    }
    for name, (pages, remarks) in cases.items():
        path = tmp_path / f"{name}.tif"
        with tifffile.TiffWriter(path) as file:
            for page, options in pages:
                file.write(page, photometric="rgb", metadata=None, contiguous=False, **options)
        fields = [read_field(item) for item in find_fields([path])]
        assert [field.remarks for field in fields] == remarks, name
        assert all(field.pixels.shape == smear.shape for field in fields), name
    assert np.array_equal(read_field(tmp_path / "below.tif").pixels[:, :, ::-1], smear)


def zeroed(data: bytes, seed: int) -> bytes:
    at = int(np.random.default_rng(seed).integers(len(data) // 3, len(data) - 700))
    return data[:at] + bytes(512) + data[at + 512 :]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("WEBP", {"quality": 95}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("JPEG2000", {}),
        ("AVIF", {"quality": 95}),
        ("HEIF", {"quality": 95}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg"}),
    ],
    ids=str,
)
def test_a_damaged_picture_is_a_failure_or_carries_a_mark(
    tmp_path: Path, smear: np.ndarray, name: str, options: dict[str, Any]
) -> None:
    picture = Image.fromarray(smear)
    data = heif(picture, **options) if name == "HEIF" else encode(picture, name, **options)
    assert read(tmp_path, "whole", data).remarks == ()
    for seed in range(5):
        try:
            field = read(tmp_path, "damaged", zeroed(data, seed))
        except FieldError:
            continue
        assert field.remarks and field.remarks[0].startswith("damaged: "), seed


def test_padding_and_odd_markers_are_no_damage(tmp_path: Path, smear: np.ndarray) -> None:
    data = encode(Image.fromarray(smear), "JPEG", quality=90)
    for odd in (
        data[:-2] + bytes(8) + data[-2:],
        data + b"trailer" * 100,
        data[:2] + b"\xff\xfe\0\6\0\0\0\0" + data[2:],
    ):
        assert read(tmp_path, "a.jpg", odd).remarks == ()


def test_blank_pictures_are_no_damage(tmp_path: Path) -> None:
    blank = np.full((1500, 2000, 3), 236, np.uint8)
    blank[700:850, 900:1100] = RGB
    for kind in ("WEBP", "AVIF", "JPEG2000", "JPEG"):
        assert read(tmp_path, "a", encode(Image.fromarray(blank), kind)).remarks == (), kind


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "AVIF"])
def test_of_an_animation_the_first_picture_is_said(tmp_path: Path, kind: str) -> None:
    more = [Image.fromarray(RGB[::-1]), Image.fromarray(RGB[:, ::-1])]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(RGB), kind, save_all=True, append_images=more, **options)
    field = read(tmp_path, "a", data)
    assert field.remarks == ("animation: first of 3 pictures",)
    assert close_to(field.pixels, RGB, 6.0)


def profile_of(corners: list[float], gamma: float) -> bytes:
    return bytes(
        imagecodecs.cms_profile(
            "rgb", whitepoint=(0.3127, 0.329, 1.0), primaries=corners, gamma=gamma
        )
    )


PROFILES = {
    "p3": profile_of([0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], 2.2),
    "adobe": profile_of([0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1], 2.19921875),
    "prophoto": profile_of([0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 0.0001, 1], 1.8),
}


def in_profile(profile: bytes) -> Image.Image:
    turned = ImageCms.profileToProfile(
        Image.fromarray(RGB), ImageCms.createProfile("sRGB"), io.BytesIO(profile)
    )
    assert turned is not None
    return turned


@pytest.mark.parametrize("name", PROFILES)
def test_colours_are_brought_to_srgb(tmp_path: Path, name: str) -> None:
    profile = PROFILES[name]
    turned = in_profile(profile)
    assert not close_to(np.asarray(turned)[:, :, ::-1], RGB, 3.0)
    deep = np.asarray(turned).astype(np.uint16) * 257
    files = {
        "PNG": encode(turned, "PNG", icc_profile=profile),
        "TIFF": encode(turned, "TIFF", icc_profile=profile),
        "16-bit TIFF": tiff(deep, iccprofile=profile),
        "JPEG": encode(turned, "JPEG", icc_profile=profile, quality=97, subsampling=0),
        "WEBP": encode(turned, "WEBP", icc_profile=profile, lossless=True),
        "HEIF": heif(turned, icc_profile=profile, quality=97),
        "AVIF": encode(turned, "AVIF", icc_profile=profile, quality=97),
    }
    for kind, data in files.items():
        assert close_to(read(tmp_path, "a", data).pixels, RGB, 2.5), kind


def test_adobe_rgb_by_exif_alone(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0xA005] = {1: "R03"}
    data = encode(in_profile(PROFILES["adobe"]), "JPEG", quality=97, subsampling=0, exif=tags)
    assert close_to(read(tmp_path, "a.jpg", data).pixels, RGB, 2.5)


def test_a_broken_profile_is_said(tmp_path: Path) -> None:
    for kind in ("PNG", "JPEG", "TIFF"):
        data = encode(Image.fromarray(RGB), kind, icc_profile=b"not a profile" * 20)
        field = read(tmp_path, "a", data)
        assert close_to(field.pixels, RGB) and "profile cannot be read" in field.remarks[0], kind
