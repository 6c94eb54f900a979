"""Picture files that are damaged, hold several pictures, or promise more than a machine has."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from picture_stage import Stage, case, chunk, heic, simple
from PIL import Image


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
_damaged("HEIC", "h.heic", heic, 6)
_damaged("AVIF", "a.avif", lambda s: s.pillow("AVIF", quality=95), 6)


def _animated(kind: str, stage: Stage, **options: Any) -> bytes:
    first = Image.fromarray(stage.rgb)
    more = [Image.fromarray(np.roll(stage.rgb, 40 * n, 1)) for n in range(1, 4)]
    return stage.pillow(kind, first, save_all=True, append_images=more, **options)


simple("5", "animated PNG", "a.png", lambda s: _animated("PNG", s), "same+marked")
simple("5", "animated WebP", "a.webp", lambda s: _animated("WEBP", s, lossless=True), "same+marked")
simple("5", "animated GIF", "a.gif", lambda s: _animated("GIF", s), "marked")
simple("5", "animated AVIF", "a.avif", lambda s: _animated("AVIF", s, quality=95), "same+marked")


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


simple("5", "JPEG of two views (MPO)", "x.jpg", lambda s: _with_another(s, "MPO"), "same+marked")


@case("5", "HEIC of a burst", "same+marked")
def _(stage: Stage) -> None:
    heic(stage)  # makes the format known
    stage.write("burst.heic", _with_another(stage, "HEIF"))


# --- 7: bombs --------------------------------------------------------------------------------


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
