"""Show what `wbcdet count` promises: its speed, flat memory, and that a killed run loses nothing.

Fills a folder with real fields (the BCCD archive, repeated under new names) and synthetic ones,
counts it, and prints fields per second and peak memory for each number of fields. Then counts the
last folder again, killed at random moments, and compares every file of the two reports. Needs the
data archives (`wbcdet data fetch`) and a POSIX system.
"""

from __future__ import annotations

import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

REPOSITORY = Path(__file__).resolve().parent.parent
#: Fields to a folder, as if each were a slide; synthetic fields among the real ones.
SLIDE, SYNTHETIC = 250, 40
OPTIONS = ("--group-by", "folder", "--dedupe", "--quiet")


@dataclass(frozen=True)
class Ended:
    """Outcome of a run: seconds on the clock and of the processors, peak memory in MB, and its exit
    code (negative: the signal)."""

    seconds: float
    busy: float
    peak_mb: float
    code: int


def fill(folder: Path, number: int) -> None:
    """Write real and synthetic fields under new names, each in the folder of its slide."""
    import cv2

    from wbcdet.datasets.archives import open_archive
    from wbcdet.datasets.synthetic import render_field

    archive = open_archive("bccd")
    pictures = [archive.read(name) for name in archive.names() if name.endswith(".jpg")]
    for seed in range(SYNTHETIC):
        _, data = cv2.imencode(".jpg", render_field(seed).pixels)
        pictures.insert(seed * 9, data.tobytes())
    for index in range(number):
        # Another start for every slide, so that no two are alike.
        slide = index // SLIDE
        path = folder / f"slide {slide + 1}" / f"field {index % SLIDE + 1}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pictures[(index + 17 * slide) % len(pictures)])


def run(fields: Path, out: Path, kill_after: float | None = None) -> Ended:
    """Run the command, killed after so many seconds if it still runs then."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    command = [sys.executable, "-m", "wbcdet", "count", str(fields), "--out", str(out), *OPTIONS]
    start = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    peak = used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    busy = used.ru_utime + used.ru_stime
    return Ended(time.monotonic() - start, busy, peak, process.returncode)


def differing(first: Path, other: Path) -> list[str]:
    """Return files of two reports that are not the same bytes; their journals are left out."""
    files = [
        {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        for root in (first, other)
    ]
    files = [{path for path in part if path.parts[0] != "journal"} for part in files]
    alike = {
        path
        for path in files[0] & files[1]
        if filecmp.cmp(first / path, other / path, shallow=False)
    }
    return sorted(path.as_posix() for path in (files[0] | files[1]) - alike)


def main(
    fields: Annotated[list[int], typer.Argument(help="Numbers of fields.")],
    kills: Annotated[int, typer.Option(help="How often the second run is killed.")] = 5,
    seed: Annotated[int, typer.Option(help="Same seed, same moments.")] = 0,
    work: Annotated[Path | None, typer.Option(help="Folder to work in; kept.")] = None,
) -> None:
    """Print speed, memory, and what kills did to the result."""
    sys.path.insert(0, str(REPOSITORY))
    root = work or Path(tempfile.mkdtemp(prefix="wbcdet-show-"))
    chance = random.Random(seed)
    print("| fields | seconds | fields/s | CPU ms a field | peak memory MB | report.html MB |")
    print("|---|---|---|---|---|---|", flush=True)
    try:
        for number in fields:
            folder, out = root / f"fields-{number}", root / f"report-{number}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(out, ignore_errors=True)
            fill(folder, number)
            whole = run(folder, out)
            if whole.code not in (0, 1):
                raise typer.Exit(1)
            page = (out / "report.html").stat().st_size / 1e6
            print(
                f"| {number} | {whole.seconds:.1f} | {number / whole.seconds:.1f} "
                f"| {1000 * whole.busy / number:.0f} | {whole.peak_mb:.0f} | {page:.1f} |",
                flush=True,
            )
        killed = root / "report-killed"
        shutil.rmtree(killed, ignore_errors=True)
        shots, left = 0, whole.seconds
        for to_come in range(kills, 0, -1):
            after = chance.uniform(0.1, 0.9) * left / to_come
            shots += run(folder, killed, after).code == -signal.SIGKILL
            left -= after
        last = run(folder, killed)
        wrong = differing(out, killed)
        count = sum(path.is_file() for path in killed.rglob("*"))
        print(
            f"\n{number} fields, killed {shots} times with SIGKILL, then {last.seconds:.1f} s to "
            f"the end: {len(wrong)} of {count} files differ {wrong[:5] or ''}"
        )
    finally:
        if work is None:
            shutil.rmtree(root, ignore_errors=True)
    raise typer.Exit(bool(wrong))


if __name__ == "__main__":
    typer.run(main)
