"""Helpers of the tests of slides: a slide of dark squares at known places, which ``PlainAnalyzer``
finds, in all formats."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import GROUND, PURPLE

UM = 0.25
#: Pixels of a side of the drawn slides, and of a cell on them.
WIDE, HIGH, CELL = 2200, 1800, 54


class Drawn:
    """A slide of dark squares on pale discs, at known places, which ``PlainAnalyzer`` finds."""

    width, height, um_per_px = WIDE, HIGH, UM

    def __init__(self, cells: int = 40, width: int = WIDE, height: int = HIGH) -> None:
        self.width, self.height = width, height
        rng = np.random.default_rng(5)
        self.pixels = np.full((height, width, 3), GROUND, np.uint8)
        for x, y in rng.integers(0, (width, height), (width * height // 2200, 2)):
            cv2.circle(self.pixels, (int(x), int(y)), 15, (150, 140, 225), -1)
        self.places: list[tuple[int, int]] = []
        while len(self.places) < cells:
            x, y = (int(v) for v in rng.integers(20, (width - 90, height - 90)))
            # Squares that touch would be found as one.
            if all(max(abs(x - a), abs(y - b)) > 80 for a, b in self.places):
                self.places.append((x, y))
        for x, y in self.places:
            self.pixels[y : y + CELL, x : x + CELL] = PURPLE

    def read(self, x: int, y: int, width: int, height: int, by: int = 1) -> np.ndarray:
        size = (self.width // by, self.height // by)
        small = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
        out = np.full((height, width, 3), 255, np.uint8)
        part = small[y : y + height, x : x + width]
        out[: part.shape[0], : part.shape[1]] = part
        return out


def write_zarr(drawn: Drawn, folder: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="pip install 'wbcdet[slides]'")
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    datasets = []
    for number, by in enumerate((1, 4)):
        pixels = drawn.read(0, 0, drawn.width // by, drawn.height // by, by)[:, :, ::-1]
        planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
        array = group.create_array(
            str(number), shape=planes.shape, chunks=(3, 512, 512), dtype="u1"
        )
        array[:] = planes
        scale = {"type": "scale", "scale": [1.0, UM * by, UM * by]}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


def whole_zone(path: Path, width: int = WIDE, height: int = HIGH) -> Path:
    ring = [[0, 0], [width, 0], [width, height], [0, height], [0, 0]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path
