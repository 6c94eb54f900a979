"""What a field costs the driver of ``wbcdet count``, with no analysis in it: time, disk, memory.

    python scripts/driver_cost.py FOLDER [--fields 5000]

Counts the fields of FOLDER once, then writes their lines again and again under other names, as the
driver of a Ray cluster does with what its workers send. docs/scale.md reckons with the figures.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

from wbcdet import Analyzer
from wbcdet.batch.count import _keep
from wbcdet.batch.counted_field import LocalEngine
from wbcdet.io.discover import find_fields
from wbcdet.report.job import Job
from wbcdet.report.journal import Journal
from wbcdet.settings import Settings


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fields", type=int, default=5000)
    given = parser.parse_args()
    engine = LocalEngine(Analyzer(Settings(fields_per_batch=1)))
    counted = list(engine.count_fields(find_fields([given.folder]), draw=True, dedupe=True))
    with tempfile.TemporaryDirectory() as name:
        job = Job((), Path(name), annotate=True, dedupe=True)
        journal = Journal(job.out / "journal")
        journal.start({})
        tracemalloc.start()
        memory, start = tracemalloc.get_traced_memory()[0], time.perf_counter()
        for number in range(given.fields):
            cell = counted[number % len(counted)]
            result = replace(cell.result, file=f"slide-{number // 1000}/field-{number:09}.jpg")
            _keep(job, journal, f"annotated/{number}.jpg", replace(cell, result=result))
        journal.sync()
        seconds = time.perf_counter() - start
        memory = tracemalloc.get_traced_memory()[0] - memory
        sizes = {
            kind: sum(path.stat().st_size for path in (job.out / kind).rglob("*")) / given.fields
            for kind in ("journal", "annotated")
        }
        journal.close()
    print(
        f"{given.fields} fields: {1000 * seconds / given.fields:.2f} ms, "
        f"{memory / given.fields:.0f} bytes of memory, {sizes['journal']:.0f} bytes of journal, "
        f"{sizes['annotated']:.0f} bytes of annotated pictures a field"
    )


if __name__ == "__main__":
    main()
