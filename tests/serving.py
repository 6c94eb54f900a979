"""Helpers of the tests of pages: a command that serves one, and requests to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

from conftest import REPOSITORY, heed_ctrl_c

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Served:
    """A command that serves a page, in a process of its own.

    Attributes:
        process: it; what it prints after the address is on its ``stdout``.
        url: the address that it printed, with its token.
        cookie: what a browser has that has opened it.
        port: of that address.
    """

    def __init__(self, *arguments: object) -> None:
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wbcdet", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if found := re.search(r"http://\S+:(\d+)/\S*", line):
                self.url, self.port = found[0], int(found[1])
                self.token = self.url.split("token=")[1]
                self.cookie = f"wbcdet-{arguments[0]}-{self.port}={self.token}"
                return
        raise AssertionError(said)

    def kill(self) -> None:
        """As a power cut would."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate(timeout=20)

    def request(
        self, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; a body makes it a write, as of the page.

        As of a browser that has opened the address, unless a ``Cookie`` is given.
        """
        base = f"http://127.0.0.1:{self.port}"
        data = None if body is None else json.dumps(body).encode()
        given = {} if body is None else {"Content-Type": "application/json", "Origin": base}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            base + path, data, {"Cookie": self.cookie, **given, **names}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    def ask(self, path: str, body: Any = None) -> dict[str, Any]:
        """Return the answer to a request that is to succeed."""
        status, _, data = self.request(path, body)
        assert status == 200, data
        answer: dict[str, Any] = json.loads(data)
        return answer
