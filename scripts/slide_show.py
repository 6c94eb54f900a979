"""Make a synthetic slide of known truth, count it, and print what was found, time and memory.

    python scripts/slide_show.py                          # 12000 x 10000 px
    python scripts/slide_show.py --size 50000 40000       # as in docs/slides.md
    python scripts/slide_show.py --format ome-tiff        # or pyramid, tiles

The slide is glass, then thick, then a monolayer, then thin (``wbcdet.datasets.synthetic.slide``).
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from big_field import run

from wbcdet.batch.slides import SlideOptions, plan_slide
from wbcdet.datasets.synthetic.slide import (
    MONOLAYER_PART,
    SyntheticSlide,
    write_pyramid,
    write_tiles,
)
from wbcdet.io.source import as_slide
from wbcdet.records import ARTEFACT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(12_000, 10_000), metavar="PX")
    parser.add_argument("--format", choices=("pyramid", "ome-tiff", "tiles"), default="pyramid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=int)
    arguments = parser.parse_args()
    width, height = arguments.size
    with tempfile.TemporaryDirectory() as folder:
        slide = SyntheticSlide(width, height, seed=arguments.seed)
        start = time.perf_counter()
        path = write(slide, Path(folder), arguments.format)
        size = sum(one.stat().st_size for one in [path, *path.rglob("*")] if one.is_file())
        print(f"{arguments.format} of {width} x {height} px, {size / 1e6:.0f} MB, made in "
              f"{time.perf_counter() - start:.0f} s")  # fmt: skip
        out = Path(folder) / "report"
        command = [sys.executable, "-m", "wbcdet", "count", str(path), "--out", str(out), "--quiet"]
        command += ["--um-per-px", str(slide.um_per_px)] * (arguments.format == "tiles")
        command += ["--target", str(arguments.target)] * (arguments.target is not None)
        wall, busy, peak = run(command)
        print(
            f"counted in {wall:.0f} s ({busy:.0f} s of processor time), peak memory {peak:.0f} MB"
        )
        print(judge(slide, path, out))


def write(slide: SyntheticSlide, folder: Path, kind: str) -> Path:
    """Write the slide; returns what is counted."""
    if kind == "tiles":
        write_tiles(slide, folder / "tiles")
        return folder / "tiles"
    path = folder / ("slide.ome.tif" if kind == "ome-tiff" else "slide.tif")
    write_pyramid(slide, path, ome=kind == "ome-tiff")
    return path


def judge(slide: SyntheticSlide, path: Path, out: Path) -> str:
    """Return what was found of the cells in the parts that were counted, and where these lie."""
    with (out / "fields.csv").open(encoding="utf-8", newline="") as file:
        counted = {row["file"] for row in csv.DictReader(file)}
    with (out / "cells.csv").open(encoding="utf-8", newline="") as file:
        cells = [row for row in csv.DictReader(file) if not row["left_out"]]
    places = np.array([[float(one["slide_x"]), float(one["slide_y"])] for one in cells])
    named = np.array([one["label"] for one in cells])
    artefact = np.array([one["reason"] == ARTEFACT for one in cells])
    # What each part alone owns: what lies beyond is a neighbour's, and may not have been counted.
    plan = plan_slide(as_slide(str(path))[0], SlideOptions(um_per_px=slide.um_per_px))
    own = [core for name, core in plan.cores.items() if name in counted]
    once = twice = missed = right = 0
    hit = np.zeros(len(cells), bool)
    for label, (x0, y0, x1, y1) in slide.cells:
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        inside = ((places > (x0, y0)) & (places < (x1, y1))).all(1) & ~artefact
        hit |= inside
        if not any(a <= x < c and b <= y < d for a, b, c, d in own):
            continue
        once += inside.sum() == 1
        twice += inside.sum() > 1
        missed += not inside.any()
        right += inside.sum() == 1 and named[inside][0] == label
    elsewhere = int((~hit & ~artefact).sum())
    middles = [((a + c) / 2, (b + d) / 2) for a, b, c, d in own]
    good = sum(slide.part(x, y) == MONOLAYER_PART for x, y in middles)
    return (
        f"{once + twice + missed} cells in {len(own)} parts: {once} found once, {twice} double, "
        f"{missed} missed, {right} named right; {elsewhere} elsewhere, {int(artefact.sum())} "
        f"artefacts; {good} of {len(own)} parts have their middle in the monolayer"
    )


if __name__ == "__main__":
    main()
