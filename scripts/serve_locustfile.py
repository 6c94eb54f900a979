"""The clients of ``scripts/serve_load.py``: Locust users that send pictures, each at its own rate.

The folder of pictures, the token and the requests a second of a user (0: as fast as answers come)
are in the environment: WBCDET_FIELDS, WBCDET_TOKEN, WBCDET_RATE. At a rate they send at random
moments, as clients that know nothing of each other do (Poisson): users that begin together and wait
alike would send in step, and measure how long they wait for each other.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from pathlib import Path

from locust import FastHttpUser, task

PICTURES = itertools.cycle(
    path.read_bytes() for path in sorted(Path(os.environ["WBCDET_FIELDS"]).iterdir())
)
HEADERS = {
    "Authorization": f"Bearer {os.environ['WBCDET_TOKEN']}",
    "Content-Type": "application/octet-stream",
}
RATE = float(os.environ["WBCDET_RATE"])


class Sender(FastHttpUser):
    due = 0.0

    def on_start(self) -> None:
        self.due = time.monotonic() + (random.expovariate(RATE) if RATE else 0)

    def wait_time(self) -> float:
        if not RATE:
            return 0.0
        self.due += random.expovariate(RATE)
        return max(0.0, self.due - time.monotonic())

    @task
    def analyze(self) -> None:
        self.client.post("/v1/analyze", data=next(PICTURES), headers=HEADERS)
