"""Attack a report as docs/security.md says, and print what withstood.

Works on copies of the report of a `wbcdet count`, with the command itself: its review server is
killed at random moments while decisions are made, undone and brought back from a file, and before,
while and after it signs, or may write no file to its end; a count is killed and goes on; bits of
the journal are flipped; files of the report are replaced by links and hard links; values of its
documents, decisions and cards by odd ones; and requests come without a token, too large, with too
much in them, or never whole.
"""

from __future__ import annotations

import random
import resource
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from attack_documents import foreign_reports, odd_cards
from attack_kills import (
    decisions_kept,
    fields_kept,
    full_disk,
    imports_kept,
    kills_while_signing,
    steps_kept,
)
from attacked_page import Page, run, served
from PIL import Image

#: Everything in a report that a run opens or writes below.
ENTRIES = ("annotated", "cells", "journal", "journal/fields.jsonl", "journal/pictures.bin")
ENTRIES += (".wbcdet.lock", "results.json", "review.sqlite", "review-log.jsonl", "reviewed")
ENTRIES += (".wbcdet-second.lock", "review-second.sqlite")


#: Files of a report that a run adds to.
ADDED_TO = ("journal/fields.jsonl", "journal/pictures.bin", ".wbcdet.lock", "review.sqlite")
ADDED_TO += ("review-log.jsonl", "review-second.sqlite")
#: Connections that are begun and send no request.
HELD = 600


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
    pictures: Annotated[Path, typer.Argument(help="A few fields, to be counted and killed.")],
    kills: Annotated[int, typer.Option(help="Kills of each kind.")] = 20,
    odd: Annotated[int, typer.Option(help="Bits that are flipped, and odd documents.")] = 500,
) -> None:
    """Attack copies of a report."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        copy = work / "report"
        shutil.copytree(report, copy)

        def say(text: str, *values: object) -> None:
            print(text.format(*values), flush=True)

        say("killed while deciding {}, acknowledged {}, kept {}", *decisions_kept(copy, kills))
        say(
            "killed while undoing {}, acknowledged {}, kept {}, in part {}",
            *steps_kept(copy, kills),
        )
        say("killed while importing {}, nothing {}, all {}, same when repeated {}",
            *imports_kept(report, work, kills))  # fmt: skip
        say("killed while signing {}, unsigned {}, signed {}, acknowledged and lost {}, whole {}",
            *kills_while_signing(copy, kills))  # fmt: skip
        say("no room left while signing {}, refused {}, whole {}", *full_disk(copy, kills))
        say("killed while counting {}, files {}, differ {}", *fields_kept(pictures, work, kills))
        say("foreign reports {}, refused {}, wrong {}", *foreign_reports(report, work, odd))
        say("odd cards {}, taken {}", *odd_cards(work))
        say("bits of the journal flipped {}, unnoticed {}", *damage(report, work, odd))
        say("entries replaced by links {}, let through {}", *links(report, work))
        say("files that are hard links {}, changed elsewhere {}", *hard_links(report, work))
        with served(copy) as page:
            statuses = [page.ask(path, cookie="")[0] for path in ("/", "/api/report", "/thumb/0/0")]
            say("without a token: {}", statuses)
            say("{} connections that send nothing: the page answers {} in {:.1f} s",
                HELD, *held_connections(page))  # fmt: skip
            before = page.peak_mb()
            status = page.ask("/api/change", b" " * 200_000_000)[0]
            say("a body of 200 MB: {}, {:.0f} MB more memory", status, page.peak_mb() - before)
            cell = {"field": 0, "cell": 0, "seen": 0, "label": "basophil"}
            begun = time.monotonic()
            status = page.write("/api/change", cells=[cell] * 20_001)[0]
            say("20,001 cells in a change: {} in {:.1f} s", status, time.monotonic() - begun)


if __name__ == "__main__":
    typer.run(main)
