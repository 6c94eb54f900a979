"""Show ``wbcdet count --engine ray`` on two nodes of this machine, one killed in the middle.

    python scripts/ray_show.py [--fields 60 | --slide]

Drawn fields, or the parts of a drawn slide of 12000 x 8000 px, are counted on this machine alone,
then by a Ray cluster of two nodes with one worker each (``ray.cluster_utils``), then again while
the second node is killed after a third of them and another one joins. Prints the times and whether
all reports and journals have the same bytes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2


def main() -> None:
    """Run all three and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--slide", action="store_true")
    given = parser.parse_args()
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # for a machine that is busy
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.slide:
            named, fields = draw_slide(folder)
        else:
            named, fields = ["fields", "--dedupe"], given.fields
            draw(folder / "fields", fields)
        show(folder, named, fields)


def draw(folder: Path, fields: int) -> None:
    """Drawn fields, as ``wbcdet demo`` has them."""
    from wbcdet.datasets.synthetic import render_field

    folder.mkdir()
    for number in range(fields):
        cv2.imwrite(str(folder / f"{number:05}.png"), render_field(number % 20).pixels)


def draw_slide(folder: Path) -> tuple[list[str], int]:
    """Draw a slide; returns what is named, and the number of its parts."""
    from wbcdet.batch.slides import SlideOptions, plan_slide
    from wbcdet.datasets.synthetic.slide import SyntheticSlide, write_pyramid
    from wbcdet.io.source import as_slide

    write_pyramid(SyntheticSlide(12_000, 8000), folder / "slide.tif")
    plan = plan_slide(as_slide(str(folder / "slide.tif"))[0], SlideOptions())
    return ["slide.tif"], len(plan.parts)


def show(folder: Path, named: list[str], fields: int) -> None:
    """Count locally, with two nodes, and with one of them killed."""
    from ray.cluster_utils import Cluster

    alone = count(folder, named, "alone")
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    second = cluster.add_node(num_cpus=1)
    try:
        both = count(folder, named, "both", cluster.address)
        process = start(folder, named, "killed", cluster.address)
        begun = time.perf_counter()
        journal = folder / "killed" / "journal" / "fields.jsonl"
        while not journal.exists() or journal.read_bytes().count(b"\n") < fields // 3:
            time.sleep(0.1)
        cluster.remove_node(second, allow_graceful=False)
        at = time.perf_counter() - begun
        cluster.add_node(num_cpus=1)
        assert process.wait() == 0
        killed = time.perf_counter() - begun
    finally:
        cluster.shutdown()
    print(f"{fields} fields; this machine alone: {alone:.1f} s")
    print(f"Ray, two nodes: {both:.1f} s")
    print(f"Ray, one of two nodes killed after {at:.1f} s: {killed:.1f} s")
    reports = [files_of(folder / name) for name in ("alone", "both", "killed")]
    same = reports[0] == reports[1] == reports[2]
    print(f"{len(reports[0])} files, journals among them: {'same bytes' if same else 'DIFFERENT'}")
    if not same:
        raise SystemExit(1)


def count(folder: Path, named: list[str], out: str, address: str | None = None) -> float:
    """Count in a process of its own; seconds."""
    begun = time.perf_counter()
    if start(folder, named, out, address).wait() != 0:
        raise SystemExit(1)
    return time.perf_counter() - begun


def start(
    folder: Path, named: list[str], out: str, address: str | None = None
) -> subprocess.Popen[bytes]:
    """Return the command."""
    engine = "local" if address is None else f"ray://{address}"
    command = [sys.executable, "-m", "wbcdet", "count", *named, "--out", out, "--quiet"]
    return subprocess.Popen([*command, "--engine", engine], cwd=folder)


def files_of(out: Path) -> dict[str, bytes]:
    """All files of a report."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


if __name__ == "__main__":
    main()
