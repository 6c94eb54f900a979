"""Try picture files as people have them: made by code, analysed, compared with the same PNG.

    python scripts/format_cases.py                       # the package that is imported
    python scripts/format_cases.py --only 4 --keep DIR   # the cases of one section, files kept
    python scripts/format_cases.py --against OLD         # a column of another checkout beside it
    python scripts/format_cases.py --all --against OLD   # with folders, films and labels: one table

A case makes files from a synthetic field; its outcome is what ``wbcdet predict --json`` says of
them: which cells, with which remarks, or why not. The cases are in ``picture_cases.py``,
``rare_picture_cases.py``, ``colour_cases.py`` and ``damaged_picture_cases.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import colour_cases  # noqa: F401 - these add their cases
import cv2
import damaged_picture_cases  # noqa: F401
import format_cases_films
import numpy as np
import output_cases
import picture_cases  # noqa: F401
import rare_picture_cases  # noqa: F401
from case_table import REPOSITORY, Row, is_chosen, print_table
from picture_stage import CASES, Case, Stage
from PIL import Image

from wbcdet.datasets.synthetic import render_field

#: Seconds for a run, and the most memory that one may take, MB: the budget, and the models.
PATIENCE, MAX_MB = 900, 1500


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the files, analyse them, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="Folders, films and labels, too.")
    parser.add_argument("--only", help="Section, or part of a title.")
    parser.add_argument("--keep", type=Path, help="Folder for the files.")
    parser.add_argument("--against", type=Path, help="Another checkout, for a column before.")
    asked = parser.parse_args(arguments)
    root = asked.keep or Path(tempfile.mkdtemp(prefix="format-cases-"))
    against = asked.against and asked.against.resolve()
    given = [rows(asked.only, against, root)]
    if asked.all:
        given += [
            output_cases.rows(asked.only, against),
            format_cases_films.rows(asked.only, against, root / "films"),
        ]
    return print_table(chain(*given), against=against is not None)


def rows(only: str | None, against: Path | None, root: Path) -> Iterator[Row]:
    """Yield the cases of picture files, one after the other."""
    chosen = [case for case in CASES if is_chosen(only, case.section, case.title)]
    chosen.sort(key=lambda case: case.section)
    if not chosen:
        return
    checkouts = [*([against] if against else []), REPOSITORY]
    rgb = field()
    folders = {}
    for number, case in enumerate(chosen):
        group = "apart" if case.expected == "bombs" else "together"
        folders[case.title] = root / group / f"case-{case.section}-{number:02}"
        folders[case.title].mkdir(parents=True, exist_ok=True)
        case.make(Stage(folders[case.title], rgb))
    reference = root / "together" / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(reference / "colour.png")
    Image.fromarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).save(reference / "grey.png")
    together = [run(checkout, root / "together") for checkout in checkouts]
    for case in chosen:
        cells = []
        right = False
        for checkout, whole in zip(checkouts, together, strict=True):
            folder = folders[case.title]
            if case.expected == "bombs":
                if checkout != REPOSITORY:
                    cells.append("not run: gigabytes, minutes")
                    continue
                done = run(checkout, folder)
            else:
                own = [field for field in whole.fields if f"{folder.name}/" in field["file"]]
                done = replace(whole, fields=own)
            text, right = judge(case, done, whole)
            cells.append(text)
        yield Row(case.section, case.title, cells[0], cells[-1], right)


@dataclass(frozen=True)
class Outcome:
    """Output of a run: its fields, or its last words; with its seconds and MB."""

    fields: list[dict[str, Any]]
    words: str
    seconds: float
    peak: float


def field() -> np.ndarray:
    """Return the field of all cases: synthetic, three white cells."""
    counts = {"eosinophil": 1, "lymphocyte": 1, "neutrophil": 1}
    return np.ascontiguousarray(render_field(5, counts=counts).pixels[:, :, ::-1])


def run(checkout: Path, folder: Path) -> Outcome:
    """Analyse a folder with a checkout."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as out:
        command = ["predict", folder.name, "--out", out, "--no-annotate", "--json"]
        code = (
            f"import sys; sys.path.insert(0, {str(checkout)!r})\n"
            "import runpy\n"
            f"sys.argv = ['wbcdet', *{command!r}]\n"
            "try:\n    runpy.run_module('wbcdet', run_name='__main__')\nfinally:\n"
            "    lines = open('/proc/self/status').read().split('VmHWM:')\n"
            "    peak = int(lines[1].split()[0])\n"
            "    print(f'peak={peak / 1024:.0f}', file=sys.stderr)\n"
        )
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=folder.parent,
                capture_output=True,
                timeout=PATIENCE,
                env={**os.environ, "PYTHONPATH": str(checkout)},
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome([], f"no result in {PATIENCE} s", time.monotonic() - start, 0.0)
    errors = done.stderr.decode(errors="replace")
    peak = float(errors.rpartition("peak=")[2] or 0) if "peak=" in errors else 0.0
    took = time.monotonic() - start
    try:
        fields: list[dict[str, Any]] = json.loads(done.stdout)["fields"]
    except ValueError:
        lines = [line for line in errors.splitlines() if not line.startswith("peak=")]
        return Outcome([], (lines[-1] if lines else "nothing")[:160], took, peak)
    return Outcome(fields, "", took, peak)


def judge(case: Case, done: Outcome, whole: Outcome) -> tuple[str, bool]:
    """Return what came out, in words, and whether it is right."""
    if done.words:
        return done.words, False
    kind = "grey" if case.expected == "grey" else "colour"
    expected = labels(next(field for field in whole.fields if f"{kind}.png" in field["file"]))
    own = done.fields
    if not own:
        return "nothing said", False
    read = [field for field in own if field["failure"] is None]
    refused = [field["failure"] for field in own if field["failure"] is not None]
    same = len(read) == 1 and not refused and labels(read[0]) == expected
    marked = [field for field in read if field.get("remarks")]
    parts = []
    if len(own) == 1 and read:
        parts.append("same cells" if same else f"{labels(read[0])} (PNG: {expected})")
        parts += read[0].get("remarks", [])
    elif len(own) == 1:
        parts.append(f"not read: {refused[0]}")
    else:
        wrong = sum(labels(field) != expected for field in read)
        parts.append(
            f"{len(own)} fields: {len(refused)} not read, {len(marked)} remarked, "
            f"{len(read) - len(marked)} read without a word, {wrong} with other cells"
        )
    right = {
        "same": same,
        "grey": same,
        "any": bool(own),
        "same+marked": same and len(marked) == 1,
        "marked": len(marked) + len(refused) == len(own),
        "refused": not read,
        "bombs": done.seconds < PATIENCE and done.peak < MAX_MB,
    }[case.expected]
    if case.expected == "bombs":
        parts.append(f"{done.seconds:.0f} s, {done.peak:.0f} MB")
    return "; ".join(parts), right


def labels(entry: dict[str, Any]) -> str:
    """Return the cells of a field by label, as text."""
    found = Counter(cell["label"] for cell in entry["cells"])
    return ", ".join(f"{count} {label}" for label, count in sorted(found.items())) or "no cell"


if __name__ == "__main__":
    sys.exit(main())
