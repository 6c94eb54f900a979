"""A cell that overlapping fields show, marked in one of them or in several."""

from __future__ import annotations

from pathlib import Path

from conftest import INFO, make_cell

from wbcdet.records import FieldResult
from wbcdet.report.counts import DUPLICATE, CountOptions
from wbcdet.review.cell_state import ARTEFACT, Key, LabelChange
from wbcdet.review.counts import counted_twice
from wbcdet.review.decision_store import Store
from wbcdet.review.machine_report import MachineReport, ReviewField
from wbcdet.review.state import ReviewState
from wbcdet.utils.boxes import Box

#: Where the left upper corner of each field of 400 x 400 px lies in the smear.
PLACES = ((0, 0), (200, 0), (200, 150))
#: Cells of the smear by their numbers: a border of the second field cuts the first one off.
CELLS = ((150, 100, 230, 180), (250, 170, 310, 230), (220, 300, 280, 360))
#: What the machine has found in each field: the last cell in the third one alone.
FOUND = ((0, 1), (0, 1), (1, 2))


def box_in(field: int, cell: int) -> Box:
    (x, y), (x_min, y_min, x_max, y_max) = PLACES[field], CELLS[cell]
    return max(0.0, x_min - x), max(0.0, y_min - y), float(x_max - x), float(y_max - y)


def reviewed(folder: Path, *, dedupe: bool = True) -> ReviewState:
    fields = []
    for number, found in enumerate(FOUND):
        cells = tuple(make_cell(cell, box_in(number, cell)) for cell in found)
        copies = {cell: ("0.png", cell) for cell in found if dedupe and number and cell < 2}
        left_out = dict.fromkeys(copies, DUPLICATE)
        result = FieldResult(f"{number}.png", 400, 400, cells)
        fields.append(ReviewField(number, result, "S1", left_out, copies, None, None))
    options = CountOptions(dedupe=dedupe)
    return ReviewState(MachineReport(folder, "0" * 64, INFO, options, tuple(fields)), Store(folder))


def draw(state: ReviewState, field: int, off: float = 0.0) -> Key:
    x_min, y_min, x_max, y_max = box_in(field, 2)
    return state.draw("Ann", field, (x_min + off, y_min, x_max + off, y_max), "blast", None)


def call(state: ReviewState, label: str, key: Key) -> None:
    state.change("Ann", [LabelChange(key, state.cells[key].last_decision, label)])


def test_a_cell_that_another_field_counts_is_named(tmp_path: Path) -> None:
    state = reviewed(tmp_path)
    assert counted_twice(state) == []
    first = draw(state, 0, off=6)
    # The third field shares one cell with the first one; the last cell is counted there.
    assert counted_twice(state) == counted_twice(state, "S1") == [(first, (2, 2))]
    call(state, ARTEFACT, (2, 2))
    assert counted_twice(state) == []
    # Drawn in another field too: one of the two must go.
    second = draw(state, 1)
    assert counted_twice(state) == [(first, second)]
    state.undo("Ann")
    assert counted_twice(state) == []
    # What lies beside it is another cell, and what lies outside of the others is in no other.
    state.draw("Ann", 1, (120, 300, 180, 360), "blast", None)
    state.draw("Ann", 0, (20, 300, 80, 360), "blast", None)
    state.draw("Ann", 2, (20, 340, 80, 399), "blast", None)
    assert counted_twice(state) == []


def test_fields_of_which_no_overlap_is_known(tmp_path: Path) -> None:
    state = reviewed(tmp_path, dedupe=False)
    draw(state, 0)
    assert counted_twice(state) == []
