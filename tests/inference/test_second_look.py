"""A doubtful field is looked at again at other sizes and mirrored, and only such a field."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wbcdet.inference.detector import Detector
from wbcdet.inference.flipped_views import Found
from wbcdet.inference.second_look import is_doubtful, settle_doubts

#: Of a field of 100 px: 10 px are small, 40 px large, 60 px huge.
SMALL, LARGE, HUGE = (20.0, 20.0, 30.0, 30.0), (50.0, 50.0, 90.0, 90.0), (0.0, 0.0, 60.0, 60.0)
SIZES = [0.3, 0.4, 0.6, 0.8, 1.3]


def found(*rows: tuple[tuple[float, ...], float]) -> Found:
    boxes = np.array([box for box, _ in rows], np.float32).reshape(-1, 4)
    return boxes, np.array([score for _, score in rows], np.float32)


def settled(first: Found, seen: dict[float, Found], least: float = 0.01) -> Found:
    """Settle a field that shows at each size what is given for it, else nothing."""
    return settle_doubts(first, 100, least, lambda size, _: seen.get(size, found()))


@pytest.mark.parametrize(
    ("score", "doubtful"), [(0.049, False), (0.05, True), (0.49, True), (0.5, False), (0.9, False)]
)
def test_a_box_is_in_doubt_between_two_scores(score: float, doubtful: bool) -> None:
    assert is_doubtful(found((SMALL, score))) is doubtful
    assert is_doubtful(found((LARGE, 0.9), (SMALL, score))) is doubtful


def test_a_field_without_a_box_is_not_in_doubt() -> None:
    assert not is_doubtful(found()) and not is_doubtful(found(), [found(), found()])


def test_what_a_first_look_alone_has_shown_is_a_doubt() -> None:
    assert is_doubtful(found(), [found((SMALL, 0.1))])
    assert is_doubtful(found((LARGE, 0.9)), [found((LARGE, 0.9)), found((SMALL, 0.4))])
    assert is_doubtful(found((SMALL, 0.04)), [found((SMALL, 0.4))])
    assert not is_doubtful(found(), [found((SMALL, 0.09))])
    assert not is_doubtful(found((SMALL, 0.9)), [found((SMALL, 0.4))])


@pytest.mark.parametrize(
    ("box", "seen", "score"),
    [
        (SMALL, {0.6: 0.6, 0.8: 0.9, 1.3: 0.0}, (0.3 + 0.6 + 0.9) / 3),
        (SMALL, {0.6: 0.1, 0.8: 0.9, 1.3: 0.6}, (0.3 + 0.6 + 0.9) / 3),
        (SMALL, {0.3: 0.9, 0.4: 0.9}, 0.3 / 3),  # too small there to be seen well
        (SMALL, {}, 0.3 / 3),
        (LARGE, {0.3: 0.9, 0.4: 0.6, 0.6: 0.1, 0.8: 0.1}, (0.3 + 0.6 + 0.9) / 3),
        (LARGE, {1.3: 0.9}, 0.3 / 3),  # too large there
        (HUGE, {0.3: 0.9, 0.4: 0.9, 0.6: 0.9}, 0.3),  # the full input must show it as well
        (HUGE, {0.3: 0.1}, (0.3 + 0.1) / 3),
    ],
)
def test_the_best_three_of_the_looks_that_suit_a_box_decide(
    box: tuple[float, ...], seen: dict[float, float], score: float
) -> None:
    looks = {size: found((box, value)) for size, value in seen.items() if value}
    boxes, scores = settled(found((box, 0.3)), looks)
    assert scores.tolist() == pytest.approx([score]) and boxes[0] == pytest.approx(box)


def test_a_cell_that_the_full_input_does_not_show_is_brought_up() -> None:
    looks = {size: found((SMALL, 0.6)) for size in SIZES}
    boxes, scores = settled(found((LARGE, 0.3)), looks, 0.25)
    assert scores.tolist() == pytest.approx([0.6]) and boxes[0] == pytest.approx(SMALL)
    faint = {size: found((SMALL, 0.09)) for size in SIZES}
    assert len(settled(found((LARGE, 0.3)), faint)[1]) == 1  # hardly a cell at any size


def test_a_box_beside_it_is_not_the_same_box() -> None:
    beside = tuple(value + 5 for value in SMALL)  # IoU 0.14
    boxes, scores = settled(found((SMALL, 0.3)), {0.8: found((beside, 0.9))})
    assert scores.tolist() == pytest.approx([0.3, 0.1]) and boxes[1] == pytest.approx(SMALL)


def test_touching_cells_stay_two_though_every_look_draws_them_a_little_differently() -> None:
    left, right = (20.0, 20.0, 40.0, 40.0), (34.0, 20.0, 54.0, 40.0)  # IoU 0.18
    wider = (18.0, 20.0, 42.0, 40.0)
    looks = {0.6: found((left, 0.4), (right, 0.4)), 0.8: found((wider, 0.4), (right, 0.4))}
    boxes, scores = settled(found((right, 0.4), (left, 0.4)), looks)
    assert scores.tolist() == pytest.approx([0.4, 0.4])
    assert sorted(boxes[:, 0].tolist()) == pytest.approx([58 / 3, 34])


def test_boxes_come_best_first_and_from_the_threshold_on() -> None:
    looks = {size: found((SMALL, 0.9), (LARGE, 0.6)) for size in SIZES}
    _, scores = settled(found((LARGE, 0.6), (SMALL, 0.3)), looks, 0.25)
    assert scores.tolist() == pytest.approx([0.9, 0.6])
    assert len(settled(found((LARGE, 0.6), (SMALL, 0.3)), looks, 0.7)[1]) == 1
    assert scores.dtype == np.float32


def a_detector(run: Any) -> Detector:
    detector = Detector.__new__(Detector)
    detector.card = {
        "input_size": 320, "stride": 32, "letterbox_grey": 114, "confidence": 0.25, "nms_iou": 0.5
    }  # fmt: skip
    backend: Any = SimpleNamespace(run=run)
    detector._backend = backend
    return detector


@pytest.mark.parametrize(
    ("score", "widths"), [(0.3, [320, 96, 128, 192, 256, 416]), (0.6, [320]), (0.04, [320])]
)
def test_a_detector_looks_at_multiples_of_its_stride(score: float, widths: list[int]) -> None:
    """The network is shown fields with one white square, off the middle, in padded pictures; it
    must come back where it is, whether a look is mirrored or not."""
    seen: list[int] = []

    def run(tensor: np.ndarray) -> np.ndarray:
        seen.append(tensor.shape[3])
        y, x = (np.flatnonzero((tensor[0, 0] > 0.75).any(axis)) for axis in (1, 0))
        sides = x[-1] + 1 - x[0], y[-1] + 1 - y[0]
        middle = (x[-1] + 1 + x[0]) / 2, (y[-1] + 1 + y[0]) / 2
        return np.array([(*middle, *sides, score)], np.float32).T[None]

    field = np.zeros((500, 640, 3), np.uint8)
    field[200:260, 60:140] = 255
    boxes, scores = a_detector(run).detect(field, 0.01)
    assert seen == widths
    assert boxes == pytest.approx(np.array([[60, 200, 140, 260]]), abs=4)
    assert scores == pytest.approx([score])
