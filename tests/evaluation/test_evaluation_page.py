"""``wbcdet evaluate`` as a user runs it, and the page that it leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY, grain, heed_ctrl_c
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.synthetic import render_field
from wbcdet.evaluation.classification import FOUR
from wbcdet.io.ownership import MARKER

Run = Callable[..., "subprocess.CompletedProcess[str]"]

#: A name that would break a page, a table or a spreadsheet that trusts it.
NASTY = "a<b>&'\"{{x}}.png"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four drawn smear fields with YOLO labels: one has none, one a nasty name, one a false one."""
    root = tmp_path_factory.mktemp("labelled")
    names = ["eosinophil", "lymphocyte", "monocyte", "neutrophil", "basophil", "strange"]
    (root / "images").mkdir()
    (root / "labels").mkdir()
    (root / "data.yaml").write_text(json.dumps({"names": names}))  # JSON is YAML too
    for number, file in enumerate(("1.png", "2.png", NASTY, "bare.png")):
        smear = render_field(number)
        height, width = smear.pixels.shape[:2]
        (root / "images" / file).write_bytes(cv2.imencode(".png", smear.pixels)[1].tobytes())
        lines = []
        for cell in smear.cells:
            x0, y0, x1, y1 = cell.box
            kind = names.index(str(cell.label)) if str(cell.label) in names else 5
            if number == 0 and not lines:
                kind = (kind + 1) % 4
            numbers = (
                (x0 + x1) / 2 / width,
                (y0 + y1) / 2 / height,
                (x1 - x0) / width,
                (y1 - y0) / height,
            )
            lines.append(f"{kind} {' '.join(f'{n:.6f}' for n in numbers)}")
        if file != "bare.png":
            (root / "labels" / f"{file[:-4]}.txt").write_text("\n".join(lines))
    return root


class Page(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for name, v in attrs if name in ("src", "href", "xlink:href")]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_own_folder(command: Run, labelled: Path, tmp_path: Path) -> None:
    answer = command("evaluate", labelled, "--out", "out")
    assert answer.returncode == 1, answer.stderr  # a picture was left out
    assert answer.stderr == ""
    for part in ("Finding white cells", "Naming the four types", "Both stages together"):
        assert part in answer.stdout
    assert "pictures without label, left out: 1 (" in answer.stdout and "bare.png" in answer.stdout
    assert "Research use only. Not a medical device." in answer.stdout
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "cells.csv",
        "evaluation.html",
        "evaluation.json",
        "figures.csv",
        MARKER,
    ]
    document = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert document["format"] == "wbcdet-evaluation/1"
    assert len(document["info"]["classifier"]["sha256"]) == 64
    [evaluated] = document["lists"]
    assert evaluated["layout"] == "yolo" and evaluated["pictures"] == 3
    assert {p["kind"] for p in evaluated["problems"]} >= {"picture-without-label"}
    # The same figures stand in all files.
    figures = {row["figure"]: row for row in table(out / "figures.csv")}
    cells = table(out / "cells.csv")
    four = [c for c in cells if c["truth"] in FOUR]
    right = sum(c["truth"] == c["named"] for c in four)
    both = sum(c["truth"] == c["both_stages"] for c in four)
    assert len(four) == evaluated["naming"]["cells"] > 5
    assert evaluated["naming"]["accuracy"] == pytest.approx(right / len(four))
    assert evaluated["both"]["accuracy"] == pytest.approx(both / len(four))
    row = figures["naming.accuracy"]
    assert float(row["value"]) == evaluated["naming"]["accuracy"]
    assert [float(row["low"]), float(row["high"])] == evaluated["naming"]["accuracy_ci"]
    start = (labelled / "images").relative_to(labelled.anchor).as_posix()  # it lies elsewhere
    assert {c["file"] for c in cells} <= {f"{start}/{n}" for n in ("1.png", "2.png", NASTY)}


def test_the_page_needs_nothing_else(command: Run, labelled: Path, tmp_path: Path) -> None:
    command("evaluate", labelled, "--out", "out", "--quiet")
    text = (tmp_path / "out/evaluation.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert "script" not in page.tags and page.tags.count("svg") == 4
    assert all(a.startswith(("#", "data:image/jpeg;base64,")) for a in page.addresses)
    assert not re.search(r"url\((?!#)|@import|<metadata|<!DOCTYPE svg", text)
    assert "default-src 'none'" in text
    assert "Research use only. Not a medical device." in text
    assert NASTY not in text and "<b>&'" not in text
    for heading in ("Recall", "macro", "Reliability", "Risk against coverage", "sha256"):
        assert heading in text
    assert "data:image" in text
    command("evaluate", labelled, "--out", "bare", "--quiet", "--errors", 0)
    assert "data:image/" not in (tmp_path / "bare/evaluation.html").read_text(encoding="utf-8")


def test_class_folders_and_pipes(command: Run, tmp_path: Path) -> None:
    """Tightly cut cells, an empty picture, an artefact: nothing is passed over in silence."""
    smear = render_field(0)
    for number, cell in enumerate(smear.cells[:4]):
        x0, y0, x1, y1 = (round(v) for v in cell.box)
        target = tmp_path / "own" / str(cell.label) / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), smear.pixels[max(0, y0 - 12) : y1 + 12, max(0, x0 - 12) : x1 + 12])
    (tmp_path / "own/neutrophil").mkdir(exist_ok=True)
    blank = np.full((90, 90, 3), 225, np.uint8)
    cv2.imwrite(str(tmp_path / "own/neutrophil/blank.png"), blank)
    cv2.imwrite(str(tmp_path / "own/neutrophil/blank again.png"), blank)
    (tmp_path / "own/artefact").mkdir()
    cv2.imwrite(str(tmp_path / "own/artefact/1.png"), grain(80, 80))
    answer = command("evaluate", "own", "--json", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    [evaluated] = json.loads(answer.stdout)["lists"]
    assert evaluated["naming"]["confusion"]["neutrophil"]["not found"] == 2
    assert evaluated["one_cell_pictures"]["without_cell_of_four"] >= 2
    assert [p["kind"] for p in evaluated["problems"]] == ["copy"]
    assert evaluated["naming"]["interval"].startswith("Wilson, widened by a bootstrap")
    assert "1 problem" in answer.stderr and len(answer.stderr.strip().splitlines()) == 1
    markdown = command("evaluate", "own", "--markdown", "--out", "out")
    assert "| list | cells | accuracy % (95 %) |" in markdown.stdout


def test_mistakes_in_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "own/neutrophil").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "own/neutrophil/1.png"), grain())
    cases = {
        (): "nothing to evaluate",
        ("missing",): "is no folder",
        ("file",): "is no folder",
        ("own", "--map", "poly"): "OWN=STANDARD",
        ("own", "--format", "yolo"): "nothing to evaluate",
        ("own", "--confidence", "2"): "confidence must lie",
        ("own", "--out", "file"): "cannot write to file",
        ("--list", "nowhere"): "there is no such list",
        ("--list", "tecom"): "wbcdet data prepare",
        ("--list", "kaggle-test", "--data", "own"): "wbcdet data fetch kaggle-wbc",
    }
    for arguments, expected in cases.items():
        answer = CliRunner().invoke(app, ["evaluate", *arguments])
        lines = answer.stderr.strip().splitlines()
        assert answer.exit_code == 2 and len(lines) == 1, (arguments, answer.stderr)
        assert expected in lines[0] and answer.stdout == ""
    assert not (tmp_path / "wbcdet-evaluation").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_leaves_no_half_file(tmp_path: Path) -> None:
    data = cv2.imencode(".png", render_field(0).pixels)[1].tobytes()
    for folder in ("one/neutrophil", "many/neutrophil"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "one/neutrophil/0.png").write_bytes(data)
    for number in range(3000):
        os.link(tmp_path / "one/neutrophil/0.png", tmp_path / f"many/neutrophil/{number}.png")
    running = subprocess.Popen(
        [sys.executable, "-m", "wbcdet", "evaluate", "one", "many", "--out", "out", "--quiet"],
        cwd=tmp_path,
        preexec_fn=heed_ctrl_c,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # wherever it is by then: 3000 pictures take longer
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 130 and "Traceback" not in errors
    left = {p.name for p in (tmp_path / "out").iterdir()}
    done = {"evaluation.html", "evaluation.json", "figures.csv", "cells.csv", MARKER}
    assert left in (set(), done)
    if left:
        document = json.loads((tmp_path / "out/evaluation.json").read_text())
        assert [evaluated["name"] for evaluated in document["lists"]] == ["one"]
