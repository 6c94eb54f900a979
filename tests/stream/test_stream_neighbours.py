"""Films beside the usual ones: several videos, covers, turned, deep, and what is no film."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image
from streaming import HEIGHT, WIDTH, frame_at

from wbcdet.stream.sources.base import Frame, SourceError
from wbcdet.stream.sources.latest_frame import Notice, watch
from wbcdet.stream.sources.open import open_source

PICTURES = [frame_at(12 * i, 100) for i in range(4)]


def looked(path: Path) -> tuple[list[Frame], str]:
    items = list(watch(open_source(str(path)), 0.0))
    said = " ".join(item.text for item in items if isinstance(item, Notice))
    return [item for item in items if isinstance(item, Frame)], said


def close(frame: Frame, picture: np.ndarray, within: float = 5.0) -> bool:
    return frame.pixels.shape == picture.shape and bool(
        np.abs(frame.pixels.astype(int) - picture).mean() < within
    )


def write(path: Path, pixel: str = "yuv420p", codec: str = "libx264", curve: int = 2) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=15)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, pixel
        stream.options = {"crf": "12", "preset": "ultrafast"} if "264" in codec else {}
        stream.codec_context.color_trc = curve
        for picture in PICTURES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode())
    return path


def test_of_several_videos_the_largest_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        small, large = (container.add_stream("libx264", rate=15) for _ in range(2))
        small.width, small.height, small.pix_fmt = 64, 48, "yuv420p"
        large.width, large.height, large.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in PICTURES:
            for stream in (small, large):
                frame = av.VideoFrame.from_ndarray(
                    cv2.resize(picture, (stream.width, stream.height)), format="bgr24"
                )
                container.mux(stream.encode(frame))
        for stream in (small, large):
            container.mux(stream.encode())
    frames, said = looked(path)
    assert len(frames) == len(PICTURES) and close(frames[0], PICTURES[0])
    assert f"holds 2 videos; that of {WIDTH} x {HEIGHT} is looked at" in said


@pytest.mark.parametrize(
    ("name", "pixel", "codec"),
    [
        ("deep.mkv", "yuv420p10le", "libx264"),
        ("full.mkv", "yuvj420p", "libx264"),
        ("deep.mkv", "gbrp16le", "ffv1"),
        ("plain.avi", "bgr24", "rawvideo"),
        ("png.mov", "rgb24", "png"),
    ],
)
def test_films_of_other_depths_and_codecs(
    tmp_path: Path, name: str, pixel: str, codec: str
) -> None:
    frames, said = looked(write(tmp_path / name, pixel, codec))
    assert [close(*pair) for pair in zip(frames, PICTURES, strict=True)] == [True] * 4
    assert said == ""


def test_high_contrast_is_said(tmp_path: Path) -> None:
    assert "high contrast (HDR)" in looked(write(tmp_path / "hdr.mkv", "yuv420p10le", curve=16))[1]


@pytest.mark.parametrize(
    ("turns", "matrix"), [(3, (0, 1, -1, 0)), (2, (-1, 0, 0, -1)), (1, (0, -1, 1, 0))]
)
def test_telephones_note_the_turn(tmp_path: Path, turns: int, matrix: tuple[int, ...]) -> None:
    path = write(tmp_path / "turned.mp4")
    data = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, data.find(b"tkhd") + 44, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    frames, _ = looked(path)
    assert close(frames[0], np.ascontiguousarray(np.rot90(PICTURES[0], turns)))


def test_pictures_are_no_films(tmp_path: Path) -> None:
    first, *more = (Image.fromarray(picture[:, :, ::-1]) for picture in PICTURES)
    for name in ("a.webp", "a.avif", "a.tif"):
        first.save(tmp_path / name, save_all=True, append_images=more)
        with pytest.raises(SourceError, match="no film; analyse it with wbcdet predict"):
            open_source(str(tmp_path / name))
    first.save(tmp_path / "a.gif", save_all=True, append_images=more, duration=100)
    assert len(looked(tmp_path / "a.gif")[0]) == 4
    for pattern in ("f%03d.png", "*.png"):
        with pytest.raises(SourceError, match="name their folder"):
            open_source(str(tmp_path / pattern))
