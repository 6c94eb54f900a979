"""``wbcdet count`` loses nothing when it is interrupted."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import count_worker
import pytest
from conftest import one_line
from count_worker import PlainAnalyzer, find_cells
from counting import Count, draw, final_files, folder_of, rows, start

from wbcdet.evaluation.agreement.counts import read_machine_counts
from wbcdet.io.field import Field
from wbcdet.io.ownership import MARKER
from wbcdet.records import LABELS, Cell
from wbcdet.report import write
from wbcdet.results.export.lab_report import LabSlide, findings


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Count:
    return Count(monkeypatch, tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 18)
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    options = ("in", "--dedupe", "--group-by", "folder", "--target", 100, "-q", "--out")
    whole = start(tmp_path, *options, "whole")
    assert whole.wait(60) == 1
    chance = random.Random(1)
    journal = tmp_path / "killed" / "journal" / "fields.jsonl"
    kills = lines = 0
    for _ in range(4):
        running = start(tmp_path, *options, "killed", environment={"WORKER_SLEEP": "0.02"})
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
    last = start(tmp_path, *options, "killed")
    assert last.wait(60) == 1, last.communicate()
    assert final_files(tmp_path / "killed") == final_files(tmp_path / "whole")
    assert len(final_files(tmp_path / "whole")) > 18 + 5


def test_changed_new_gone_and_failed_files(count: Count, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "in", 8)
    (folder / "anna" / "bad.png").write_bytes(b"")
    assert count("in", "--out", "out").exit_code == 1
    assert len(count.analysed) == 9
    untouched = count("in", "--out", "out")
    assert count.analysed == ["in/anna/bad.png"]
    assert "8 of 9 fields were counted before" in untouched.stderr
    assert "1 field could not be read, tried again: in/anna/bad.png" in untouched.stderr
    draw(folder / "anna" / "bad.png", 30, 2)
    draw(folder / "anna" / "2.png", 31, 3)
    draw(folder / "boris" / "9.png", 32)
    os.utime(folder / "anna" / "0.png", (1, 1))
    (folder / "boris" / "7.png").unlink()
    answer = count("in", "--out", "out")
    assert answer.exit_code == 0
    assert count.analysed == ["in/anna/2.png", "in/anna/bad.png", "in/boris/9.png"]
    for part in ("changed since, counted again: in/anna/2.png", "new: in/boris/9.png"):
        assert part in answer.stderr
    assert "1 field gone, left out: in/boris/7.png" in answer.stderr
    assert not (tmp_path / "out" / "annotated" / "boris" / "7.jpg").exists()
    count("in", "--out", "fresh")
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")
    # A picture of the report that someone has removed is drawn again.
    (tmp_path / "out" / "annotated" / "anna" / "4.png.jpg").unlink()
    count("in", "--out", "out")
    assert count.analysed == ["in/anna/4.png"]
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")


def test_no_drawing_of_an_earlier_picture_stays(count: Count, tmp_path: Path) -> None:
    """A drawing shows the cells of the picture that is counted, or is not there."""
    folder = folder_of(tmp_path / "in", 6)
    count("in", "--out", "out")
    (folder / "anna" / "2.png").write_bytes(b"")  # broken since
    draw(folder / "boris" / "3.png", 31, 2)  # replaced, and drawn again
    drawn = tmp_path / "out" / "annotated"
    assert count("in", "--out", "out").exit_code == 1
    assert not (drawn / "anna" / "2.png.jpg").exists()
    draw(folder / "boris" / "5.png", 33, 2)
    count("in", "--out", "out", "--no-annotate")
    assert not (drawn / "boris" / "5.png.jpg").exists()
    assert (drawn / "boris" / "3.png.jpg").exists() and (drawn / "anna" / "0.png.jpg").exists()


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_a_picture_whose_bytes_were_lost_is_drawn_again(
    count: Count, tmp_path: Path, kept: float
) -> None:
    """After a power cut a file may have its name and nothing in it, or a part."""
    folder_of(tmp_path / "in", 3)
    assert count("in", "--out", "out").exit_code == 0
    before = final_files(tmp_path / "out")
    lost = tmp_path / "out" / "annotated" / "anna" / "2.png.jpg"
    lost.write_bytes(lost.read_bytes()[: int(kept * lost.stat().st_size)])
    answer = count("in", "--out", "out")
    assert answer.exit_code == 0 and count.analysed == ["in/anna/2.png"], answer.output
    assert final_files(tmp_path / "out") == before


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


def test_one_run_at_a_time(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 6)
    first = start(tmp_path, "in", "--out", "out", "-q", environment={"WORKER_SLEEP": "0.5"})
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
def test_ctrl_c_keeps_what_is_done(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 8)
    running = start(tmp_path, "in", "--out", "out", environment={"WORKER_SLEEP": "0.3"})
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
def test_a_full_disk(count: Count, tmp_path: Path, limit: int) -> None:
    import resource

    folder_of(tmp_path / "in", 8)
    running = start(
        tmp_path,
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


def test_a_report_that_cannot_be_finished_leaves_the_one_before(
    count: Count, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table of one count beside a page of another are two numbers of one slide."""
    folder_of(tmp_path / "in", 6)
    assert count("in", "--out", "out").exit_code == 0
    before = final_files(tmp_path / "out")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in ("write_document", "contact_sheets", "render"):
        with monkeypatch.context() as patch:
            patch.setattr(write, step, full)
            answer = count("in", "--out", "out", "--exclude-edge")
        assert answer.exit_code == 2 and "No space left on device" in answer.stderr
        assert final_files(tmp_path / "out") == before
    assert count("in", "--out", "out", "--exclude-edge").exit_code == 0
    count("in", "--out", "fresh", "--exclude-edge")
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh") != before


def test_what_was_forgotten_stands_beside_no_other_count(
    count: Count, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``--restart`` takes the old drawings away at once, so the tables of their cells go too."""
    folder_of(tmp_path / "in", 6)
    count("in", "--out", "out")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("wbcdet.batch.count.count", killed)
        assert count("in", "--out", "out", "--restart", "--confidence", 0.4).exit_code == 130
    left = {path for path in final_files(tmp_path / "out") if not path.startswith(".")}
    assert left == {MARKER}
    count("in", "--out", "out", "--confidence", 0.4)
    count("in", "--out", "fresh", "--confidence", 0.4)
    assert final_files(tmp_path / "out") == final_files(tmp_path / "fresh")


def test_an_output_that_cannot_be_written(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    (tmp_path / "file").write_text("x")
    answer = count("in", "--out", "file")
    assert answer.exit_code == 2 and "cannot write to file" in one_line(answer.stderr)
    assert one_line(answer.stderr).endswith("choose another --out")
    if Path("/sys/kernel").is_dir():  # read-only even for root
        answer = count("in", "--out", "/sys/kernel/wbcdet")
        assert answer.exit_code == 2 and "cannot write to /sys" in one_line(answer.stderr)


def test_files_that_are_not_ours_stay(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 8)
    count("in", "--out", "out", "--group-by", "folder")
    (tmp_path / "out" / "cells" / "mine.jpg").write_text("x")
    (tmp_path / "out" / "annotated" / "mine.jpg").write_text("x")
    assert (tmp_path / "out" / "cells" / "anna").is_dir()
    count("in", "--out", "out")  # its sheets have other names
    count("in", "--out", "fresh")
    assert not (tmp_path / "out" / "cells" / "anna").exists()
    ours = final_files(tmp_path / "out")
    assert ours.pop("cells/mine.jpg") == ours.pop("annotated/mine.jpg") == b"x"
    assert ours == final_files(tmp_path / "fresh")
    count("in", "--out", "out", "--restart", "--no-annotate")
    assert (tmp_path / "out" / "cells" / "mine.jpg").exists()
    assert [path.name for path in (tmp_path / "out" / "annotated").rglob("*.*")] == ["mine.jpg"]


def test_a_broken_journal(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    count("in", "--out", "out")
    journal = tmp_path / "out" / "journal" / "fields.jsonl"
    journal.write_bytes(b"\0" * 99 + b"\n" + journal.read_bytes())
    answer = count("in", "--out", "out")
    assert answer.exit_code == 2 and "--restart" in one_line(answer.stderr)
    assert count("in", "--out", "out", "--restart").exit_code == 0
    assert len(count.analysed) == 2


def test_names_that_a_laboratory_has_taught_are_not_counted_again(
    count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taught(field: Field) -> tuple[Cell, ...]:
        return tuple(
            replace(cell, label="basophil") if cell.reason is None else cell
            for cell in find_cells(field)
        )

    def info(self: PlainAnalyzer) -> dict[str, Any]:
        least = dict.fromkeys([*map(str, LABELS), "basophil"], 0.4)
        thresholds = {"confidence": 0.5, "min_score": least, "unlike_trained": None}
        return {**told(self), "thresholds": thresholds}

    told = PlainAnalyzer.info
    monkeypatch.setattr(PlainAnalyzer, "info", info)
    monkeypatch.setattr(count_worker, "find_cells", taught)
    folder_of(tmp_path / "in", 4)
    first = count("in", "--out", "out")
    assert "basophil" in (tmp_path / "out" / "cells.csv").read_text()
    before = final_files(tmp_path / "out")
    again = count("in", "--out", "out")
    assert (first.exit_code, again.exit_code, count.analysed) == (0, 0, [])
    assert "damaged" not in again.stderr
    assert final_files(tmp_path / "out") == before


def test_a_taught_type_of_which_a_slide_has_no_cell_is_counted_as_none(
    count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the four are: nobody could tell "none seen" from "not looked for"."""

    def info(self: PlainAnalyzer) -> dict[str, Any]:
        least = dict.fromkeys([*map(str, LABELS), "band", "blast"], 0.4)
        thresholds = {"confidence": 0.5, "min_score": least, "unlike_trained": None}
        return {**told(self), "thresholds": thresholds}

    told = PlainAnalyzer.info
    monkeypatch.setattr(PlainAnalyzer, "info", info)
    folder_of(tmp_path / "in", 4)
    done = count("in", "--out", "out", "--group-by", "folder")
    assert done.exit_code == 0 and "blast" in done.stdout
    found = [row for row in rows(tmp_path / "out" / "differential.csv") if row["label"] == "blast"]
    assert [(row["group"], row["count"], row["percent"]) for row in found] == [
        ("anna", "0", "0.0"), ("boris", "0", "0.0"),
    ]  # fmt: skip
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    slide = document["slides"][1]
    assert [row["label"] for row in slide["differential"]][4:6] == ["band", "blast"]
    sent = {line.code: line for line in findings(LabSlide(slide, ""))}
    assert (sent["share-blast"].count, sent["share-blast"].percent) == (0, 0.0)
    # No band leaves the neutrophils whole: LOINC's code and the reference range stay with them.
    assert sent["share-neutrophil"].loinc and not {"share-all-neutrophil"} & sent.keys()
    assert "blast" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert not read_machine_counts(tmp_path / "out" / "differential.csv").notes[1:]
