"""Output folders: never analysed as slides, and nothing of a user's is written over."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from conftest import INFO, grain, killed_after, one_line, schema
from count_worker import PlainAnalyzer
from counting import Count, draw, journal_lines, rows
from PIL import Image
from typer.testing import CliRunner, Result

import wbcdet.cli.predict
from wbcdet.cli.app import app
from wbcdet.io.discover import search
from wbcdet.io.ownership import MARKER, is_signed, written_by
from wbcdet.records import FieldResult
from wbcdet.report.thumbnails import to_jpeg
from wbcdet.results.output_folder import OutputError, check_output, mark, mark_new
from wbcdet.results.writer import Report
from wbcdet.utils.lock import LOCK, LockedError, locked

Predict = Callable[..., Result]
PIXELS = np.full((60, 80, 3), 200, np.uint8)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Count:
    return Count(monkeypatch, tmp_path)


@pytest.fixture
def predict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Predict:
    def begin_loading(*arguments: Any, **options: Any) -> Callable[[], PlainAnalyzer]:
        return lambda: PlainAnalyzer(*arguments, **options)

    monkeypatch.setattr(wbcdet.cli.predict, "begin_loading", begin_loading)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["predict", *map(str, arguments)])


def slides(folder: Path, number: int = 4) -> None:
    for index in range(number):
        draw(folder / f"{index}.png", index, 2)


def files_of(out: Path) -> list[str]:
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    return [entry["file"] for entry in document["fields"]]


def test_a_folder_is_counted_once_however_often(
    predict: Predict, count: Count, tmp_path: Path
) -> None:
    slides(tmp_path)
    names = [f"{number}.png" for number in range(4)]
    for turn in range(2):
        answer = predict(".")
        assert answer.exit_code == 0 and files_of(tmp_path / "wbcdet-out") == names
        answer = count(".")
        assert answer.exit_code == 0 and files_of(tmp_path / "wbcdet-report") == names
        assert answer.stderr.count("wbcdet-out") == 1, turn
        answer = count(".", "--out", f"more/{turn}")
        assert answer.exit_code == 0 and files_of(tmp_path / "more" / str(turn)) == names
    assert "folders that wbcdet wrote" in one_line(answer.stderr)


def test_every_way_into_a_report_is_known(count: Count, predict: Predict, tmp_path: Path) -> None:
    slides(tmp_path / "in")
    assert count("in", "--out", "report").exit_code == 0
    report = tmp_path / "report"
    assert not search([tmp_path / "in", report]).fields[4:]
    for inside in ("", "annotated", "annotated/0.png.jpg", "cells", "annotated/*"):
        found = search([report / inside])
        assert not found.fields and "written by wbcdet" in str(found.problem()), inside
    (tmp_path / "link").symlink_to(report / "annotated", target_is_directory=True)
    (tmp_path / "picture.jpg").symlink_to(report / "annotated" / "0.png.jpg")
    shutil.copytree(report, tmp_path / "disk" / "copied")
    shutil.copytree(report / "annotated", tmp_path / "moved")
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "report")
    shutil.copytree(report / "cells", tmp_path / "in" / "sheets")
    found = search([tmp_path])
    assert [Path(item.path).parent.name for item in found.fields] == ["in"] * 4
    assert len(found.passed.outputs) == 4  # the report, its copy, the link, the archive
    (tmp_path / "alone").mkdir()
    shutil.copytree(report / "annotated", tmp_path / "alone" / "pictures")
    answer = predict("alone")
    assert answer.exit_code == 2 and "was written by wbcdet" in one_line(answer.stderr)


def test_a_report_of_an_older_version_is_known(count: Count, tmp_path: Path) -> None:
    slides(tmp_path / "in")
    count("in", "--out", "in/report")
    (tmp_path / "in" / "report" / MARKER).unlink()
    for path in (tmp_path / "in" / "report" / "annotated").iterdir():
        Image.open(path).save(path.with_suffix(".png"))  # and without its signature
        path.unlink()
    draw(tmp_path / "in" / "report" / "slide.png", 7, 1)  # a user's, beside it
    names = [Path(item.path).name for item in search([tmp_path / "in"]).fields]
    assert names == ["0.png", "1.png", "2.png", "3.png", "slide.png"]
    assert not search([tmp_path / "in" / "report" / "annotated"]).fields


def test_a_signature_outlives_conversion(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(to_jpeg(grain(), 90))
    assert is_signed(path)
    picture = Image.open(path)
    assert np.array_equal(cv2.imread(str(path)), cv2.imdecode(
        cv2.imencode(".jpg", grain(), [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR
    ))  # fmt: skip
    for name in ("b.png", "b.webp", "b.tif", "b.jpg"):
        picture.save(tmp_path / name, exif=picture.getexif())
        assert is_signed(tmp_path / name), name
    picture.save(tmp_path / "c.png")
    assert not is_signed(tmp_path / "c.png") and not is_signed(tmp_path / "none")
    assert not is_signed(tmp_path)


def test_nothing_is_passed_over_without_a_word(predict: Predict, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    draw(folder / "0.png", 0, 2)
    shutil.copy(folder / "0.png", folder / "without ending")
    shutil.copy(folder / "0.png", folder / "old.bak")
    (folder / "scan.czi").write_bytes(b"ZISRAWFILE" + bytes(99))
    (folder / "volume").write_bytes(bytes(128) + b"DICM" + bytes(99))
    with zipfile.ZipFile(folder / "fields.zip", "w") as archive:
        archive.write(folder / "0.png", "0.png")
    with zipfile.ZipFile(folder / "letters.zip", "w") as archive:
        archive.writestr("letter.txt", "x")
    for name in ("notes.txt", "list.csv", "table.csv.gz", "Thumbs.db", "film.mp4", ".hidden.png"):
        (folder / name).write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "twice.png").symlink_to(folder / "0.png")
    answer = predict("in")
    fields = {row["file"]: row["failure"] for row in rows(tmp_path / "wbcdet-out" / "fields.csv")}
    assert answer.exit_code == 1
    read = ["in/0.png", "in/old.bak", "in/without ending"]
    assert sorted(name for name, why in fields.items() if not why) == read
    bad = ["in/fields.zip", "in/gone.jpg", "in/scan.czi", "in/volume"]
    assert sorted(name for name, why in fields.items() if why) == bad
    assert "CZI" in fields["in/scan.czi"] and "DICOM" in fields["in/volume"]
    assert "unpack" in fields["in/fields.zip"] and "does not exist" in fields["in/gone.jpg"]
    said = one_line(answer.stderr)
    for part in ("1 video", "4 other files", "1 .txt", "2 hidden", "1 file met twice"):
        assert part in said, said


def test_no_folder_of_a_user_is_written_to(predict: Predict, count: Count, tmp_path: Path) -> None:
    slides(tmp_path / "in", 2)
    mine = {
        "results": "results.json",
        "table": "cells.csv",
        "picture": "annotated/1.jpg",
        "hidden": ".config",
        "sheets": "cells/neutrophil-001.jpg",
    }
    for folder, name in mine.items():
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    for run in (predict, count):
        for folder in (*mine, "in", "."):
            answer = run("in", "--out", folder)
            said = one_line(answer.stderr)
            assert answer.exit_code == 2 and "choose another --out" in said, (folder, said)
    for folder, name in mine.items():
        there = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
        assert there == [tmp_path / folder / name] and there[0].read_text() == "mine"
    assert sorted(path.name for path in (tmp_path / "in").iterdir()) == ["0.png", "1.png"]
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_bytes(b"x")
    assert predict("in", "--out", "empty").exit_code == 0


def test_files_put_into_our_folder_stay(predict: Predict, count: Count, tmp_path: Path) -> None:
    slides(tmp_path / "in", 2)
    predict("in", "--out", "out", "--no-annotate")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert predict("in", "--out", "out", "--no-annotate").exit_code == 0
    (tmp_path / "out" / "annotated").mkdir()
    (tmp_path / "out" / "annotated" / "0.png.jpg").write_text("mine")
    refused = predict("in", "--out", "out")
    assert refused.exit_code == 2 and "annotated: was not written" in one_line(refused.stderr)
    predict("in", "--out", "other")
    (tmp_path / "other" / "annotated" / "mine.jpg").write_text("mine")
    refused = predict("in", "--out", "other")
    assert refused.exit_code == 2 and "mine.jpg: was not written" in one_line(refused.stderr)
    for path in ("out/notes.txt", "out/annotated/0.png.jpg", "other/annotated/mine.jpg"):
        assert (tmp_path / path).read_text() == "mine"
    count("in", "--out", "report")
    (tmp_path / "report" / "annotated" / "new.png.jpg").write_text("mine")
    draw(tmp_path / "in" / "new.png", 9, 2)
    refused = count("in", "--out", "report")
    assert refused.exit_code == 2 and "new.png.jpg: was not written" in one_line(refused.stderr)
    assert (tmp_path / "report" / "annotated" / "new.png.jpg").read_text() == "mine"


def test_a_run_replaces_the_last_one_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Report(out) as report:
        for name in ("a.jpg", "b.jpg"):
            report.add(FieldResult(name, 80, 60), PIXELS)
        report.write(INFO)
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with Report(out) as report:  # one that fails half-way
        report.add(FieldResult("c.jpg", 80, 60), PIXELS)
        with pytest.raises(LockedError):
            Report(out)
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with Report(out) as report:
        report.add(FieldResult("c.jpg", 80, 60), PIXELS)
        report.write(INFO)
    assert files_of(out) == ["c.jpg"]
    assert [path.name for path in (out / "annotated").iterdir()] == ["c.jpg"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    with Report(out, annotate=False) as report:
        report.add(FieldResult("d.jpg", 80, 60), PIXELS)
        report.write(INFO)
    assert files_of(out) == ["d.jpg"] and not (out / "annotated").exists()


def test_a_killed_run_leaves_the_last_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Report(out) as report:
        report.add(FieldResult("a.jpg", 80, 60), PIXELS)
        report.write(INFO)
    if os.fork() == 0:  # pragma: no cover - killed
        dying = Report(out)
        dying.add(FieldResult("b.jpg", 80, 60))
        os._exit(9)
    os.wait()
    assert files_of(out) == ["a.jpg"] and (out / LOCK).exists()
    (out / ".wbcdet-x1y2.part").write_bytes(b"a table that was cut off")
    with Report(out) as report:
        report.add(FieldResult("c.jpg", 80, 60), PIXELS)
        report.write(INFO)
    assert files_of(out) == ["c.jpg"]
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_replacement_that_ends_half_way(tmp_path: Path) -> None:
    """Wherever it is killed, the next run finds the old results or the new ones, whole."""
    found = set()
    for moves in range(10):
        out = tmp_path / str(moves)
        with Report(out) as report:
            report.add(FieldResult("old.jpg", 80, 60), PIXELS)
            report.write(INFO)
        report = Report(out, annotate=moves % 2 == 0)
        report.add(FieldResult("new.jpg", 80, 60), PIXELS)
        try:
            with killed_after(moves):
                report.write(INFO)
        except SystemExit:
            report._output._closing.close()  # the lock goes with the process
        with Report(out):
            pass
        [name] = files_of(out)
        found.add(name)
        drawn = {path.name for path in (out / "annotated").glob("*")}
        assert drawn == ({name} if name == "old.jpg" or moves % 2 == 0 else set()), moves
        assert [row["file"] for row in rows(out / "fields.csv")] == [name]
        assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert found == {"old.jpg", "new.jpg"}


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with Report(tmp_path / "new"):
        pass
    assert not list((tmp_path / "new").iterdir())


def test_an_open_or_reviewed_report_is_left_alone(
    predict: Predict, count: Count, tmp_path: Path
) -> None:
    slides(tmp_path / "in", 2)
    count("in", "--out", "report")
    predict("in", "--out", "out")
    for folder in ("report", "out"):
        with locked(tmp_path / folder):  # as a review of it does
            for run in (predict, count):
                refused = run("in", "--out", folder)
                assert refused.exit_code == 2 and "another" in one_line(refused.stderr)
    refused = predict("in", "--out", "report")
    assert refused.exit_code == 2 and "the count of a folder" in one_line(refused.stderr)
    (tmp_path / "out" / "review.sqlite").write_bytes(b"x")
    refused = predict("in", "--out", "out")
    assert refused.exit_code == 2 and "has been reviewed" in one_line(refused.stderr)


def test_each_command_has_its_own_folder(tmp_path: Path) -> None:
    mark(tmp_path, "stream")
    assert written_by(tmp_path) == "stream"
    for command in ("predict", "demo", "count", "evaluate", "agree", "learn", "export"):
        with pytest.raises(OutputError, match="the count of a stream"):
            check_output(tmp_path, command)
    check_output(tmp_path, "stream")
    (tmp_path / MARKER).write_text('{"format": "of another program"}')
    assert written_by(tmp_path) is None


def test_several_folders_are_counted(count: Count, tmp_path: Path) -> None:
    for number, name in enumerate(("day1/anna/1.png", "day2/anna/1.png", "day2/boris/1.png")):
        draw(tmp_path / name, number, 2)
    answer = count("day1", "day2/*/*.png", "--out", "out", "--group-by", "folder")
    assert answer.exit_code == 0, answer.output
    fields = rows(tmp_path / "out" / "fields.csv")
    assert [(row["file"], row["group"]) for row in fields] == [
        ("day1/anna/1.png", "day1/anna"),
        ("day2/anna/1.png", "day2/anna"),
        ("day2/boris/1.png", "day2/boris"),
    ]
    assert [row["path"] for row in fields] == [str(tmp_path / row["file"]) for row in fields]
    # The name does not depend on the company, so that a run on one of them goes on.
    more = count("day1", "day2", "--out", "out", "--group-by", "folder")
    assert more.exit_code == 0 and count.analysed == []
    draw(tmp_path / "day3" / "1.png", 5, 2)
    more = count("day1", "day2", "day3", "--out", "out", "--group-by", "folder")
    assert more.exit_code == 0 and count.analysed == ["day3/1.png"]
    alone = count("day2", "--out", "alone", "--group-by", "folder")
    assert alone.exit_code == 0
    fields = rows(tmp_path / "alone" / "fields.csv")
    assert [row["file"] for row in fields] == ["day2/anna/1.png", "day2/boris/1.png"]
    assert [row["group"] for row in fields] == ["anna", "boris"]
    assert [row["annotated"] for row in fields] == [
        "annotated/anna/1.png.jpg",
        "annotated/boris/1.png.jpg",
    ]


def test_a_file_may_be_called_like_a_page(count: Count, tmp_path: Path) -> None:
    """A picture without an ending, with a number sign in its name."""
    draw(tmp_path / "in" / "1.png", 1, 2)
    (tmp_path / "in" / "1.png").rename(tmp_path / "in" / "field#2")
    assert count("in", "--out", "out").exit_code == 0
    [field] = rows(tmp_path / "out" / "fields.csv")
    assert field["path"] == str(tmp_path / "in" / "field#2")


def test_a_report_keeps_its_names(
    count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its folder is named otherwise, has moved, or was counted under the rule before."""
    slides(tmp_path / "in", 3)
    count("in", "--out", "out")
    names = files_of(tmp_path / "out")
    monkeypatch.chdir(tmp_path / "in")
    assert count(".", "--out", tmp_path / "out").exit_code == 0 and count.analysed == []
    assert files_of(tmp_path / "out") == names
    monkeypatch.chdir(tmp_path)
    shutil.move(tmp_path / "in", tmp_path / "elsewhere")
    draw(tmp_path / "elsewhere" / "3.png", 3, 2)
    assert count("elsewhere", "--out", "out").exit_code == 0
    assert files_of(tmp_path / "out") == [*names, "in/3.png"]
    fields = rows(tmp_path / "out" / "fields.csv")
    assert fields[0]["path"] == str(tmp_path / "elsewhere" / "0.png")
    # A journal of before: names below the folder.
    journal = tmp_path / "out" / "journal" / "fields.jsonl"
    lines = journal_lines(journal)
    header = {key: value for key, value in lines[0].items() if key != "sources"}
    header |= {"journal": "wbcdet-journal/1", "folder": str(tmp_path / "elsewhere")}
    old = [header]
    for line in lines[1:]:
        if "file" in line:
            file = line["file"].removeprefix("in/")
            places = [place[:2] for place in line["pictures"]]
            result = {**line["result"], "file": file}
            old.append({**line, "file": file, "result": result, "pictures": places})
    journal.write_text("".join(f"{json.dumps(line)}\n" for line in old).replace('": ', '":'))
    (tmp_path / "out" / MARKER).unlink()
    assert count("elsewhere", "--out", "out").exit_code == 0 and count.analysed == []
    assert files_of(tmp_path / "out") == [f"{number}.png" for number in range(4)]


def test_names_that_are_hard(predict: Predict, tmp_path: Path) -> None:
    names = ["=1+1.png", "+a.png", "-b.png", "@c.png", "line\nbreak.png", "é" * 120 + ".png"]
    (tmp_path / "in").mkdir()
    picture = cv2.imencode(".png", PIXELS)[1].tobytes()
    for name in [*names, "A.png", "a.PNG"]:
        (tmp_path / "in" / name).write_bytes(picture)
    for raw in (b"\xff.png", b"\xfe.png"):
        Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/" + raw)).write_bytes(picture)
    assert predict("in").exit_code == 0
    found = files_of(tmp_path / "wbcdet-out")
    assert set(found) >= {f"in/{name}" for name in [*names, "%FF.png", "%FE.png"]}
    assert len(found) == len(set(found)) == 10


def test_a_part_of_what_was_counted_keeps_its_names(count: Count, tmp_path: Path) -> None:
    for number, name in enumerate(("anna/0.png", "anna/1.png", "boris/0.png")):
        draw(tmp_path / "in" / name, number, 2)
    count("in", "--out", "out")
    assert count("in/anna", "--out", "out").exit_code == 0
    assert files_of(tmp_path / "out") == ["in/anna/0.png", "in/anna/1.png"]
    assert count.analysed == []
    refused = count("in/boris", "--out", "out")
    assert refused.exit_code == 2 and "another folder" in one_line(refused.stderr)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX access rights")
def test_a_folder_that_may_not_be_looked_into(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    draw(tmp_path / "in" / "0.png", 0)
    draw(tmp_path / "in" / "shut" / "1.png", 1)
    (tmp_path / "in" / "shut").chmod(0)
    user = os.geteuid()
    if user == 0:  # root looks everywhere: try as nobody
        for folder in list(tmp_path.parents)[:3]:
            folder.chmod(0o755)
        os.seteuid(65534)
    try:
        fields = search([tmp_path / "in"]).fields
    finally:
        os.seteuid(user)
        (tmp_path / "in" / "shut").chmod(0o755)
    assert [item.problem is None for item in fields] == [True, False]
    assert "access rights" in str(fields[1].problem) and fields[1].name.endswith("in/shut")


def test_training_does_not_claim_a_folder_of_slides(tmp_path: Path) -> None:
    draw(tmp_path / "0.png", 0)
    mark_new(tmp_path, "train")
    assert written_by(tmp_path) is None and len(search([tmp_path]).fields) == 1
    (tmp_path / "new").mkdir()
    mark_new(tmp_path / "new", "train")
    assert written_by(tmp_path / "new") == "train"
