"""Load on ``wbcdet serve`` over loopback: requests a second, and latency at half of that.

    python scripts/serve_load.py FOLDER [--seconds 10] [--workers N]

First the fields of FOLDER are analysed in this process by ``Analyzer.analyze_fields``, as ``wbcdet
predict`` does it, again and again for the same time: fields a second. Then the service is started
in a process of its own on the same cores, and clients that each wait for their answer (twice as
many as workers) send the same files: requests a second. Then requests are sent at half of that
rate, at even times whether earlier ones are answered or not: the median and the 95th percentile of
their latency, beside the time that one picture takes a worker (from /metrics).

Needs httpx and the extra [serve]. Clients share the cores with the service: they take some of them.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import httpx

from wbcdet import Analyzer
from wbcdet.io.discover import find_fields
from wbcdet.utils.parallel import cores


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=min(cores(), 8))
    given = parser.parse_args()
    sources = find_fields([given.folder])
    pictures = [Path(source.path).read_bytes() for source in sources]
    predicted = predict_rate(sources, given.seconds)
    print(f"{len(sources)} files, {given.workers} workers, {cores()} cores")
    print(f"predict: {predicted:.1f} fields a second")
    command = [sys.executable, "-m", "wbcdet", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--workers", str(given.workers)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = re.search(r"http://[^/]+", process.stdout.readline())
        token = re.search(r"Token: (\S+)", process.stdout.readline())
        assert address and token
        try:
            asyncio.run(load(address[0], token[1], pictures, given, predicted))
        finally:
            process.send_signal(signal.SIGTERM)


def predict_rate(sources: list, seconds: float) -> float:
    """Fields a second of one analyzer, without drawing."""
    import cv2

    cv2.setNumThreads(1)
    analyzer = Analyzer()
    for _ in analyzer.analyze_fields(sources[:4]):
        pass
    start, done = time.perf_counter(), 0
    until = start + seconds
    endless = itertools.takewhile(lambda _: time.perf_counter() < until, itertools.cycle(sources))
    for _ in analyzer.analyze_fields(endless):
        done += 1
    return done / (time.perf_counter() - start)


async def load(
    address: str, token: str, pictures: list[bytes], given: argparse.Namespace, predicted: float
) -> None:
    """Both loads, one after the other."""
    headers = {"authorization": f"Bearer {token}", "content-type": "application/octet-stream"}
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
    async with httpx.AsyncClient(
        base_url=address, headers=headers, limits=limits, timeout=60
    ) as client:
        turn = itertools.cycle(pictures)

        async def ask() -> float:
            start = time.perf_counter()
            answer = await client.post("/v1/analyze", content=next(turn))
            answer.raise_for_status()
            return time.perf_counter() - start

        for _ in range(4):
            await ask()
        before = await work_seconds(client)
        start = time.perf_counter()

        async def keep_asking() -> int:
            done = 0
            while time.perf_counter() < start + given.seconds:
                await ask()
                done += 1
            return done

        counts = await asyncio.gather(*(keep_asking() for _ in range(2 * given.workers)))
        rate = sum(counts) / (time.perf_counter() - start)
        print(f"serve: {rate:.1f} requests a second, {rate / predicted:.2f} of predict")
        after = await work_seconds(client)
        print(f"work on a picture at full load: {mean_ms(before, after):.1f} ms")
        tasks = []
        start = time.perf_counter()
        for number in range(round(given.seconds * rate / 2)):
            await asyncio.sleep(max(0.0, start + 2 * number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(ask()))
        times = sorted(await asyncio.gather(*tasks))
        work = mean_ms(after, await work_seconds(client))
        p95 = 1000 * times[int(0.95 * len(times))]
        print(
            f"half load ({rate / 2:.1f} a second, {len(times)} requests): median "
            f"{1000 * median(times):.1f} ms, p95 {p95:.1f} ms, work on a picture {work:.1f} ms, "
            f"p95 / work {p95 / work:.2f}"
        )


async def work_seconds(client: httpx.AsyncClient) -> tuple[float, float]:
    """Seconds of work and pictures so far."""
    text = (await client.get("/metrics")).text
    found = [
        re.search(rf"^wbcdet_work_seconds_{what} (\S+)", text, re.M) for what in ("sum", "count")
    ]
    assert found[0] and found[1]
    return float(found[0][1]), float(found[1][1])


def mean_ms(before: tuple[float, float], after: tuple[float, float]) -> float:
    """Mean time of a picture between two moments, in milliseconds."""
    return 1000 * (after[0] - before[0]) / max(1.0, after[1] - before[1])


if __name__ == "__main__":
    main()
