"""Helpers of the tests of ``wbcdet review``: a counted report, and the server in a process."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import GROUND, PURPLE
from counting import Count
from serving import Served

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
    """Return a report of ``wbcdet count``, with plain arithmetic in place of the models."""
    with pytest.MonkeyPatch.context() as patch:
        count = Count(patch, folder)
        draw_fields(folder / "fields", fields)
        done = count("fields", "--out", "report", "--quiet", "--no-annotate", *options)
        assert done.exit_code == 0, done.output
    return folder / "report"


class Server(Served):
    """``wbcdet review`` in a process of its own."""

    def __init__(self, report: Path, *options: object) -> None:
        port = () if "--port" in options else ("--port", 0)
        super().__init__("review", report, "--no-browser", *port, *options)

    def request(
        self, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """As of the page, which says with every write of which report it is."""
        marked = None if body is None else {"mark": self.mark, **body}
        return super().request(path, marked, **headers)

    @cached_property
    def mark(self) -> str:
        """What every write of the page says of its report."""
        return str(self.ask("/api/changes")["mark"])

    def call(self, label: str, *keys: tuple[int, int], seen: int = 0, who: str = "Ann") -> Any:
        """Call cells something."""
        cells = [{"field": f, "cell": c, "seen": seen, "label": label} for f, c in keys]
        return self.ask("/api/change", {"who": who, "cells": cells})
