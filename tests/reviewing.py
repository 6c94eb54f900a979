"""What the tests of ``wbcdet review`` share: a counted report, and the server in a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import GROUND, PURPLE, REPOSITORY
from counting import Count

#: Cells across and down on a drawn field.
ACROSS, DOWN = 8, 5


def draw_fields(folder: Path, fields: int) -> Path:
    """Fields of 40 dark squares each, in two slides."""
    rng = np.random.default_rng(0)
    for number in range(fields):
        picture = np.full((DOWN * 40, ACROSS * 40, 3), GROUND, np.uint8)
        for place in range(ACROSS * DOWN):
            x, y = 40 * (place % ACROSS) + 5, 40 * (place // ACROSS) + 5
            width, height = (int(v) for v in rng.integers(14, 30, 2))
            picture[y : y + height, x : x + width] = PURPLE
        path = folder / ("anna", "boris")[number % 2] / f"field {number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)
    return folder


def make_report(folder: Path, fields: int, *options: str) -> Path:
    """A report of ``wbcdet count``, with plain arithmetic in place of the models."""
    with pytest.MonkeyPatch.context() as patch:
        count = Count(patch, folder)
        draw_fields(folder / "fields", fields)
        done = count("fields", "--out", "report", "--quiet", "--no-annotate", *options)
        assert done.exit_code == 0, done.output
    return folder / "report"


class Server:
    """``wbcdet review`` in a process of its own."""

    def __init__(self, report: Path, *options: object) -> None:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "wbcdet", "review", str(report), "--no-browser"]
        if "--port" not in options:
            command += ["--port", "0"]
        self.process = subprocess.Popen(
            [*command, *map(str, options)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        found = re.search(r"http\S+", self.process.stdout.readline())
        if found is None:
            raise AssertionError(self.process.communicate(timeout=20))
        self.url = found[0]
        self.port = int(re.search(r":(\d+)/", self.url)[1])  # type: ignore[index]

    def kill(self) -> None:
        """As a power cut would."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate(timeout=20)

    def request(
        self, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer; a body makes it a write, as of the page."""
        base = f"http://127.0.0.1:{self.port}"
        data = None if body is None else json.dumps({"mark": self.mark, **body}).encode()
        given = {} if body is None else {"Content-Type": "application/json", "Origin": base}
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(base + path, data, {**given, **names})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    @cached_property
    def mark(self) -> str:
        """What every write of the page says of its report."""
        return str(self.ask("/api/changes")["mark"])

    def ask(self, path: str, body: Any = None) -> dict[str, Any]:
        """The answer to a request that is to succeed."""
        status, _, data = self.request(path, body)
        assert status == 200, data
        answer: dict[str, Any] = json.loads(data)
        return answer

    def call(self, label: str, *keys: tuple[int, int], seen: int = 0, who: str = "Ann") -> Any:
        """Call cells something."""
        cells = [{"field": f, "cell": c, "seen": seen, "label": label} for f, c in keys]
        return self.ask("/api/change", {"who": who, "cells": cells})
