"""``wbcdet count``: nothing lost whatever happens, and the files of the report."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from conftest import GROUND, PURPLE, REPOSITORY
from count_worker import PlainAnalyzer
from test_cli import one_line
from test_records import schema
from typer.testing import CliRunner, Result

import wbcdet.batch.cli
from wbcdet import Analyzer
from wbcdet.batch.files import COUNT_CELL_COLUMNS, COUNT_FIELD_COLUMNS
from wbcdet.cli import app
from wbcdet.differential import DIFFERENTIAL_COLUMNS
from wbcdet.fields import find_fields
from wbcdet.settings import Settings
from wbcdet.smear import render_smear

FILES = ("report.html", "differential.csv", "cells.csv", "fields.csv", "results.json")
WORKER = Path(__file__).with_name("count_worker.py")


def draw(path: Path, seed: int, cells: int | None = None) -> None:
    """A field of drawn cells: dark squares among pale ones."""
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
        monkeypatch.setattr(wbcdet.batch.cli, "load_analyzer", self._load)
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
        monkeypatch.chdir(folder)

    def _load(self, settings: Settings) -> PlainAnalyzer:
        self.analyzer = PlainAnalyzer(settings)
        return self.analyzer

    def __call__(self, *arguments: object) -> Result:
        return CliRunner().invoke(app, ["count", *map(str, arguments)])

    @property
    def analysed(self) -> list[str]:
        assert self.analyzer is not None
        return self.analyzer.analysed


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Count:
    return Count(monkeypatch, tmp_path)


@pytest.fixture
def worker(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """The command in an own process, with plain arithmetic in place of the models."""

    def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
        environment = {
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(WORKER.parent)]),
            "SOURCE_DATE_EPOCH": "1700000000",
            "PYTHONIOENCODING": "utf-8",
            **options.pop("environment", {}),  # type: ignore[dict-item]
        }
        return subprocess.Popen(
            [sys.executable, str(WORKER), "count", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    return start


def test_the_files_of_a_count(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in")
    (tmp_path / "in" / "anna" / "bad.jpg").write_text("no picture")
    answer = count("in", "--out", "out/new", "--group-by", "folder", "--target", 100)
    assert answer.exit_code == 1, answer.output
    out = tmp_path / "out" / "new"
    assert set(FILES) <= {path.name for path in out.iterdir()}
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    assert [entry["file"] for entry in document["fields"]] == [
        *(f"anna/{n}.png" for n in range(0, 12, 2)),
        "anna/bad.jpg",
        *(f"boris/{n}.png" for n in range(1, 12, 2)),
    ]
    assert {entry["group"] for entry in document["fields"]} == {"anna", "boris"}
    cells = rows(out / "cells.csv")
    assert tuple(cells[0]) == COUNT_CELL_COLUMNS
    assert len(cells) == sum(len(entry["cells"]) for entry in document["fields"]) > 10
    fields = rows(out / "fields.csv")
    assert tuple(fields[0]) == COUNT_FIELD_COLUMNS and len(fields) == 13
    bad = fields[6]
    assert bad["file"] == "anna/bad.jpg" and "not a JPEG" in bad["failure"] and not bad["cells"]
    assert all(
        len(row["sha256"]) == 64 and float(row["focus"]) > 0 for row in fields if row["cells"]
    )
    counted = rows(out / "differential.csv")
    assert tuple(counted[0]) == DIFFERENTIAL_COLUMNS
    for group in ("anna", "boris"):
        for label in ("neutrophil", "unclassified"):
            own = [row for row in cells if row["group"] == group and row["label"] == label]
            line = [row for row in counted if row["group"] == group and row["label"] == label]
            assert sum(int(row["count"]) for row in line) == len(own)
    for row in fields:
        assert not row["annotated"] or cv2.imread(str(out / row["annotated"])) is not None
    assert all(cv2.imread(str(path)) is not None for path in (out / "cells").rglob("*.jpg"))
    assert len(list((out / "cells").rglob("*.jpg"))) >= 4
    for part in ("anna", "cells classified, ", "12 fields counted, 1 not read.", "Research use"):
        assert part in answer.output
    # In the report's folder nothing is an input, though it may lie among the fields.
    shutil.move(out, tmp_path / "in" / "out")
    again = count("in", "--out", "in/out", "--group-by", "folder", "-q")
    assert again.exit_code == 1 and count.analysed == ["anna/bad.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_killed_at_random_moments(
    worker: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder_of(tmp_path / "in", 18)
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    options = ("in", "--dedupe", "--group-by", "folder", "--target", 100, "-q", "--out")
    whole = worker(*options, "whole")
    assert whole.wait(60) == 1
    chance = random.Random(1)
    journal = tmp_path / "killed" / "journal" / "fields.jsonl"
    kills = lines = 0
    for _ in range(4):
        running = worker(*options, "killed", environment={"WORKER_SLEEP": "0.02"})
        deadline = time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            size = journal.read_bytes().count(b"\n") if journal.exists() else 0
            if size >= lines + 4:
                break
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.05))
        kills += running.poll() is None
        running.kill()
        running.wait()
        lines = journal.read_bytes().count(b"\n")
    assert kills >= 2
    with journal.open("ab") as file:  # and a line that the power failed in
        file.write(b'{"file":"anna/0.png","res')
    last = worker(*options, "killed")
    assert last.wait(60) == 1, last.communicate()
    assert final_files(tmp_path / "killed") == final_files(tmp_path / "whole")
    assert len(final_files(tmp_path / "whole")) > 18 + len(FILES)


def test_changed_new_gone_and_failed_files(count: Count, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 8)
    (folder / "anna" / "bad.png").write_bytes(b"")
    assert count("in", "--out", "out").exit_code == 1
    assert len(count.analysed) == 9
    untouched = count("in", "--out", "out")
    assert count.analysed == ["anna/bad.png"]
    assert "8 of 9 fields were counted before" in untouched.stderr
    assert "1 field could not be read, tried again: anna/bad.png" in untouched.stderr
    draw(folder / "anna" / "bad.png", 30, 2)
    draw(folder / "anna" / "2.png", 31, 3)
    draw(folder / "boris" / "9.png", 32)
    os.utime(folder / "anna" / "0.png", (1, 1))
    (folder / "boris" / "7.png").unlink()
    answer = count("in", "--out", "out")
    assert answer.exit_code == 0
    assert count.analysed == ["anna/2.png", "anna/bad.png", "boris/9.png"]
    for part in ("changed since, counted again: anna/2.png", "new: boris/9.png"):
        assert part in answer.stderr
    assert "1 field gone, left out: boris/7.png" in answer.stderr
    assert not (tmp_path / "out" / "annotated" / "boris" / "7.jpg").exists()
    count("in", "--out", "fresh")
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")
    # A picture of the report that someone has removed is drawn again.
    (tmp_path / "out" / "annotated" / "anna" / "4.png.jpg").unlink()
    count("in", "--out", "out")
    assert count.analysed == ["anna/4.png"]
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")


def test_other_options_need_no_second_count(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in")
    count("in", "--out", "out")
    answer = count("in", "--out", "out", "--exclude-edge", "--group-by", "folder", "--skip-bad")
    assert answer.exit_code == 0 and count.analysed == []
    edge = [row for row in rows(tmp_path / "out" / "cells.csv") if row["touches_edge"] == "True"]
    assert edge and all(row["left_out"] == "edge" for row in edge)
    left = [r for r in rows(tmp_path / "out" / "differential.csv") if r["reason"] == "left out"]
    assert sum(int(row["count"]) for row in left) == len(edge)
    # What dedupe compares was not kept: the fields are read once more.
    assert count("in", "--out", "out", "--dedupe").exit_code == 0 and len(count.analysed) == 12
    assert count("in", "--out", "out", "--dedupe").exit_code == 0 and count.analysed == []


def test_other_settings_models_and_folders_are_refused(
    count: Count, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder_of(tmp_path / "in", 4)
    count("in", "--out", "out", "--confidence", 0.4)
    before = final_files(tmp_path / "out")
    journal = (tmp_path / "out" / "journal" / "fields.jsonl").read_bytes()
    refused = count("in", "--out", "out", "--confidence", 0.5)
    assert refused.exit_code == 2 and count.analysed == []
    assert "confidence 0.4, now 0.5" in one_line(refused.stderr)
    assert "--restart" in refused.stderr
    monkeypatch.setenv("WORKER_MODEL", "plain 2")
    refused = count("in", "--out", "out", "--confidence", 0.4)
    assert refused.exit_code == 2 and "plain 1" in one_line(refused.stderr)
    monkeypatch.delenv("WORKER_MODEL")
    for number in range(4):
        draw(tmp_path / "other" / "anna" / f"{number}.png", 50 + number)
    refused = count("other", "--out", "out", "--confidence", 0.4)
    assert refused.exit_code == 2 and "another folder" in one_line(refused.stderr)
    assert final_files(tmp_path / "out") == before
    assert (tmp_path / "out" / "journal" / "fields.jsonl").read_bytes() == journal
    # The same files under another path are the same fields.
    shutil.move(tmp_path / "in", tmp_path / "moved")
    assert count("moved", "--out", "out", "--confidence", 0.4).exit_code == 0
    assert count.analysed == []
    again = count("moved", "--out", "out", "--confidence", 0.5, "--restart")
    assert again.exit_code == 0 and len(count.analysed) == 4
    count("moved", "--out", "fresh", "--confidence", 0.5)
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")


def test_one_run_at_a_time(
    count: Count, worker: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder_of(tmp_path / "in", 6)
    first = worker("in", "--out", "out", "-q", environment={"WORKER_SLEEP": "0.5"})
    journal = tmp_path / "out" / "journal" / "fields.jsonl"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    second = count("in", "--out", "out")
    assert second.exit_code == 2 and "another run" in one_line(second.stderr)
    assert first.wait(60) == 0
    count("in", "--out", "fresh")
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_keeps_what_is_done(
    count: Count, worker: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    folder_of(tmp_path / "in", 8)
    running = worker("in", "--out", "out", environment={"WORKER_SLEEP": "0.3"})
    journal = tmp_path / "out" / "journal" / "fields.jsonl"
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "of 8 fields are kept in the journal; the same command goes on" in one_line(errors)
    assert not (tmp_path / "out" / "report.html").exists()
    assert count("in", "--out", "out").exit_code == 0 and 0 < len(count.analysed) < 7


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits")
@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_full_disk(
    count: Count, worker: Callable[..., subprocess.Popen[str]], tmp_path: Path, limit: int
) -> None:
    import resource

    folder_of(tmp_path / "in", 8)
    running = worker(
        *("in", "--out", "out", "--no-annotate"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "cannot write to out: File too large" in one_line(errors)
    assert "fields are kept in the journal" in errors
    assert not list((tmp_path / "out").rglob("*.part"))
    assert count("in", "--out", "out", "--no-annotate").exit_code == 0
    count("in", "--out", "fresh", "--no-annotate")
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")


def test_an_output_that_cannot_be_written(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    (tmp_path / "file").write_text("x")
    answer = count("in", "--out", "file")
    assert answer.exit_code == 2 and "cannot write to file" in one_line(answer.stderr)
    if Path("/sys/kernel").is_dir():  # read-only even for root
        answer = count("in", "--out", "/sys/kernel/wbcdet")
        assert answer.exit_code == 2 and "cannot write to /sys" in one_line(answer.stderr)


def test_mistakes_are_found_before_anything_is_done(count: Count, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "in", 1)
    (tmp_path / "ranges.csv").write_text("label,low\nneutrophil,1\n")
    cases = {
        ("missing",): "does not exist",
        ("empty",): "holds no JPEG",
        ("in", "--group-by", "("): "--group-by",
        ("in", "--group-by", "x"): "parentheses",
        ("in", "--target", "50"): "--target must be one of 100, 200, 400",
        ("in", "--ranges", "ranges.csv"): "ranges.csv",
        ("in", "--confidence", "2"): "confidence must lie",
    }
    for arguments, expected in cases.items():
        answer = count(*arguments)
        assert answer.exit_code == 2 and expected in one_line(answer.stderr), arguments
    assert not (tmp_path / "wbcdet-report").exists()


def test_one_field_and_one_without_cells(count: Count, tmp_path: Path) -> None:
    draw(tmp_path / "one.png", 7, 3)
    assert count("one.png", "--out", "one").exit_code == 0
    assert len(rows(tmp_path / "one" / "cells.csv")) == 3
    draw(tmp_path / "none.png", 7, 0)
    answer = count("none.png", "--out", "none", "--target", 100)
    assert answer.exit_code == 0 and "nothing can be said" in answer.output
    assert rows(tmp_path / "none" / "cells.csv") == []
    page = (tmp_path / "none" / "report.html").read_text(encoding="utf-8")
    assert "No cell was counted." in page and "nothing can be said" in page
    assert not list((tmp_path / "none" / "cells").rglob("*.jpg"))


def test_json_and_bad_fields(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 4)
    cv2.imwrite(str(tmp_path / "in" / "dark.png"), np.full((120, 160, 3), 40, np.uint8))
    answer = count("in", "--out", "out", "--json", "--skip-bad")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert answer.stdout_bytes == (tmp_path / "out" / "results.json").read_bytes()
    dark = next(entry for entry in document["fields"] if entry["file"] == "dark.png")
    assert "too dark" in dark["quality"]["problems"]
    assert [cell["left_out"] for cell in dark["cells"]] == ["bad-field"]
    fields = {row["file"]: row for row in rows(tmp_path / "out" / "fields.csv")}
    assert fields["dark.png"]["left_out"] == "bad-field"
    assert "too dark" in fields["dark.png"]["problems"]
    assert (
        "1 fields with quality problems, left out"
        in count("in", "--out", "out", "--skip-bad").output
    )


def test_overlapping_fields(count: Count, tmp_path: Path) -> None:
    smear = render_smear(5, 900, 480, cell_px=60, cells_per_mm2=1500)
    folder = tmp_path / "in"
    for slide in ("s1", "s2"):
        (folder / slide).mkdir(parents=True)
    # Three views of one slide, each with 200 px of the one before; and the first on another slide.
    for number, left in enumerate((0, 200, 400)):
        cv2.imwrite(str(folder / "s1" / f"{number}.png"), smear.pixels[:, left : left + 400])
    shutil.copy(folder / "s1" / "0.png", folder / "s2" / "0.png")
    options = ("in", "--out", "out", "--dedupe", "--group-by", "folder")
    answer = count(*options)
    assert answer.exit_code == 0, answer.output
    found = rows(tmp_path / "out" / "cells.csv")
    twice = [row for row in found if row["left_out"] == "duplicate"]
    names = {f"{row['file']}#cell{row['id']}": row for row in found}
    assert len(twice) >= 2 and all(row["group"] == "s1" for row in twice)
    for row in twice:
        kept = names[row["duplicate_of"]]
        assert kept["file"] != row["file"] and kept["left_out"] == ""
        shift = 200 * (int(row["file"][3]) - int(kept["file"][3]))
        if row["touches_edge"] == kept["touches_edge"] == "False":
            assert float(row["x_min"]) + shift == pytest.approx(float(kept["x_min"]), abs=4)
    assert f"{len(twice)} cells seen again, counted once" in answer.output
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    marked = [c for f in document["fields"] for c in f["cells"] if c["left_out"] == "duplicate"]
    assert len(marked) == len(twice) and all(cell["duplicate_of"]["file"] for cell in marked)


def test_neighbours_do_not_matter(tmp_path: Path) -> None:
    """With the models that ship: a field alone gives what it gives among others."""
    smear = render_smear(3, 1280, 480)
    for number, left in enumerate((0, 320, 640)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), smear.pixels[:, left : left + 640])
    analyzer = Analyzer(Settings(fields_per_batch=1), device="cpu")
    sources = find_fields([tmp_path])
    together = list(analyzer.analyze_many(sources))
    assert sum(len(result.cells) for result in together) > 2
    assert [analyzer.analyze(source) for source in reversed(sources)] == together[::-1]


def test_the_command_with_its_models(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    smear = render_smear(3, 1280, 480)
    (tmp_path / "in").mkdir()
    for number, left in enumerate((0, 320, 640)):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), smear.pixels[:, left : left + 640])
    answer = command("count", "in", "--dedupe")
    assert answer.returncode == 0 and answer.stderr == "", answer.stderr
    assert "3 fields counted." in answer.stdout and "overlapping: 2 pairs" in answer.stdout
    assert "Research use only. Not a medical device." in answer.stdout
    document = json.loads((tmp_path / "wbcdet-report" / "results.json").read_text())
    jsonschema.validate(document, schema())
    again = command("count", "in", "--dedupe", "-q")
    assert again.returncode == 0 and again.stdout == "" and again.stderr == ""
