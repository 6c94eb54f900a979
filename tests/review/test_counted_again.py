"""A report that is counted again: decisions stay on their cells, whatever their numbers are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import count_worker
import pytest
from counting import Count, rows
from reviewing import draw_fields

from wbcdet.records import Cell
from wbcdet.review import counts
from wbcdet.review.cell_state import DELETED, CellState, Key, LabelChange
from wbcdet.review.decision_store import Store
from wbcdet.review.machine_report import MachineReport, load_report
from wbcdet.review.session import Session
from wbcdet.review.state import ReviewState

OPTIONS = ("fields", "--out", "report", "--quiet", "--no-annotate", "--group-by", "folder")
BOX = (20.0, 20.0, 90.0, 90.0)


def count(folder: Path, *options: str, more: int = 0, first: bool = False) -> Path:
    """Count fields; with a lower threshold, as it were, that finds more cells in each of them."""
    find = count_worker.find_cells

    def find_more(field):  # type: ignore[no-untyped-def]
        return tuple(with_more(list(find(field)), more, first=first))

    with pytest.MonkeyPatch.context() as patch:
        run = Count(patch, folder)
        patch.setattr(count_worker, "find_cells", find_more)
        done = run(*OPTIONS, *options)
        assert done.exit_code == 0, done.output
    return folder / "report"


def with_more(cells: list[Cell], more: int, *, first: bool = False) -> list[Cell]:
    """Return cells with some that were not found before, numbered as the machine does it."""
    found = [
        replace(cells[0], box=(5.0 + 20 * n, 140.0, 20.0 + 20 * n, 155.0), label="monocyte")
        for n in range(more)
    ]
    ordered = [*found, *cells] if first else [*cells, *found]
    return [replace(cell, id=number) for number, cell in enumerate(ordered)]


def with_cells(report: MachineReport, change: Callable[[list[Cell]], list[Cell]]) -> MachineReport:
    """Return a report whose fields have other cells."""
    fields = tuple(
        replace(field, result=replace(field.result, cells=tuple(change(list(field.result.cells)))))
        for field in report.fields
    )
    return replace(report, fields=fields)


def drawn(state: ReviewState) -> dict[Key, CellState]:
    return {key: current for key, current in state.cells.items() if current.cell is None}


def call(state: ReviewState, label: str, key: Key) -> None:
    state.change("Ann", [LabelChange(key, state.cells[key].last_decision, label)])


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    draw_fields(tmp_path / "fields", 2)
    return tmp_path


@pytest.fixture
def report(fields: Path) -> MachineReport:
    return load_report(count(fields))


def test_a_drawn_cell_whose_number_the_machine_has_now(fields: Path) -> None:
    folder = count(fields)
    session = Session(folder)
    pictures = [
        session.pictures.thumbnail(session.draw("Ann", number, BOX, "blast")) for number in (0, 1)
    ]
    numbers = sorted(key[1] for key in drawn(session.state))
    session.close()
    count(fields, "--restart", more=1)

    def opened(*labels: str | None) -> Session:
        session = Session(folder)
        assert session.state.strays == 0 and session.notes == []
        cells = drawn(session.state)
        assert [key[0] for key in cells] == [0, 1]
        assert [cell.label for cell in cells.values()] == list(labels)
        assert all(cell.origin == BOX for cell in cells.values())
        assert [session.pictures.thumbnail(key) for key in cells] == pictures
        # The machine's cell has the number that it was given, and no decision on it.
        for key in enumerate(numbers):
            machine = session.state.cells[key]
            assert machine.label == "monocyte" and machine.cell is not None
            assert not machine.reviewed
        return session

    session = opened("blast", "blast")
    assert counts.reviewed(session.state).counts["blast"] == 2
    first = next(iter(drawn(session.state)))
    call(session.state, "plasma cell", first)
    session.close()
    session = opened("plasma cell", "blast")
    session.state.undo("Ann")
    session.state.undo("Ann")
    session.close()
    session = opened("blast", None)
    session.state.redo("Ann")
    session.state.redo("Ann")
    session.close()
    session = opened("plasma cell", "blast")
    # Another cell gets a number, and a picture, of its own.
    other = session.draw("Ann", 0, (100, 20, 160, 90), "blast")
    session.close()
    session = Session(folder)
    assert session.state.cells[other].box == (100, 20, 160, 90)
    assert session.pictures.thumbnail(other) not in pictures
    for key, cell in session.state.cells.items():
        if cell.label == "unclassified":
            call(session.state, "unclassified", key)
    session.sign("Ann", "", session.state.last)
    session.close()
    signed = rows(folder / "reviewed" / "cells.csv")
    assert Counter(row["label"] for row in signed)["blast"] == 2
    assert Counter(row["label"] for row in signed)["plasma cell"] == 1
    assert len({(row["file"], row["id"]) for row in signed}) == len(signed)


def test_a_drawn_cell_that_the_count_finds_now_is_named(fields: Path) -> None:
    folder = count(fields)
    session = Session(folder)
    # Nearly where the second count finds a cell.
    key = session.draw("Ann", 1, (4, 139, 20, 156), "blast")
    assert counts.counted_twice(session.state) == [] and session.notes == []
    session.close()
    count(fields, "--restart", more=1)
    session = Session(folder)
    state = session.state
    (twice,) = counts.counted_twice(state)
    drawn_key, found = twice
    assert state.cells[drawn_key].label == "blast" and state.cells[found].cell is not None
    assert found[0] == drawn_key[0] == key[0]
    numbers = [state.cells[one].number for one in twice]
    (note,) = session.notes
    assert note.startswith("1 cell has two boxes") and str(numbers[0]) in note
    assert session.differential(None)["twice"] == [numbers]
    before = counts.reviewed(state).classified
    call(state, "artefact", found)
    assert counts.counted_twice(state) == []
    call(state, DELETED, found)
    assert counts.counted_twice(state) == [] and counts.reviewed(state).classified == before - 1
    session.close()
    session = Session(folder)
    assert session.notes == []
    session.close()


def test_a_machine_cell_with_another_number(fields: Path) -> None:
    session = Session(count(fields))
    call(session.state, "basophil", (0, 3))
    session.state.move("Ann", (1, 0), 0, (42, 42, 79, 79))
    session.close()
    session = Session(count(fields, "--restart", more=2, first=True))
    state = session.state
    assert state.strays == 0
    assert state.cells[0, 5].label == "basophil" and not state.cells[0, 3].reviewed
    assert state.cells[1, 2].box == (42, 42, 79, 79) and not state.cells[1, 0].moved
    call(state, "blast", (0, 5))
    state.undo("Ann")
    session.close()
    session = Session(count(fields, "--restart"))
    assert session.state.strays == 0 and session.state.cells[0, 3].label == "basophil"
    assert session.state.undo("Ann") == [(1, 0)] and session.state.undo("Ann") == [(0, 3)]
    assert not any(cell.reviewed or cell.moved for cell in session.state.cells.values())
    session.close()


def test_a_cell_that_is_not_found_any_more(report: MachineReport, tmp_path: Path) -> None:
    state = ReviewState(report, Store(tmp_path))
    call(state, "basophil", (0, 3))
    fewer = with_cells(report, lambda cells: [*cells[:3], *cells[4:]])
    assert ReviewState(fewer, Store(tmp_path)).strays == 1


def test_a_drawn_cell_outside_of_a_picture_that_has_changed(
    report: MachineReport, tmp_path: Path
) -> None:
    state = ReviewState(report, Store(tmp_path))
    key = state.draw("Ann", 0, (250, 100, 300, 150), "blast", b"old")
    small = replace(report.fields[0].result, width=240, cells=report.fields[0].result.cells[:1])
    cut = replace(report, fields=(replace(report.fields[0], result=small), *report.fields[1:]))
    state = ReviewState(cut, Store(tmp_path))
    assert state.strays == 1 and not drawn(state)
    # The picture that is kept under its number stays the one of that cell.
    other = state.draw("Ann", 0, BOX, "blast", b"new")
    assert other[1] > key[1]
    assert ReviewState(cut, Store(tmp_path)).cells[other].label == "blast"
    back = ReviewState(report, Store(tmp_path))
    assert back.strays == 0 and back.cells[key].label == back.cells[other].label == "blast"


def test_a_cell_that_was_drawn_in_a_picture_that_is_another_now(
    report: MachineReport, tmp_path: Path
) -> None:
    def with_picture(sha256: str | None) -> MachineReport:
        return replace(
            report, fields=(replace(report.fields[0], sha256=sha256), *report.fields[1:])
        )

    assert report.fields[0].sha256
    state = ReviewState(report, Store(tmp_path))
    key = state.draw("Ann", 0, BOX, "blast", b"old")
    call(state, "plasma cell", key)
    state.undo("Ann")
    state.undo("Ann")
    state.redo("Ann")
    # Its place on the new picture shows something else, or nothing; no decision on it counts.
    state = ReviewState(with_picture("b" * 64), Store(tmp_path))
    assert not drawn(state) and state.strays == 5
    assert "blast" not in counts.reviewed(state).counts
    new = state.draw("Ann", 0, BOX, "monocyte", b"new")
    assert Store(tmp_path).thumbnail(report.fields[0].result.file, state.cells[new].stored)
    # With the old picture the old cell is there again, and the new one is not.
    state = ReviewState(report, Store(tmp_path))
    assert {cell.label for cell in drawn(state).values()} == {"blast"}
    # What is not known of the picture, as in the store of an earlier version, takes nothing away.
    assert len(drawn(ReviewState(with_picture(None), Store(tmp_path)))) == 2


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_counts_and_decisions(
    report: MachineReport, tmp_path: Path, seed: int
) -> None:
    """What is open and what is opened again are alike, and no drawn cell is lost or mixed up."""
    choose, store = random.Random(seed), Store(tmp_path)
    state, pictures = ReviewState(report, store), dict[tuple[float, ...], bytes]()

    def said(state: ReviewState) -> dict[tuple[int, tuple[float, ...]], tuple[object, ...]]:
        return {
            (key[0], current.origin): (current.label, current.reviewed, current.box, current.who)
            for key, current in state.cells.items()
            if current.last_decision
        }

    for _ in range(60):
        what = choose.choice(["draw", "draw", "call", "call", "move", "undo", "redo", "count"])
        there = [key for key, current in state.cells.items() if current.is_present]
        key = choose.choice([*there, *[key for key in drawn(state) if key in there]])
        if what == "draw":
            # No two have the same box, by which the test tells them apart.
            x = round(1.0 + len(pictures) / 10, 1)
            box, picture = (x, 20.0, x + 40, 90.0), str(len(pictures)).encode()
            pictures[box] = picture
            state.draw("Ann", choose.randrange(2), box, "blast", picture)
        elif what == "call":
            call(state, choose.choice(["monocyte", "blast", DELETED]), key)
        elif what == "move":
            y = choose.randrange(60)
            state.move("Ann", key, state.cells[key].last_decision, (50, y, 90, y + 40))
        elif what in ("undo", "redo"):
            (state.undo if what == "undo" else state.redo)("Ann")
        else:
            before = said(state)
            more, first = choose.randrange(8), choose.random() < 0.5
            found = with_cells(report, lambda cells, n=more, f=first: with_more(cells, n, first=f))
            state = ReviewState(found, store)
            after = said(state)
            assert all(after[key] == value for key, value in before.items() if key in after)
        again = ReviewState(state.report, store)
        assert {key: (c.label, c.box, c.stored, c.number) for key, c in again.cells.items()} == {
            key: (c.label, c.box, c.stored, c.number) for key, c in state.cells.items()
        }
        file = [field.result.file for field in state.report.fields]
        for key, current in drawn(state).items():
            assert store.thumbnail(file[key[0]], current.stored) == pictures[current.origin]
        assert {current.origin for current in drawn(state).values()} == set(pictures)
