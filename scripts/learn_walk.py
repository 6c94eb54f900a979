"""Walk through `wbcdet learn` on synthetic fields, and keep pictures of the page for the docs.

Draws fields, counts them with the models in use, opens the review of the cells that teach most in
headless Chromium, confirms and corrects some, and marks a missed cell. Needs playwright and a
Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

REPOSITORY = Path(__file__).resolve().parent.parent
#: When all pictures in sight are there.
SHOWN = (
    "(() => { const all = [...document.querySelectorAll('.tile img')];"
    " return all.length > 0 && all.every((tile) => tile.naturalWidth > 0); })()"
)


def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs"),
    fields: Annotated[int, typer.Option(help="Fields to draw.")] = 14,
) -> None:
    """Write learn-1.jpg to learn-3.jpg."""
    from playwright.sync_api import sync_playwright

    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "wbcdet"]
    with tempfile.TemporaryDirectory(prefix="wbcdet-walk-") as folder, sync_playwright() as play:
        home = {"HOME": folder, "XDG_CONFIG_HOME": folder, "PYTHONPATH": path}
        environment = {**os.environ, **home}
        draw(Path(folder) / "fields", fields)
        # Some cells are missed at this threshold, so that there is something to mark.
        count = [*command, "count", "fields", "--out", "monday", "-q", "--no-annotate"]
        subprocess.run([*count, "--confidence", "0.9"], env=environment, cwd=folder, check=True)
        useful = ["--most-useful", "30", "--reviewer", "Ann Example"]
        server = subprocess.Popen(
            [*command, "review", "monday", "--no-browser", "--port", "0", *useful],
            env=environment, cwd=folder, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert server.stdout is not None
            url = re.search(r"http\S+", server.stdout.readline())[0]  # type: ignore[index]
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = play.chromium.launch(executable_path=chromium)
            page = browser.new_page(viewport={"width": 1360, "height": 760}, bypass_csp=True)
            page.set_default_timeout(120_000)
            page.goto(url)
            page.wait_for_function(SHOWN)
            page.screenshot(path=out / "learn-1.jpg", quality=80)
            for key in ("Space", "Space", "b"):
                page.keyboard.press(key)
                page.wait_for_timeout(700)
            page.wait_for_function(SHOWN)
            page.screenshot(path=out / "learn-2.jpg", quality=80)
            page.keyboard.press("Enter")
            page.wait_for_timeout(1500)
            page.keyboard.press("d")
            view = page.locator("#view").bounding_box()
            assert view is not None
            x, y = view["x"] + 0.58 * view["width"], view["y"] + 0.276 * view["height"]
            page.mouse.move(x, y)
            page.mouse.down()
            page.mouse.move(x + 102, y + 102, steps=5)
            page.mouse.up()
            page.wait_for_timeout(1500)
            page.screenshot(path=out / "learn-3.jpg", quality=80)
            browser.close()
        finally:
            server.kill()
            server.wait()


def draw(folder: Path, fields: int) -> None:
    """Draw fields of a pale stain, with every type."""
    import cv2

    from wbcdet.datasets.synthetic import render_field

    folder.mkdir()
    for seed in range(fields):
        counts = {"neutrophil": 2, "lymphocyte": 1, "monocyte": seed % 2, "eosinophil": seed % 2}
        field = render_field(seed, 640, 480, cell_px=90, counts=counts)
        cv2.imwrite(str(folder / f"field {seed + 1:02}.png"), field.pixels)


if __name__ == "__main__":
    typer.run(main)
