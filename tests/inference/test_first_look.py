"""A first look at a smaller size is enough where it leaves no doubt, and only there."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.detector import Detector, letterbox
from wbcdet.inference.first_look import LOOKS, first_look, is_enough
from wbcdet.settings import Settings


@pytest.mark.parametrize(
    ("sides", "scores", "enough"),
    [
        ([], [], False),  # cells may be too small to be seen
        ([100], [0.9], True),
        ([100, 90], [0.9, 0.75], True),
        ([100, 90], [0.9, 0.3], False),
        ([100], [0.69], False),
        ([100, 30], [0.9, 0.9], False),
    ],
)
def test_a_look_is_enough_where_all_is_certain_and_large(
    sides: list[float], scores: list[float], enough: bool
) -> None:
    boxes = np.array([[10, 10, 10 + side, 10 + side / 2] for side in sides]).reshape(-1, 4)
    assert is_enough(boxes, np.array(scores), 0.4, 0.7) is enough


class Looks:
    """Counts the sizes at which a detector looks."""

    def __init__(self, detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.widths: list[int] = []
        run = detector._backend.run

        def counted(tensor: np.ndarray) -> np.ndarray:
            self.widths.append(tensor.shape[3])
            return run(tensor)

        monkeypatch.setattr(
            detector, "_backend", type("Counted", (), {"run": staticmethod(counted)})
        )


def field(size: tuple[int, int] = (640, 480), **more: Any) -> np.ndarray:
    return cv2.resize(render_field(3, counts={"neutrophil": 1}, **more).pixels, size)


def test_a_plain_field_is_looked_at_once_and_an_empty_one_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = Detector("cpu")
    looks = Looks(detector, monkeypatch)
    boxes, scores = detector.detect_whole(field())
    assert looks.widths == [128]
    assert len(boxes) == 1 and scores[0] >= 0.7
    assert len(detector.detect_whole(np.full((480, 640, 3), 230, np.uint8))[0]) == 0
    assert looks.widths == [128, 128, 320]


@pytest.mark.parametrize(
    ("sides", "looks"),
    [
        ([[100]], [128]),
        ([[90], [90]], [128, 256]),  # a sure cell that has 18 pixels only
        ([[49]], [128]),  # it is small in the next look too
        ([[]], [128]),  # cells that are smaller than these looks show
        ([[90], []], [128, 256]),
        ([[400], [400]], [128, 256]),  # the rim of a round view may look like a cell
        ([[400], [30]], [128, 256]),
    ],
)
def test_a_look_is_taken_where_the_cells_are_large_enough_for_it(
    sides: list[list[float]], looks: list[int]
) -> None:
    taken: list[int] = []

    def look(size: int) -> tuple[np.ndarray, np.ndarray]:
        taken.append(size)
        found = sides[len(taken) - 1]
        boxes = np.array([[10, 10, 10 + side, 10 + side / 2] for side in found]).reshape(-1, 4)
        return boxes, np.full(len(found), 0.9)

    seen = first_look(640, 320, look)
    assert taken == looks
    assert (seen is not None) == (sides[-1] in ([100], [90], [400]))


def test_a_doubtful_look_is_followed_by_the_next_one() -> None:
    taken: list[int] = []

    def look(size: int) -> tuple[np.ndarray, np.ndarray]:
        taken.append(size)
        return np.array([[10.0, 10, 110, 110]]), np.array([0.5])

    assert first_look(640, 320, look) is None
    assert taken == [128, 256]


def test_a_small_look_has_to_be_surer() -> None:
    """Its scores are lower than those of the full input: who raised the threshold lost cells."""
    taken: list[int] = []

    def look(size: int) -> tuple[np.ndarray, np.ndarray]:
        taken.append(size)
        return np.array([[10.0, 10, 110, 110]]), np.array([0.75])

    assert first_look(640, 320, look) is not None
    assert taken == [128, 256]


def test_a_network_of_a_small_input_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector("cpu")
    monkeypatch.setitem(detector.card, "input_size", 128)
    looks = Looks(detector, monkeypatch)
    detector.detect_whole(field())
    assert looks.widths == [128]


def test_both_looks_find_the_same_cell() -> None:
    detector = Detector("cpu")
    pixels = field()
    (quick,), (full,) = detector.detect_whole(pixels)[0], detector.detect(pixels)[0]
    assert np.abs(quick - full).max() < 8


def test_what_was_asked_for_decides_which_cells_are_shown() -> None:
    detector = Detector("cpu")
    assert len(detector.detect_whole(field(), 0.999)[0]) == 0


def test_careful_looks_are_full_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector("cpu", careful=True)
    looks = Looks(detector, monkeypatch)
    detector.detect_whole(field())
    assert looks.widths == [320] * 4


def test_tiles_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    analyzer = Analyzer(Settings(tile_size=320, device="cpu"))
    assert isinstance(analyzer.detector, Detector)
    looks = Looks(analyzer.detector, monkeypatch)
    analyzer.analyze(np.full((480, 640, 3), 230, np.uint8))
    assert set(looks.widths) == {320}


@pytest.mark.parametrize(
    "size", [(640, 480), (2048, 1536), (641, 479), (300, 1000), (90, 60), (3, 2)]
)
@pytest.mark.parametrize("look", [size for size, _ in LOOKS])
def test_halving_first_changes_no_geometry_and_hardly_a_value(
    size: tuple[int, int], look: int
) -> None:
    pixels = cv2.resize(field(), size)
    exact, *place = letterbox(pixels, look, 32, 114)
    quick, *same_place = letterbox(pixels, look, 32, 114, quick=True)
    assert place == same_place and exact.shape == quick.shape
    assert np.abs(exact - quick).mean() < 0.01
