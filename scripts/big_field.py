"""Count a 20000 x 20000 TIFF of a synthetic smear, and print time, memory and what was found.

The smear is put together from a few rendered squares, turned and mirrored by a fixed seed, and
written to disk row by row: neither this script nor the counting process ever holds it whole.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import imagecodecs
import numpy as np
import tifffile
import typer

from wbcdet.datasets.synthetic import STAINS, SmearField, render_smear

#: Side of a square in pixels, and how many different ones are rendered.
SQUARE, KINDS = 2000, 6
TILE, STRIP = 512, 64


class Mosaic:
    """A smear of ``size`` pixels a side, a multiple of ``SQUARE``, of squares picked at random."""

    def __init__(self, size: int, cell_px: float, seed: int = 0) -> None:
        self.size = size
        self.squares: list[SmearField] = [
            render_smear(seed + kind, SQUARE, SQUARE, cell_px=cell_px, stain=STAINS[0])
            for kind in range(KINDS)
        ]
        rng = np.random.default_rng(seed)
        number = size // SQUARE
        self.kinds = rng.integers(KINDS, size=(number, number))
        self.mirrors = rng.integers(2, size=(number, number, 2)).astype(bool)

    def cells(self) -> list[tuple[str, np.ndarray]]:
        """Label and box of every cell, in pixels of the whole smear."""
        found = []
        for (row, column), kind in np.ndenumerate(self.kinds):
            mirror_x, mirror_y = self.mirrors[row, column]
            for cell in self.squares[kind].cells:
                x0, y0, x1, y1 = cell.box
                if mirror_x:
                    x0, x1 = SQUARE - x1, SQUARE - x0
                if mirror_y:
                    y0, y1 = SQUARE - y1, SQUARE - y0
                corner = np.array([column, row, column, row]) * SQUARE
                found.append((cell.label, np.array([x0, y0, x1, y1]) + corner))
        return found

    def rows(self, step: int) -> Iterator[np.ndarray]:
        """Yield bands of ``step`` rows (the last may be lower), (rows, size, 3) uint8 RGB."""
        for top in range(0, self.size, step):
            yield np.concatenate(
                [self._row(y) for y in range(top, min(top + step, self.size))]
            ).reshape(-1, self.size, 3)

    def _row(self, y: int) -> np.ndarray:
        row = y // SQUARE
        parts = []
        for kind, (mirror_x, mirror_y) in zip(self.kinds[row], self.mirrors[row], strict=True):
            inside = SQUARE - 1 - y % SQUARE if mirror_y else y % SQUARE
            line = self.squares[kind].pixels[inside, :, ::-1]
            parts.append(line[::-1] if mirror_x else line)
        return np.concatenate(parts)


def write(path: Path, mosaic: Mosaic, layout: str, compression: str) -> None:
    """Write the smear as a BigTIFF, block by block."""

    def tiles() -> Iterator[np.ndarray]:
        for band in mosaic.rows(TILE):
            for left in range(0, mosaic.size, TILE):
                part = band[:, left : left + TILE]
                below, right = TILE - part.shape[0], TILE - part.shape[1]
                yield np.pad(part, ((0, below), (0, right), (0, 0)), mode="edge")

    def strips() -> Iterator[bytes]:
        # tifffile wants strips as they will lie in the file: it would collect a page of arrays.
        pack = {
            "none": np.ndarray.tobytes,
            "zlib": imagecodecs.zlib_encode,
            "lzw": imagecodecs.lzw_encode,
            "jpeg": imagecodecs.jpeg_encode,
        }[compression]
        for band in mosaic.rows(STRIP):
            yield pack(np.ascontiguousarray(band))

    tifffile.imwrite(
        path,
        tiles() if layout == "tiles" else strips(),
        shape=(mosaic.size, mosaic.size, 3),
        dtype=np.uint8,
        bigtiff=True,
        photometric="ycbcr" if (layout, compression) == ("strips", "jpeg") else "rgb",
        compression=None if compression == "none" else compression,
        **({"tile": (TILE, TILE)} if layout == "tiles" else {"rowsperstrip": STRIP}),
    )


def run(command: list[str]) -> tuple[float, float, float]:
    """Return seconds on the clock and of the processors, and peak memory in MB, of a process."""
    measured = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:])\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)\n"
        "sys.exit(done.returncode)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", measured, *command], stdout=subprocess.PIPE, check=True, text=True
    )
    wall = time.perf_counter() - start
    busy, most = done.stdout.split()[-2:]
    unit = 1024**2 if platform.system() == "Darwin" else 1024
    return wall, float(busy), int(most) / unit


def judge(cells: list[tuple[str, np.ndarray]], found: list[dict[str, Any]]) -> str:
    """Return how many cells have one box, several or none, and how many boxes have no cell."""
    boxes = np.array([cell["box"] for cell in found]).reshape(-1, 4)
    once = twice = named = four = 0
    on_cells: set[int] = set()
    for label, box in cells:
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        hits = np.flatnonzero(((middle > box[:2]) & (middle < box[2:])).all(1))
        on_cells.update(hits.tolist())
        once += len(hits) == 1
        twice += len(hits) > 1
        four += len(hits) == 1 and label in found[hits[0]]["scores"]
        named += len(hits) == 1 and found[hits[0]]["label"] == label
    missed = len(cells) - once - twice
    elsewhere = [cell for i, cell in enumerate(found) if i not in on_cells]
    certain = sum(cell["label"] != "unclassified" for cell in elsewhere)
    return (
        f"{len(cells)} cells drawn: {once} counted once, {twice} more than once, {missed} missed; "
        f"{len(elsewhere)} boxes elsewhere, {certain} of them named; {named} of {four} named right"
    )


class Layout(str, Enum):
    """Layout of the blocks of a TIFF."""

    tiles = "tiles"
    strips = "strips"


class Compression(str, Enum):
    """Compression of the blocks of a TIFF."""

    none = "none"
    zlib = "zlib"
    lzw = "lzw"
    jpeg = "jpeg"


def main(
    size: Annotated[int, typer.Option(help=f"Pixels a side, a multiple of {SQUARE}.")] = 20_000,
    cell_px: Annotated[float, typer.Option(help="Width of a neutrophil in pixels.")] = 110.0,
    layout: Annotated[Layout, typer.Option(help="How its blocks lie.")] = Layout.tiles,
    compression: Annotated[
        Compression, typer.Option(help="How they are packed.")
    ] = Compression.none,
) -> None:
    """Count a 20000 x 20000 TIFF of a synthetic smear; print time, memory and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder, "smear.tif"), Path(folder, "report")
        mosaic = Mosaic(size, cell_px)
        write(path, mosaic, layout.value, compression.value)
        command = [sys.executable, "-m", "wbcdet", "count", str(path), "--out", str(out), "--quiet"]
        wall, busy, megabytes = run(command)
        (field,) = json.loads((out / "results.json").read_text(encoding="utf-8"))["fields"]
        print(
            f"{size} x {size}, {layout.value}, {compression.value}, "
            f"{path.stat().st_size / 1e9:.2f} GB: {wall:.0f} s ({busy:.0f} s of processor time), "
            f"peak memory {megabytes:.0f} MB"
        )
        print(judge(mosaic.cells(), field["cells"]), flush=True)


if __name__ == "__main__":
    typer.run(main)
