"""Load on ``wbcdet serve`` over loopback with Locust: requests a second, and latency at half load.

    python scripts/serve_load.py FOLDER --locust PATH/TO/bin/locust [--seconds 10] [--rounds 5]

In turns, so that what else the machine does meets both alike, the fields of FOLDER are analysed in
this process by ``Analyzer.analyze_fields``, as ``wbcdet predict`` does it, and sent to the service,
which runs in a process of its own with as many workers, by twice as many Locust users that each
wait for their answer. Then requests are sent at half of that rate.

Fields and requests a second are compared, and so is the processor time that one takes: clients
share the cores with the service here, which they do not elsewhere, and their work is not its.
Latency stands beside the time that one picture takes a worker (from /metrics).

Needs the extra [serve], and Locust, best in an environment of its own (``pip install locust``).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from wbcdet import Analyzer
from wbcdet.io.discover import find_fields
from wbcdet.utils.parallel import cores


@dataclass(frozen=True)
class Speed:
    """What was done in some time."""

    done: float
    seconds: float
    processor_s: float

    @property
    def rate(self) -> float:
        return self.done / self.seconds

    @property
    def cost_ms(self) -> float:
        return 1000 * self.processor_s / self.done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--locust", default="locust")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=min(cores(), 8))
    given = parser.parse_args()
    command = [sys.executable, "-m", "wbcdet", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--workers", str(given.workers)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = re.search(r"http://[^/]+", process.stdout.readline())
        token = re.search(r"Token: (\S+)", process.stdout.readline())
        assert address and token
        try:
            measure(Service(process.pid, address[0], token[1], given))
        finally:
            process.send_signal(signal.SIGTERM)


@dataclass
class Service:
    """The service under test."""

    pid: int
    address: str
    token: str
    given: argparse.Namespace

    def load(self, users: int, rate: float = 0.0) -> tuple[Speed, float, dict[str, Any]]:
        """Send for the given time; speed, mean time of work in ms, and Locust's row of figures."""
        environment = {
            **os.environ,
            "WBCDET_FIELDS": str(self.given.folder),
            "WBCDET_TOKEN": self.token,
            "WBCDET_RATE": str(rate),
        }
        command = [self.given.locust, "-f", str(Path(__file__).with_name("serve_locustfile.py"))]
        command += ["--headless", "--host", self.address, "-u", str(users), "-r", str(users)]
        command += ["-t", f"{self.given.seconds:g}s", "--only-summary", "--exit-code-on-error", "1"]
        with tempfile.TemporaryDirectory() as folder:
            before = (*self._work(), self._processor())
            done = subprocess.run(
                [*command, "--csv", f"{folder}/load"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            after = (*self._work(), self._processor())
            if done.returncode:
                raise SystemExit(done.stderr)
            with Path(folder, "load_stats.csv").open(newline="") as file:
                row = next(line for line in csv.DictReader(file) if line["Name"] == "Aggregated")
        worked, number, busy = (b - a for a, b in zip(before, after, strict=True))
        # Locust's own start is not part of its time.
        return Speed(number, self.given.seconds, busy), 1000 * worked / max(1.0, number), row

    def _work(self) -> tuple[float, float]:
        """Seconds of work and pictures so far."""
        headers = {"Authorization": f"Bearer {self.token}"}
        request = urllib.request.Request(f"{self.address}/metrics", headers=headers)
        with urllib.request.urlopen(request) as answer:
            text = answer.read().decode()
        found = [
            re.search(rf"^wbcdet_work_seconds_{what} (\S+)", text, re.M)
            for what in ("sum", "count")
        ]
        assert found[0] and found[1]
        return float(found[0][1]), float(found[1][1])

    def _processor(self) -> float:
        """Processor time of the service so far, s."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(service: Service) -> None:
    """Both loads."""
    given = service.given
    predict = Predict(given.folder)
    predict.run(1.0)
    service.load(2 * given.workers)
    rounds = []
    for _ in range(given.rounds):
        own = predict.run(given.seconds)
        served, _, _ = service.load(2 * given.workers)
        rounds.append((own, served))
    own_rate, rate = (median(turn[at].rate for turn in rounds) for at in (0, 1))
    ratios = sorted(served.rate / own.rate for own, served in rounds)
    costs = sorted(own.cost_ms / served.cost_ms for own, served in rounds)
    own_ms, served_ms = (median(turn[at].cost_ms for turn in rounds) for at in (0, 1))
    print(f"{given.workers} workers, {cores()} cores, {given.rounds} rounds of {given.seconds:g} s")
    print(f"predict: {own_rate:.1f} fields a second, {own_ms:.1f} ms of processor time a field")
    print(f"serve: {rate:.1f} requests a second, {served_ms:.1f} ms of processor time a request")
    for what, found in (("a second", ratios), ("for the processor time", costs)):
        print(f"requests to fields {what}: {median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})")
    half = rate / 2
    users = max(4, 4 * given.workers)
    speed, work, row = service.load(users, half / users)
    middle, p95 = float(row["50%"]), float(row["95%"])
    print(
        f"half load ({speed.rate:.1f} a second, {speed.done:.0f} requests): median {middle:.0f} "
        f"ms, p95 {p95:.0f} ms, work on a picture {work:.1f} ms, p95 / work {p95 / work:.2f}"
    )


class Predict:
    """``Analyzer.analyze_fields`` on the same files, without drawing."""

    def __init__(self, folder: Path) -> None:
        import cv2

        cv2.setNumThreads(1)
        self._sources = find_fields([folder])
        self._analyzer = Analyzer()

    def run(self, seconds: float) -> Speed:
        """Analyse for some time."""
        start, busy, done = time.perf_counter(), time.process_time(), 0
        until = start + seconds
        endless = itertools.cycle(self._sources)
        wanted = itertools.takewhile(lambda _: time.perf_counter() < until, endless)
        for _ in self._analyzer.analyze_fields(wanted):
            done += 1
        return Speed(done, time.perf_counter() - start, time.process_time() - busy)


if __name__ == "__main__":
    main()
