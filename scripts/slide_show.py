"""Make a synthetic slide of known truth, count it, and print what was found, time and memory.

    python scripts/slide_show.py                          # 12000 x 10000 px
    python scripts/slide_show.py --size 50000 40000       # as in docs/slides.md
    python scripts/slide_show.py --format ome-tiff        # or pyramid, tiles

The slide is glass, then thick, then a monolayer, then thin (``wbcdet.datasets.synthetic.slide``).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from big_field import run

from wbcdet.batch.slides import SlideOptions, SlidePlan, plan_slide
from wbcdet.datasets.synthetic.slide import (
    MONOLAYER_PART,
    THICK_PART,
    THIN_PART,
    SyntheticSlide,
    write_pyramid,
    write_tiles,
)
from wbcdet.inference.smear_map import SmearMap
from wbcdet.io.source import as_slide
from wbcdet.records import ARTEFACT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(12_000, 10_000), metavar="PX")
    parser.add_argument("--format", choices=("pyramid", "ome-tiff", "tiles"), default="pyramid")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", type=int)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave slide and report there")
    arguments = parser.parse_args()
    width, height = arguments.size
    with contextlib.ExitStack() as stack:
        folder = arguments.keep or stack.enter_context(tempfile.TemporaryDirectory())
        Path(folder).mkdir(parents=True, exist_ok=True)
        slide = SyntheticSlide(width, height, seed=arguments.seed)
        start = time.perf_counter()
        path = write(slide, Path(folder), arguments.format)
        size = sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())
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
        # What each part alone owns: what lies beyond is a neighbour's, and may not be counted.
        plan = plan_slide(as_slide(str(path))[0], SlideOptions(um_per_px=slide.um_per_px))
        print(judge_zone(slide, plan.map))
        print(judge(slide, plan, out))


def judge_zone(slide: SyntheticSlide, seen: SmearMap) -> str:
    """Return how the zone that was found lies on the known gradient."""
    rows, columns = seen.kind.shape
    truth = np.array(
        [
            [slide.part((c + 0.5) * seen.side, (r + 0.5) * seen.side) for c in range(columns)]
            for r in range(rows)
        ]
    )
    monolayer = truth == MONOLAYER_PART
    # The squares on a border are of two parts, and belong to neither.
    inner = cv2.erode(monolayer.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    parts = (("monolayer", MONOLAYER_PART), ("thick", THICK_PART), ("thin", THIN_PART))
    found = [f"{(truth[seen.zone] == part).mean():.2%} {name}" for name, part in parts]
    return (
        f"zone of {seen.zone.sum()} squares of 150 µm: {', '.join(found)}; it takes "
        f"{seen.zone[monolayer].mean():.1%} of the monolayer, {seen.zone[inner].mean():.1%} of it "
        f"without its border; tail to {np.round(seen.direction or 0, 2)}, known (1, 0)"
    )


def write(slide: SyntheticSlide, folder: Path, kind: str) -> Path:
    """Write the slide, unless an earlier run has; returns what is counted."""
    path = folder / {"tiles": "tiles", "ome-tiff": "slide.ome.tif"}.get(kind, "slide.tif")
    if path.exists():
        return path
    if kind == "tiles":
        write_tiles(slide, path)
    else:
        write_pyramid(slide, path, ome=kind == "ome-tiff")
    return path


def judge(slide: SyntheticSlide, plan: SlidePlan, out: Path) -> str:
    """Return what was found of the cells in the parts that were counted, and where these lie."""
    with (out / "fields.csv").open(encoding="utf-8", newline="") as file:
        counted = {row["file"] for row in csv.DictReader(file)}
    with (out / "cells.csv").open(encoding="utf-8", newline="") as file:
        cells = [row for row in csv.DictReader(file) if not row["left_out"]]
    places = np.array([[float(cell["slide_x"]), float(cell["slide_y"])] for cell in cells])
    named = np.array([cell["label"] for cell in cells])
    artefact = np.array([cell["reason"] == ARTEFACT for cell in cells])
    own = [core for name, core in plan.cores.items() if name in counted]
    side = plan.map.side

    def is_counted(box: tuple[float, float, float, float]) -> bool:
        """Its middle is in a counted part, and all of it in the zone: of a cell on the border of
        the zone a pixel decides."""
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        corners = [(box[i], box[j]) for i in (0, 2) for j in (1, 3)]
        squares = {(int(b // side), int(a // side)) for a, b in corners}
        return any(a <= x < c and b <= y < d for a, b, c, d in own) and all(
            plan.zone[square] for square in squares
        )

    once = twice = missed = right = 0
    hit = np.zeros(len(cells), bool)
    for label, (x0, y0, x1, y1) in slide.cells:
        inside = ((places > (x0, y0)) & (places < (x1, y1))).all(1) & ~artefact
        hit |= inside
        if not is_counted((x0, y0, x1, y1)):
            continue
        once += inside.sum() == 1
        twice += inside.sum() > 1
        missed += not inside.any()
        right += inside.sum() == 1 and named[inside][0] == label
    elsewhere = int((~hit & ~artefact).sum())
    middles = [((a + c) / 2, (b + d) / 2) for a, b, c, d in own]
    good = sum(slide.part(x, y) == MONOLAYER_PART for x, y in middles)
    return (
        f"{once + twice + missed} cells in the zone of {len(own)} parts: {once} found once, "
        f"{twice} double, {missed} missed, {right} named right; {elsewhere} elsewhere, "
        f"{int(artefact.sum())} artefacts; {good} of {len(own)} parts have their middle in the "
        "monolayer"
    )


if __name__ == "__main__":
    main()
