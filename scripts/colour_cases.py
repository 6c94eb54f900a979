"""Picture files in other colours than sRGB, by a profile, a code or a tag."""

from __future__ import annotations

import io
import struct
import zlib

import imagecodecs
import numpy as np
from picture_stage import Stage, case, heic, simple, with_chunk
from PIL import Image, ImageCms


def _linear(stage: Stage) -> np.ndarray:
    value = stage.rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.rint(linear * 65535).astype(np.uint16)


def _straight() -> bytes:
    corners = [0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1]
    white = (0.3127, 0.329, 1.0)
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=corners, gamma=1.0))


def _profiled(stage: Stage, name: str) -> tuple[Image.Image, bytes]:
    """Return the picture in the colours of another profile."""
    white = {"prophoto": (0.3457, 0.3585, 1.0)}.get(name, (0.3127, 0.329, 1.0))
    corners, gamma = {
        "p3": ([0.68, 0.32, 1, 0.265, 0.69, 1, 0.15, 0.06, 1], 2.2),
        "adobe": ([0.64, 0.33, 1, 0.21, 0.71, 1, 0.15, 0.06, 1], 2.19921875),
        "prophoto": ([0.7347, 0.2653, 1, 0.1596, 0.8404, 1, 0.0366, 0.0001, 1], 1.8),
    }[name]
    profile = bytes(
        imagecodecs.cms_profile("rgb", whitepoint=white, primaries=corners, gamma=gamma)
    )
    turned = ImageCms.profileToProfile(
        Image.fromarray(stage.rgb), ImageCms.createProfile("sRGB"), io.BytesIO(profile)
    )
    assert turned is not None
    turned.info.pop("icc_profile", None)
    return turned, profile


for _profile in ("p3", "adobe", "prophoto"):
    for _kind, _ending in (("PNG", "png"), ("TIFF", "tif"), ("JPEG", "jpg"), ("WEBP", "webp")):

        @case("6", f"{_kind} in {_profile}")
        def _(stage: Stage, p: str = _profile, k: str = _kind, e: str = _ending) -> None:
            picture, profile = _profiled(stage, p)
            options = {"JPEG": {"quality": 97, "subsampling": 0}, "WEBP": {"lossless": True}}
            stage.write(
                f"{p}.{e}", stage.pillow(k, picture, icc_profile=profile, **options.get(k, {}))
            )


for _profile in ("p3", "adobe", "prophoto"):

    @case("6", f"HEIC in {_profile}")
    def _(stage: Stage, p: str = _profile) -> None:
        picture, profile = _profiled(stage, p)
        stage.write(f"{p}.heic", heic(stage, picture, icc_profile=profile))

    @case("6", f"AVIF in {_profile}")
    def _(stage: Stage, p: str = _profile) -> None:
        picture, profile = _profiled(stage, p)
        data = stage.pillow("AVIF", picture, quality=97, subsampling="4:4:4", icc_profile=profile)
        stage.write(f"{p}.avif", data)

    @case("6", f"JPEG XL of a JPEG in {_profile}")
    def _(stage: Stage, p: str = _profile) -> None:
        picture, profile = _profiled(stage, p)
        jpeg = stage.pillow("JPEG", picture, quality=97, subsampling=0, icc_profile=profile)
        stage.write(f"{p}.jxl", imagecodecs.jpegxl_encode_jpeg(jpeg))

    @case("6", f"16-bit PNG in {_profile}")
    def _(stage: Stage, p: str = _profile) -> None:
        picture, profile = _profiled(stage, p)
        png = imagecodecs.png_encode(np.asarray(picture).astype(np.uint16) * 257)
        stage.write("16.png", with_chunk(png, b"iCCP", b"x\0\0" + zlib.compress(profile)))


@case("6", "PNG in Display P3, by the code cICP alone")
def _(stage: Stage) -> None:
    png = stage.pillow("PNG", _profiled(stage, "p3")[0])
    stage.write("code.png", with_chunk(png, b"cICP", bytes([12, 13, 0, 1])))


@case("6", "PNG of straight samples, by gAMA alone")
def _(stage: Stage) -> None:
    png = imagecodecs.png_encode(_linear(stage))
    stage.write("linear.png", with_chunk(png, b"gAMA", struct.pack(">I", 100_000)))


@case("6", "16-bit TIFF in Adobe RGB")
def _(stage: Stage) -> None:
    picture, profile = _profiled(stage, "adobe")
    stage.write(
        "a16.tif", stage.tiff(np.asarray(picture).astype(np.uint16) * 257, iccprofile=profile)
    )


@case("6", "JPEG of a camera in Adobe RGB, by EXIF alone")
def _(stage: Stage) -> None:
    picture, _ = _profiled(stage, "adobe")
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0xA005] = {1: "R03"}
    stage.write("r03.jpg", stage.pillow("JPEG", picture, quality=97, subsampling=0, exif=tags))


simple(
    "6",
    "16-bit TIFF of straight samples",
    "l.tif",
    lambda s: s.tiff(_linear(s), iccprofile=_straight()),
)
simple(
    "6",
    "float TIFF of straight samples",
    "f.tif",
    lambda s: s.tiff((_linear(s) / 65535).astype(np.float32), iccprofile=_straight()),
)
