"""Try folders as people have them: what is analysed, how it is named, what is written over.

    python scripts/output_cases.py                    # the package that is imported
    python scripts/output_cases.py --only 11          # the cases of one section
    python scripts/output_cases.py --against OLD      # a column of another checkout beside it

A case makes files from synthetic fields, runs ``wbcdet`` on them as a user does, and says in a few
words what came of it; beside it stands what should. More cases: write a function that takes a
``Stage`` and returns the words, and put ``@case("section", "title", "what should come")`` over it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from case_table import REPOSITORY, Row, is_chosen, print_table

from wbcdet.datasets.synthetic import render_field

#: Bytes of the fields, made once; each holds one to three white cells.
FIELDS = [cv2.imencode(".jpg", render_field(seed).pixels)[1].tobytes() for seed in range(4)]


@dataclass(frozen=True)
class Stage:
    """An empty folder to make files in, and the command.

    Attributes:
        folder: the working folder of the command.
        package: the checkout whose ``wbcdet`` runs.
    """

    folder: Path
    package: Path

    def slides(self, *names: str) -> None:
        """Write different fields under these names."""
        for number, name in enumerate(names):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FIELDS[number % len(FIELDS)])

    def mine(self, name: str) -> None:
        """Make a file of the user's."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")

    def still(self, name: str) -> str:
        """Return what has become of it."""
        path = self.folder / name
        return "kept" if path.is_file() and path.read_bytes() == b"mine" else "LOST"

    def start(self, *arguments: str, folder: str = ".") -> subprocess.Popen[str]:
        """Return the command in a process."""
        return subprocess.Popen(
            [sys.executable, "-m", "wbcdet", *arguments],
            cwd=self.folder / folder,
            env={**os.environ, "PYTHONPATH": str(self.package), "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, folder: str = ".") -> tuple[int, str]:
        """Run the command: its exit code, and what it says beside its results."""
        running = self.start(*arguments, folder=folder)
        _, errors = running.communicate(timeout=600)
        return running.returncode, errors.strip()

    def names(self, out: str) -> list[str]:
        """Return the fields of a report."""
        path = self.folder / out / "results.json"
        if not path.is_file():
            return []
        return [entry["file"] for entry in json.loads(path.read_text(encoding="utf-8"))["fields"]]

    def fields(self, out: str) -> str:
        """Return how many fields a report has."""
        return f"{len(self.names(out))} fields"


@dataclass(frozen=True)
class Case:
    """A case: its section of the list, its title, what runs it, and what should come of it."""

    section: str
    title: str
    play: Callable[[Stage], str]
    expected: str


CASES: list[Case] = []
FOUR = ("1.jpg", "2.jpg", "3.jpg", "4.jpg")


def case(section: str, title: str, expected: str) -> Callable[..., Callable[[Stage], str]]:
    """Register a case."""

    def register(play: Callable[[Stage], str]) -> Callable[[Stage], str]:
        CASES.append(Case(section, title, play, expected))
        return play

    return register


# --- 1: what wbcdet wrote is not a slide ----------------------------------------------------


@case("1", "4 pictures: `predict .`, `count .`, `predict .`", "4, 4, 4 fields")
def _(stage: Stage) -> str:
    stage.slides(*FOUR)
    stage.run("predict", ".")
    stage.run("count", ".")
    first = len(stage.names("wbcdet-report"))
    stage.run("predict", ".", "--out", "again")
    return f"{len(stage.names('wbcdet-out'))}, {first}, {len(stage.names('again'))} fields"


@case("1", "`count . --out second` beside a first report", "4 fields, said in a line")
def _(stage: Stage) -> str:
    stage.slides(*FOUR)
    stage.run("count", ".")
    _, said = stage.run("count", ".", "--out", "second")
    line = "said in a line" if "wbcdet-report" in said else "nothing said"
    return f"{stage.fields('second')}, {line}"


@case("1", "annotated pictures moved among the slides", "4 fields, said in a line")
def _(stage: Stage) -> str:
    stage.slides(*(f"in/{name}" for name in FOUR))
    stage.run("predict", "in")
    shutil.copytree(stage.folder / "wbcdet-out" / "annotated", stage.folder / "in" / "looked at")
    _, said = stage.run("predict", "in", "--out", "out")
    line = "said in a line" if "wbcdet drew" in said else "nothing said"
    return f"{stage.fields('out')}, {line}"


@case("1", "a link into `annotated/` of a report elsewhere", "4 fields")
def _(stage: Stage) -> str:
    stage.slides(*(f"in/{name}" for name in FOUR))
    stage.run("predict", "in", "--out", "report")
    (stage.folder / "in" / "link").symlink_to(stage.folder / "report" / "annotated")
    stage.run("predict", "in", "--out", "out")
    return stage.fields("out")


@case("1", "a report copied to another disk, one inside another", "4 fields")
def _(stage: Stage) -> str:
    stage.slides(*(f"in/{name}" for name in FOUR))
    stage.run("predict", "in", "--out", "in/report")
    shutil.copytree(stage.folder / "in" / "report", stage.folder / "in" / "disk" / "copy")
    shutil.copytree(stage.folder / "in" / "report", stage.folder / "in" / "report" / "copy")
    stage.run("predict", "in", "--out", "out")
    return stage.fields("out")


@case("1", "`predict wbcdet-out`: a report given as slides", "exit 2, one line")
def _(stage: Stage) -> str:
    stage.slides(*FOUR)
    stage.run("predict", ".")
    code, said = stage.run("predict", "wbcdet-out", "--out", "out")
    return f"exit {code}, {'one line' if said and chr(10) not in said else 'no line'}"


@case("1", "an export with its pictures beside the slides", "4 fields")
def _(stage: Stage) -> str:
    stage.slides(*FOUR)
    stage.run("predict", ".")
    stage.run("export", "wbcdet-out", "--to", "yolo", "--out", "yolo", "--pictures", ".")
    stage.run("predict", ".", "--out", "out")
    return stage.fields("out")


@case("1", "drawn fields of `demo` beside the slides", "4 fields")
def _(stage: Stage) -> str:
    stage.slides(*FOUR)
    stage.run("demo", "--fields", "1")
    stage.run("predict", ".", "--out", "out")
    return stage.fields("out")


# --- 2: nothing is passed over without a word -----------------------------------------------

_KINDS = {
    "a.heic": b"\0\0\0\x18ftypheic" + bytes(40),
    "a.avif": b"\0\0\0\x18ftypavif" + bytes(40),
    "a.jxl": b"\xff\x0a" + bytes(40),
    "a.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40),
    "a.svs": b"II*\0" + bytes(40),
    "a.ndpi": b"II*\0" + bytes(40),
    "a.czi": b"ZISRAWFILE" + bytes(40),
    "a.vsi": b"II*\0" + bytes(40),
    "a.lif": b"\x70\0\0\0" + bytes(4) + b"*" + bytes(40),
    "a.nd2": b"\xda\xce\xbe\x0a" + bytes(40),
    "a.dcm": bytes(128) + b"DICM" + bytes(40),
    "a.apng": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "a.jps": b"\xff\xd8\xff" + bytes(40),
}


@case("2", "13 formats and a ZIP of fields beside one JPEG", "15 records, exit 1")
def _(stage: Stage) -> str:
    stage.slides("in/1.jpg")
    for name, data in _KINDS.items():
        (stage.folder / "in" / name).write_bytes(data)
    with zipfile.ZipFile(stage.folder / "in" / "fields.zip", "w") as archive:
        archive.writestr("1.jpg", FIELDS[0])
    code, _ = stage.run("predict", "in")
    return f"{len(stage.names('wbcdet-out'))} records, exit {code}"


@case("2", "tables, notes, a film, a hidden picture beside one JPEG", "1 fields, said in a line")
def _(stage: Stage) -> str:
    stage.slides("in/1.jpg", "in/.2.jpg")
    for name in ("notes.txt", "cells.csv", "film.mp4", "letter.docx"):
        stage.mine(f"in/{name}")
    _, said = stage.run("predict", "in")
    whole = all(part in said for part in ("1 video", "3 other files", "1 hidden"))
    return f"{stage.fields('wbcdet-out')}, {'said in a line' if whole else 'nothing said'}"


@case("2", "a JPEG without an ending, one called `.bak`", "2 fields")
def _(stage: Stage) -> str:
    stage.slides("in/IMG0001", "in/2.bak")
    stage.run("predict", "in")
    return stage.fields("wbcdet-out")


# --- 9: names of fields ---------------------------------------------------------------------


@case("9", "one picture alone, in its folder, beside others, by a pattern", "one name")
def _(stage: Stage) -> str:
    stage.slides("Lymphocytes/3.jpg", "29.jpg", "b/3.jpg")
    lines = (["Lymphocytes/3.jpg"], ["Lymphocytes"], ["."], ["Lymphocytes/3.jpg", "b/3.jpg"],
             ["Lymphocytes/3.jpg", "29.jpg"], ["*/3.jpg"], [str(stage.folder)])  # fmt: skip
    found = set()
    for number, line in enumerate(lines):
        stage.run("predict", *line, "--no-annotate", "--out", f"out/{number}")
        found.add(next(n for n in stage.names(f"out/{number}") if "29" not in n and "b/" not in n))
    return "one name" if len(found) == 1 else f"{len(found)} names"


@case("9", "`count day1 day2`: equal names in two folders", "2 fields, 2 names")
def _(stage: Stage) -> str:
    stage.slides("day1/1.jpg", "day2/1.jpg")
    stage.run("count", "day1", "day2")
    names = stage.names("wbcdet-report")
    return f"{len(names)} fields, {len(set(names))} names"


@case("9", "where a field came from stands in results.json", "it does")
def _(stage: Stage) -> str:
    stage.slides("in/a/1.jpg")
    stage.run("predict", "in")
    document = json.loads((stage.folder / "wbcdet-out" / "results.json").read_text())
    for root in document["info"].get("sources", []):
        file = document["fields"][0]["file"]
        if (Path(root["path"]) / file[len(root["name"]) :].lstrip("/")).is_file():
            return "it does"
    return "it does not"


@case("9", "a count goes on after its folder was moved", "same names, nothing counted again")
def _(stage: Stage) -> str:
    stage.slides("in/1.jpg", "in/2.jpg")
    stage.run("count", "in")
    names = stage.names("wbcdet-report")
    (stage.folder / "in").rename(stage.folder / "moved")
    _, said = stage.run("count", "moved")
    same = "same names" if stage.names("wbcdet-report") == names else "other names"
    again = "nothing counted again" if "2 of 2 fields were counted before" in said else said
    return f"{same}, {again}"


# --- 11: nothing is written over ------------------------------------------------------------


@case("11", "`count X --out X`", "exit 2, nothing written")
def _(stage: Stage) -> str:
    stage.slides("x/1.jpg")
    code, _ = stage.run("count", "x", "--out", "x")
    wrote = len(list((stage.folder / "x").iterdir())) > 1
    return f"exit {code}, {'files among the slides' if wrote else 'nothing written'}"


def _user(name: str, *arguments: str) -> None:
    @case("11", f"`{arguments[0]}` into a folder with a user's `{name}`", "exit 2, kept")
    def _(stage: Stage) -> str:
        stage.slides("in/1.jpg")
        stage.mine(f"out/{name}")
        code, _ = stage.run(*arguments, "--out", "out")
        return f"exit {code}, {stage.still(f'out/{name}')}"


for _name in ("results.json", "cells.csv", "annotated/1.jpg"):
    _user(_name, "predict", "in")
_user("report.html", "count", "in")
_user("fields/smear-0000.png", "demo", "--fields", "1")


@case("11", "a user's picture put among the annotated ones, `predict` again", "exit 2, kept")
def _(stage: Stage) -> str:
    stage.slides("in/1.jpg")
    stage.run("predict", "in", "--out", "out")
    stage.slides("in/2.jpg")
    stage.mine("out/annotated/in/2.jpg" if (stage.folder / "out/annotated/in").is_dir()
               else "out/annotated/2.jpg")  # fmt: skip
    code, _ = stage.run("predict", "in", "--out", "out")
    return f"exit {code}, {stage.still('out/annotated/2.jpg')}"


@case("11", "`predict --out REPORT` of a count", "exit 2, the count stays")
def _(stage: Stage) -> str:
    stage.slides("in/1.jpg")
    stage.run("count", "in", "--out", "report")
    before = (stage.folder / "report" / "results.json").read_bytes()
    code, _ = stage.run("predict", "in", "--out", "report")
    same = (stage.folder / "report" / "results.json").read_bytes() == before
    return f"exit {code}, {'the count stays' if same else 'the count is GONE'}"


@case("11", "`predict --out REPORT` of a report that is open in review", "exit 2, it stays")
def _(stage: Stage) -> str:
    stage.slides("in/1.jpg")
    stage.run("predict", "in", "--out", "report")
    before = (stage.folder / "report" / "results.json").read_bytes()
    review = stage.start("review", "report", "--no-browser", "--port", "0")
    try:
        assert review.stdout is not None
        review.stdout.readline()  # it serves
        code, _ = stage.run("predict", "in", "--out", "report")
    finally:
        review.kill()
        review.communicate()
    same = (stage.folder / "report" / "results.json").read_bytes() == before
    return f"exit {code}, {'it stays' if same else 'it is REPLACED'}"


@case("11", "two `predict` into one folder, other pictures", "only the new pictures")
def _(stage: Stage) -> str:
    stage.slides("a/1.jpg", "b/2.jpg")
    stage.run("predict", "a", "--out", "out")
    stage.run("predict", "b", "--out", "out")
    drawn = sorted(path.name for path in (stage.folder / "out" / "annotated").rglob("*.jpg"))
    return "only the new pictures" if drawn == ["2.jpg"] else "old and new MIXED"


@case("11", "`predict` killed half-way in a folder with results", "the old results, whole")
def _(stage: Stage) -> str:
    stage.slides("a/1.jpg")
    stage.run("predict", "a", "--out", "out")
    before = {p.name: p.read_bytes() for p in (stage.folder / "out").rglob("*") if p.is_file()}
    for number in range(400):
        stage.slides(f"b/{number}.jpg")
    running = stage.start("predict", "b", "--out", "out")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if len(list((stage.folder / "out").rglob("*.jpg"))) > 3:
            break
        time.sleep(0.02)
    running.kill()
    running.communicate()
    now = {path.name: path.read_bytes() for path in (stage.folder / "out").rglob("*")
           if path.is_file() and ".wbcdet" not in str(path)}  # fmt: skip
    return "the old results, whole" if now == before else "old and new MIXED"


def play(tried: Case, package: Path) -> str:
    """Return what comes of a case, in a few words."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return tried.play(Stage(Path(folder).resolve(), package))
        except Exception as error:  # of an older version any
            return f"{type(error).__name__}: {error}".splitlines()[0][:80]


def rows(only: str | None, against: Path | None) -> Iterator[Row]:
    """Yield what comes of each case; what should is said where it does not."""
    for tried in CASES:
        if is_chosen(only, tried.section, tried.title):
            now = play(tried, REPOSITORY)
            right = now == tried.expected
            before = play(tried, against) if against else ""
            words = now if right else f"{now} (should be: {tried.expected})"
            yield Row(tried.section, tried.title, before, words, right)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the cases and print a Markdown table; 1 where one does not come out as it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="the cases of one section, or with a word in their title")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="an older checkout")
    given = parser.parse_args(arguments)
    against = given.against and given.against.resolve()
    return print_table(rows(given.only, against), against=against is not None)


if __name__ == "__main__":
    sys.exit(main())
