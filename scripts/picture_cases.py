"""Picture files as people have them: other formats, deep samples, the many things a TIFF holds.

More cases: write a function that takes a ``Stage`` and put ``@case("section", "title")`` over it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import imagecodecs
import numpy as np
import tifffile
from picture_stage import Stage, case, deep, heic, simple, with_chunk
from PIL import Image

# --- 2: other names, other formats -----------------------------------------------------------

simple("2", "HEIC", "phone.heic", heic)
simple("2", "AVIF", "phone.avif", lambda s: s.pillow("AVIF", quality=95))
simple("2", "JPEG XL", "x.jxl", lambda s: imagecodecs.jpegxl_encode(s.rgb, lossless=True))
simple("2", "JPEG 2000", "x.jp2", lambda s: s.pillow("JPEG2000"))
simple(
    "2", "JPEG 2000, 16 bit", "x16.j2k", lambda s: imagecodecs.jpeg2k_encode(deep(s, 16), level=0)
)
simple("2", "TIFF called .btf", "x.btf", lambda s: s.tiff(bigtiff=True))
simple("2", "TIFF called .tf8", "x.tf8", lambda s: s.tiff(bigtiff=True))
simple("2", "PNG called .apng", "x.apng", lambda s: s.pillow("PNG"))
simple("2", "JPEG called .jps", "x.jps", lambda s: s.pillow("JPEG", quality=95))
simple("2", "JPEG called .png", "x.png", lambda s: s.pillow("JPEG", quality=95))
simple("2", "PPM", "x.ppm", lambda s: s.pillow("PPM"))
for _name, _data in {
    "slide.czi": b"ZISRAWFILE" + bytes(600),
    "slide.vsi": b"II*\0" + bytes(600),
    "slide.svs": b"II*\0" + bytes(600),
    "slide.ndpi": b"II*\0" + bytes(600),
    "slide.lif": b"\x70\0\0\0\x10\0\0\0*" + bytes(600),
    "slide.nd2": b"\xda\xce\xbe\x0a" + bytes(600),
    "slide.dcm": bytes(128) + b"DICM" + bytes(600),
    "slides.zip": b"PK\x03\x04" + bytes(600),
    "raw.nef": b"MM\0*" + bytes(600),
}.items():
    simple("2", f"{_name} in a folder", _name, lambda s, d=_data: d, "refused")
simple("2", "JPEG-LS", "x.jls", lambda s: imagecodecs.jpegls_encode(s.rgb))
simple("2", "JPEG called .nef", "x.nef", lambda s: s.pillow("JPEG", quality=95))
simple("2", "PNG called .dcm", "x.dcm", lambda s: s.pillow("PNG"))
simple(
    "2",
    "16-bit PPM",
    "x16.ppm",
    lambda s: b"P6 640 480 65535\n" + deep(s, 16).astype(">u2").tobytes(),
)
simple(
    "2",
    "placeholder of Git LFS",
    "x.png",
    lambda s: b"version https://git-lfs.github.com/spec/v1\n",
    "refused",
)


# --- 3: deep pictures ------------------------------------------------------------------------


def _turned(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


@case("3", "16-bit PNG, EXIF orientation 6")
def _(stage: Stage) -> None:
    data = imagecodecs.png_encode(np.ascontiguousarray(np.rot90(deep(stage, 16), 1)))
    stage.write("turned.png", with_chunk(data, b"eXIf", _turned(6)))


simple(
    "3",
    "16-bit white-is-zero grey TIFF, against grey",
    "w.tif",
    lambda s: s.tiff(
        65535 - cv2.cvtColor(deep(s, 16), cv2.COLOR_RGB2GRAY), photometric="miniswhite"
    ),
    "grey",
)
simple(
    "3",
    "16-bit CMYK TIFF",
    "cmyk16.tif",
    lambda s: s.tiff(
        np.asarray(Image.fromarray(s.rgb).convert("CMYK")).astype(np.uint16) * 257,
        photometric="separated",
    ),
)
simple(
    "3",
    "16-bit TIFF, orientation 6",
    "t6.tif",
    lambda s: s.tiff(
        np.ascontiguousarray(np.rot90(deep(s, 16), 1)), extratags=[(274, 3, 1, 6, True)]
    ),
)
simple(
    "3",
    "16-bit PNG, grey and alpha, against grey",
    "ga.png",
    lambda s: imagecodecs.png_encode(
        np.dstack(
            [cv2.cvtColor(deep(s, 16), cv2.COLOR_RGB2GRAY), np.full((480, 640), 65535, np.uint16)]
        )
    ),
    "grey",
)


# --- 4: TIFF says what it is -----------------------------------------------------------------


@case("4", "thumbnail (subfiletype 1) before the picture")
def _(stage: Stage) -> None:
    small = cv2.resize(stage.rgb, (160, 120), interpolation=cv2.INTER_AREA)
    with tifffile.TiffWriter(stage.folder / "thumb.tif") as file:
        file.write(small, photometric="rgb", subfiletype=1, metadata=None)
        file.write(stage.rgb, photometric="rgb", metadata=None)


@case("4", "thumbnail that no tag tells")
def _(stage: Stage) -> None:
    small = cv2.resize(stage.rgb, (160, 120), interpolation=cv2.INTER_AREA)
    with tifffile.TiffWriter(stage.folder / "thumb.tif") as file:
        file.write(small, photometric="rgb", metadata=None)
        file.write(stage.rgb, photometric="rgb", metadata=None)


@case("4", "TIFF/EP: the picture in a SubIFD of its thumbnail")
def _(stage: Stage) -> None:
    small = cv2.resize(stage.rgb, (160, 120), interpolation=cv2.INTER_AREA)
    with tifffile.TiffWriter(stage.folder / "ep.tif") as file:
        file.write(small, photometric="rgb", subifds=1, subfiletype=1, metadata=None)
        file.write(stage.rgb, photometric="rgb", subfiletype=0, metadata=None)


def _planes(stage: Stage, blurs: Sequence[float]) -> np.ndarray:
    noise = np.random.default_rng(0)
    planes = [cv2.GaussianBlur(stage.rgb, (0, 0), blur) if blur else stage.rgb for blur in blurs]
    return np.stack(
        [
            np.clip(plane + noise.normal(0, 1.5, plane.shape), 0, 255).astype(np.uint8)
            if blur
            else plane
            for plane, blur in zip(planes, blurs, strict=True)
        ]
    )


_FOCUS = (6.0, 4.0, 2.0, 0.0, 2.0, 4.0, 6.0)
for _kind in ("ome", "imagej"):
    simple(
        "4",
        f"Z stack, axes ZYXS ({_kind})",
        f"z-{_kind}.tif",
        lambda s, k=_kind: s.tiff(_planes(s, _FOCUS), metadata={"axes": "ZYXS"}, **{k: True}),
        "same+marked",
    )
simple(
    "4",
    "time series of one place",
    "t.tif",
    lambda s: s.tiff(_planes(s, (0, 1, 1, 1)), ome=True, metadata={"axes": "TYXS"}),
    "same+marked",
)
simple(
    "4",
    "Z stack without any label",
    "plain.tif",
    lambda s: s.tiff(_planes(s, (3, 0, 3)), metadata=None),
    "same+marked",
)
simple(
    "4",
    "three equal pages",
    "equal.tif",
    lambda s: s.tiff(np.stack([s.rgb] * 3), metadata=None),
    "same+marked",
)
simple(
    "4",
    "Z stack of three separate channels",
    "zc.tif",
    lambda s: s.tiff(
        np.ascontiguousarray(_planes(s, (3, 0, 3)).transpose(0, 3, 1, 2)),
        photometric="minisblack",
        ome=True,
        metadata={"axes": "ZCYX"},
    ),
    "same+marked",
)
simple("4", "packed 12 bit", "p12.tif", lambda s: _packed(s))
simple("4", "float RGB 0..1", "float.tif", lambda s: s.tiff((s.rgb / 255).astype(np.float32)))
simple("4", "int16", "int16.tif", lambda s: s.tiff(s.rgb.astype(np.int16) << 7))
simple(
    "4",
    "int16, less 32768",
    "half.tif",
    lambda s: s.tiff((s.rgb.astype(np.int32) * 257 - 32768).astype(np.int16)),
)
simple("4", "Lab 8", "lab8.tif", lambda s: _lab(s, 8))
simple("4", "Lab 16", "lab16.tif", lambda s: _lab(s, 16))
simple(
    "4",
    "grey and alpha 16, against grey",
    "ga.tif",
    lambda s: s.tiff(
        np.dstack(
            [cv2.cvtColor(deep(s, 16), cv2.COLOR_RGB2GRAY), np.full((480, 640), 65535, np.uint16)]
        ),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    ),
    "grey",
)
simple(
    "4",
    "12-bit JPEG",
    "j12.jpg",
    lambda s: imagecodecs.jpeg_encode(deep(s, 12), level=97, bitspersample=12),
)
simple(
    "4",
    "CMYK JPEG",
    "cmyk.jpg",
    lambda s: s.pillow("JPEG", Image.fromarray(s.rgb).convert("CMYK"), quality=95),
)
simple(
    "4",
    "bilevel TIFF",
    "bits.tif",
    lambda s: s.pillow("TIFF", Image.fromarray(s.rgb).convert("1")),
    "any",
)
simple(
    "4",
    "raw sensor data (CFA)",
    "cfa.tif",
    lambda s: s.tiff(deep(s, 12)[:, :, 0], photometric="cfa"),
    "refused",
)


def _packed(stage: Stage) -> bytes:
    return stage.tiff(deep(stage, 12), bitspersample=12)


def _lab(stage: Stage, bits: int) -> bytes:
    lab = cv2.cvtColor((stage.rgb / 255).astype(np.float32), cv2.COLOR_RGB2Lab)
    most = (1 << bits) - 1
    light = np.rint(lab[:, :, :1] / 100 * most)
    colour = np.rint(lab[:, :, 1:] * (1 if bits == 8 else 256))
    kind, signed = (np.uint8, np.int8) if bits == 8 else (np.uint16, np.int16)
    stored = np.concatenate([light.astype(kind), colour.astype(signed).view(kind)], 2)
    return stage.tiff(stored, photometric="cielab")


@case("4", "LZW TIFF whose only block has no size")
def _(stage: Stage) -> None:
    file = io.BytesIO(stage.tiff(compression="lzw", rowsperstrip=480))
    with tifffile.TiffFile(file, mode="r+b") as opened:
        opened.pages[0].tags[279].overwrite(0)  # type: ignore[union-attr]
    stage.write("nosize.tif", file.getvalue())
