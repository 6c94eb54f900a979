"""Decisions: kept, replayed, undone, and never lost or overwritten."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from reviewing import make_report

from wbcdet.differential.differential import differentials
from wbcdet.results.document import load_document
from wbcdet.review import counts
from wbcdet.review.cell_state import DELETED, ChangeError, ConflictError, Key, LabelChange
from wbcdet.review.decision_store import Store
from wbcdet.review.machine_report import MachineReport, load_report
from wbcdet.review.serializers import cell_row
from wbcdet.review.state import ReviewState


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("board"), 3, "--group-by", "folder")


@pytest.fixture
def board(counted: Path, tmp_path: Path) -> ReviewState:
    return ReviewState(load_report(counted), Store(tmp_path))


def again(board: ReviewState, folder: Path, report: MachineReport | None = None) -> ReviewState:
    """Return the board after a restart."""
    return ReviewState(report or board.report, Store(folder))


def call(board: ReviewState, label: str, *keys: Key, who: str = "Ann") -> None:
    board.change(who, [LabelChange(key, board.cells[key].seen, label) for key in keys])


def labels(board: ReviewState) -> dict[Key, tuple[str | None, bool]]:
    return {key: (one.label, one.reviewed) for key, one in board.cells.items()}


def test_decisions_are_kept_and_undone(board: ReviewState, tmp_path: Path) -> None:
    start = labels(board)
    call(board, "Basophil ", (0, 0), (0, 1))
    call(board, "lymphocyte", (0, 1))
    assert board.cells[0, 0].label == "basophil" and board.cells[0, 0].reviewed
    assert labels(again(board, tmp_path)) == labels(board)
    after = labels(board)
    assert board.undo("Ann") == [(0, 1)]
    assert board.cells[0, 1].label == "basophil"
    board = again(board, tmp_path)  # undo goes on where the server was killed
    assert board.undo("Ann") == [(0, 0), (0, 1)]
    assert labels(board) == start
    assert board.undo("Ann") == []
    board.redo("Ann")
    board = again(board, tmp_path)
    board.redo("Ann")
    assert labels(board) == after and board.redo("Ann") == []
    board.undo("Ann")
    call(board, "monocyte", (0, 5))
    assert board.redo("Ann") == []  # a new step forgets what was undone
    rows = Store(tmp_path).decisions()
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0].before == {"label": start[0, 0][0], "reviewed": False}
    assert rows[0].after == {"label": "basophil", "reviewed": True} and rows[0].who == "Ann"


def test_two_tabs_do_not_overwrite_each_other(board: ReviewState) -> None:
    wish = LabelChange((0, 2), 0, "monocyte")
    board.change("Ann", [wish])
    before = labels(board)
    with pytest.raises(ConflictError):
        board.change(
            "Bob", [LabelChange((0, 3), 0, "monocyte"), LabelChange((0, 2), 0, "eosinophil")]
        )
    assert labels(board) == before  # all or none
    call(board, "eosinophil", (0, 2), who="Bob")
    with pytest.raises(ConflictError):
        board.undo("Ann")  # it would take Bob's away
    assert board.undo("Bob") == [(0, 2)] and board.undo("Ann") == [(0, 2)]


def test_undo_leaves_what_somebody_else_has_confirmed(board: ReviewState, tmp_path: Path) -> None:
    call(board, "monocyte", (0, 2))
    call(board, "monocyte", (0, 2), who="Bob")  # the same name, and a decision of its own
    for now in (board, again(board, tmp_path)):
        with pytest.raises(ConflictError):
            now.undo("Ann")
        assert now.cells[0, 2].who == "Bob" and now.cells[0, 2].reviewed
    assert board.undo("Bob") == [(0, 2)] and board.undo("Ann") == [(0, 2)]
    call(board, "eosinophil", (0, 2), who="Bob")
    board.undo("Bob")
    assert board.redo("Ann") == [(0, 2)]  # nobody else's decision stands there


def test_a_name_with_two_spaces(board: ReviewState, tmp_path: Path) -> None:
    call(board, "monocyte", (0, 2), who="Ann  Lee")
    assert board.undo("Ann  Lee") == [(0, 2)] and board.undo("Ann Lee") == []
    board = again(board, tmp_path)
    assert board.undo("Ann  Lee") == [] and board.redo("Ann  Lee") == [(0, 2)]


def test_a_drawn_cell_is_left_out_as_a_found_one_is(board: ReviewState, tmp_path: Path) -> None:
    report = board.report
    poor = replace(report.fields[0], quality={"problems": ["blurred"]})
    options = replace(report.options, exclude_edge=True, skip_bad=True)
    strict = replace(report, options=options, fields=(poor, *report.fields[1:]))
    board = again(board, tmp_path, strict)
    before = counts.reviewed(board).counts
    skipped = board.draw("Ann", 0, (50, 50, 80, 80), "neutrophil", None)
    edge = board.draw("Ann", 1, (0, 50, 30, 80), "neutrophil", None)
    counted = board.draw("Ann", 1, (50, 50, 80, 80), "neutrophil", None)
    keys = (skipped, edge, counted)
    assert [board.left_out(key) for key in keys] == ["bad-field", "edge", None]
    assert [cell_row(board, key)[9] for key in keys] == ["bad-field", "edge", None]
    assert counts.reviewed(board).counts["neutrophil"] == before["neutrophil"] + 1


@pytest.mark.parametrize("label", ["", "   ", "x" * 41, "a\x00b"])
def test_what_no_label_is(board: ReviewState, label: str) -> None:
    with pytest.raises(ChangeError):
        call(board, label, (0, 0))
    with pytest.raises(ChangeError):
        board.change("Ann", [LabelChange((9, 9), 0, "monocyte")])
    assert board.last == 0


def test_a_missed_cell_and_a_false_one(board: ReviewState, tmp_path: Path) -> None:
    field = board.report.fields[0]
    cells = len(field.result.cells)
    key = board.draw("Ann", 0, (-5, 10, 30.04, 50), "neutrophil", b"jpeg")
    assert key == (0, cells) and board.cells[key].box == (0.0, 10, 30.0, 50)
    assert board.cells[key].touches_edge
    second = board.draw("Ann", 0, (10, 10, 60, 50), "blast", None)
    call(board, DELETED, (0, 0))
    assert not board.counts((0, 0)) and board.counts(key)
    board = again(board, tmp_path)
    assert board.cells[key].label == "neutrophil" and board.cells[second].label == "blast"
    assert Store(tmp_path).thumbnail(field.result.file, key[1]) == b"jpeg"
    board.undo("Ann")
    board.undo("Ann")
    assert board.cells[second].label is None and not board.counts(second)
    third = board.draw("Ann", 0, (10, 10, 60, 50), "monocyte", None)
    assert third == (0, cells + 2)  # a number is never given twice
    with pytest.raises(ChangeError, match="too small"):
        board.draw("Ann", 0, (1, 1, 3, 90), "monocyte", None)
    with pytest.raises(ChangeError, match="no such field"):
        board.draw("Ann", 7, (1, 1, 30, 90), "monocyte", None)


def test_rows_cannot_be_changed(board: ReviewState, tmp_path: Path) -> None:
    call(board, "monocyte", (0, 0))
    with sqlite3.connect(tmp_path / "review.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        for action in ("UPDATE decisions SET who = 'Eve'", "DELETE FROM decisions"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                database.execute(action)


def test_a_report_that_was_counted_anew(board: ReviewState, counted: Path, tmp_path: Path) -> None:
    call(board, "monocyte", (0, 0), (2, 1))
    report = load_report(counted)
    kept = report.fields[:2]
    fewer = MachineReport(report.folder, "0" * 64, report.info, report.options, kept)
    board = again(board, tmp_path, fewer)
    assert board.strays == 1 and board.cells[0, 0].label == "monocyte"
    assert board.undo("Ann") == [(0, 0)]


def test_the_differential_of_the_page(board: ReviewState, counted: Path) -> None:
    _, results = load_document(counted / "results.json")
    (machine,) = differentials(results)
    assert counts.machine(board).counts == machine.counts
    assert counts.reviewed(board).counts == machine.counts
    first = [key for key, one in board.cells.items() if one.label == "neutrophil"][:3]
    call(board, "basophil", first[0])
    call(board, "artefact", first[1])
    call(board, DELETED, first[2])
    shown = counts.side_by_side(board, None, machine)
    rows = {row["label"]: row for row in shown["rows"]}
    before = machine.counts["neutrophil"]
    assert rows["neutrophil"]["reviewed"]["count"] == before - 3
    assert rows["neutrophil"]["machine"]["count"] == before
    assert rows["basophil"]["reviewed"]["count"] == 1
    assert rows["basophil"]["machine"]["percent"] == 0.0
    assert shown["reviewed"]["artefacts"] == 1
    assert shown["reviewed"]["classified"] == machine.classified - 2
    assert shown["cells"] == len(board.cells) - 1 and shown["unreviewed"] == shown["cells"] - 2
    anna, boris = (counts.reviewed(board, group) for group in board.report.groups)
    assert anna.group == "anna" and anna.classified + boris.classified == machine.classified - 2
