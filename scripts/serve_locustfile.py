"""The clients of ``scripts/serve_load.py``: Locust users that send pictures, each at its own rate.

The folder of pictures, the token and the requests a second of a user (0: as fast as answers come)
are in the environment: WBCDET_FIELDS, WBCDET_TOKEN, WBCDET_RATE.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from locust import FastHttpUser, constant, constant_throughput, task

PICTURES = itertools.cycle(
    path.read_bytes() for path in sorted(Path(os.environ["WBCDET_FIELDS"]).iterdir())
)
HEADERS = {
    "Authorization": f"Bearer {os.environ['WBCDET_TOKEN']}",
    "Content-Type": "application/octet-stream",
}
RATE = float(os.environ["WBCDET_RATE"])


class Sender(FastHttpUser):
    wait_time = constant_throughput(RATE) if RATE else constant(0)

    @task
    def analyze(self) -> None:
        self.client.post("/v1/analyze", data=next(PICTURES), headers=HEADERS)
