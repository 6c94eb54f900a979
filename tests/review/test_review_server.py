"""The server of the review page: its answers, and the interruptions it survives."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest
from counting import journal_lines, rows, write_journal
from reviewing import Server, make_report
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.report.layout import JOURNAL
from wbcdet.results.document import load_document
from wbcdet.review.cell_state import LabelChange
from wbcdet.review.images import PictureError, _thumbnail
from wbcdet.review.serializers import report_page
from wbcdet.review.session import Session

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return make_report(tmp_path, 4, "--group-by", "folder")


@pytest.fixture
def server(report: Path) -> Iterator[Server]:
    running = Server(report)
    yield running
    running.kill()


def picture(data: bytes) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return pixels


def settle(server: Server, who: str = "Ann") -> None:
    """Name every unclassified cell."""
    cells = server.ask("/api/report")["cells"]
    open_ = [(row[0], row[1]) for row in cells if row[2] == "unclassified"]
    server.call("monocyte", *open_, who=who)


def test_nothing_else_is_served(server: Server) -> None:
    for path in (
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/reviewed/../results.json",
        "/reviewed/%2e%2e/review.sqlite",
        "/reviewed//etc/passwd",
        "/thumb/0/99",
        "/thumb/-1/0",
        "/crop/0/0/10000",
        "/tile/0/0/50/50",
        "/tile/99/0/0/0",
        "/tile/0/40/0/0",
        "/openapi.json",
        "/docs",
    ):
        # As it is, not tidied up by a library.
        host = f"Host: 127.0.0.1:{server.port}\r\nCookie: {server.cookie}"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(f"GET {path} HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n".encode())
            answer = raw.recv(4096)
        assert answer.split(b" ", 2)[1] in (b"404", b"422"), (path, answer[:200])


def test_pictures(server: Server, report: Path) -> None:
    assert picture(server.request("/thumb/0/0")[2]).shape == (96, 96, 3)
    assert picture(server.request("/crop/0/0/384")[2]).shape == (384, 384, 3)
    assert picture(server.request("/tile/0/0/0/0")[2]).shape == (200, 320, 3)
    assert picture(server.request("/tile/0/1/0/0")[2]).shape == (100, 160, 3)
    (report.parent / "fields" / "anna" / "field 000.png").write_bytes(b"another")
    (report.parent / "fields" / "anna" / "field 002.png").unlink()
    server.kill()
    again = Server(report)
    try:
        assert "has changed" in again.request("/tile/0/0/0/0")[2].decode()
        assert "is not in" in again.request("/tile/1/0/0/0")[2].decode()
        # The thumbnails of the count are still there, and stand in for larger crops.
        assert picture(again.request("/crop/1/0/384")[2]).shape == (96, 96, 3)
        drawn = again.ask(
            "/api/draw", {"who": "Ann", "field": 1, "box": [1, 1, 30, 30], "label": "blast"}
        )
        assert again.request("/thumb/{}/{}".format(*drawn["drawn"]))[0] == 404
    finally:
        again.kill()


def test_a_journal_that_is_not_of_the_report(report: Path) -> None:
    """A count that was started over and stopped leaves the old report beside a new journal."""
    lines = report / JOURNAL / "fields.jsonl"
    header, *fields = journal_lines(lines)
    first = next(field for field in fields if field.get("file") == "fields/anna/field 000.png")
    cells = first["result"]["cells"]
    for number, cell in enumerate(reversed(cells)):
        cell["id"] = number
    cells.reverse()  # the same pictures, now of other cells
    write_journal(lines, [header, first])
    session = Session(report)
    assert session.notes == []
    for key in ((0, 0), (0, 39), (1, 0)):  # the last one is in a field that was not reached
        shown = picture(session.pictures.thumbnail(key))
        field = session.pictures.field(key[0])
        wanted = picture(_thumbnail(field, session.state.cells[key].box))
        assert np.array_equal(shown, wanted), key
    with pytest.raises(PictureError, match="has changed"):
        path = report.parent / "fields" / "boris" / "field 001.png"
        cv2.imwrite(str(path), np.zeros((200, 320, 3), np.uint8))
        session.pictures._fields.clear()
        session.pictures.field(session.state.report.fields[2].number)
    session.close()


def test_thumbnails_that_a_power_cut_took(report: Path) -> None:
    (report / JOURNAL / "pictures.bin").write_bytes(b"\xff\xd8")
    session = Session(report)
    assert picture(session.pictures.thumbnail((3, 39))).shape == (96, 96, 3)
    open_ = [key for key, cell in session.state.cells.items() if cell.label == "unclassified"]
    session.state.change("Ann", [LabelChange(key, 0, "monocyte") for key in open_])
    assert session.sign("Ann", "", session.state.last)["number"] == 1
    session.close()


def test_a_report_that_was_moved_with_its_pictures(report: Path, tmp_path: Path) -> None:
    (report.parent / "fields").rename(report / "fields")
    report.rename(tmp_path / "elsewhere")
    session = Session(tmp_path / "elsewhere")
    assert session.notes == [] and session.pictures.field(0).width == 320
    session.close()


def test_a_killed_server_loses_nothing(server: Server, report: Path) -> None:
    news = server.call("basophil", (0, 0), (0, 1))
    last = news["last"]
    stopped = threading.Event()

    def work() -> None:
        nonlocal last
        for cell in range(2, 30):
            try:
                last = server.call("monocyte", (0, cell))["last"]
            except (OSError, ValueError):
                break
        stopped.set()

    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.15)
    server.kill()
    assert stopped.wait(10)
    again = Server(report)
    try:
        found = again.ask("/api/report")
        # What was answered is there; what was not may be.
        assert found["last"] in (last, last + 1)
        labels = {(row[0], row[1]): row[2] for row in found["cells"]}
        assert labels[0, 0] == labels[0, 1] == "basophil"
        for row in found["cells"]:
            assert row[3] == (row[4] > 0)
        touched = again.ask("/api/undo", {"who": "Ann"})["touched"]
        assert len(touched) in (1, 2)
    finally:
        again.kill()


def test_a_conflict_is_answered_with_what_is(server: Server) -> None:
    server.call("basophil", (0, 0), who="Ann")
    body = {"who": "Bob", "cells": [{"field": 0, "cell": 0, "seen": 0, "label": "monocyte"}]}
    status, _, data = server.request("/api/change", body)
    assert status == 409
    answer = json.loads(data)
    assert "somebody else" in answer["error"] and answer["cells"][0][2] == "basophil"


def test_a_page_of_another_report_writes_nothing(server: Server, report: Path) -> None:
    start = server.ask("/api/report")
    assert start["given"] is None  # --reviewer was not given
    asks = {
        "change": {"cells": [{"field": 0, "cell": 0, "seen": 0, "label": "monocyte"}]},
        "draw": {"field": 0, "box": [1, 1, 30, 30], "label": "monocyte"},
        "undo": {},
        "redo": {},
        "sign": {"since": 0},
    }
    for path, body in asks.items():
        status, _, data = server.request(f"/api/{path}", {"who": "Ann", "mark": "a", **body})
        answer = json.loads(data)
        assert status == 409 and "another report" in answer["error"], path
        assert answer["mark"] == start["mark"]  # by which the page knows to load again
    assert server.ask("/api/changes")["last"] == 0
    for path in ("/thumb/0/0", "/crop/0/0/96", "/tile/0/0/0/0"):
        assert server.request(f"{path}?mark=a")[0] == 404
        assert server.request(f"{path}?mark={start['mark']}")[0] == 200
    server.kill()
    shutil.copytree(report, report.parent / "copy")
    session = Session(report.parent / "copy", who="Bob", named=True)
    page = report_page(session)
    assert session.mark != start["mark"] and page["who"] == "Bob" and page["given"]
    session.close()


def test_news_say_of_which_slide_they_are(server: Server) -> None:
    assert server.ask("/api/changes?group=anna")["group"] == "anna"
    assert server.ask("/api/undo", {"who": "Ann", "group": "boris"})["group"] == "boris"
    assert server.ask("/api/changes")["group"] is None


def test_sign_off(server: Server, report: Path, tmp_path: Path, command: Command) -> None:
    machine = {
        path.name: path.read_bytes()
        for path in report.iterdir()
        if path.suffix in (".csv", ".json", ".html")
    }
    start = server.ask("/api/report")
    status, _, data = server.request("/api/sign", {"who": "Dr. Ann", "since": 0})
    assert status == 409 and "unclassified cells are not settled" in json.loads(data)["error"]
    settle(server)
    server.ask(
        "/api/draw", {"who": "Ann", "field": 2, "box": [1, 1, 30, 30], "label": "plasma cell"}
    )
    now = server.ask("/api/changes?since=0")
    assert server.request("/api/sign", {"who": "Dr. Ann", "since": 1})[0] == 409  # not the last
    signed = server.ask("/api/sign", {"who": "Dr. Ann", "since": now["last"], "note": "ok"})
    assert signed["signed"]["current"] and signed["signed"]["name"] == "Dr. Ann"
    # What the page showed is what the files say, and the machine's files are as they were.
    table = rows(report / "reviewed" / "differential.csv")
    shown = {row["label"]: row["reviewed"]["count"] for row in now["differential"]["rows"]}
    written: dict[str, int] = dict.fromkeys(shown, 0)
    for row in table:
        if row["label"] in written:
            written[row["label"]] += int(row["count"])
    assert written == shown and written["plasma cell"] == 1
    for name, before in machine.items():
        assert (report / name).read_bytes() == before, name
    info, results = load_document(report / "reviewed" / "results.json")
    assert info["review"]["name"] == "Dr. Ann"
    assert sum(len(result.cells) for result in results) == len(start["cells"]) + 1
    changes = rows(report / "reviewed" / "changes.csv")
    assert changes[-1]["machine"] == "" and changes[-1]["reviewed"] == "plasma cell"
    page = server.request("/reviewed/report.html")
    assert page[0] == 200 and b"Reviewed and signed by Dr. Ann" in page[2]
    assert "script" not in page[1]["content-security-policy"]
    server.call(
        "monocyte",
        (3, 0),
        seen=next(r[4] for r in now["cells"] + start["cells"] if r[:2] == [3, 0]),
    )
    assert not server.ask("/api/changes")["signed"]["current"]
    server.kill()
    done = CliRunner().invoke(app, ["review", str(report), "--check"])
    assert done.exit_code == 0 and "there are decisions after it" in done.output
    for kind in ("coco", "yolo", "voc", "qupath", "labelstudio", "cvat"):
        exported = CliRunner().invoke(
            app, ["export", str(report / "reviewed"), "--to", kind, "--out", str(tmp_path / kind)]
        )
        assert exported.exit_code == 0, exported.output
    coco = json.loads((tmp_path / "coco/annotations/instances_default.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert "plasma cell" in [names[annotation["category_id"]] for annotation in coco["annotations"]]
    (report / "reviewed" / "cells.csv").write_text("")
    tampered = CliRunner().invoke(app, ["review", str(report), "--check"])
    assert tampered.exit_code == 1 and "was changed since it was signed" in tampered.output


def test_a_review_that_changes_nothing_changes_no_figure(tmp_path: Path) -> None:
    """All options of a count hold in the reviewed report too."""
    options = (
        "--group-by",
        "folder",
        "--exclude-edge",
        "--dedupe",
        "--skip-bad",
        "--target",
        "100",
    )
    report = make_report(tmp_path, 3, *options)
    session = Session(report, who="Ann")
    open_ = [key for key, cell in session.state.cells.items() if cell.label == "unclassified"]
    session.state.change("Ann", [LabelChange(key, 0, "unclassified") for key in open_])
    session.sign("Ann", "", session.state.last)
    session.close()
    for name in ("differential.csv", "cells.csv", "fields.csv"):
        assert (report / "reviewed" / name).read_bytes() == (report / name).read_bytes(), name


def test_the_log_holds_together(server: Server, report: Path) -> None:
    settle(server)
    for name in ("Ann", "Bob"):
        last = server.ask("/api/changes")["last"]
        server.ask("/api/sign", {"who": name, "since": last})
    server.kill()
    log = report / "review-log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    assert [json.loads(line)["name"] for line in lines] == ["Ann", "Bob"]
    log.write_text("".join(lines) + lines[1][:40])  # cut off by a power cut
    assert CliRunner().invoke(app, ["review", str(report), "--check"]).exit_code == 0
    for changed in (lines[0].replace("Ann", "Eve") + lines[1], lines[1]):
        log.write_text(changed)
        done = CliRunner().invoke(app, ["review", str(report), "--check"])
        assert done.exit_code == 2 and "does not follow" in done.output


def test_ctrl_c_and_a_second_review(server: Server, report: Path, command: Command) -> None:
    second = command("review", report, "--no-browser")
    assert second.returncode == 2 and "has this report open" in second.stderr
    counting = command("count", report.parent / "fields", "--out", report)
    assert counting.returncode == 2 and "another run" in counting.stderr
    server.call("basophil", (0, 0))
    server.process.send_signal(signal.SIGINT)
    out, _ = server.process.communicate(timeout=20)
    assert server.process.returncode == 0 and "1 decisions are kept" in out


@pytest.mark.parametrize(
    "content, says",
    [(None, "cannot be read"), ("{", "not JSON"), ('{"format": "wbcdet-results/9"}', "format")],
)
def test_what_is_no_report(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    done = CliRunner().invoke(app, ["review", str(tmp_path), "--no-browser"])
    assert done.exit_code == 2 and says in done.output and len(done.output.splitlines()) == 1


def test_a_database_of_something_else(report: Path) -> None:
    (report / "review.sqlite").write_bytes(b"no database" * 200)
    done = CliRunner().invoke(app, ["review", str(report), "--no-browser"])
    assert done.exit_code == 2 and "cannot be used" in done.output


def test_a_report_of_predict(report: Path, tmp_path: Path) -> None:
    """It has no journal: thumbnails are cut, once it is known where the fields are."""
    bare = tmp_path / "bare"
    bare.mkdir()
    document = json.loads((report / "results.json").read_text())
    del document["info"]["count"]
    for field in document["fields"]:
        for name in ("group", "sha256", "quality"):
            del field[name]
    (bare / "results.json").write_text(json.dumps(document))
    server = Server(bare)
    try:
        assert "--pictures" in server.ask("/api/report")["notes"][0]
        assert server.request("/thumb/0/0")[0] == 404
    finally:
        server.kill()
    Server(bare, "--pictures", report.parent / "fields").kill()
    server = Server(bare)  # it is remembered
    try:
        assert server.ask("/api/report")["notes"] == []
        assert picture(server.request("/thumb/0/0")[2]).shape == (96, 96, 3)
        settle(server)
        last = server.ask("/api/changes")["last"]
        server.ask("/api/sign", {"who": "Ann", "since": last})
        assert (bare / "reviewed" / "report.html").stat().st_size > 50_000
    finally:
        server.kill()
