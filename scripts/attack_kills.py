"""Kill the review server and a count at random moments, or let them find no room."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
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


def kills_while_signing(report: Path, kills: int) -> tuple[int, int, int, int, int]:
    """Return how often it was killed, how often nothing was signed by then, how often it was, how
    many of the signatures that it had acknowledged stand, and how often `--check` found the report
    whole. One kill in three comes at a random moment, one as soon as the log grows, one when the
    answer has come."""
    log = report / "review-log.jsonl"
    with served(report) as page:
        name_all(page)
        begun = time.monotonic()
        assert page.write("/api/sign")[0] == 200
        takes = time.monotonic() - begun
    unsigned = signed = lost = whole = 0
    for number in range(kills):
        page, before = Page(report), log.stat().st_size
        acknowledged = False
        if number % 3 == 0:
            threading.Timer(random.uniform(0.0, takes), page.kill).start()
        elif number % 3 == 1:
            kill_when(page.process, lambda: log.stat().st_size > before)  # noqa: B023
        with suppress(OSError, ValueError):
            acknowledged = page.write("/api/sign")[0] == 200
        if number % 3 == 2:
            page.kill()
        page.process.wait()
        grown = log.stat().st_size > before
        signed += grown
        unsigned += not grown
        lost += acknowledged and not grown
        there = (report / "reviewed" / "report.html").is_file()
        whole += there and run("review", report, "--check").returncode == 0
    return kills, unsigned, signed, lost, whole


def kill_when(process: subprocess.Popen[str], moment: Callable[[], bool]) -> None:
    """Kill a process, from another thread, within 5 ms of a moment."""

    def watch() -> None:
        while process.poll() is None and not moment():
            time.sleep(0.0002)
        time.sleep(random.uniform(0.0, 0.005))
        process.send_signal(signal.SIGKILL)

    threading.Thread(target=watch).start()


def steps_kept(report: Path, kills: int) -> tuple[int, int, int, int]:
    """Return how often the server was killed while names of five cells at once were given, undone
    and redone, how many such steps it had acknowledged by then, how many of these stood afterwards,
    and how many of all steps stood in part."""
    from wbcdet.review.decision_store import DATABASE, read_decisions

    before = len(read_decisions(report, DATABASE))
    acknowledged: list[int] = []
    for _ in range(kills):
        page = Page(report)
        seen = {(row[0], row[1]): row[4] for row in json.loads(page.ask("/api/report")[1])["cells"]}
        threading.Timer(random.uniform(0.05, 1.5), page.kill).start()
        with suppress(OSError, ValueError):
            while True:
                kind = random.choice(["change", "undo", "redo"])
                label = random.choice(["monocyte", "basophil", "artefact"])
                wishes = [
                    {"field": field, "cell": cell, "seen": seen[field, cell], "label": label}
                    for field, cell in random.sample(list(seen), 5)
                ]
                more = {"cells": wishes} if kind == "change" else {}
                status, text = page.write(f"/api/{kind}", **more)
                if status == 200:
                    acknowledged.append(json.loads(text)["last"])
                rows = json.loads(page.ask("/api/changes?since=0")[1])["cells"]
                seen |= {(row[0], row[1]): row[4] for row in rows}
        page.process.wait()
    stood = read_decisions(report, DATABASE)[before:]
    numbers = {decision.id for decision in stood}
    sizes = Counter(decision.step for decision in stood)
    # What takes a step back, or makes it again, has as many rows as the step.
    torn = sum(
        sizes[step] != sizes[of] for step, of in {(d.step, d.of) for d in stood if d.of in sizes}
    )
    return kills, len(acknowledged), sum(last in numbers for last in acknowledged), torn


def imports_kept(report: Path, work: Path, kills: int) -> tuple[int, int, int, int]:
    """Return how often `review --import` of a file that names each cell otherwise was killed, how
    often nothing of it stood then, how often all, and how often the same import, repeated, left
    what one that was not killed leaves. One kill in three comes at a random moment, one when the
    log of the database has its largest size, one when the import has said that it is done."""
    plain, labels = work / "imported", work / "corrected.json"
    shutil.copytree(report, plain, ignore=shutil.ignore_patterns("review*"))
    assert run("export", plain, "--to", "coco", "--out", work / "coco").returncode == 0
    document = json.loads(next((work / "coco" / "annotations").glob("*.json")).read_text())
    names = [category["id"] for category in document["categories"]]
    for box in document["annotations"]:
        box["category_id"] = names[(names.index(box["category_id"]) + 1) % len(names)]
    labels.write_text(json.dumps(document))
    arguments = ("--import", labels, "--no-browser", "--reviewer", "Ann")

    def copied(name: str) -> Path:
        shutil.rmtree(work / name, ignore_errors=True)
        return Path(shutil.copytree(plain, work / name))

    def started(copy: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "review", str(copy), *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def grown(copy: Path) -> int:
        with suppress(OSError):
            return (copy / "review.sqlite-wal").stat().st_size
        return 0

    whole, largest = copied("import-whole"), 0
    begun = time.monotonic()
    process = started(whole)
    while process.poll() is None:
        largest = max(largest, grown(whole))
    takes = time.monotonic() - begun
    wanted = _names(whole)
    assert wanted
    nothing = everything = same = 0
    for number in range(kills):
        copy = copied("import-killed")
        process = started(copy)
        if number % 3 == 0:
            with suppress(subprocess.TimeoutExpired):
                process.wait(random.uniform(0.3, 1.0) * takes)
        elif number % 3 == 1:
            kill_when(process, lambda: grown(copy) >= largest)  # noqa: B023
            process.wait()
        else:
            assert process.stdout is not None
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        stood = _names(copy)
        nothing += not stood
        everything += stood == wanted
        same += run("review", copy, *arguments).returncode == 0 and _names(copy) == wanted
    return kills, nothing, everything, same


def _names(report: Path) -> list[tuple[str, int, str]]:
    """Return what was decided on each cell."""
    from wbcdet.review.decision_store import DATABASE, read_decisions

    return [(d.file, d.cell, str(d.after)) for d in read_decisions(report, DATABASE)]


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
