"""Draw the pictures of docs/poor-results.md from the smear generator: fields, a threshold, a page.

    python scripts/poor_results_show.py

The page of ``wbcdet evaluate`` is photographed in a headless Chromium: needs playwright.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import cv2
import numpy as np
import typer

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import render_field
from wbcdet.results.annotate import annotate

COUNTS = {"neutrophil": 2, "lymphocyte": 2, "monocyte": 1, "eosinophil": 1}
WIDTH, HEIGHT = 640, 480
#: A yellow lamp: what it takes of blue, green and red.
LAMP = np.array([0.55, 0.92, 1.05])
LOW = 0.05


def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs"),
    seed: Annotated[int, typer.Option(help="Which field.")] = 5,
    browser: Annotated[str, typer.Option(help="A Chromium.")] = "/usr/bin/chromium",
) -> None:
    """Draw them."""
    field = render_field(seed, WIDTH, HEIGHT, cell_px=90, counts=COUNTS).pixels
    yellow = np.clip(field * LAMP, 0, 255).astype(np.uint8)
    faint = cv2.addWeighted(field, 0.25, np.full_like(field, 235), 0.75, 0)
    blurred = cv2.GaussianBlur(field, (0, 0), 8)
    _save(out / "poor-1.jpg", field, yellow, faint, blurred)
    shown = []
    dim = cv2.GaussianBlur(faint, (0, 0), 8)
    for analyzer in (Analyzer(), Analyzer(confidence=LOW)):
        cells = analyzer.analyze(dim).cells
        print(f"faint field out of focus: {len(cells)} boxes, {sum(COUNTS.values())} cells")
        shown.append(annotate(dim, cells))
    _save(out / "poor-3.jpg", *shown)
    with TemporaryDirectory() as folder:
        _draw_labelled(Path(folder) / "my-cells")
        command = [sys.executable, "-m", "wbcdet", "evaluate", "my-cells", "--out", "validation"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        _photograph(Path(folder) / "validation" / "evaluation.html", out / "poor-2.jpg", browser)


def _draw_labelled(folder: Path) -> None:
    """Write cells of faint fields, a folder a type."""
    for seed in range(8):
        drawn = render_field(seed, WIDTH, HEIGHT, cell_px=90, counts=COUNTS)
        pixels = cv2.addWeighted(drawn.pixels, 0.25, np.full_like(drawn.pixels, 235), 0.75, 0)
        for number, cell in enumerate(drawn.cells):
            x_min, y_min, x_max, y_max = (max(0, round(side)) for side in cell.box)
            crop = pixels[max(0, y_min - 20) : y_max + 20, max(0, x_min - 20) : x_max + 20]
            (folder / str(cell.label)).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / str(cell.label) / f"{seed}-{number}.png"), crop)


def _photograph(page: Path, picture: Path, browser: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        tab = chromium.new_page(viewport={"width": 1000, "height": 900})
        tab.goto(page.as_uri())
        tab.screenshot(path=picture, quality=80)
        chromium.close()


def _save(path: Path, *pictures: np.ndarray) -> None:
    """Write pictures beside each other."""
    gap = np.full((HEIGHT, 8, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    joined = cv2.resize(np.hstack(parts[:-1]), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), joined, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    typer.run(main)
