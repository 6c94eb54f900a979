"""Show how fast `wbcdet review` is: start to first picture, time per relabel, memory.

Draws fields of plain discs, writes a report over them as `wbcdet count` does, without its models,
and works on it in headless Chromium: relabels by key, scrolls, undoes. Needs playwright and a
Chromium (`apt-get install chromium`).
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

REPOSITORY = Path(__file__).resolve().parent.parent
ACROSS, DOWN, STEP = 8, 5, 100
#: When the page has shown its first cell; when a count of the list of types has become this.
FIRST = "[...document.querySelectorAll('.tile img')].some((one) => one.naturalWidth > 0)"
COUNTED = "(n) => document.querySelector('#progress-text').textContent.startsWith(n + ' of')"


def write_report(folder: Path, fields: int) -> Path:
    """Return a report of 40 cells a field, in slides of 50 fields."""
    sys.path.insert(0, str(REPOSITORY))
    import cv2
    import numpy as np

    from wbcdet.differential.reference_ranges import read_ranges
    from wbcdet.io.field import read_field
    from wbcdet.io.source import Root
    from wbcdet.records import ALL_LABELS, LABELS, Cell, CellType, FieldResult
    from wbcdet.report.counts import CountOptions
    from wbcdet.report.header import make_header
    from wbcdet.report.input_fingerprint import InputFingerprints
    from wbcdet.report.job import Job, opened
    from wbcdet.report.journal_entry import JournalEntry
    from wbcdet.report.thumbnails import cut_thumbnails
    from wbcdet.report.write import finish

    rng, stamps, names = np.random.default_rng(0), InputFingerprints(), []
    model = {"name": "drawn", "sha256": "0" * 64}
    settings = {"fingerprint": "0" * 64}
    root = Root("", str(folder / "fields"))
    job = Job((root,), folder / "report", annotate=False)
    with opened(job) as journal:
        models = {"detector": model, "classifier": model, "settings": settings}
        journal.start(make_header(models, [root], "2026-01-01T00:00:00+00:00"))
        for number in range(fields):
            noise = rng.integers(205, 235, (DOWN * STEP, ACROSS * STEP, 3), np.uint8)
            cells = []
            for place in range(ACROSS * DOWN):
                x, y = STEP * (place % ACROSS) + 50, STEP * (place // ACROSS) + 50
                radius = int(rng.integers(20, 38))
                colour = [int(value) for value in rng.integers(60, 170, 3)]
                cv2.circle(noise, (x, y), radius, colour, -1)
                label = ALL_LABELS[int(rng.choice(5, p=[0.04, 0.28, 0.08, 0.55, 0.05]))]
                score = round(float(rng.uniform(0.5, 1)), 4)
                scores = {str(other): score if other == label else 0.01 for other in LABELS}
                box = (float(x - radius), float(y - radius), float(x + radius), float(y + radius))
                reason = "low-score" if label is CellType.UNCLASSIFIED else None
                cells.append(Cell(place, box, 0.9, label, score, scores, reason))
            name = f"slide {number // 50 + 1}/field {number % 50 + 1}.jpg"
            path = folder / "fields" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), noise)
            field = read_field(path)
            result = FieldResult(name, field.width, field.height, tuple(cells))
            entry = JournalEntry(result, stamps.take(path), {"problems": []})
            journal.append(entry.to_record(), cut_thumbnails(field, cells))
            names.append(name)
        finish(job, names, journal, CountOptions(group_by="folder", ranges=read_ranges()))
    return job.out


class Server:
    """`wbcdet review` in a process, with the moment at which it was started."""

    def __init__(self, report: Path) -> None:
        path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "wbcdet", "review", str(report), "--no-browser"]
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--port", "0", "--reviewer", "show"],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = re.search(r"http\S+", self.process.stdout.readline())[0]  # type: ignore[index]

    def peak_mb(self) -> float:
        """Return the peak memory so far (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def measure(browser: Any, report: Path, relabels: int) -> dict[str, float]:
    """Start the server, open the page, work on it."""
    server = Server(report)
    try:
        listening = time.perf_counter() - server.started
        # What waits in the page is evaluated there, which the policy of the page forbids.
        page = browser.new_page(viewport={"width": 1400, "height": 900}, bypass_csp=True)
        page.goto(server.url)
        page.wait_for_function(FIRST)
        first = time.perf_counter() - server.started
        times = []
        for number in range(1, relabels + 1):
            begun = time.perf_counter()
            page.keyboard.press("nlmeb"[number % 5])
            page.wait_for_function(COUNTED, arg=number)
            times.append(1000 * (time.perf_counter() - begun))
        # From the top to the end of all cells in one jump, until it is drawn.
        begun = time.perf_counter()
        page.keyboard.press("End")
        page.wait_for_function(FIRST)
        jump = 1000 * (time.perf_counter() - begun)
        begun = time.perf_counter()
        page.keyboard.press("Control+a")
        page.keyboard.press("Space")
        page.wait_for_function("document.querySelector('#says').textContent.includes('confirmed')")
        many = 1000 * (time.perf_counter() - begun)
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        page.close()
        return {
            "listening_s": listening,
            "first_s": first,
            "relabel_ms": statistics.median(times),
            "relabel_95_ms": statistics.quantiles(times, n=20)[-1],
            "jump_ms": jump,
            "confirm_type_ms": many,
            "server_mb": server.peak_mb(),
            "page_mb": heap,
        }
    finally:
        server.stop()


def main(
    fields: Annotated[list[int], typer.Argument(help="Numbers of fields, 40 cells each.")],
    relabels: Annotated[int, typer.Option(help="Cells to relabel, one by one.")] = 100,
) -> None:
    """Print a row for each number of fields; each is measured once to warm up, then again."""
    from playwright.sync_api import sync_playwright

    print(
        "| cells | server answers s | first picture s | relabel ms (median, 95 %) | "
        "to the last cell ms | confirm a type ms | server MB | page MB |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium)
        for number in fields:
            with tempfile.TemporaryDirectory(prefix="wbcdet-review-") as folder:
                report = write_report(Path(folder), number)
                for _ in range(2):
                    for left in report.glob("review*"):
                        left.unlink()
                    row = measure(browser, report, relabels)
            print(
                f"| {number * ACROSS * DOWN} | {row['listening_s']:.1f} | {row['first_s']:.1f} | "
                f"{row['relabel_ms']:.0f}, {row['relabel_95_ms']:.0f} | {row['jump_ms']:.0f} | "
                f"{row['confirm_type_ms']:.0f} | {row['server_mb']:.0f} | {row['page_mb']:.0f} |",
                flush=True,
            )
        browser.close()


if __name__ == "__main__":
    typer.run(main)
