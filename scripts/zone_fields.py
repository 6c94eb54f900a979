"""What the zone of slides says of real fields that people chose for a differential.

    python scripts/zone_fields.py PREPARED [--each 60]

PREPARED is the folder that `wbcdet data prepare` writes. Each field is judged as the squares of a
slide are (`wbcdet.inference.smear_map`), at the scale at which the white cells of its laboratory
measure 13.5 µm, and reduced to 1 µm per pixel. Labelled white cells are painted over with ground:
in a square of 150 µm they are rare, in a field of 30 µm one of them is a fifth of it. Laboratories
whose pictures are narrower than that are crops of cells and left out.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wbcdet.inference.magnification import CELL_UM
from wbcdet.inference.smear_map import ARTEFACT, GLASS, MONOLAYER, THICK, THIN, map_smear
from wbcdet.io.colour import Pixels
from wbcdet.io.slides.base import Level

KINDS = {MONOLAYER: "zone", THICK: "thick", THIN: "thin", GLASS: "glass", ARTEFACT: "artefact"}
#: Shorter side of a field, µm, from which it is judged.
MIN_SIDE_UM = 30.0
Box = tuple[float, float, float, float]


@dataclass
class OneField:
    """A field as a slide of one level."""

    pixels: Pixels

    @property
    def levels(self) -> tuple[Level, ...]:
        height, width = self.pixels.shape[:2]
        return (Level(width, height, 1.0),)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        return np.ascontiguousarray(self.pixels[y : y + height, x : x + width])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--each", type=int, default=60, help="fields of a laboratory")
    parser.add_argument("--names", action="store_true", help="name the fields outside of the zone")
    given = parser.parse_args()
    boxes: dict[str, list[Box]] = defaultdict(list)
    for row in rows(given.prepared / "boxes.csv"):
        if row["kind"] == "wbc":
            x0, y0, x1, y1 = (float(row[key]) for key in ("x_min", "y_min", "x_max", "y_max"))
            boxes[row["field"]].append((x0, y0, x1, y1))
    fields = defaultdict(list)
    for row in rows(given.prepared / "fields.csv"):
        fields[row["laboratory"]].append(row["field"])
    print("laboratory | fields | µm/px |", " | ".join(KINDS.values()), "| covered | double")
    for laboratory, names in fields.items():
        cells = [max(c - a, d - b) for name in names for a, b, c, d in boxes[name]]
        if cells:
            um = CELL_UM / float(np.median(cells))
            chosen = names[:: max(1, len(names) // given.each)][: given.each]
            judge(laboratory, um, given.prepared / "fields", chosen, boxes, show=given.names)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def judge(
    laboratory: str,
    um: float,
    folder: Path,
    names: list[str],
    boxes: dict[str, list[Box]],
    *,
    show: bool,
) -> None:
    """Print what is said of the fields of a laboratory."""
    said = dict.fromkeys(KINDS.values(), 0.0)
    covered, double = [], []
    for name in names:
        pixels = cv2.imread(str(folder / name))
        if pixels is None or min(pixels.shape[:2]) * um < MIN_SIDE_UM:
            continue
        ground = np.percentile(pixels.reshape(-1, 3), 90, axis=0)
        for x0, y0, x1, y1 in boxes[name]:
            pixels[round(y0) : round(y1) + 1, round(x0) : round(x1) + 1] = ground
        small = cv2.resize(pixels, None, fx=um, fy=um, interpolation=cv2.INTER_AREA)
        seen = map_smear(OneField(np.asarray(small, np.uint8)), 1.0)
        for kind, text in KINDS.items():
            said[text] += float((seen.kind == kind).mean())
        covered.append(float(seen.cover.mean()))
        double.append(float(seen.double.mean()))
        if show and (seen.kind == MONOLAYER).mean() < 0.5:
            print(f"  {name}: covered {covered[-1]:.0%}, double {double[-1]:.0%}")
    if not covered:
        return
    shares = " | ".join(f"{value / len(covered):.0%}" for value in said.values())
    print(
        f"{laboratory} | {len(covered)} | {um:.3f} | {shares} | "
        f"{np.median(covered):.0%} | {np.median(double):.0%}", flush=True
    )  # fmt: skip


if __name__ == "__main__":
    main()
