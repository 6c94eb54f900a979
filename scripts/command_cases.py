"""Run ``wbcdet`` on the files of a case and say in a few words what came of it.

More cases: write a function that takes a folder and returns the arguments of ``wbcdet``, and put
``@case("section", "title")`` over it. In its arguments ``SERVER`` is the address of a web server of
that folder, ``SILENT`` that of one that never answers.
"""

from __future__ import annotations

import csv
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from case_table import REPOSITORY, Row, is_chosen

#: What a command may take, s.
_PATIENCE = 240


@dataclass(frozen=True)
class Case:
    """A case: its section, its title, what makes its files and the arguments, and what it says."""

    section: str
    title: str
    make: Callable[[Path], Sequence[str]]
    expected: Sequence[str]


CASES: list[Case] = []


def case(section: str, title: str, *expected: str) -> Callable[..., Any]:
    """Register a case; ``expected`` are parts of what should be said."""

    def register(make: Callable[[Path], Sequence[str]]) -> Callable[[Path], Sequence[str]]:
        CASES.append(Case(section, title, make, expected))
        return make

    return register


@contextmanager
def served(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def run(arguments: Sequence[str], package: Path, where: Path) -> str:
    """Return what a command said and did, in a few words."""
    where.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(where / "out", ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "wbcdet", *arguments], cwd=where, env=environment,
            capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end within {_PATIENCE} s"
    return "; ".join([f"exit {done.returncode}", *_figures(where / "out"), *_said(done)])


def _figures(out: Path) -> list[str]:
    if (out / "cells.csv").is_file() and (out / "results.json").is_file():
        with (out / "cells.csv").open(encoding="utf-8", newline="") as file:
            counted = [row for row in csv.DictReader(file) if not row.get("left_out")]
        names = sorted(Counter(row["label"] for row in counted).items())
        return [f"{len(counted)} cells: " + ", ".join(f"{count} {name}" for name, count in names)]
    if (out / "evaluation.json").is_file():
        document = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
        labelled = document["lists"][0]
        both = labelled.get("outcome") or labelled.get("both") or labelled.get("naming") or {}
        keys = ("cells", "found", "missed", "named", "declined")
        return [", ".join(f"{key} {both[key]}" for key in keys if key in both)]
    if (out / "agreement.csv").is_file():
        with (out / "agreement.csv").open(encoding="utf-8", newline="") as file:
            manual = [f"{row['label']} {row['manual_mean']}" for row in csv.DictReader(file)]
        return ["by hand: " + ", ".join(manual)]
    return []


def _said(done: subprocess.CompletedProcess[str]) -> list[str]:
    words = (
        *(
            "interlaced",
            "square",
            "read",
            "damaged",
            "beside",
            "neither",
            "id in the",
            "differently",
        ),
        *("no labels", "signal", "answer", "exit requested", "lie on no cell", "ended", "number"),
        *("videos", "no film", "pixels", "sound", "pipe", "https", "larger than", "entities"),
    )
    lines = [*done.stderr.splitlines(), *done.stdout.splitlines()]
    # Several lines may say the same.
    found = dict.fromkeys(
        line.removeprefix("wbcdet: ")[:160] for line in lines if any(w in line for w in words)
    )
    return [item for item in found if "Research use" not in item][:2]


def rows(
    only: str | None,
    against: Path | None,
    root: Path,
    handler: Callable[..., BaseHTTPRequestHandler],
) -> Iterator[Row]:
    """Yield the registered cases, one after the other; ``handler`` serves the folder of a case."""
    packages = [*([against] if against else []), REPOSITORY]
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # never answers
    quiet = f"http://127.0.0.1:{silent.server_port}"
    for number, tried in enumerate(CASES):
        if not is_chosen(only, tried.section, tried.title):
            continue
        place = root / f"case-{number:02}"
        place.mkdir(parents=True, exist_ok=True)
        arguments = tried.make(place)
        with served(functools.partial(handler, directory=str(place))) as address:
            arguments = [a.replace("SERVER", address).replace("SILENT", quiet) for a in arguments]
            said = [
                run(arguments, package, root / f"case-{number:02}-{i}")
                .replace(str(root), "…")
                .replace(address, "http://…")
                .replace(quiet, "http://…")
                for i, package in enumerate(packages)
            ]
        right = all(part in said[-1] for part in tried.expected)
        yield Row(tried.section, tried.title, said[0], said[-1], right)
