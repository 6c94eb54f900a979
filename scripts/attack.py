"""Attack a report as docs/security.md says, and print what withstood.

Works on copies of the report of a `wbcdet count`, with the command itself: its review server is
killed at random moments while it signs, or may write no file to its end; bits of the journal are
flipped; files of the report are replaced by links and hard links; and requests come without a
token, too large, with too much in them, or never whole.
"""

from __future__ import annotations

import json
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

COMMAND = [sys.executable, "-m", "wbcdet"]
#: Everything in a report that a run opens or writes below.
ENTRIES = ("annotated", "cells", "journal", "journal/fields.jsonl", "journal/pictures.bin")
ENTRIES += (".wbcdet.lock", "results.json", "review.sqlite", "review-log.jsonl", "reviewed")
ENTRIES += (".wbcdet-second.lock", "review-second.sqlite")


#: Files of a report that a run adds to.
ADDED_TO = ("journal/fields.jsonl", "journal/pictures.bin", ".wbcdet.lock", "review.sqlite")
ADDED_TO += ("review-log.jsonl", "review-second.sqlite")
#: Connections that are begun and send no request.
HELD = 600


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


def hard_links(report: Path, work: Path) -> tuple[int, int]:
    """Return how many files were hard links to a file elsewhere, and how many changed it."""
    picture, changed = work / "field.png", 0
    for name in ADDED_TO:
        copy, victim = work / "linked", work / "thesis.txt"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(report, copy)
        data = (copy / name).read_bytes() if (copy / name).exists() else b""
        (copy / name).unlink(missing_ok=True)
        victim.write_bytes(data)
        (copy / name).hardlink_to(victim)
        run("review", copy, "--check")
        second_reader(copy)
        with suppress(AssertionError), served(copy) as page:
            page.write("/api/sign")
        run("count", picture, "--out", copy, "--restart")
        changed += victim.read_bytes() != data
        victim.unlink()
    return len(ADDED_TO), changed


def held_connections(page: Page) -> tuple[int, float]:
    """Return the status of a request, and its seconds, while others hold connections."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    held = []
    for _ in range(HELD):
        held.append(socket.create_connection(("127.0.0.1", page.port), timeout=10))
        with suppress(ConnectionError):
            held[-1].sendall(b"GET / HTTP/1.1\r\nX: ")
    begun = time.monotonic()
    status = page.ask("/api/report")[0]
    took = time.monotonic() - begun
    for connection in held:
        connection.close()
    return status, took


def second_reader(report: Path) -> None:
    """Start the second reader's page, which writes into files of its own, and stop it."""
    with suppress(AssertionError), served(report, "--second"):
        pass


def links(report: Path, work: Path) -> tuple[int, int]:
    """Return how many entries were replaced by links, and how many let something through."""
    victim = work / "home"
    picture = work / "field.png"
    Image.new("RGB", (640, 480), "white").save(picture)
    plain = work / "plain"
    shutil.copytree(report, plain)
    assert run("count", picture, "--out", plain, "--restart").returncode == 0, "nothing is attacked"
    through = 0
    for entry in ENTRIES:
        copy = work / "linked"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.rmtree(victim, ignore_errors=True)
        shutil.copytree(report, copy)
        victim.mkdir()
        (victim / "thesis.txt").write_text("three years of work")
        path = copy / entry
        folder = path.is_dir() or entry == "reviewed"
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(victim if folder else victim / "thesis.txt")
        run("review", copy, "--check")
        run("review", copy, "--agreement")
        second_reader(copy)
        run("count", picture, "--out", copy, "--restart")
        left = {path.name: path.read_text() for path in victim.iterdir()}
        through += left != {"thesis.txt": "three years of work"}
    return len(ENTRIES), through


def damage(report: Path, work: Path, lines: int) -> tuple[int, int]:
    """Return how many bits of the journal were flipped, each alone, and how many went unnoticed."""
    from wbcdet.report.journal import Journal, JournalError

    source = (report / "journal" / "fields.jsonl").read_bytes()
    folder = work / "damaged"
    folder.mkdir()
    shutil.copy(report / "journal" / "pictures.bin", folder)
    unnoticed = 0
    for _ in range(lines):
        data = bytearray(source)
        data[random.randrange(len(data) - 1)] ^= 1 << random.randrange(8)
        (folder / "fields.jsonl").write_bytes(data)
        with suppress(JournalError):
            journal = Journal(folder, read_only=True)
            unnoticed += not journal.damaged
            journal.close()
    return lines, unnoticed


def main(
    report: Annotated[Path, typer.Argument(help="Of wbcdet count; it is only read.")],
    kills: Annotated[int, typer.Option(help="Kills while signing.")] = 20,
    bits: Annotated[int, typer.Option(help="Bits of the journal that are flipped.")] = 500,
) -> None:
    """Attack copies of a report."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        copy = work / "report"
        shutil.copytree(report, copy)
        print("killed while signing {}, had signed {}, whole {}".format(
            *kills_while_signing(copy, kills)))  # fmt: skip
        print("no room left while signing {}, refused {}, whole {}".format(*full_disk(copy, kills)))
        print("entries replaced by links {}, let through {}".format(*links(report, work)))
        print(
            "files that are hard links {}, changed elsewhere {}".format(*hard_links(report, work))
        )
        print("bits of the journal flipped {}, unnoticed {}".format(*damage(report, work, bits)))
        with served(copy) as page:
            statuses = [page.ask(path, cookie="")[0] for path in ("/", "/api/report", "/thumb/0/0")]
            print(f"without a token: {statuses}")
            print("{} connections that send nothing: the page answers {} in {:.1f} s".format(
                HELD, *held_connections(page)))  # fmt: skip
            before = page.peak_mb()
            status = page.ask("/api/change", b" " * 200_000_000)[0]
            print(f"a body of 200 MB: {status}, {page.peak_mb() - before:.0f} MB more memory")
            cell = {"field": 0, "cell": 0, "seen": 0, "label": "basophil"}
            begun = time.monotonic()
            status = page.write("/api/change", cells=[cell] * 20_001)[0]
            print(f"20,001 cells in a change: {status} in {time.monotonic() - begun:.1f} s")


if __name__ == "__main__":
    typer.run(main)
