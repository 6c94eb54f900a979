"""What the detector and the classifier say of a box together: is it a white cell?"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from wbcdet import Analyzer
from wbcdet.inference.classifier import Classification, Thresholds, decide
from wbcdet.inference.joint_score import Named, joint_score, settle
from wbcdet.records import LABELS, CellType
from wbcdet.settings import Settings

#: Thresholds: of the shipped detector, and of a box that is nearly a cell.
OWN, WEAKEST = 0.25, 0.1
CELL, PLATELET = 0.001, 0.97


def box(x: float, side: float = 40.0, y: float = 0.0) -> tuple[float, float, float, float]:
    return x, y, x + side, y + side


def verdict(no_cell: float | None) -> Classification:
    scores = dict.fromkeys(map(str, LABELS), 0.2)
    return Classification(CellType.NEUTROPHIL, 0.9, scores, None, 1.0, no_cell)


def found(*boxes: tuple[float, float, float | None]) -> list[Named]:
    """Boxes apart from one another: where, score, probability of no cell."""
    return [(box(x), score, verdict(no_cell)) for x, score, no_cell in boxes]


def test_a_score_of_both() -> None:
    assert joint_score(0.3, None) == 0.3
    assert joint_score(0.3, 0.1192) == pytest.approx(0.3, abs=1e-3)  # says nothing
    assert joint_score(0.15, CELL) == pytest.approx(0.4957, abs=0.001)
    assert joint_score(0.3, PLATELET) == pytest.approx(0.0593, abs=0.001)
    # What the detector is sure of stays, and is named an artefact.
    assert joint_score(0.9, PLATELET) > 0.5
    grid = np.linspace(0, 1, 21)
    for no_cell in (0.0, 0.5, 1.0):
        scores = [joint_score(float(score), no_cell) for score in grid]
        assert scores == sorted(scores) and scores[0] >= 0 and scores[-1] <= 1
    for score in (0.0, 0.5, 1.0):
        falling = [joint_score(score, float(no_cell)) for no_cell in grid]
        assert falling == sorted(falling, reverse=True)


def test_what_is_a_cell() -> None:
    seen = found((0, 0.9, CELL), (100, 0.15, CELL), (200, 0.15, PLATELET), (300, 0.3, PLATELET))
    cells, nearly = settle(seen, OWN, OWN, WEAKEST)
    assert [cell[0][0] for cell in cells] == [0, 100] and nearly == []
    assert [round(cell[1], 3) for cell in cells] == [0.98, 0.496]
    # One that is asked for a higher score, and one of which the classifier does not tell.
    cells, nearly = settle(found((0, 0.9, CELL), (100, 0.15, CELL)), 0.6, OWN, WEAKEST)
    assert len(cells) == 1 and nearly == [pytest.approx(0.4957, abs=0.001)]
    cells, nearly = settle(found((0, 0.26, None), (100, 0.2, None)), OWN, OWN, WEAKEST)
    assert [cell[1] for cell in cells] == [0.26] and nearly == [0.2]
    assert settle([], OWN, OWN, WEAKEST) == ([], [])


def test_what_the_detector_hardly_sees_is_no_cell() -> None:
    """Whatever threshold is asked for, it decides alone there."""
    faint = found((0, 0.05, CELL))
    assert settle(faint, OWN, OWN, WEAKEST) == ([], [])
    ((_, score, _),), _ = settle(faint, 0.02, OWN, WEAKEST)
    assert score == 0.05


@pytest.mark.parametrize(
    ("part", "score", "number"),
    [
        (box(5, 20), 0.2, 1),  # within the cell
        (box(15), 0.2, 1),  # a clump's middle
        (box(25), 0.2, 2),  # a neighbour that touches
        (box(15), 0.3, 2),  # the detector is sure of it
    ],
)
def test_a_part_of_a_cell_is_no_cell(part: tuple, score: float, number: int) -> None:
    seen = [(part, score, verdict(CELL)), *found((0, 0.9, CELL))]
    cells, nearly = settle(seen, OWN, OWN, WEAKEST)
    assert len(cells) == number and cells[0][0] == box(0) and nearly == []


def test_the_classifier_tells_what_is_no_white_cell() -> None:
    classes = (*map(str, LABELS), "platelet", "artefact", "basophil")
    reasons = {"platelet": "artefact", "artefact": "artefact"}
    row = np.array([0.3, 0.1, 0.1, 0.1, 0.15, 0.05, 0.2])
    assert decide(row, classes, 0.2, reasons).no_cell == pytest.approx(0.2)
    # A classifier that knows nothing but cells.
    assert decide(np.array([0.7, 0.1, 0.1, 0.1]), classes[:4], 0.2).no_cell is None


class Stage:
    """A detector of one faint cell in the middle of each field or tile it sees, and a classifier
    that is sure of it."""

    name, sha256 = "mine", "0" * 64
    card: ClassVar = {"input_size": 320, "crop_padding": 1.2}

    def __init__(self, no_cell: float | None) -> None:
        self._no_cell = no_cell

    def detect(self, pixels: np.ndarray, confidence: float | None = None) -> tuple:
        dark = np.argwhere(pixels[..., 1] < 100)
        if not len(dark):
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        (y0, x0), (y1, x1) = dark.min(0), dark.max(0) + 1
        return np.array([[x0, y0, x1, y1]], np.float32), np.array([0.15], np.float32)

    def threshold(self, confidence: float | None = None) -> float:
        return OWN if confidence is None else confidence

    def weakest(self, threshold: float) -> float:
        return min(threshold, WEAKEST)

    def crop(self, pixels: np.ndarray, where: object) -> np.ndarray:
        return pixels[:2, :2]

    def probabilities(self, crops: list) -> np.ndarray:
        return np.full((len(crops), 4), 0.25)

    def thresholds(self, min_score: float | None = None) -> Thresholds:
        return Thresholds(dict.fromkeys(map(str, LABELS), 0.5), None)

    def classify(self, crops: list, min_score: float | None = None) -> list[Classification]:
        return [replace(verdict(self._no_cell)) for _ in crops]


@pytest.mark.parametrize("tile", [None, 200])
@pytest.mark.parametrize(("no_cell", "cells"), [(CELL, 1), (PLATELET, 0), (None, 0)])
def test_a_faint_cell_of_a_field_and_of_tiles(
    tile: int | None, no_cell: float | None, cells: int
) -> None:
    pixels = np.full((300, 520, 3), 220, np.uint8)
    pixels[140:170, 240:270] = 60  # seen by several tiles
    stage = Stage(no_cell)
    settings = Settings(tile_size=tile, tile_overlap=None if tile is None else 80)
    result = Analyzer(settings, detector=stage, classifier=stage).analyze(pixels)
    assert [cell.box for cell in result.cells] == [(240, 140, 270, 170)] * cells
    assert len(result.weak_scores) == (no_cell is None)
