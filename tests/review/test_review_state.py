"""Decisions: kept, replayed, undone, and never lost or overwritten."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from reviewing import make_report

from wbcdet.differential.differential import differentials
from wbcdet.results.document import load_document
from wbcdet.results.palette import colour_of
from wbcdet.review import counts
from wbcdet.review.cell_state import (
    DELETED,
    ChangeError,
    ConflictError,
    Key,
    LabelChange,
    RecordedState,
    taught_types,
)
from wbcdet.review.decision_store import Decision, Store
from wbcdet.review.machine_report import MachineReport, load_report
from wbcdet.review.serializers import cell_row, colours_of, label_row
from wbcdet.review.session import Session
from wbcdet.review.state import ReviewState


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("state"), 3, "--group-by", "folder")


@pytest.fixture
def state(counted: Path, tmp_path: Path) -> ReviewState:
    return ReviewState(load_report(counted), Store(tmp_path))


def again(state: ReviewState, folder: Path, report: MachineReport | None = None) -> ReviewState:
    """Return the state after a restart."""
    return ReviewState(report or state.report, Store(folder))


def call(state: ReviewState, label: str, *keys: Key, who: str = "Ann") -> None:
    state.change(who, [LabelChange(key, state.cells[key].last_decision, label) for key in keys])


def labels(state: ReviewState) -> dict[Key, tuple[str | None, bool]]:
    return {key: (cell.label, cell.reviewed) for key, cell in state.cells.items()}


def test_words_of_our_own_tables_are_no_types(state: ReviewState) -> None:
    start = labels(state)
    for name in ("Edge", "low-score", "all-neutrophil", "band-like", "artefact-by-model"):
        with pytest.raises(ChangeError, match=f"'{name.casefold()}' is no cell type.*name another"):
            call(state, name, (0, 0))
        with pytest.raises(ChangeError, match="is no cell type"):
            state.draw("Ann", 0, (0, 0, 40, 40), name, None)
    assert labels(state) == start
    # Such a name of a card of somebody else is not offered either.
    report = replace(state.report, info={"thresholds": {"min_score": {"edge": 0.5, "band": 0.5}}})
    assert taught_types(report.info) == ["band"]


def test_decisions_are_kept_and_undone(state: ReviewState, tmp_path: Path) -> None:
    start = labels(state)
    call(state, "Basophil ", (0, 0), (0, 1))
    call(state, "lymphocyte", (0, 1))
    assert state.cells[0, 0].label == "basophil" and state.cells[0, 0].reviewed
    assert labels(again(state, tmp_path)) == labels(state)
    after = labels(state)
    assert state.undo("Ann") == [(0, 1)]
    assert state.cells[0, 1].label == "basophil"
    state = again(state, tmp_path)  # undo goes on where the server was killed
    assert state.undo("Ann") == [(0, 0), (0, 1)]
    assert labels(state) == start
    assert state.undo("Ann") == []
    state.redo("Ann")
    state = again(state, tmp_path)
    state.redo("Ann")
    assert labels(state) == after and state.redo("Ann") == []
    state.undo("Ann")
    call(state, "monocyte", (0, 5))
    assert state.redo("Ann") == []  # a new step forgets what was undone
    rows = Store(tmp_path).decisions()
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0].before == {"label": start[0, 0][0], "reviewed": False}
    assert rows[0].after == {"label": "basophil", "reviewed": True} and rows[0].who == "Ann"


def test_two_tabs_do_not_overwrite_each_other(state: ReviewState) -> None:
    change = LabelChange((0, 2), 0, "monocyte")
    state.change("Ann", [change])
    before = labels(state)
    with pytest.raises(ConflictError):
        state.change(
            "Bob", [LabelChange((0, 3), 0, "monocyte"), LabelChange((0, 2), 0, "eosinophil")]
        )
    assert labels(state) == before  # all or none
    call(state, "eosinophil", (0, 2), who="Bob")
    with pytest.raises(ConflictError):
        state.undo("Ann")  # it would take Bob's away
    assert state.undo("Bob") == [(0, 2)] and state.undo("Ann") == [(0, 2)]


def test_undo_leaves_what_somebody_else_has_confirmed(state: ReviewState, tmp_path: Path) -> None:
    call(state, "monocyte", (0, 2))
    call(state, "monocyte", (0, 2), who="Bob")  # the same name, and a decision of its own
    for now in (state, again(state, tmp_path)):
        with pytest.raises(ConflictError):
            now.undo("Ann")
        assert now.cells[0, 2].who == "Bob" and now.cells[0, 2].reviewed
    assert state.undo("Bob") == [(0, 2)] and state.undo("Ann") == [(0, 2)]
    call(state, "eosinophil", (0, 2), who="Bob")
    state.undo("Bob")
    assert state.redo("Ann") == [(0, 2)]  # nobody else's decision stands there


def test_a_name_with_two_spaces(state: ReviewState, tmp_path: Path) -> None:
    call(state, "monocyte", (0, 2), who="Ann  Lee")
    assert state.undo("Ann  Lee") == [(0, 2)] and state.undo("Ann Lee") == []
    state = again(state, tmp_path)
    assert state.undo("Ann  Lee") == [] and state.redo("Ann  Lee") == [(0, 2)]


def test_a_drawn_cell_is_left_out_as_a_found_one_is(state: ReviewState, tmp_path: Path) -> None:
    report = state.report
    poor = replace(report.fields[0], quality={"problems": ["blurred"]})
    options = replace(report.options, exclude_edge=True, skip_bad=True)
    strict = replace(report, options=options, fields=(poor, *report.fields[1:]))
    state = again(state, tmp_path, strict)
    before = counts.reviewed(state).counts
    skipped = state.draw("Ann", 0, (50, 50, 80, 80), "neutrophil", None)
    edge = state.draw("Ann", 1, (0, 50, 30, 80), "neutrophil", None)
    counted = state.draw("Ann", 1, (50, 50, 80, 80), "neutrophil", None)
    keys = (skipped, edge, counted)
    assert [state.left_out(key) for key in keys] == ["bad-field", "edge", None]
    assert [cell_row(state, key)[9] for key in keys] == ["bad-field", "edge", None]
    assert counts.reviewed(state).counts["neutrophil"] == before["neutrophil"] + 1


@pytest.mark.parametrize("label", ["", "   ", "x" * 41, "a\x00b"])
def test_what_no_label_is(state: ReviewState, label: str) -> None:
    with pytest.raises(ChangeError):
        call(state, label, (0, 0))
    with pytest.raises(ChangeError):
        state.change("Ann", [LabelChange((9, 9), 0, "monocyte")])
    assert state.last == 0


#: Names as a person may write them, and the label that each becomes.
OTHER_NAMES = [
    ("artifact", "artefact"),
    ("Artefakt", "artefact"),
    (" Debris", "artefact"),
    ("Monozyten", "monocyte"),
    ("basophils", "basophil"),
    ("лимфоциты", "lymphocyte"),
    ("band neutrophil", "band neutrophil"),
    ("atypical lymphocyte", "atypical lymphocyte"),
    ("lymphoblast", "lymphoblast"),
    ("Smudge", "smudge"),
]


@pytest.mark.parametrize(("name", "label"), OTHER_NAMES)
def test_other_names_of_a_label(state: ReviewState, name: str, label: str) -> None:
    call(state, name, (0, 0))
    drawn = state.draw("Ann", 0, (10, 10, 60, 50), name, None)
    assert state.cells[0, 0].label == state.cells[drawn].label == label
    found = counts.reviewed(state)
    assert found.artefacts == 2 * (label == "artefact")
    assert found.counts.get(label, 0) >= 2 * (label != "artefact")


def test_other_names_that_an_earlier_version_has_kept(state: ReviewState, tmp_path: Path) -> None:
    store, box = Store(tmp_path), state.cells[0, 0].box
    file, machine = state.report.fields[0].result.file, state.cells[0, 0].recorded()
    kept: RecordedState = {"label": "artifact", "reviewed": True}
    store.add([Decision(0, "t", "Ann", 1, "change", None, file, 0, box, machine, kept)])
    state = again(state, tmp_path)
    assert state.cells[0, 0].label == "artefact" and counts.reviewed(state).artefacts == 1
    state.undo("Ann")
    assert state.cells[0, 0].recorded() == machine
    state.redo("Ann")
    assert state.cells[0, 0].label == "artefact"


def test_a_missed_cell_and_a_false_one(state: ReviewState, tmp_path: Path) -> None:
    field = state.report.fields[0]
    cells = len(field.result.cells)
    key = state.draw("Ann", 0, (-5, 10, 30.04, 50), "neutrophil", b"jpeg")
    assert key == (0, cells) and state.cells[key].box == (0.0, 10, 30.0, 50)
    assert state.cells[key].touches_edge
    second = state.draw("Ann", 0, (10, 10, 60, 50), "blast", None)
    call(state, DELETED, (0, 0))
    assert not state.counts((0, 0)) and state.counts(key)
    state = again(state, tmp_path)
    assert state.cells[key].label == "neutrophil" and state.cells[second].label == "blast"
    assert Store(tmp_path).thumbnail(field.result.file, key[1]) == b"jpeg"
    state.undo("Ann")
    state.undo("Ann")
    assert state.cells[second].label is None and not state.counts(second)
    third = state.draw("Ann", 0, (10, 10, 60, 50), "monocyte", None)
    assert third == (0, cells + 2)  # a number is never given twice
    with pytest.raises(ChangeError, match="too small"):
        state.draw("Ann", 0, (1, 1, 3, 90), "monocyte", None)
    with pytest.raises(ChangeError, match="no such field"):
        state.draw("Ann", 7, (1, 1, 30, 90), "monocyte", None)


def test_rows_cannot_be_changed(state: ReviewState, tmp_path: Path) -> None:
    call(state, "monocyte", (0, 0))
    with sqlite3.connect(tmp_path / "review.sqlite") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        for action in ("UPDATE decisions SET who = 'Eve'", "DELETE FROM decisions"):
            with pytest.raises(sqlite3.IntegrityError, match="only ever added"):
                database.execute(action)


def test_a_report_that_was_counted_anew(state: ReviewState, counted: Path, tmp_path: Path) -> None:
    call(state, "monocyte", (0, 0), (2, 1))
    report = load_report(counted)
    kept = report.fields[:2]
    fewer = MachineReport(report.folder, "0" * 64, report.info, report.options, kept)
    state = again(state, tmp_path, fewer)
    assert state.strays == 1 and state.cells[0, 0].label == "monocyte"
    assert state.undo("Ann") == [(0, 0)]


def test_the_differential_of_the_page(state: ReviewState, counted: Path) -> None:
    _, results = load_document(counted / "results.json")
    (machine,) = differentials(results)
    assert counts.machine(state).counts == machine.counts
    assert counts.reviewed(state).counts == machine.counts
    first = [key for key, cell in state.cells.items() if cell.label == "neutrophil"][:3]
    call(state, "basophil", first[0])
    call(state, "artefact", first[1])
    call(state, DELETED, first[2])
    shown = counts.side_by_side(state, None, machine)
    rows = {row["label"]: row for row in shown["rows"]}
    before = machine.counts["neutrophil"]
    assert rows["neutrophil"]["reviewed"]["count"] == before - 3
    assert rows["neutrophil"]["machine"]["count"] == before
    assert rows["basophil"]["reviewed"]["count"] == 1
    assert rows["basophil"]["machine"]["percent"] == 0.0
    assert shown["reviewed"]["artefacts"] == 1
    assert shown["reviewed"]["classified"] == machine.classified - 2
    assert shown["cells"] == len(state.cells) - 1 and shown["unreviewed"] == shown["cells"] - 2
    anna, boris = (counts.reviewed(state, group) for group in state.report.groups)
    assert anna.group == "anna" and anna.classified + boris.classified == machine.classified - 2


@pytest.fixture
def taught(counted: Path, tmp_path: Path) -> Path:
    """Return a report of a classifier that was taught bands: it names 6 of the cells so."""
    document = json.loads((counted / "results.json").read_text())
    neutrophils = [
        cell
        for field in document["fields"]
        for cell in field["cells"]
        if cell["label"] == "neutrophil"
    ]
    assert len(neutrophils) > 6
    for cell in neutrophils[:6]:
        cell |= {"label": "band", "label_score": 0.875}
    folder = tmp_path / "taught"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(document))
    return folder


def test_a_taught_type_on_the_page(taught: Path) -> None:
    """Its cells stay in the machine's column where a person has renamed them all, and the reference
    range is of bands and the others together."""
    session = Session(taught)
    state, before = session.state, counts.machine(session.state)
    bands = [key for key, cell in state.cells.items() if cell.label == "band"]
    shown = counts.side_by_side(state, None, before)
    [both] = shown["together"]
    assert both["labels"] == ("neutrophil", "band")
    assert both["machine"]["count"] == before.counts["neutrophil"] + 6 == both["reviewed"]["count"]
    call(state, "monocyte", *bands)
    shown = counts.side_by_side(state, None, before)
    rows = {row["label"]: row for row in shown["rows"]}
    assert rows["band"]["machine"]["count"] == 6 and rows["band"]["reviewed"]["count"] == 0
    for side in ("machine", "reviewed"):
        assert sum(row[side]["count"] for row in shown["rows"]) == shown[side]["classified"]
        assert sum(row[side]["percent"] for row in shown["rows"]) == pytest.approx(100)
    assert rows["neutrophil"]["range"] == [39, 75] and shown["together"] == []
    session.close()


def test_names_that_a_person_gives_have_the_colours_of_the_report(state: ReviewState) -> None:
    """The page took one colour for all of them."""
    call(state, "band", (0, 1))
    call(state, "plasma cell", (0, 2))
    found = colours_of(state, [(0, 1), (0, 2)])
    assert {"band", "plasma cell"} < set(found)
    assert found == {name: colour_of(name) for name in found}
    assert found["band"] != found["plasma cell"]


def test_taught_types_are_offered(taught: Path) -> None:
    """Also where none was found: a person who types "bands" makes a second type beside "band"."""
    document = json.loads((taught / "results.json").read_text())
    least = dict.fromkeys(["eosinophil", "lymphocyte", "monocyte", "neutrophil"], 0.5)
    taught_names = {"band": 0.5, "blast": 0.5, "two\nlines": 0.5, "Debris": 0.5, "x" * 41: 0.5}
    document["info"]["thresholds"] = {
        "confidence": 0.25, "min_score": least | taught_names, "unlike_trained": None
    }  # fmt: skip
    (taught / "results.json").write_text(json.dumps(document))
    rows = [(row["label"], row["key"]) for row in label_row(load_report(taught).info)]
    assert rows[-5:] == [
        ("basophil", "B"), ("band", ""), ("blast", ""), ("artefact", "A"), ("deleted", "Del"),
    ]  # fmt: skip
    assert len(rows) == 10
    # That no cell is a blast is a count, too, as of the four.
    session = Session(taught)
    shown = counts.side_by_side(session.state, None, counts.machine(session.state))
    assert [(row["label"], row["machine"]["count"]) for row in shown["rows"][4:]] == [
        ("band", 6), ("blast", 0),
    ]  # fmt: skip
    assert shown["rows"][-1]["machine"] == shown["rows"][-1]["reviewed"]
    session.close()


def test_a_taught_type_keeps_its_score_when_it_is_signed(taught: Path) -> None:
    session = Session(taught)
    named = [key for key, cell in session.state.cells.items() if cell.label == "unclassified"]
    call(session.state, "band", *named)
    session.sign("Ann", "", session.state.last, None)
    session.close()
    with (taught / "reviewed" / "cells.csv").open(newline="") as file:
        scores = [
            float(row["label_score"]) for row in csv.DictReader(file) if row["label"] == "band"
        ]
    # A name that a person gives has none.
    assert sorted(scores) == [0.0] * len(named) + [0.875] * 6


def test_pictures_that_cannot_be_remembered(
    counted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a home folder that can be written the pictures that are named are shown all the same,
    and the report is not said to be one that cannot be written."""
    (tmp_path / "file").touch()
    monkeypatch.setattr("wbcdet.review.remembered.user_folder", lambda: tmp_path / "file")
    folder = Path(shutil.copytree(counted, tmp_path / "elsewhere" / "report"))
    with closing(Session(folder, pictures=counted.parent / "fields")) as session:
        assert session.pictures.folder == counted.parent / "fields"
        assert [note for note in session.notes if "give --pictures again" in note]
    with closing(Session(folder)) as session:
        assert session.pictures.folder is None
