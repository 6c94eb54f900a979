"""A panned video to unique cells: the command on real videos, and what interrupts it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY, heed_ctrl_c
from serving import CHROMIUM
from streaming import (
    HEIGHT,
    WIDTH,
    cells_inside,
    counted,
    frame_at,
    pan,
    raster,
    write_video,
)

from wbcdet.results.document import load_document
from wbcdet.stream.runner import interrupts

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To and fro over the smear, and back to its beginning."""
    places = raster()
    return pan(tmp_path_factory.mktemp("video") / "slide.mp4", [*places, *places[:6]])


@pytest.fixture(scope="module")
def report(video: Path) -> Path:
    """Return the report of that video."""
    out = video.parent / "report"
    done = start("stream", video, "--out", out, "--save-video", "--target", 5)
    assert done.wait(timeout=120) == 0
    return out


def start(*arguments: object) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-m", "wbcdet", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )


def totals(out: Path) -> dict[str, float]:
    info = json.loads((out / "results.json").read_text(encoding="utf-8"))["info"]
    return dict(info["stream"]["totals"])


def events(out: Path) -> list[str]:
    with (out / "events.csv").open(encoding="utf-8", newline="") as file:
        return [row["event"] for row in csv.DictReader(file)]


def test_each_cell_is_counted_once(report: Path) -> None:
    cells = counted(report)
    assert len(cells) == cells_inside(raster())
    assert len({row["cell"] for row in cells}) == len(cells)
    assert {row["map"] for row in cells} == {"1-1"}
    seen_again = [row for row in cells if int(row["views"]) > 4]
    assert seen_again
    assert all(int(row["first_frame"]) <= int(row["best_frame"]) for row in cells)
    assert all(int(row["best_frame"]) <= int(row["last_frame"]) for row in cells)


def test_report_holds_all_that_it_should(report: Path) -> None:
    _, fields = load_document(report / "results.json")
    named = sum(len(field.cells) for field in fields)
    with (report / "cells.csv").open(encoding="utf-8") as file:
        assert named == sum(1 for _ in csv.DictReader(file))
    for field in fields:
        assert (report / "views" / field.file).is_file()
        assert (report / "annotated" / field.file).is_file()
    assert len(list((report / "crops").rglob("*.jpg"))) == len(counted(report))
    assert len(list((report / "mosaic").glob("*.jpg"))) == 1
    page = (report / "report.html").read_text(encoding="utf-8")
    assert "Each cell of the slide is counted once" in page
    assert "slide.mp4" in page
    with (report / "differential.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] != "edge"]
    assert sum(int(row["count"]) for row in rows) == len(counted(report))
    assert "target" in events(report)


def test_annotated_video_has_every_frame(report: Path, video: Path) -> None:
    import av

    with av.open(str(report / "video.mp4")) as made, av.open(str(video)) as given:
        assert sum(1 for _ in made.decode(video=0)) == sum(1 for _ in given.decode(video=0))


def test_identifiers_and_the_printed_page(report: Path) -> None:
    """Written again from what was counted, with what the laboratory calls the slide."""
    again = report.parent / "again"
    shutil.copytree(report, again)
    given = ("--patient", "<P-1>", "--order", "O-2")
    done = start("stream", "--out", again, "--no-annotate", *given)
    _, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    page = (again / "report.html").read_text(encoding="utf-8")
    assert "Patient: <b>&lt;P-1&gt;</b>" in page and "Order: <b>O-2</b>" in page
    (again / "ids.csv").write_text("group,patient\nslide-1,P-7\nslide-4,P-8\n")
    pdf = ("--pdf",) if CHROMIUM else ()
    done = start("stream", "--out", again, "--no-annotate", "--ids", again / "ids.csv", *pdf)
    out, err = done.communicate(timeout=180)
    assert done.returncode == 0, err
    assert "--ids: no slide is called slide-4" in out
    assert "Patient: <b>P-7</b>" in (again / "report.html").read_text(encoding="utf-8")
    if CHROMIUM:
        assert (again / "report.pdf").read_bytes().startswith(b"%PDF") and "report.pdf" in out
    done = start("stream", "--out", again, "--patient", "a\nb")
    assert done.wait(timeout=60) == 2
    done = start("stream", "--out", again, "--patient", "P", "--ids", again / "ids.csv")
    assert done.wait(timeout=60) == 2


def test_other_programs_get_the_views(report: Path, command: Command) -> None:
    done = command("export", report, "--to", "coco", "--out", "coco")
    assert done.returncode == 0, done.stderr


def test_seen_again_in_another_run_counts_once(report: Path, video: Path) -> None:
    before = counted(report)
    done = start("stream", video, "--out", report, "--every", 3, "--no-annotate")
    _, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert "goes on with" in err
    after = counted(report)
    assert {row["cell"] for row in after} == {row["cell"] for row in before}
    assert len(list((report / "annotated").rglob("*.jpg"))) == 0


def test_still_and_blurred_frames_are_not_analysed(tmp_path: Path, command: Command) -> None:
    pictures = [frame_at(100, 100)] * 6 + [frame_at(100, 100, blur=4)] * 5 + [frame_at(300, 100)]
    write_video(tmp_path / "v.mp4", pictures)
    done = command("stream", "v.mp4", "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    found = totals(tmp_path / "out")
    assert found["blurred"] == 5
    assert found["still"] == 5
    assert found["analysed"] == 2


def test_a_blurred_picture_of_a_folder_is_named(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "taken"
    folder.mkdir()
    # The third shows what the second did, and the last what no other does.
    pictures = [
        frame_at(100, 100),
        frame_at(300, 100),
        frame_at(300, 100, blur=4),
        frame_at(700, 500, blur=4),
    ]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    done = command("stream", folder, "--out", "out", "--idle-stop", "1", "--quiet")
    assert done.returncode == 1
    assert totals(tmp_path / "out")["blurred"] == 2
    assert "3.png: is much softer than the others" in done.stderr and "2.png" not in done.stderr
    assert events(tmp_path / "out").count("unreadable") == 1


def test_cells_where_the_slide_itself_is_soft_count(tmp_path: Path, command: Command) -> None:
    places = [(x, 100) for x in range(0, 1100, 60)]
    pictures = [frame_at(x, y, blur=1.9 if x > 500 else 0.0) for x, y in places]
    write_video(tmp_path / "v.mp4", pictures)
    done = command("stream", "v.mp4", "--out", "out", "--no-annotate")
    assert done.returncode == 0, done.stderr
    assert totals(tmp_path / "out").get("blurred", 0) <= 1
    assert len(counted(tmp_path / "out")) == cells_inside(places)


def test_a_jump_begins_a_new_map_that_is_joined_later(tmp_path: Path, command: Command) -> None:
    # From one end to the other without a view in common, then back over what lies between.
    places = [(0, 0), (60, 0), (1160, 0), (1100, 0), (950, 0), (750, 0), (500, 0), (300, 0)]
    pan(tmp_path / "v.mp4", places)
    done = command("stream", "v.mp4", "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    cells = counted(tmp_path / "out")
    assert {row["map"] for row in cells} == {"1-1"}
    assert len(cells) == cells_inside(places)


def test_a_slide_without_white_cells_is_a_result(tmp_path: Path, command: Command) -> None:
    blank = np.full((HEIGHT, WIDTH, 3), (215, 205, 220), np.uint8)
    write_video(tmp_path / "v.mp4", [blank] * 3)
    done = command("stream", "v.mp4", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [field["cells"] for field in document["fields"]] == [[]]
    assert (tmp_path / "out" / "report.html").is_file()


def test_frames_of_another_size_begin_a_new_map(tmp_path: Path, command: Command) -> None:
    large = write_video(tmp_path / "a.ts", [frame_at(0, 0)] * 2)
    small = write_video(tmp_path / "b.ts", [frame_at(900, 600)[:400, :560]] * 2)
    (tmp_path / "v.ts").write_bytes(large.read_bytes() + small.read_bytes())
    done = command("stream", "v.ts", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "size" in events(tmp_path / "out")
    assert {row["map"] for row in counted(tmp_path / "out")} == {"1-1", "1-2"}


def test_nothing_read_is_never_a_count_of_zero(tmp_path: Path, command: Command) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    done = command("stream", "x.mp4", "--out", "out")
    assert done.returncode == 2
    assert "x.mp4" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "report.html").exists()
    again = command("stream", "--out", "out")
    assert again.returncode == 2
    assert "holds no count yet" in again.stderr


def test_a_folder_of_counts_is_not_touched(tmp_path: Path, command: Command, video: Path) -> None:
    (tmp_path / "fields").mkdir()
    cv2.imwrite(str(tmp_path / "fields" / "a.png"), frame_at(0, 0))
    assert command("count", "fields", "--out", "out", "--quiet").returncode == 0
    done = command("stream", video, "--out", "out")
    assert done.returncode == 2
    assert "count of a folder" in done.stderr


def test_restart_forgets_nothing_without_a_frame(
    report: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "x.mp4").write_bytes(b"nothing")
    (tmp_path / "fields").mkdir()
    cv2.imwrite(str(tmp_path / "fields" / "a.png"), frame_at(0, 0))
    before = (report / "journal" / "fields.jsonl").read_bytes()
    for arguments, said in (
        (("stream", "x.mp4"), "x.mp4"),
        (("stream",), "name a SOURCE"),
        (("count", "fields"), "count of a stream"),
    ):
        done = command(*arguments, "--out", report, "--restart")
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[-1]
        assert (report / "journal" / "fields.jsonl").read_bytes() == before
    assert list((report / "views").rglob("*.jpg"))


def test_a_run_without_a_frame_reports_what_was_there(
    report: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "out"
    shutil.copytree(report, out)
    (out / "report.html").unlink()
    (tmp_path / "empty").mkdir()
    done = command("stream", "empty", "--out", "out", "--idle-stop", 0.1, "--no-annotate")
    assert done.returncode == 0, done.stderr
    assert counted(out) == counted(report)
    assert (out / "report.html").is_file()


def test_a_folder_of_folders_is_said(tmp_path: Path, command: Command) -> None:
    (tmp_path / "in" / "day1").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "day1" / "a.png"), frame_at(0, 0))
    done = command("stream", "in", "--out", "out", "--idle-stop", 0.1, "--no-annotate")
    assert done.returncode == 2
    assert "in: ended before a frame was looked at (of a folder, pictures in sub" in done.stderr


def test_target_ends_the_run(tmp_path: Path, command: Command, video: Path) -> None:
    done = command("stream", video, "--out", "out", "--target", 3, "--stop-at-target", "--quiet")
    assert done.returncode == 0, done.stderr
    assert 3 <= len(counted(tmp_path / "out")) < 6


def _slow_video(tmp_path: Path) -> tuple[Path, list[tuple[int, int]]]:
    places = raster(100)
    return pan(tmp_path / "long.mp4", places), places


def _wait_for(path: Path, least: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if path.exists() and path.stat().st_size > least:
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} does not grow")


def test_killed_it_keeps_what_it_counted(tmp_path: Path, command: Command) -> None:
    path, places = _slow_video(tmp_path)
    running = start("stream", path, "--out", tmp_path / "out", "--quiet")
    _wait_for(tmp_path / "out/journal/fields.jsonl", 12_000)
    running.kill()
    running.wait()
    done = command("stream", "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    first = counted(tmp_path / "out")
    assert first
    again = command("stream", path, "--out", "out", "--quiet")
    assert again.returncode == 0, again.stderr
    assert len(counted(tmp_path / "out")) == cells_inside(places)


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_writes_all_files(tmp_path: Path) -> None:
    path, _ = _slow_video(tmp_path)
    running = start("stream", path, "--out", tmp_path / "out")
    _wait_for(tmp_path / "out/journal/fields.jsonl", 6_000)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    for name in ("report.html", "cells.csv", "differential.csv", "results.json"):
        assert (tmp_path / "out" / name).is_file()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_a_closed_terminal_asks_the_run_to_end() -> None:
    """It killed the run before its report was written; under nohup the run goes on."""
    asked: list[None] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with interrupts(lambda: asked.append(None)):
            for _ in range(2):  # of the shell and of the system
                signal.raise_signal(signal.SIGHUP)
        assert len(asked) == 2
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with interrupts(lambda: asked.append(None)):
            signal.raise_signal(signal.SIGHUP)
        assert len(asked) == 2
    finally:
        signal.signal(signal.SIGHUP, before)
