"""Doubtful boxes are looked at again at other sizes, and only they."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wbcdet.inference.detector import Detector
from wbcdet.inference.flipped_views import Found
from wbcdet.inference.second_look import settle_doubts

#: Of a field of 100 px: 10 px are small, 40 px large.
SMALL, LARGE = (20.0, 20.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0)


def found(*rows: tuple[tuple[float, ...], float]) -> Found:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    return boxes, np.array([score for _, score in rows], np.float32)


class Field:
    """A field that shows the given boxes at every other size, and counts the looks."""

    def __init__(self, *rows: tuple[tuple[float, ...], float]) -> None:
        self.rows, self.sizes = rows, list[float]()

    def look(self, size: float) -> Found:
        self.sizes.append(size)
        return found(*self.rows)


@pytest.mark.parametrize("score", [0.049, 0.5, 0.9])
def test_what_is_in_no_doubt_is_not_looked_at_again(score: float) -> None:
    field, first = Field((SMALL, 0.9)), found((SMALL, score))
    assert settle_doubts(first, 100, field.look) is first
    assert field.sizes == []


def test_without_a_box_nothing_is_looked_at() -> None:
    field = Field((SMALL, 0.9))
    assert len(settle_doubts(found(), 100, field.look)[1]) == 0
    assert field.sizes == []


def test_the_score_of_a_small_box_is_the_mean_of_all_looks() -> None:
    field = Field((SMALL, 0.6))
    _, scores = settle_doubts(found((SMALL, 0.3)), 100, field.look)
    assert scores.tolist() == pytest.approx([0.5])
    assert field.sizes == [0.8, 1.3]


def test_a_small_box_that_no_other_look_shows_falls() -> None:
    field = Field((LARGE, 0.9))
    _, scores = settle_doubts(found((SMALL, 0.3)), 100, field.look)
    assert scores.tolist() == pytest.approx([0.1])


@pytest.mark.parametrize(("other", "settled"), [(0.8, 0.8), (0.1, 0.3)])
def test_the_score_of_a_large_box_is_the_best(other: float, settled: float) -> None:
    field = Field((LARGE, other))
    _, scores = settle_doubts(found((LARGE, 0.3)), 100, field.look)
    assert scores.tolist() == pytest.approx([settled])
    assert field.sizes == [0.3, 0.4]


def test_a_box_beside_it_is_not_the_same_box() -> None:
    beside = tuple(value + 5 for value in SMALL)  # IoU 0.14
    _, scores = settle_doubts(found((SMALL, 0.3)), 100, Field((beside, 0.9)).look)
    assert scores.tolist() == pytest.approx([0.1])


def test_settled_boxes_are_in_order_and_the_certain_ones_as_they_were() -> None:
    certain, nothing = (0.0, 0.0, 9.0, 9.0), (90.0, 0.0, 99.0, 9.0)
    first = found((certain, 0.6), (SMALL, 0.4), (LARGE, 0.2), (nothing, 0.03))
    field = Field((SMALL, 0.1), (LARGE, 0.95), (certain, 0.9), (nothing, 0.9))
    boxes, scores = settle_doubts(first, 100, field.look)
    assert scores.tolist() == pytest.approx([0.95, 0.6, 0.2, 0.03])
    assert boxes.tolist() == [list(box) for box in (LARGE, certain, SMALL, nothing)]


@pytest.mark.parametrize(
    ("side", "score", "widths"),
    [(40, 0.3, [320, 256, 416]), (80, 0.3, [320, 96, 128]), (40, 0.6, [320]), (80, 0.6, [320])],
)
def test_a_detector_looks_at_multiples_of_its_stride(
    side: float, score: float, widths: list[int]
) -> None:
    seen: list[int] = []

    def run(tensor: np.ndarray) -> np.ndarray:
        seen.append(tensor.shape[3])
        scale = tensor.shape[3] / 320
        row = (160 * scale, 160 * scale, side * scale, side * scale, score)
        return np.array([row], np.float32).T[None]

    detector = Detector.__new__(Detector)
    detector.card = {
        "input_size": 320, "stride": 32, "letterbox_grey": 114, "confidence": 0.25, "nms_iou": 0.5
    }  # fmt: skip
    backend: Any = SimpleNamespace(run=run)
    detector._backend = backend
    boxes, scores = detector.detect(np.zeros((640, 640, 3), np.uint8))
    assert seen == widths
    assert boxes[0] == pytest.approx([320 - side, 320 - side, 320 + side, 320 + side])
    assert scores[0] == pytest.approx(score)
