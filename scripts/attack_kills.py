"""Kill the review server and a count at random moments, or let them find no room."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

from attacked_page import COMMAND, Page, run, served


def name_all(page: Page) -> None:
    """Give every unclassified cell a name, as signing asks for it."""
    cells = json.loads(page.ask("/api/report")[1])["cells"]
    open_ = [
        {"field": row[0], "cell": row[1], "seen": row[4], "label": "monocyte"}
        for row in cells
        if row[2] == "unclassified"
    ]
    if open_:
        assert page.write("/api/change", cells=open_)[0] == 200


def kills_while_signing(report: Path, kills: int) -> tuple[int, int, int]:
    """Return how often it was killed, had signed by then, and was found whole by `--check`."""
    with served(report) as page:
        name_all(page)
        begun = time.monotonic()
        assert page.write("/api/sign")[0] == 200
        takes = time.monotonic() - begun
    signed = whole = 0
    before = 1
    for _ in range(kills):
        page = Page(report)
        with suppress(OSError):
            threading.Timer(random.uniform(0.0, 1.3 * takes), page.kill).start()
            page.write("/api/sign")
        page.process.wait()
        there = (report / "reviewed" / "report.html").is_file()
        whole += there and run("review", report, "--check").returncode == 0
        now = len((report / "review-log.jsonl").read_bytes().splitlines())
        signed += now > before
        before = now
    return kills, signed, whole


def full_disk(report: Path, tries: int) -> tuple[int, int, int]:
    """Return how often signing found no more room, was refused then, and left the report whole."""
    sizes = [path.stat().st_size for path in (report / "reviewed").rglob("*") if path.is_file()]
    refused = whole = 0
    for _ in range(tries):
        try:
            page = Page(report, largest=random.randrange(max(sizes)))
        except AssertionError:  # there is no room for anything
            refused += 1
        else:
            refused += page.write("/api/sign")[0] != 200
            page.kill()
        whole += run("review", report, "--check").returncode == 0
    return tries, refused, whole


def decisions_kept(report: Path, kills: int) -> tuple[int, int, int]:
    """Return how often the server was killed while decisions were made, how many it had
    acknowledged by then, and how many of these stood afterwards."""
    from wbcdet.review.decision_store import DATABASE, read_decisions

    acknowledged: list[tuple[int, int, int]] = []
    names = ["monocyte", "basophil", "artefact"]
    for _ in range(kills):
        page = Page(report)
        cells = {
            (row[0], row[1]): row[4] for row in json.loads(page.ask("/api/report")[1])["cells"]
        }
        threading.Timer(random.uniform(0.05, 1.5), page.kill).start()
        with suppress(OSError, ValueError):
            while True:
                key = random.choice(list(cells))
                cell = {"field": key[0], "cell": key[1], "seen": cells[key]}
                status, text = page.write(
                    "/api/change", cells=[{**cell, "label": random.choice(names)}]
                )
                if status != 200:
                    break
                cells[key] = json.loads(text)["last"]
                acknowledged.append((*key, cells[key]))
        page.process.wait()
    numbers = {one.id: one.cell for one in read_decisions(report, DATABASE)}
    kept = sum(numbers.get(last) == cell for _, cell, last in acknowledged)
    return kills, len(acknowledged), kept


def fields_kept(pictures: Path, work: Path, kills: int) -> tuple[int, int, int]:
    """Return how often a count was killed and went on, how many files it wrote in the end, and how
    many of them differ from those of a count that was not."""
    whole, killed = work / "whole", work / "killed"
    options = ("--group-by", "folder", "--quiet")
    begun = time.monotonic()
    assert run("count", pictures, "--out", whole, *options).returncode == 0
    takes = time.monotonic() - begun
    for _ in range(kills):
        process = subprocess.Popen(
            [*COMMAND, "count", str(pictures), "--out", str(killed), *options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with suppress(subprocess.TimeoutExpired):
            process.wait(random.uniform(0.2, 1.0) * takes)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert run("count", pictures, "--out", killed, *options).returncode == 0
    files = {one.relative_to(whole) for one in whole.rglob("*") if one.is_file()}
    # The journal has the order of the work, and times of writing.
    files = {one for one in files if one.parts[0] != "journal" and one.name != "wbcdet-output.json"}
    differ = sum(_plain(whole / one) != _plain(killed / one) for one in files)
    return kills, len(files), differ


def _plain(path: Path) -> bytes:
    """Return a file without the moments of its making."""
    if not path.exists():
        return b""
    if path.suffix == ".xlsx":  # a ZIP file, with times inside
        from openpyxl import load_workbook

        book = load_workbook(path)
        cells = [[[c.value for c in row] for row in sheet.iter_rows()] for sheet in book]
        return re.sub(rb"20\d\d-\d\d-\d\d[ T][\d:+.]*", b"", repr(cells).encode())
    return re.sub(rb"20\d\d-\d\d-\d\d[ T][\d:+.]*", b"", path.read_bytes())
