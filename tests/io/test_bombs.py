"""Small files that promise hours of work or gigabytes: each is one line within seconds."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import encode, grain
from PIL import Image

from wbcdet.io import decoder_process
from wbcdet.io.decode import decode
from wbcdet.io.discover import find_fields
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.io.memory import PixelMemory, Place, pixel_memory
from wbcdet.settings import Settings

RGB = np.ascontiguousarray(grain(150, 200))
SIDE = 14_000


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def jpeg(**options: object) -> bytes:
    return encode(Image.fromarray(RGB), "JPEG", quality=90, **options)


def gif() -> bytes:
    screen = struct.pack("<HH", SIDE, SIDE)
    return b"GIF89a" + screen + b"\xf0\0\0\xff\xff\xff\0\0\0,\0\0\0\0" + screen + b"\0\2\2D\1\0;"


def claiming_jpeg() -> bytes:
    data = jpeg()
    frame = data.find(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", SIDE, SIDE) + data[frame + 9 :]


def scans(number: int) -> bytes:
    data = jpeg(progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + last * number + b"\xff\xd9"


def png(*chunks: bytes, side: int = SIDE) -> bytes:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def pages(number: int, *, circle: bool = False) -> bytes:
    tags = ((256, 3, 8), (257, 3, 8), (258, 3, 8), (262, 3, 1), (273, 4, 8), (279, 4, 64))
    page = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags
    )
    size = len(page) + 4
    start = 72
    body = b"".join(
        page + struct.pack("<I", start + size * (at + 1) if at < number - 1 else 0)
        for at in range(number)
    )
    if circle:
        body = body[:-4] + struct.pack("<I", start)
    return b"II*\0" + struct.pack("<I", start) + bytes(64) + body


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "claims.gif": (gif, "cut short"),
    "claims.jpg": (claiming_jpeg, "cut short"),
    "scans.jpg": (lambda: scans(300), "3[0-9]+ scans"),
    "restarts.jpg": (lambda: jpeg()[:2] + b"\xff\xd0" * 3_000_000 + jpeg()[2:], "segments"),
    "fill.jpg": (lambda: jpeg()[:2] + b"\xff" * 3_000_000 + jpeg()[2:], "segments"),
    "comments.jpg": (lambda: jpeg()[:2] + b"\xff\xfe\0\2" * 500_000 + jpeg()[2:], "segments"),
    "empty.png": (lambda: png(chunk(b"IDAT", b"")), "cut short"),
    "chunks.png": (lambda: png(chunk(b"tEXt", b"a\0b") * 200_000), "chunks"),
    "large.png": (
        lambda: png(chunk(b"IDAT", zlib.compress(bytes(SIDE * (3 * SIDE + 1)), 1))),
        "GB of memory",
    ),
    "circle.tif": (lambda: pages(5, circle=True), "circle"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_line(tmp_path: Path, name: str) -> None:
    make, said = BOMBS[name]
    (tmp_path / name).write_bytes(make())
    start = time.process_time()
    with pytest.raises(FieldError, match=said) as caught:
        read_field(tmp_path / name)
    assert time.process_time() - start < 5
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_markers_in_the_picture_take_no_time(tmp_path: Path) -> None:
    data = jpeg()
    (tmp_path / "a.jpg").write_bytes(data[:3000] + b"\xff\xd0" * 3_000_000 + data[3000:])
    start = time.process_time()
    with suppress(FieldError):
        assert read_field(tmp_path / "a.jpg").remarks
    assert time.process_time() - start < 5


def test_pages_beyond_a_limit_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tiff_pages", "planes"):
        monkeypatch.setattr(f"wbcdet.io.{module}.MAX_PAGES", 20)
    (tmp_path / "pages.tif").write_bytes(pages(3000))
    found = find_fields([tmp_path])
    assert len(found) < 25
    assert found[-1].problem is not None and "more than 20 pages" in found[-1].problem


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture is quick: all are decoded in the other process."""
    monkeypatch.setattr("wbcdet.io.codecs.jpeg.QUICK_PASSES", 0)
    for module in ("png", "by_pillow"):
        monkeypatch.setattr(f"wbcdet.io.codecs.{module}.QUICK_PIXELS", 0)


def test_the_other_process_gives_the_same(tmp_path: Path, slow: None) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        path = tmp_path / kind
        path.write_bytes(encode(Image.fromarray(RGB), kind))
        field = read_field(path)
        assert np.array_equal(field.pixels, decode(path.read_bytes(), 10**6))
    (tmp_path / "cut").write_bytes(encode(Image.fromarray(RGB), "PNG")[:2000])
    with pytest.raises(FieldError, match="cut short"):
        read_field(tmp_path / "cut")
    assert read_field(path).pixels.shape == RGB.shape  # a failure does not end it


def test_a_decoder_that_takes_too_long_is_stopped(tmp_path: Path, slow: None) -> None:
    large = Image.new("RGB", (9000, 9000), "white")
    (tmp_path / "a.png").write_bytes(encode(large, "PNG", compress_level=1))
    with pytest.raises(FieldError, match=r"more than 0\.01 s to read"):
        read_field(tmp_path / "a.png", Settings(timeout_s=0.01))
    assert not decoder_process._idle or all(worker.is_ready for worker in decoder_process._idle)
    (tmp_path / "b.jpg").write_bytes(jpeg())
    assert read_field(tmp_path / "b.jpg").pixels.shape == RGB.shape


def test_more_memory_than_there_is_is_refused(tmp_path: Path) -> None:
    for name, data in {
        "a.jpg": jpeg(),
        "a.png": encode(Image.fromarray(RGB), "PNG"),
        "a.tif": encode(Image.fromarray(RGB), "TIFF"),
        "a.jp2": encode(Image.fromarray(RGB), "JPEG2000"),
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FieldError, match="--memory"):
            read_field(tmp_path / name, Settings(memory_bytes=80_000))


def test_memory_is_shared_and_given_back(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    settings = Settings(memory_bytes=123_456_789)
    memory = pixel_memory(settings.memory_bytes)
    field = read_field(tmp_path / "a.jpg", settings)
    view = field.pixels[:10]
    assert memory._used == RGB.nbytes and not memory._working
    del field
    assert memory._used == RGB.nbytes  # a view still holds the pixels
    del view
    assert memory._used == 0
    with pytest.raises(FieldError):
        (tmp_path / "a.jpg").write_bytes(jpeg()[:3000])
        read_field(tmp_path / "a.jpg", settings)
    assert memory._used == 0 and not memory._working


def test_fields_wait_for_those_before_them_and_never_for_later_ones() -> None:
    memory, run = PixelMemory(100), object()
    first = memory.reserve(60, "a", Place(run, 0))
    got: list[int] = []

    def second() -> None:
        memory.reserve(60, "b", Place(run, 1))
        got.append(1)

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    thread.join(0.1)
    assert not got  # it waits while the first is in work
    first.leave_run()
    thread.join(5)
    assert got == [1]
    # What came first although it is later in its run does not hold up the one before it.
    late = PixelMemory(100)
    late.reserve(60, "b", Place(run, 1))
    assert late.reserve(60, "a", Place(run, 0)) is not None


def test_analysis_of_many_large_fields_ends_in_little_memory(tmp_path: Path) -> None:
    from wbcdet import Analyzer

    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg())
    analyzer = Analyzer(Settings(device="cpu", memory_bytes=240_000))
    kept = list(analyzer.analyze_fields(find_fields([tmp_path])))
    assert all(result.failure is None for _, result in kept) and len(kept) == 6
