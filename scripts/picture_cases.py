"""Picture files as people have them, made by code from a synthetic field.

More cases: write a function that takes a ``Stage`` and put ``@case("section", "title")`` over it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms


@dataclass(frozen=True)
class Stage:
    """Folder and field that a case makes its files from.

    Attributes:
        folder: empty; everything in it is analysed.
        rgb: a field of 640x480 with three white cells, (480, 640, 3) uint8 RGB.
    """

    folder: Path
    rgb: np.ndarray

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def pillow(self, kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
        data = io.BytesIO()
        (picture or Image.fromarray(self.rgb)).save(data, kind, **options)
        return data.getvalue()

    def tiff(self, array: np.ndarray | None = None, **options: Any) -> bytes:
        data = io.BytesIO()
        options.setdefault("photometric", "rgb")
        tifffile.imwrite(data, self.rgb if array is None else array, **options)
        return data.getvalue()


@dataclass(frozen=True)
class Case:
    """A case: its section of the list, its title, and what makes its files.

    Attributes:
        expected: ``same`` (the cells of the PNG), ``marked`` (not read, or read with a remark),
            ``same+marked``, or ``refused``.
    """

    section: str
    title: str
    make: Callable[[Stage], None]
    expected: str


CASES: list[Case] = []


def case(section: str, title: str, expected: str = "same") -> Callable[..., Any]:
    """Register a case."""

    def register(make: Callable[[Stage], None]) -> Callable[[Stage], None]:
        CASES.append(Case(section, title, make, expected))
        return make

    return register


# --- 2: other names, other formats ----------------------------------------------------------


def _simple(
    section: str, title: str, name: str, make: Callable[[Stage], bytes], *rest: str
) -> None:
    @case(section, title, *rest)
    def _(stage: Stage) -> None:
        stage.write(name, make(stage))


def _heic(stage: Stage, picture: Image.Image | None = None, **options: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return stage.pillow("HEIF", picture, quality=97, chroma=444, **options)


_simple("2", "HEIC", "phone.heic", _heic)
_simple("2", "AVIF", "phone.avif", lambda s: s.pillow("AVIF", quality=95))
_simple("2", "JPEG XL", "x.jxl", lambda s: imagecodecs.jpegxl_encode(s.rgb, lossless=True))
_simple("2", "JPEG 2000", "x.jp2", lambda s: s.pillow("JPEG2000"))
_simple(
    "2", "JPEG 2000, 16 bit", "x16.j2k", lambda s: imagecodecs.jpeg2k_encode(_deep(s, 16), level=0)
)
_simple("2", "TIFF called .btf", "x.btf", lambda s: s.tiff(bigtiff=True))
_simple("2", "TIFF called .tf8", "x.tf8", lambda s: s.tiff(bigtiff=True))
_simple("2", "PNG called .apng", "x.apng", lambda s: s.pillow("PNG"))
_simple("2", "JPEG called .jps", "x.jps", lambda s: s.pillow("JPEG", quality=95))
_simple("2", "JPEG called .png", "x.png", lambda s: s.pillow("JPEG", quality=95))
_simple("2", "PPM", "x.ppm", lambda s: s.pillow("PPM"))
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
    _simple("2", f"{_name} in a folder", _name, lambda s, d=_data: d, "refused")


# --- 3: deep pictures -----------------------------------------------------------------------


def _deep(stage: Stage, bits: int) -> np.ndarray:
    return np.rint(stage.rgb / 255 * ((1 << bits) - 1)).astype(np.uint16)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    return png[:33] + chunk(name, body) + png[33:]


def _turned(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes().removeprefix(b"Exif\0\0")


@case("3", "16-bit PNG, EXIF orientation 6")
def _(stage: Stage) -> None:
    data = imagecodecs.png_encode(np.ascontiguousarray(np.rot90(_deep(stage, 16), 1)))
    stage.write("turned.png", _with_chunk(data, b"eXIf", _turned(6)))


_simple(
    "3",
    "16-bit white-is-zero grey TIFF, against grey",
    "w.tif",
    lambda s: s.tiff(
        65535 - cv2.cvtColor(_deep(s, 16), cv2.COLOR_RGB2GRAY), photometric="miniswhite"
    ),
    "grey",
)
_simple(
    "3",
    "16-bit CMYK TIFF",
    "cmyk16.tif",
    lambda s: s.tiff(
        np.asarray(Image.fromarray(s.rgb).convert("CMYK")).astype(np.uint16) * 257,
        photometric="separated",
    ),
)
_simple(
    "3",
    "16-bit TIFF, orientation 6",
    "t6.tif",
    lambda s: s.tiff(
        np.ascontiguousarray(np.rot90(_deep(s, 16), 1)), extratags=[(274, 3, 1, 6, True)]
    ),
)
_simple(
    "3",
    "16-bit PNG, grey and alpha, against grey",
    "ga.png",
    lambda s: imagecodecs.png_encode(
        np.dstack(
            [cv2.cvtColor(_deep(s, 16), cv2.COLOR_RGB2GRAY), np.full((480, 640), 65535, np.uint16)]
        )
    ),
    "grey",
)


# --- 4: TIFF says what it is ----------------------------------------------------------------


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
    _simple(
        "4",
        f"Z stack, axes ZYXS ({_kind})",
        f"z-{_kind}.tif",
        lambda s, k=_kind: s.tiff(_planes(s, _FOCUS), metadata={"axes": "ZYXS"}, **{k: True}),
        "same+marked",
    )
_simple(
    "4",
    "time series of one place",
    "t.tif",
    lambda s: s.tiff(_planes(s, (0, 1, 1, 1)), ome=True, metadata={"axes": "TYXS"}),
    "same+marked",
)
_simple(
    "4",
    "Z stack without any label",
    "plain.tif",
    lambda s: s.tiff(_planes(s, (3, 0, 3)), metadata=None),
    "same+marked",
)
_simple(
    "4",
    "three equal pages",
    "equal.tif",
    lambda s: s.tiff(np.stack([s.rgb] * 3), metadata=None),
    "same+marked",
)
_simple(
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
_simple("4", "packed 12 bit", "p12.tif", lambda s: _packed(s))
_simple("4", "float RGB 0..1", "float.tif", lambda s: s.tiff((s.rgb / 255).astype(np.float32)))
_simple("4", "int16", "int16.tif", lambda s: s.tiff(s.rgb.astype(np.int16) << 7))
_simple(
    "4",
    "int16, less 32768",
    "half.tif",
    lambda s: s.tiff((s.rgb.astype(np.int32) * 257 - 32768).astype(np.int16)),
)
_simple("4", "Lab 8", "lab8.tif", lambda s: _lab(s, 8))
_simple("4", "Lab 16", "lab16.tif", lambda s: _lab(s, 16))
_simple(
    "4",
    "grey and alpha 16, against grey",
    "ga.tif",
    lambda s: s.tiff(
        np.dstack(
            [cv2.cvtColor(_deep(s, 16), cv2.COLOR_RGB2GRAY), np.full((480, 640), 65535, np.uint16)]
        ),
        photometric="minisblack",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    ),
    "grey",
)
_simple(
    "4",
    "12-bit JPEG",
    "j12.jpg",
    lambda s: imagecodecs.jpeg_encode(_deep(s, 12), level=97, bitspersample=12),
)
_simple(
    "4",
    "CMYK JPEG",
    "cmyk.jpg",
    lambda s: s.pillow("JPEG", Image.fromarray(s.rgb).convert("CMYK"), quality=95),
)
_simple(
    "4",
    "bilevel TIFF",
    "bits.tif",
    lambda s: s.pillow("TIFF", Image.fromarray(s.rgb).convert("1")),
    "any",
)
_simple(
    "4",
    "raw sensor data (CFA)",
    "cfa.tif",
    lambda s: s.tiff(_deep(s, 12)[:, :, 0], photometric="cfa"),
    "refused",
)


def _packed(stage: Stage) -> bytes:
    return stage.tiff(_deep(stage, 12), bitspersample=12)


def _lab(stage: Stage, bits: int) -> bytes:
    lab = cv2.cvtColor((stage.rgb / 255).astype(np.float32), cv2.COLOR_RGB2Lab)
    most = (1 << bits) - 1
    light = np.rint(lab[:, :, :1] / 100 * most)
    colour = np.rint(lab[:, :, 1:] * (1 if bits == 8 else 256))
    kind, signed = (np.uint8, np.int8) if bits == 8 else (np.uint16, np.int16)
    stored = np.concatenate([light.astype(kind), colour.astype(signed).view(kind)], 2)
    return stage.tiff(stored, photometric="cielab")


# --- 5: damaged, animated -------------------------------------------------------------------


def _zeroed(data: bytes, seed: int, size: int = 512) -> bytes:
    at = int(np.random.default_rng(seed).integers(len(data) // 4, len(data) - size - 100))
    return data[:at] + bytes(size) + data[at + size :]


def _damaged(title: str, name: str, make: Callable[[Stage], bytes], number: int) -> None:
    @case("5", f"{title} with 512 bytes zeroed, {number} files", "marked")
    def _(stage: Stage) -> None:
        data, path = make(stage), Path(name)
        for seed in range(number):
            stage.write(f"{path.stem}{seed}{path.suffix}", _zeroed(data, seed))


_damaged("JPEG", "j.jpg", lambda s: s.pillow("JPEG", quality=90), 20)
_damaged("progressive JPEG", "p.jpg", lambda s: s.pillow("JPEG", quality=90, progressive=True), 6)
_damaged("WebP", "w.webp", lambda s: s.pillow("WEBP", quality=95), 6)
_damaged("lossless WebP", "l.webp", lambda s: s.pillow("WEBP", lossless=True), 6)
_damaged("PNG", "p.png", lambda s: s.pillow("PNG"), 6)
_damaged("deflate TIFF", "d.tif", lambda s: s.tiff(compression="zlib"), 6)
_damaged("LZW TIFF", "l.tif", lambda s: s.tiff(compression="lzw"), 6)
_damaged("JPEG TIFF", "j.tif", lambda s: s.tiff(compression="jpeg", tile=(128, 128)), 6)
_damaged("JPEG 2000", "j.jp2", lambda s: s.pillow("JPEG2000"), 6)
_damaged("HEIC", "h.heic", _heic, 6)
_damaged("AVIF", "a.avif", lambda s: s.pillow("AVIF", quality=95), 6)


def _animated(kind: str, stage: Stage, **options: Any) -> bytes:
    first = Image.fromarray(stage.rgb)
    more = [Image.fromarray(np.roll(stage.rgb, 40 * n, 1)) for n in range(1, 4)]
    return stage.pillow(kind, first, save_all=True, append_images=more, **options)


_simple("5", "animated PNG", "a.png", lambda s: _animated("PNG", s), "same+marked")
_simple(
    "5", "animated WebP", "a.webp", lambda s: _animated("WEBP", s, lossless=True), "same+marked"
)
_simple("5", "animated GIF", "a.gif", lambda s: _animated("GIF", s), "marked")
_simple("5", "animated AVIF", "a.avif", lambda s: _animated("AVIF", s, quality=95), "same+marked")


# --- 6: colour ------------------------------------------------------------------------------


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
        stage.write(f"{p}.heic", _heic(stage, picture, icc_profile=profile))

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
        stage.write("16.png", _with_chunk(png, b"iCCP", b"x\0\0" + zlib.compress(profile)))


@case("6", "PNG in Display P3, by the code cICP alone")
def _(stage: Stage) -> None:
    png = stage.pillow("PNG", _profiled(stage, "p3")[0])
    stage.write("code.png", _with_chunk(png, b"cICP", bytes([12, 13, 0, 1])))


@case("6", "PNG of straight samples, by gAMA alone")
def _(stage: Stage) -> None:
    value = stage.rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    png = imagecodecs.png_encode(np.rint(linear * 65535).astype(np.uint16))
    stage.write("linear.png", _with_chunk(png, b"gAMA", struct.pack(">I", 100_000)))


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


# --- beside the usual ones ------------------------------------------------------------------


def _linear(stage: Stage) -> np.ndarray:
    value = stage.rgb / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.rint(linear * 65535).astype(np.uint16)


def _straight() -> bytes:
    corners = [0.64, 0.33, 1, 0.3, 0.6, 1, 0.15, 0.06, 1]
    white = (0.3127, 0.329, 1.0)
    return bytes(imagecodecs.cms_profile("rgb", whitepoint=white, primaries=corners, gamma=1.0))


_simple("2", "JPEG-LS", "x.jls", lambda s: imagecodecs.jpegls_encode(s.rgb))
_simple("2", "JPEG called .nef", "x.nef", lambda s: s.pillow("JPEG", quality=95))
_simple("2", "PNG called .dcm", "x.dcm", lambda s: s.pillow("PNG"))
_simple(
    "2",
    "16-bit PPM",
    "x16.ppm",
    lambda s: b"P6 640 480 65535\n" + _deep(s, 16).astype(">u2").tobytes(),
)
_simple(
    "2",
    "placeholder of Git LFS",
    "x.png",
    lambda s: b"version https://git-lfs.github.com/spec/v1\n",
    "refused",
)


@case("4", "LZW TIFF whose only block has no size")
def _(stage: Stage) -> None:
    file = io.BytesIO(stage.tiff(compression="lzw", rowsperstrip=480))
    with tifffile.TiffFile(file, mode="r+b") as opened:
        opened.pages[0].tags[279].overwrite(0)  # type: ignore[union-attr]
    stage.write("nosize.tif", file.getvalue())


@case("5", "progressive JPEG without its last scans", "marked")
def _(stage: Stage) -> None:
    data = stage.pillow("JPEG", quality=95, progressive=True)
    second = data.find(b"\xff\xda", data.find(b"\xff\xda") + 2)
    for name, at in (("one.jpg", second), ("all-but-one.jpg", data.rfind(b"\xff\xda"))):
        stage.write(name, data[:at] + b"\xff\xd9")


@case("5", "JPEG with 64 bytes zeroed, 6 files", "marked")
def _(stage: Stage) -> None:
    data = stage.pillow("JPEG", quality=90)
    for seed in range(6):
        stage.write(f"j{seed}.jpg", _zeroed(data, seed, 72))


def _with_another(stage: Stage, kind: str, **options: Any) -> bytes:
    other = Image.fromarray(np.roll(stage.rgb, 40, 1))
    return stage.pillow(kind, save_all=True, append_images=[other], quality=95, **options)


_simple("5", "JPEG of two views (MPO)", "x.jpg", lambda s: _with_another(s, "MPO"), "same+marked")


@case("5", "HEIC of a burst", "same+marked")
def _(stage: Stage) -> None:
    _heic(stage)  # makes the format known
    stage.write("burst.heic", _with_another(stage, "HEIF"))


_simple(
    "6",
    "16-bit TIFF of straight samples",
    "l.tif",
    lambda s: s.tiff(_linear(s), iccprofile=_straight()),
)
_simple(
    "6",
    "float TIFF of straight samples",
    "f.tif",
    lambda s: s.tiff((_linear(s) / 65535).astype(np.float32), iccprofile=_straight()),
)


# --- 7: bombs -------------------------------------------------------------------------------


def bombs(stage: Stage) -> dict[str, bytes]:
    """Return files whose headers promise more than a machine has."""
    gif = b"GIF89a" + struct.pack("<HH", 14000, 14000) + b"\xf0\0\0\xff\xff\xff\0\0\0,\0\0\0\0"
    gif += struct.pack("<HH", 14000, 14000) + b"\0\x02\x02D\x01\0;"
    jpeg = stage.pillow("JPEG", quality=80)
    frame = jpeg.find(b"\xff\xc0")
    large = jpeg[: frame + 5] + struct.pack(">HH", 14000, 14000) + jpeg[frame + 9 :]
    progressive = stage.pillow("JPEG", quality=90, progressive=True)
    scan = progressive.rfind(b"\xff\xda")
    last = progressive[scan:-2]
    header = struct.pack(">IIBBBBB", 14000, 14000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    white = chunk(b"IDAT", zlib.compress(bytes(14000 * 42001), 9))
    page = struct.pack(
        "<HHHIIHHIIHHIIHHII", 4, 256, 3, 1, 8, 257, 3, 1, 8, 258, 3, 1, 8, 273, 4, 1, 8
    )
    pages = b"".join(
        page + struct.pack("<I", 8 + (len(page) + 4) * (number + 1)) for number in range(300_000)
    )
    webp = stage.pillow("WEBP", Image.new("RGB", (16000, 12000), "white"), lossless=True, method=0)
    return {
        **{f"claims{number}.gif": gif for number in range(6)},
        "claims.jpg": large,
        "scans.jpg": progressive[:-2] + last * 300 + b"\xff\xd9",
        "restarts.jpg": jpeg[:2] + b"\xff\xd0" * 15_000_000 + jpeg[2:],
        "restarts-in-scan.jpg": jpeg[:5000] + b"\xff\xd0" * 15_000_000 + jpeg[5000:],
        "white.png": png + white + chunk(b"IEND", b""),
        "empty.png": png + chunk(b"IDAT", b"") + chunk(b"IEND", b""),
        "chunks.png": png[:33] + chunk(b"tEXt", b"a\0b") * 1_000_000,
        "pages.tif": b"II*\0" + struct.pack("<I", 8) + pages,
        "comments.gif": gif[:13] + b"!\xfe" + b"\x01x" * 5_000_000 + b"\0" + gif[13:],
        "white.webp": webp,
    }


@case("7", "sixteen bombs beside a picture", "bombs")
def _(stage: Stage) -> None:
    for name, data in bombs(stage).items():
        stage.write(name, data)
