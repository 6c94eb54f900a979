"""Closer looks: where something is stained like a nucleus and lies in no box."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.closer_look import look_closer
from wbcdet.inference.detector import Detector
from wbcdet.inference.field_stain import measure_field
from wbcdet.inference.sliced import find_cells
from wbcdet.inference.stained_spots import find_spots
from wbcdet.inference.weights import weights_folder
from wbcdet.io.field import Field
from wbcdet.records import StainedSpot
from wbcdet.settings import Settings

NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)


class OneBox:
    """A detector that sees one box in all that it is shown, which it keeps."""

    name, sha256 = "one", "0" * 64

    def __init__(self, box: tuple[float, ...], score: float) -> None:
        self.box, self.score = box, score
        self.shown: list[tuple[int, ...]] = []

    def threshold(self, confidence: float | None = None) -> float:
        return 0.25

    def detect(self, pixels: np.ndarray, confidence: float | None = None) -> tuple:
        self.shown.append(pixels.shape[:2])
        return np.array([self.box], np.float32), np.array([self.score], np.float32)


def spot(x: float, y: float, side: float) -> StainedSpot:
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return StainedSpot(box, 0.8 * side * side, (0.3, 0.9, 0.4))


def look(detector: OneBox, spots: list[StainedSpot], boxes: list, scores: list) -> tuple:
    found = np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)
    return look_closer(np.zeros((300, 400, 3), np.uint8), spots, found, detector, 0.1)  # type: ignore[arg-type]


def test_a_cell_that_a_closer_look_shows_is_added() -> None:
    cell = [300, 200, 340, 240]  # 40 px wide: a window of 120 px
    seen = OneBox((40, 40, 80, 80), 0.7)
    boxes, scores = look(seen, [spot(160, 160, 25)], [cell], [0.9])
    assert seen.shown == [(120, 120)]
    assert boxes.tolist() == [cell, [140, 140, 180, 180]] and np.allclose(scores, [0.9, 0.7])
    # A window is moved into the field.
    boxes, _ = look(OneBox((0, 0, 40, 40), 0.7), [spot(10, 10, 25)], [cell], [0.9])
    assert boxes.tolist()[1] == [0, 0, 40, 40]
    # What was a faint box there before gives way; a better one does not.
    _, scores = look(seen, [spot(160, 160, 25)], [cell, [142, 140, 182, 180]], [0.9, 0.2])
    assert np.allclose(scores, [0.9, 0.7])
    faint = OneBox((40, 40, 80, 80), 0.15)
    _, scores = look(faint, [spot(160, 160, 25)], [cell, [142, 140, 182, 180]], [0.9, 0.2])
    assert np.allclose(scores, [0.9, 0.2])
    # A cell for certain stays, whatever a look beside it says.
    beside = [150, 140, 190, 180]
    wide = OneBox((50, 40, 90, 80), 0.7)
    boxes, _ = look(wide, [spot(145, 160, 20)], [cell, beside], [0.9, 0.3])
    assert wide.shown and boxes.tolist() == [cell, beside]
    # A platelet that is boxed, too, does not make the cells smaller.
    platelets = [[20 * n, 280, 20 * n + 12, 292] for n in range(5)]
    boxes, _ = look(seen, [spot(160, 160, 14)], [cell, *platelets], [0.9] + [0.3] * 5)
    assert len(boxes) == 6


@pytest.mark.parametrize(
    ("spots", "boxes"),
    [
        ([], [[300, 200, 340, 240]]),
        ([spot(320, 220, 25)], [[300, 200, 340, 240]]),  # in a cell
        ([spot(60, 60, 10)], [[300, 200, 340, 240]]),  # a platelet
        ([spot(100, 100, 80)], [[300, 200, 340, 240]]),  # a clump
        ([spot(80, 80, 80)], [[200, 10, 390, 200]]),  # nearly all of the field
        ([spot(60, 60, 5)], []),
    ],
)
def test_no_look_without_need(spots: list[StainedSpot], boxes: list) -> None:
    seen = OneBox((0, 0, 40, 40), 0.7)
    look(seen, spots, boxes, [0.9] * len(boxes))
    assert seen.shown == []


def test_boxes_beside_the_spot_and_of_another_size_are_left_out() -> None:
    for box in ((70, 70, 109, 109), (0, 0, 119, 119), (56, 56, 64, 64)):
        seen = OneBox(box, 0.7)
        boxes, _ = look(seen, [spot(160, 160, 25)], [[300, 200, 340, 240]], [0.9])
        assert seen.shown and len(boxes) == 1


class Middle(OneBox):
    """One that sees a box of 40 px in the middle of all that it is shown, at given scores."""

    def __init__(self, *scores: float) -> None:
        super().__init__((), 0.0)
        self.scores = list(scores)

    def detect(self, pixels: np.ndarray, confidence: float | None = None) -> tuple:
        height, width = pixels.shape[:2]
        middle = [width / 2 - 20, height / 2 - 20, width / 2 + 20, height / 2 + 20]
        self.shown.append((height, width))
        score = self.scores[(len(self.shown) - 1) % len(self.scores)]
        kept = [score] * (score >= 0.1)
        return np.array([middle][: len(kept)], np.float32).reshape(-1, 4), np.array(kept)


def test_a_field_without_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    from wbcdet.inference import closer_look

    red_cells = SimpleNamespace(diameter=0.7)
    monkeypatch.setattr(closer_look, "measure_surroundings", lambda *_: red_cells)
    # The spot says how wide a cell is; the lower score of two looks counts.
    middle = spot(200, 150, 30)
    seen = Middle(0.4, 0.9)
    boxes, scores = look(seen, [middle], [], [])
    assert seen.shown == [(202, 202), (121, 121)] and np.allclose(scores, [0.4])
    assert np.abs(boxes - [180, 130, 220, 170]).max() <= 1
    # What the wider one does not show is no cell.
    assert len(look(Middle(0.05, 0.9), [middle], [], [])[0]) == 0
    # No more than three are looked at.
    seen = Middle(0.9)
    look(seen, [spot(110 + 45 * n, 150, 28 + n) for n in range(5)], [], [])
    assert len(seen.shown) == 6
    # Beside large red cells it is a platelet; where none are seen, nothing is known.
    for diameter in (1.2, None):
        red_cells.diameter = diameter
        seen = Middle(0.9)
        look(seen, [middle], [], [])
        assert seen.shown == []


def test_cells_that_one_look_does_not_show() -> None:
    drawn = render_field(5, 480, 360, cell_px=50, counts={"neutrophil": 2, "lymphocyte": 1})
    detector = Detector("cpu", weights=weights_folder())
    colours = measure_field(drawn.pixels)
    spots = find_spots(drawn.pixels, colours, np.zeros((0, 4)))
    boxes, scores = look_closer(drawn.pixels, spots, NOTHING, detector, 0.1)
    for cell in drawn.cells:
        x, y = (cell.box[0] + cell.box[2]) / 2, (cell.box[1] + cell.box[3]) / 2
        over = (boxes[:, 0] <= x) & (x <= boxes[:, 2]) & (boxes[:, 1] <= y) & (y <= boxes[:, 3])
        assert scores[over].max(initial=0) > 0.5
    # A field in which all is found is as it was.
    found = find_cells(Field("a", None, drawn.pixels), detector, Settings())
    assert len(found.spots) >= 3
    alone, _ = detector.detect_whole(drawn.pixels, 0.1, colours)
    assert np.allclose(found.boxes, alone)
    result = Analyzer(weights=weights_folder()).analyze(drawn.pixels)
    assert len(result.cells) == 3 and result.spots == found.spots
