"""Helpers of the tests of ``wbcdet count``: drawn fields, and the command without its models."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import GROUND, PURPLE, REPOSITORY, heed_ctrl_c
from count_worker import PlainAnalyzer
from typer.testing import CliRunner, Result

import wbcdet.cli.count
from wbcdet.cli.app import app
from wbcdet.report.journal import _sealed
from wbcdet.settings import Settings

WORKER = Path(__file__).with_name("count_worker.py")


def draw(path: Path, seed: int, cells: int | None = None) -> None:
    """Draw a field: dark squares among pale ones."""
    rng = np.random.default_rng(seed)
    picture = np.full((120, 160, 3), GROUND, np.uint8)
    for x, y in rng.integers(0, (150, 110), (25, 2)):
        cv2.circle(picture, (int(x), int(y)), 7, (150, 150, 225), -1)
    for _ in range(seed % 4 if cells is None else cells):
        x, y = (int(v) for v in rng.integers(0, (140, 100)))
        x = 0 if seed % 3 == 0 else x  # cut by the border
        picture[y : y + 20, x : x + 20] = PURPLE
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def folder_of(path: Path, fields: int = 12) -> Path:
    for number in range(fields):
        draw(path / ("anna", "boris")[number % 2] / f"{number}.png", number)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def journal_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal, without their checksums."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: line[name] for name in line if name != "check"} for line in lines]


def write_journal(path: Path, lines: list[dict[str, Any]]) -> None:
    """Write a journal with checksums, as somebody would who means to deceive."""
    path.write_bytes(b"".join(_sealed(json.dumps(line).encode()) for line in lines))


def final_files(out: Path) -> dict[str, bytes]:
    """All files of a report but the journal."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.relative_to(out).parts[0] != "journal"
    }


class Count:
    """The command in this process, with plain arithmetic in place of the models."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.analyzer: PlainAnalyzer | None = None
        monkeypatch.setattr(wbcdet.cli.count, "load_analyzer", self._load)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        monkeypatch.chdir(folder)

    def _load(self, settings: Settings, **_: object) -> PlainAnalyzer:
        self.analyzer = PlainAnalyzer(settings)
        return self.analyzer

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["count", *map(str, arguments)])

    @property
    def analysed(self) -> list[str]:
        assert self.analyzer is not None
        return self.analyzer.analysed


def start(folder: Path, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Return the command in an own process, with plain arithmetic in place of the models.

    Args:
        folder: where it runs.
        arguments: after ``wbcdet count``.
        options: ``environment``, and what ``Popen`` takes.
    """
    environment = {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(WORKER.parent)]),
        "SOURCE_DATE_EPOCH": "1700000000",
        "PYTHONIOENCODING": "utf-8",
        **options.pop("environment", {}),
    }
    if os.name != "nt":
        options.setdefault("preexec_fn", heed_ctrl_c)
    return subprocess.Popen(
        [sys.executable, str(WORKER), "count", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
