"""Helpers of the tests of streams: a smear to pan across, and videos of it."""

from __future__ import annotations

import csv
import socket
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np

from wbcdet.datasets.synthetic import STAINS, SmearField, render_smear

WIDTH, HEIGHT = 640, 480


@lru_cache(maxsize=1)
def smear() -> SmearField:
    """Return a smear of 1800 x 1200 px with a dozen white cells."""
    return render_smear(8, 1800, 1200, cell_px=80, cells_per_mm2=300, stain=STAINS[0])


def frame_at(x: int, y: int, blur: float = 0.0) -> np.ndarray:
    """Return what the camera sees there."""
    part = smear().pixels[y : y + HEIGHT, x : x + WIDTH]
    return cv2.GaussianBlur(part, (0, 0), blur) if blur else part.copy()


def raster(step: int = 160) -> list[tuple[int, int]]:
    """Return the corners of a to and fro over the whole smear."""
    places = []
    xs = list(range(0, 1800 - WIDTH + 1, step))
    for number, y in enumerate(range(0, 1200 - HEIGHT + 1, 360)):
        places += [(x, y) for x in (xs if number % 2 == 0 else xs[::-1])]
    return places


def cells_inside(places: Sequence[tuple[int, int]]) -> int:
    """White cells whose box is wholly inside a frame at one of the corners."""
    return sum(
        any(x <= x0 and y <= y0 and x1 <= x + WIDTH and y1 <= y + HEIGHT for x, y in places)
        for x0, y0, x1, y1 in (cell.box for cell in smear().cells)
    )


def write_video(
    path: Path,
    pictures: Sequence[np.ndarray],
    codec: str = "libx264",
    times_ms: Sequence[int] | None = None,
    pixels: str = "yuv420p",
) -> Path:
    """Return a real video file; 15 frames a second where no times are given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=15)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        if times_ms is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if codec == "libx264":
            stream.options = {"crf": "18", "preset": "ultrafast"}
        for number, picture in enumerate(pictures):
            kind = "bgr24" if picture.ndim == 3 else "gray12le"
            frame = av.VideoFrame.from_ndarray(picture, format=kind)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def pan(path: Path, places: Sequence[tuple[int, int]]) -> Path:
    """Return a video that shows these places of the smear."""
    return write_video(path, [frame_at(x, y) for x, y in places])


def counted(out: Path) -> list[dict[str, str]]:
    """Return the cells of a report that count."""
    with (out / "cells.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if not row["left_out"]]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
