"""Nuclei that lie in no box: what the detector overlooks is said, whatever its scores are."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from wbcdet.datasets.synthetic import SmearField, render_field
from wbcdet.differential.slide_summary import unboxed_line
from wbcdet.inference.domain_shift import UNLIKE, compare, translated_reasons
from wbcdet.inference.field_stain import measure_field
from wbcdet.inference.stained_spots import find_spots
from wbcdet.inference.unboxed_nuclei import unboxed_nuclei
from wbcdet.records import Cell, CellType, FieldResult, StainedSpot
from wbcdet.utils.boxes import part_of_smaller


def boxes_of(cells: list[Cell]) -> np.ndarray:
    return np.array([cell.box for cell in cells]).reshape(-1, 4)


def result_of(drawn: SmearField, name: str, kept: int | None = None) -> FieldResult:
    """Return what a detector says of a drawn field that finds the first cells alone."""
    height, width = drawn.pixels.shape[:2]
    cells = []
    for number, cell in enumerate(drawn.cells[:kept]):
        x0, y0, x1, y1 = (float(value) for value in cell.box)
        box = (max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1))
        cells.append(Cell(number, box, 0.9, CellType.NEUTROPHIL, 0.9, {}, None, False))
    spots = find_spots(drawn.pixels, measure_field(drawn.pixels), boxes_of(cells))
    return FieldResult(name, width, height, tuple(cells), spots=spots)


@pytest.fixture(scope="module")
def fields() -> list[SmearField]:
    counts = {"neutrophil": 1, "lymphocyte": 1, "monocyte": 1}
    return [render_field(seed, 320, 240, cell_px=50, counts=counts) for seed in range(12)]


def test_cells_that_were_overlooked_are_named(fields: list[SmearField]) -> None:
    whole = [result_of(drawn, str(n)) for n, drawn in enumerate(fields)]
    unboxed, boxed = unboxed_nuclei(whole)
    assert boxed > 25 and not unboxed  # not platelets, not red cells
    # Of every third field the last cell is overlooked, of one all are.
    missed = dict.fromkeys(range(0, 12, 3), 2) | {7: 0}
    some = [result_of(drawn, str(n), missed.get(n)) for n, drawn in enumerate(fields)]
    unboxed, boxed = unboxed_nuclei(some)
    overlooked = {(str(n), tuple(c.box)) for n, k in missed.items() for c in fields[n].cells[k:]}
    assert len(overlooked) == 7 and len(unboxed) >= 6
    for nucleus in unboxed:
        middle = (nucleus.box[0] + nucleus.box[2]) / 2, (nucleus.box[1] + nucleus.box[3]) / 2
        assert any(
            file == nucleus.file and x0 <= middle[0] <= x1 and y0 <= middle[1] <= y1
            for file, (x0, y0, x1, y1) in overlooked
        )
    # In whatever order the fields come.
    assert set(unboxed_nuclei(some[::-1])[0]) == set(unboxed)
    # A slide of which so much is overlooked is unlike the training, even without a reference.
    verdict = compare(some, None)
    assert verdict.verdict == UNLIKE and "nuclei lie in no box" in verdict.reasons[0]
    assert compare(whole, None).reasons == []
    assert translated_reasons(json.loads(json.dumps(verdict.to_dict()))) == verdict.reasons
    line = unboxed_line(verdict.unboxed)
    assert line is not None and line.startswith(f"{len(unboxed)} spots outside the boxes")
    assert unboxed_line([]) is None


def test_too_few_cells_say_nothing(fields: list[SmearField]) -> None:
    assert unboxed_nuclei([]) == ([], 0)
    few = [result_of(drawn, str(n), 1) for n, drawn in enumerate(fields[:5])]
    assert unboxed_nuclei(few) == ([], 0)
    none = [result_of(drawn, str(n), 0) for n, drawn in enumerate(fields)]
    assert unboxed_nuclei(none) == ([], 0)


def test_spots_of_a_field() -> None:
    glass = np.full((120, 160, 3), 235, np.uint8)
    assert find_spots(glass, measure_field(glass), np.zeros((0, 4))) == ()
    drawn = render_field(1, 480, 360, cell_px=60, counts={"neutrophil": 1, "lymphocyte": 2})
    colours = measure_field(drawn.pixels)
    boxes = [tuple(map(float, cell.box)) for cell in drawn.cells]
    spots = find_spots(drawn.pixels, colours, np.array(boxes[:1]))
    inside = [spot for spot in spots if boxes[0][0] <= spot.box[0] <= boxes[0][2]]
    assert inside and len(spots) >= 3
    # Small cells are seen at more pixels.
    tiny = render_field(1, 900, 400, cell_px=18, counts={"neutrophil": 3})
    own = [tuple(map(float, cell.box)) for cell in tiny.cells]
    seen = find_spots(tiny.pixels, measure_field(tiny.pixels), np.array(own))
    assert all(any(part_of_smaller(spot.box, box) > 0.5 for spot in seen) for box in own)


def test_spots_stand_in_results() -> None:
    spot = StainedSpot((1.0, 2.0, 9.0, 8.0), 40.0, (0.1, 0.5, -0.02))
    result = FieldResult("a.png", 20, 10, spots=(spot,))
    assert FieldResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert "spots" not in replace(result, spots=()).to_dict()
    for damaged in ({"box": [1, 2, 3], "area": 1, "colour": [0, 0, 0]}, {"box": [1, 2, 3, 4]}):
        with pytest.raises((ValueError, KeyError)):
            FieldResult.from_dict({**result.to_dict(), "spots": [damaged]})
