"""What a hundred thousand fields cost the driver of ``wbcdet count --engine ray``.

    python scripts/ray_driver.py [--fields 100000] [--workers 1]

The engine runs as it does in a count, on a Ray cluster on this machine, but its workers analyse
nothing: each hands back the record, pictures and annotated picture of a drawn field, counted once
before. So what is measured is the driver's part: processor time and memory a field, and how many
fields it holds at a time. Then what Ray's object store takes for a picture. docs/scale.md reckons
with the figures.
"""

from __future__ import annotations

import argparse
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wbcdet.batch.ray_engine as ray_engine
from wbcdet import Analyzer
from wbcdet.batch.counted_field import CountedField, make_counted_field
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.run_info import RunInfo
from wbcdet.io.field import Field
from wbcdet.io.source import Source
from wbcdet.settings import Settings
from wbcdet.utils.version import __version__

#: Sizes of what is put in the store: annotated picture, small and large field, part of a slide.
_PUTS = (35_000, 300_000, 4_000_000, 13_000_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    info, counted = count_one()
    print(f"an answer has {len(pickle.dumps(counted)) / 1000:.0f} kB", flush=True)

    class Stub:
        """A worker that hands back what was counted before."""

        def __init__(self, *_: object) -> None:
            self._counted = counted

        def describe_worker(self) -> tuple[str, RunInfo]:
            return __version__, info

        def count(self, *_: object) -> CountedField:
            return self._counted

    import ray

    os.environ.setdefault("RAY_raylet_start_wait_time_s", "120")  # for a machine that is busy
    ray.init(num_cpus=given.workers, include_dashboard=False, log_to_driver=False)
    ray_engine._Counter = Stub  # type: ignore[assignment, misc]
    init, ray.init = ray.init, lambda **_: None
    try:
        engine = ray_engine.RayEngine(Settings(fields_per_batch=1), None, None)
    finally:
        ray.init = init
    drive(engine, given.fields)
    for size in _PUTS:
        print(put(ray, size))
    engine.close()


def count_one() -> tuple[RunInfo, CountedField]:
    """Count a drawn field as a worker does."""
    analyzer = Analyzer(Settings(fields_per_batch=1))
    field = Field("field.png", Path(__file__), render_field(1).pixels)
    result = analyzer.analyze(field)
    return analyzer.info(), make_counted_field(field, result, None, draw=True, dedupe=True)


def drive(engine: ray_engine.RayEngine, fields: int) -> None:
    """Let the engine count so many fields, and print what that takes, ten times on the way."""
    asked = 0

    def sources() -> Iterator[Source]:
        nonlocal asked
        for number in range(fields):
            asked += 1
            yield Source(f"slide-{number // 1000}/field-{number:09}.jpg", Path(__file__))

    ahead = 0
    start, busy, before = time.perf_counter(), time.process_time(), resident()
    answers: Iterator[Any] = engine.count_fields(sources(), draw=True, dedupe=True)
    for number, _ in enumerate(answers, 1):
        ahead = max(ahead, asked - number)
        if number % max(1, fields // 10) == 0:
            seconds, worked = time.perf_counter() - start, time.process_time() - busy
            print(
                f"{number} fields: {1000 * worked / number:.2f} ms of processor time of the "
                f"driver a field, {number / seconds:.0f} a second, driver "
                f"{(resident() - before) / 1e6:+.1f} MB, {ahead} fields under way at most",
                flush=True,
            )


def resident() -> int:
    """Memory of this process, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def put(ray: Any, size: int, times: int = 200) -> str:
    """Put bytes in the object store and take them out again."""
    data = os.urandom(size)
    start = time.process_time()
    for _ in range(times):
        ray.get(ray.put(data))
    return (
        f"{size / 1e6:g} MB through the object store: "
        f"{1000 * (time.process_time() - start) / times:.2f} ms of processor time"
    )


if __name__ == "__main__":
    main()
