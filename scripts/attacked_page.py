"""The review server and the command, as scripts/attack.py attacks them."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "wbcdet"]


class Page:
    """The review server of a report, and requests to it; ``largest`` is the size of a file from
    which on nothing is written to it, as on a full disk."""

    def __init__(self, report: Path, *options: str, largest: int | None = None) -> None:
        def limit() -> None:
            if largest is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))

        self.process = subprocess.Popen(
            [*COMMAND, "review", str(report), *options, "--no-browser", "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=limit,
        )  # fmt: skip
        assert self.process.stdout is not None
        found = None
        for line in self.process.stdout:
            if found := re.search(r"http://127.0.0.1:(\d+)/\?token=(\S+)", line):
                break
        assert found is not None, "the server did not start"
        self.port = int(found[1])
        self.base = f"http://127.0.0.1:{found[1]}"
        self.cookie = f"wbcdet-review-{found[1]}={found[2]}"

    def ask(self, path: str, body: bytes | None = None, cookie: str | None = None) -> Any:
        """Return status and text of an answer."""
        headers = {"Cookie": self.cookie if cookie is None else cookie}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Origin": self.base}
        try:
            request = urllib.request.Request(self.base + path, body, headers)
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def write(self, path: str, **body: Any) -> Any:
        """Return the answer to a write of the page."""
        now = json.loads(self.ask("/api/changes?since=0")[1])
        body = {"mark": now["mark"], "who": "Ann", "since": now["last"], **body}
        return self.ask(path, json.dumps(body).encode())

    def peak_mb(self) -> float:
        """Return the most memory that the server has taken."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1000

    def kill(self) -> None:
        """Kill the process, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@contextmanager
def served(report: Path, *options: str) -> Iterator[Page]:
    page = Page(report, *options)
    try:
        yield page
    finally:
        page.kill()


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Return the command."""
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)
