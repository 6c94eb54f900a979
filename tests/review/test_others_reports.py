"""A report from somebody else reaches nothing outside; a damaged one costs only what is damaged."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import REPOSITORY
from counting import Count, final_files, folder_of, journal_lines, rows, write_journal
from reviewing import Server, make_report
from typer.testing import CliRunner, Result

from wbcdet.cli.app import app
from wbcdet.io.ownership import is_own, signed
from wbcdet.report.journal import Journal, JournalError
from wbcdet.report.layout import JOURNAL
from wbcdet.results.document import ResultsError
from wbcdet.review import sign_off as signing
from wbcdet.review.cell_state import LabelChange
from wbcdet.review.images import PictureError
from wbcdet.review.session import Session
from wbcdet.review.sign_off import check
from wbcdet.utils.lock import LOCK
from wbcdet.utils.safe_files import OutsideError, inside

LINES = Path(JOURNAL) / "fields.jsonl"


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Count:
    return Count(monkeypatch, tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "thesis.txt"
    path.parent.mkdir()
    path.write_text("three years of work")
    return path


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)))


def one_line(done: Result) -> str:
    """Return what a command that refuses says."""
    assert done.exit_code == 2 and len(done.output.splitlines()) == 1, done.output
    return done.output


def settle_all(session: Session) -> None:
    open_ = [key for key, cell in session.state.cells.items() if cell.label == "unclassified"]
    if open_:
        changes = [
            LabelChange(key, session.state.cells[key].last_decision, "monocyte") for key in open_
        ]
        session.state.change("Ann", changes)


def signed_files(report: Path) -> dict[str, bytes]:
    """All files of a report but those that the database writes as it likes."""
    files = final_files(report)
    return {name: data for name, data in files.items() if "sqlite" not in name and name != LOCK}


def final_reports(folder: Path) -> dict[str, bytes]:
    """Return the files of a count into ``out``, wherever its fields are."""
    place = str(folder).encode()
    files = final_files(folder / "out")
    with zipfile.ZipFile(io.BytesIO(files.pop("report.xlsx"))) as book:  # its parts are compressed
        files |= {f"report.xlsx/{name}": book.read(name) for name in book.namelist()}
    return {name: data.replace(place, b"") for name, data in files.items()}


@pytest.mark.parametrize("more", [(), ("--restart",), ("--no-annotate",)])
def test_a_journal_that_names_files_of_others(
    count: Count, tmp_path: Path, secret: Path, more: tuple[str, ...]
) -> None:
    folder_of(tmp_path / "in", 4)
    count("in", "--out", "out")
    out = tmp_path / "out"
    own = [out / "notes.txt", out / "cells" / "mine.jpg", out / "annotated" / "mine.jpg"]
    for path in own:
        path.write_bytes(b"\xff\xd8 mine")
    (tmp_path / "home" / "photo.jpg").write_bytes(signed(b"\xff\xd8 mine"))
    lines = journal_lines(out / LINES)
    names = [str(secret), "../home/thesis.txt", "../home/photo.jpg", "notes.txt", "cells/mine.jpg"]
    names += ["annotated/../../home/thesis.txt", "a\0b", "", "/", "..", "results.json"]
    lines.append({"list": "sheets", "names": names})
    gone = next(line for line in lines if "result" in line)
    for number, name in enumerate([*names, "annotated/mine.jpg"]):
        file = f"gone-{number}.png"
        result = {**gone["result"], "file": file}
        lines.append({**gone, "file": file, "annotated": name, "result": result})
    write_journal(out / LINES, lines)
    done = count("in", "--out", "out", *more)
    assert done.exit_code == 0, done.output
    assert secret.read_text() == "three years of work"
    assert all(path.read_bytes() == b"\xff\xd8 mine" for path in own)
    assert (tmp_path / "home" / "photo.jpg").exists()


@pytest.mark.parametrize(
    "name", ["annotated", "cells", "journal", str(LINES), "journal/pictures.bin", LOCK]
)
def test_links_in_the_folder_of_a_count(
    count: Count, tmp_path: Path, secret: Path, name: str
) -> None:
    folder_of(tmp_path / "in", 2)
    count("in", "--out", "out")
    before = secret.read_bytes()
    path = tmp_path / "out" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(secret if "/" in name or name == LOCK else secret.parent)
    for more in ((), ("--restart",)):
        assert "is a link" in one_line(count("in", "--out", "out", *more))
    assert secret.read_bytes() == before and len(list(secret.parent.iterdir())) == 1


def test_a_link_deeper_down(count: Count, tmp_path: Path, secret: Path) -> None:
    folder_of(tmp_path / "in", 2)
    count("in", "--out", "out")
    shutil.rmtree(tmp_path / "out" / "annotated" / "anna")
    (tmp_path / "out" / "annotated" / "anna").symlink_to(secret.parent)
    done = count("in", "--out", "out")
    assert done.exit_code == 2 and "is a link out of" in done.output
    assert [path.name for path in secret.parent.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "name",
    [
        "journal", str(LINES), "journal/pictures.bin", LOCK, "reviewed", "results.json",
        "review.sqlite", "review.sqlite-wal", "review-log.jsonl",
    ],
)  # fmt: skip
def test_links_in_a_report_to_review(tmp_path: Path, secret: Path, name: str) -> None:
    report = make_report(tmp_path, 1)
    path = report / name
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(secret if "." in name else secret.parent)
    for more in (("--check",), ("--no-browser",)):
        assert "is a link" in one_line(command("review", report, *more))
    assert secret.read_text() == "three years of work"
    assert [path.name for path in secret.parent.iterdir()] == ["thesis.txt"]


@pytest.mark.skipif(not hasattr(os, "link"), reason="no hard links here")
def test_hard_links(count: Count, tmp_path: Path, secret: Path) -> None:
    """A file of a report that is another file too is not written in place."""
    folder_of(tmp_path / "in", 2)
    count("in", "--out", "out")
    kept = {}
    for name in (str(LINES), "journal/pictures.bin", LOCK):
        out = tmp_path / "linked"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(tmp_path / "out", out)
        (out / name).unlink(missing_ok=True)
        # What it was, so that nothing but the link is wrong; and something that is worth keeping.
        before = tmp_path / "out" / name
        secret.write_bytes((before.read_bytes() if before.exists() else b"") + b"mine")
        kept[name] = secret.read_bytes()
        os.link(secret, out / name)
        for more in ((), ("--restart",)):
            assert "hard link" in one_line(count("in", "--out", "linked", *more))
        assert secret.read_bytes() == kept[name]
    report = tmp_path / "out"
    for name in ("review.sqlite", "review-log.jsonl", LOCK):
        secret.write_bytes(b"")
        secret.chmod(0o644)
        os.link(secret, report / name)
        if name == "review-log.jsonl":
            session = Session(report)
            settle_all(session)
            with pytest.raises(OutsideError, match="hard link"):
                session.sign("Ann", "", session.state.last)
            session.close()
        else:
            assert "hard link" in one_line(command("review", report, "--no-browser"))
        (report / name).unlink()
        assert secret.read_bytes() == b"" and secret.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("height", "1e400"), ("width", "-1e400"), ("width", "1" + "0" * 400),
        ("height", "1" + "0" * 5000), ("width", "9223372036854775808"), ("cells", "[" * 900),
    ],
)  # fmt: skip
def test_numbers_that_no_computer_has(tmp_path: Path, place: str, value: str) -> None:
    report = make_report(tmp_path, 1)
    document = json.loads((report / "results.json").read_text())
    document["fields"][0][place] = "HERE"
    (report / "results.json").write_text(json.dumps(document).replace('"HERE"', value))
    said = one_line(command("review", report, "--check"))
    assert "results.json: not JSON" in said and len(said) < 400


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["results.json", str(LINES), "review-log.jsonl", "review.sqlite"])
def test_pipes_are_not_waited_for(tmp_path: Path, name: str) -> None:
    report = make_report(tmp_path, 1)
    (report / name).unlink(missing_ok=True)
    os.mkfifo(report / name)
    assert "no plain file" in one_line(command("review", report, "--check"))


def test_a_folder_that_only_the_report_names(tmp_path: Path) -> None:
    """It shows pictures whose sha256 the report has, and none that its maker only guessed."""
    report = make_report(tmp_path, 1)
    field = next((report.parent / "fields").rglob("*.png"))
    private = tmp_path / "private" / field.relative_to(report.parent / "fields")
    private.parent.mkdir(parents=True)
    cv2.imwrite(str(private), np.zeros((200, 320, 3), np.uint8))
    lines = journal_lines(report / LINES)
    lines[0]["folder"] = str(tmp_path / "private")
    lines[0]["sources"] = [{"name": "fields", "path": str(tmp_path / "private")}]
    stat = private.stat()
    for line in lines:
        if line.get("input"):  # size and time can be guessed
            line["input"] |= {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    write_journal(report / LINES, lines)
    session = Session(report)
    with pytest.raises(PictureError, match="has changed"):
        session.pictures.field(0)
    session.close()
    document = json.loads((report / "results.json").read_text())
    document["fields"][0]["sha256"] = None
    (report / "results.json").write_text(json.dumps(document))
    for line in lines:
        if line.get("input"):
            line["input"] = None
    write_journal(report / LINES, lines)
    session = Session(report)
    with pytest.raises(PictureError, match="--pictures FOLDER"):
        session.pictures.field(0)
    session.close()
    session = Session(report, tmp_path / "private")  # the reader has the last word
    assert session.pictures.field(0).width == 320
    session.close()


def test_links_in_the_folder_of_the_pictures(tmp_path: Path, secret: Path) -> None:
    report = make_report(tmp_path, 1)
    field = next((report.parent / "fields").rglob("*.png"))
    moved = secret.parent / "moved.png"
    field.rename(moved)
    field.symlink_to(moved)
    session = Session(report)
    assert session.pictures.field(0).width == 320  # the picture that was counted, by its sha256
    session.close()
    cv2.imwrite(str(moved), np.zeros((200, 320, 3), np.uint8))
    session = Session(report)
    with pytest.raises(PictureError, match="has changed"):
        session.pictures.field(0)
    session.close()
    done = command(
        "export", report, "--to", "yolo", "--out", tmp_path / "yolo",
        "--pictures", report.parent / "fields",
    )  # fmt: skip
    assert done.exit_code == 1 and "leads out of the folder" in done.output
    assert not list((tmp_path / "yolo").rglob("*.png"))


def test_a_database_of_something_else_stays(tmp_path: Path) -> None:
    report = make_report(tmp_path, 1)
    path = report / "review.sqlite"
    for statement in (
        "CREATE TABLE patients (name)",
        "CREATE VIEW decisions AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) "
        "SELECT x FROM n",
        "CREATE TABLE decisions (id, time, who)",
    ):
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()
        before = path.read_bytes()
        assert "something else" in one_line(command("review", report, "--check"))
        assert path.read_bytes() == before
        assert not path.with_name("review.sqlite-wal").exists()
    path.unlink()
    Session(report).close()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER more AFTER INSERT ON decisions BEGIN DELETE FROM notes; END")
    connection.commit()
    connection.close()
    assert "something else" in one_line(command("review", report, "--check"))


def test_other_accounts_cannot_read_a_review(tmp_path: Path) -> None:
    report = make_report(tmp_path, 1)
    (report / "review.sqlite").touch(0o666)
    (report / "review.sqlite").chmod(0o666)
    session = Session(report)
    settle_all(session)
    session.sign("Ann", "", session.state.last)
    for path in (*report.glob("review*"), *(report / "reviewed").rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert path.stat().st_mode & 0o777 == wanted, path
    session.close()


@pytest.mark.parametrize("file", ["../../home/thesis.txt", "/etc/passwd", "a\0b"])
def test_a_log_that_names_files_of_others(tmp_path: Path, secret: Path, file: str) -> None:
    report = make_report(tmp_path, 1)
    session = Session(report)
    settle_all(session)
    session.sign("Ann", "", session.state.last)
    session.close()
    log = report / "review-log.jsonl"
    entry = json.loads(log.read_text())
    entry["files"][file] = "0" * 64
    log.write_text(json.dumps(entry) + "\n")
    done = command("review", report, "--check")
    assert done.exit_code == 1 and len(done.output.splitlines()) == 1
    assert "missing" not in done.output and "was changed" not in done.output


def test_numbers_and_patterns_without_end(tmp_path: Path) -> None:
    report = make_report(tmp_path, 2, "--group-by", "folder")
    path = report / "results.json"
    document = json.loads(path.read_text())
    document["info"]["count"]["group_by"] = "(a+)+$"
    document["fields"][0]["file"] = "a" * 60 + "!.png"
    document["fields"][0]["cells"][0]["id"] = 10**9
    path.write_text(json.dumps(document))
    begun = time.monotonic()
    session = Session(report)
    settle_all(session)
    drawn = session.draw("Ann", 0, (1, 1, 30, 30), "blast")
    assert drawn == (0, 10**9 + 1)
    session.sign("Ann", "", session.state.last)
    session.close()
    session = Session(report)
    assert check(session) == [] and drawn in session.state.cells
    session.close()
    assert time.monotonic() - begun < 60
    assert {row["group"] for row in rows(report / "reviewed" / "differential.csv")} == {
        "anna", "boris",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change, says",
    [
        (lambda cell: cell.update(id=2**31), "must be smaller"),
        (lambda cell: cell.update(id="77"), "must be integer"),
        (lambda cell: cell.update(box=[0, 0, 1e9, 9]), "not inside the field"),
        (lambda cell: cell.update(box=[0, 0, float("inf"), 9]), "Infinity is no number"),
        (lambda cell: cell.update(detection_score=float("nan")), "NaN is no number"),
        (lambda cell: cell.update(touches_edge="no"), "must be boolean"),
        (lambda cell: cell.update(id=1), "same id"),
        (lambda cell: cell.update(label="x" * 41), "must be shorter"),
    ],
)
def test_documents_are_checked(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    report = make_report(tmp_path, 1)
    document = json.loads((report / "results.json").read_text())
    change(document["fields"][0]["cells"][0])
    (report / "results.json").write_text(json.dumps(document))
    assert says in one_line(command("review", report, "--check"))
    assert says in one_line(command("export", report, "--to", "coco", "--out", tmp_path / "x"))


def test_review_changes_no_journal(tmp_path: Path) -> None:
    report = make_report(tmp_path, 1)
    path = report / LINES
    torn = path.read_bytes()[:-5]
    for data in (torn, b"three years of work, in one line"):
        path.write_bytes(data)
        done = command("review", report, "--check")
        assert done.exit_code == 2 and path.read_bytes() == data
        pictures = (report / JOURNAL / "pictures.bin").read_bytes()
        assert pictures
    for more in ((), ("--restart",)):  # nor does a count drop what is no journal
        done = command("count", tmp_path / "fields", "--out", report, *more, "--quiet")
        found = [path.read_bytes() for path in (report / JOURNAL).glob("fields.jsonl*")]
        assert b"three years of work, in one line" in found
        if not more:
            assert "no journal of wbcdet" in one_line(done)
            break


def damaged(line: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the line of a field as an editor, a disk or somebody else may leave it."""
    line = json.loads(json.dumps(line))
    result, cells = line["result"], line["result"]["cells"]
    match name:
        case "label":
            cells[0] |= {"label": "neutrophjl", "reason": None}
        case "type":
            cells[0] |= {"label": "eosinophil", "reason": None}
        case "cells":
            del cells[:], line["pictures"][:]
        case "quality":
            line["quality"] = {}
        case "no result":
            del line["result"]
        case "result":
            line["result"] = []
        case "input":
            line["input"] = {"size": "many"}
        case "place":
            line["pictures"][0] = [-5, 10**12]
        case "places":
            line["pictures"] = []
        case "other field":
            result["file"] = "in/boris/1.png"
        case "annotated":
            line["annotated"] = 5
        case "failure":
            result |= {"cells": [], "failure": 7}
        case "box":
            cells[0]["box"] = [9, 9, 1, 1]
        case "score":
            cells[0]["scores"] = {}
    return line


KINDS = [
    "label", "type", "cells", "quality", "no result", "result", "input", "place", "places",
    "other field", "annotated", "failure", "box", "score",
]  # fmt: skip
#: Those that are a result like any other: only a checksum tells.
LIKELY = {"type", "cells"}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counted")
    folder_of(folder / "in", 8)
    with pytest.MonkeyPatch.context() as patch:
        Count(patch, folder)("in", "--out", "out")
    return folder


@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_line_is_named_and_done_again(
    count: Count, counted: Path, tmp_path: Path, name: str, forged: bool
) -> None:
    shutil.copytree(counted / "in", tmp_path / "in")
    shutil.copytree(counted / "out", tmp_path / "out")
    path = tmp_path / "out" / LINES
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if json.loads(line).get("file") == "in/boris/3.png")
    if forged:  # with the checksum that goes with it
        plain = journal_lines(path)
        plain[at] = damaged(plain[at], name)
        write_journal(path, plain)
    else:
        lines[at] = json.dumps(damaged(json.loads(lines[at]), name)).encode() + b"\n"
        path.write_bytes(b"".join(lines))
    done = count("in", "--out", "out")
    assert done.exit_code == 0, done.output
    if not (forged and name in LIKELY):
        assert "in/boris/3.png" in done.stderr and "damaged" in done.stderr
        assert count.analysed == ["in/boris/3.png"]
        assert final_reports(tmp_path) == final_reports(counted)


def test_a_damaged_picture_is_cut_again(count: Count, counted: Path, tmp_path: Path) -> None:
    shutil.copytree(counted / "in", tmp_path / "in")
    shutil.copytree(counted / "out", tmp_path / "out")
    path = tmp_path / "out" / JOURNAL / "pictures.bin"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert count("in", "--out", "out").exit_code == 0 and len(count.analysed) == 1
    assert final_reports(tmp_path) == final_reports(counted)


def test_a_journal_without_checksums(count: Count, counted: Path, tmp_path: Path) -> None:
    """As earlier versions wrote them: read, and said to be so."""
    shutil.copytree(counted / "in", tmp_path / "in")
    shutil.copytree(counted / "out", tmp_path / "out")
    path = tmp_path / "out" / LINES
    lines = journal_lines(path)
    lines[0]["journal"] = "wbcdet-journal/1"
    for line in lines:
        if "pictures" in line:
            line["pictures"] = [place[:2] for place in line["pictures"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = count("in", "--out", "out")
    assert done.exit_code == 0 and count.analysed == []
    assert "without checksums" in done.stderr
    assert final_reports(tmp_path) == final_reports(counted)
    line = next(line for line in lines if line.get("file") == "in/boris/3.png")
    line["quality"] = {}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = count("in", "--out", "out")
    assert count.analysed == ["in/boris/3.png"] and "damaged" in done.stderr
    write_journal(path, lines)  # an old line is no excuse in a new journal
    lines[0]["journal"] = "wbcdet-journal/2"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(JournalError, match="first line is damaged"):
        Journal(path.parent)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_signing_is_all_or_nothing(tmp_path: Path) -> None:
    """Killed before many of its steps, each time on top of a signature before it."""
    report = make_report(tmp_path, 1)
    session = Session(report)
    settle_all(session)
    session.close()
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "tests" / "sign_worker.py"), str(report)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) > 15 and found[0]["of"] > 30
    signatures = 2
    for item in found:
        assert (
            item["there"] and item["wrong"] == [] and not item["left"] and not item["finished"]
        ), item
        assert item["signatures"] in (signatures, signatures + 1), item
        signatures = item["signatures"]
    assert signatures > 2  # some were killed after they had signed


@pytest.mark.parametrize("where", ["write", "log"])
def test_a_full_disk_signs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    report = make_report(tmp_path, 1)
    session = Session(report)
    settle_all(session)
    session.sign("Ann", "", session.state.last)
    before = signed_files(report)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if where == "write":
        monkeypatch.setattr("wbcdet.review.signed_report.write_report", full)
    else:
        monkeypatch.setattr("wbcdet.review.sign_off.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        session.sign("Bob", "", session.state.last)
    monkeypatch.undo()
    assert len(session.log()) == 1 and check(session) == []
    session.close()
    assert signed_files(report) == before


def test_signed_where_the_last_step_cannot_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the log counts: the page shows what it signs, and the next program tidies up."""
    report = make_report(tmp_path, 1)
    session = Session(report)
    settle_all(session)
    session.sign("Ann", "", session.state.last)

    rename = Path.rename

    def refused(path: Path, target: Path) -> Path:
        if target.parent == report:  # where the signed report is put in place
            raise PermissionError(30, "Read-only file system")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        patch.setattr(signing, "_exchange", lambda *_: False)
        session.sign("Bob", "", session.state.last)
        assert check(session) == []
    assert b"signed by Bob" in (session.reviewed_folder / "report.html").read_bytes()
    session.close()
    session = Session(report)
    assert check(session) == [] and not (report / signing.SIGNING).exists()
    assert b"signed by Bob" in (report / "reviewed" / "report.html").read_bytes()
    session.close()


def test_a_change_of_too_many_cells(tmp_path: Path) -> None:
    server = Server(make_report(tmp_path, 1))
    try:
        cell = {"field": 0, "cell": 0, "seen": 0, "label": "basophil"}
        begun = time.monotonic()
        body = {"who": "Ann", "cells": [cell] * 20_001}
        status, _, answer = server.request("/api/change", body)
        assert status == 422 and len(answer) < 500 and time.monotonic() - begun < 10
        body = {"who": "Ann\ud800", "cells": [cell], "group": "\udc80", "since": 10**30}
        assert server.request("/api/change", body)[0] in (400, 422)
    finally:
        server.kill()


def test_names_inside(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "report"
    (folder / "a").mkdir(parents=True)
    (folder / "link").symlink_to(secret.parent)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "near").symlink_to(folder / "a")
    assert inside(folder, "a/b.jpg") == folder / "a" / "b.jpg"
    assert inside(folder, "near/b.jpg") == folder / "near" / "b.jpg"
    for name in ("", ".", "/", "..", "../report/a", "a/../../x", "/etc", "link/x", "link", "a\0b"):
        with pytest.raises(OutsideError):
            inside(folder, name)
    picture = folder / "a" / "x.jpg"
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    assert not is_own(picture)
    picture.write_bytes(signed(picture.read_bytes()))
    assert is_own(picture) and cv2.imread(str(picture)).shape == (8, 8, 3)
    assert not is_own(folder / "link") and not is_own(folder / "none")


def test_a_field_that_stands_twice(tmp_path: Path) -> None:
    report = make_report(tmp_path, 2)
    document = json.loads((report / "results.json").read_text())
    document["fields"].append(document["fields"][0])
    (report / "results.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match="stands twice"):
        Session(report)
