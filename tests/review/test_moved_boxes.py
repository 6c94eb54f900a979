"""Boxes that a person moves: kept, undone, cut to the field, and in every export."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from counting import rows
from reviewing import Server, make_report
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.review.cell_state import DELETED, ChangeError, ConflictError, LabelChange
from wbcdet.review.decision_store import Store, StoreError
from wbcdet.review.machine_report import load_report
from wbcdet.review.serializers import cell_row
from wbcdet.review.state import ReviewState


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("boxes"), 2, "--group-by", "folder")


@pytest.fixture
def state(counted: Path, tmp_path: Path) -> ReviewState:
    return ReviewState(load_report(counted), Store(tmp_path))


def again(state: ReviewState, folder: Path) -> ReviewState:
    return ReviewState(state.report, Store(folder))


def test_moved_and_undone(state: ReviewState, tmp_path: Path) -> None:
    first = state.cells[0, 0]
    found, label = first.box, first.label
    state.move("Ann", (0, 0), 0, (50, 60, 90, 100))
    for now in (state, again(state, tmp_path)):
        cell = now.cells[0, 0]
        assert cell.box == (50, 60, 90, 100) and cell.origin == found and cell.moved
        assert cell.label == label and not cell.reviewed  # nobody has confirmed its name
        assert cell_row(now, (0, 0))[5] == (50, 60, 90, 100) and cell_row(now, (0, 0))[12] == 1
    state.change("Ann", [LabelChange((0, 0), first.last_decision, "monocyte")])
    assert first.box == (50, 60, 90, 100)  # another name leaves the box
    state.undo("Ann")
    state = again(state, tmp_path)
    assert state.cells[0, 0].moved and state.cells[0, 0].label == label
    state.undo("Ann")
    assert state.cells[0, 0].box == found and not state.cells[0, 0].moved
    state.redo("Ann")
    assert again(state, tmp_path).cells[0, 0].box == (50, 60, 90, 100)


def test_outside_of_the_field(state: ReviewState) -> None:
    width, height = (getattr(state.report.fields[0].result, side) for side in ("width", "height"))
    state.move("Ann", (0, 0), 0, (-50, -10, 30, 40))
    cell = state.cells[0, 0]
    assert cell.box == (0, 0, 30, 40) and cell.touches_edge
    for box in (
        (width + 1, 0, width + 40, 40), (-90, 10, -50, 50), (10, height + 5, 50, height + 50),
        (30, 30, 20, 20), (10, 10, 13, 90),
    ):  # fmt: skip
        with pytest.raises(ChangeError, match="too small"):
            state.move("Ann", (0, 0), cell.last_decision, box)
    assert cell.box == (0, 0, 30, 40)
    last = state.last
    state.move("Ann", (0, 0), cell.last_decision, cell.box)  # where it is already: no step
    assert state.last == last


def test_what_cannot_be_moved(state: ReviewState) -> None:
    with pytest.raises(ChangeError, match="no such cell"):
        state.move("Ann", (0, 999), 0, (1, 1, 30, 30))
    state.move("Ann", (0, 0), 0, (10, 10, 40, 40))
    with pytest.raises(ConflictError):
        state.move("Bob", (0, 0), 0, (20, 20, 50, 50))
    state.change("Ann", [LabelChange((0, 1), 0, DELETED)])
    with pytest.raises(ChangeError, match="no such cell"):
        state.move("Ann", (0, 1), state.cells[0, 1].last_decision, (10, 10, 40, 40))


def test_the_border_counts_where_the_box_is_now(state: ReviewState, tmp_path: Path) -> None:
    options = replace(state.report.options, exclude_edge=True)
    fields = (replace(state.report.fields[0], left_out={0: "edge"}), *state.report.fields[1:])
    state = ReviewState(replace(state.report, options=options, fields=fields), Store(tmp_path))
    state.move("Ann", (0, 1), 0, (0, 50, 30, 80))
    assert state.left_out((0, 1)) == "edge"
    state.move("Ann", (0, 0), 0, (50, 50, 80, 80))
    assert state.left_out((0, 0)) is None
    state.undo("Ann")
    assert state.left_out((0, 1)) == "edge"


def test_numbers_in_a_slide_never_change(state: ReviewState, tmp_path: Path) -> None:
    for group in state.report.groups:
        own = [
            cell.number
            for key, cell in state.cells.items()
            if state.report.fields[key[0]].group == group
        ]
        assert own == list(range(1, len(own) + 1))
    cells = len(state.report.fields[0].result.cells)
    first = state.draw("Ann", 0, (50, 50, 90, 90), "blast", None)
    state.undo("Ann")
    second = state.draw("Ann", 0, (50, 50, 95, 95), "blast", None)
    with pytest.raises(ChangeError):
        state.draw("Ann", 0, (50, 50, 90, 90), "", None)
    third = state.draw("Ann", 0, (10, 50, 90, 90), "blast", None)
    for now in (state, again(state, tmp_path)):
        assert [now.cells[key].number for key in (first, second, third)] == [
            cells + 1, cells + 2, cells + 3,
        ]  # fmt: skip


@pytest.mark.parametrize("box", ["[1, 2, 3]", "[1, 2, 3, NaN]", '"abcd"', "[-9, 0, 900, 900]"])
def test_a_forged_box(state: ReviewState, tmp_path: Path, box: str) -> None:
    """The database may come from somebody else: a box that is invalid, or leads outside."""
    store = Store(tmp_path)
    state.move("Ann", (0, 0), 0, (10, 10, 40, 40))
    row = store.decisions()[0]
    store.close()
    import sqlite3

    with sqlite3.connect(tmp_path / "review.sqlite") as database:
        database.execute(
            "INSERT INTO decisions (time, who, step, kind, file, cell, box, before, after) "
            "VALUES ('t', 'Eve', 2, 'change', ?, 0, ?, NULL, ?)",
            (row.file, json.dumps(row.box), f'{{"label": "x", "reviewed": true, "box": {box}}}'),
        )
    try:
        forged = again(state, tmp_path)
    except StoreError:
        return
    assert forged.strays == 1 and forged.cells[0, 0].box == (10, 10, 40, 40)


def test_kill_pictures_signature_and_exports(tmp_path: Path) -> None:
    report = make_report(tmp_path, 1)
    server = Server(report)
    before = server.request("/thumb/0/0")[2]
    status, _, _ = server.request(
        "/api/move", {"who": "Ann", "field": 0, "cell": 0, "seen": 0, "box": [42, 42, 79, 79]}
    )
    assert status == 200
    server.kill()
    server = Server(report)
    row = server.ask("/api/report")["cells"][0]
    assert row[5] == [42, 42, 79, 79] and not row[3]
    assert server.request("/thumb/0/0")[2] != before  # cut again, where the box is now
    open_ = [(r[0], r[1]) for r in server.ask("/api/report")["cells"] if r[2] == "unclassified"]
    seen = {tuple(r[:2]): r[4] for r in server.ask("/api/report")["cells"]}
    for key in open_:
        server.call("monocyte", key, seen=seen[key])
    last = server.ask("/api/changes")["last"]
    server.ask("/api/sign", {"who": "Ann", "since": last})
    server.kill()
    (moved,) = [r for r in rows(report / "reviewed" / "changes.csv") if r["box"] == "moved"]
    assert (moved["id"], moved["x_min"], moved["y_max"], moved["number"]) == (
        "0",
        "42.0",
        "79.0",
        "1",
    )
    for to, file, text in (
        ("coco", "annotations/instances_default.json", '"bbox": ['),
        ("cvat", "annotations.xml", 'xtl="42.00" ytl="42.00" xbr="79.00" ybr="79.00"'),
    ):
        out = tmp_path / to
        done = CliRunner().invoke(
            app, ["export", str(report / "reviewed"), "--to", to, "--out", str(out)]
        )
        assert done.exit_code == 0, done.output
        assert text in (out / file).read_text()
    boxes = [
        annotation["bbox"]
        for annotation in json.loads(
            (tmp_path / "coco/annotations/instances_default.json").read_text()
        )["annotations"]
    ]
    assert [42, 42, 37, 37] in boxes


def test_fields_that_have_gone(tmp_path: Path) -> None:
    """Without the picture a moved box still shows which cell it is."""
    report = make_report(tmp_path, 1)
    server = Server(report)
    before = server.request("/thumb/0/0")[2]
    server.kill()
    next((tmp_path / "fields").rglob("*.png")).unlink()
    server = Server(report)
    server.ask(
        "/api/move", {"who": "Ann", "field": 0, "cell": 0, "seen": 0, "box": [42, 42, 79, 79]}
    )
    assert server.request("/thumb/0/0")[2] == before
    server.kill()
