"""A doubtful field is looked at again at other sizes and mirrored, and only such a field."""

from __future__ import annotations

from collections.abc import Sequence
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
#: The looks that are taken for a field with small boxes alone, and with large ones alone.
SMALL_LOOKS, LARGE_LOOKS = [0.6, 0.8, 1.3], [0.3, 0.4, 0.6, 0.8]


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


def looks_taken(
    first: Found, seen: dict[float, Found] | None = None, earlier: Sequence[Found] = ()
) -> list[float]:
    taken: list[float] = []

    def look(size: float, _: bool) -> Found:
        taken.append(size)
        return (seen or {}).get(size, found())

    settle_doubts(first, 100, 0.01, look, earlier)
    assert len(taken) == len(set(taken))
    return sorted(taken)


@pytest.mark.parametrize(
    ("side", "sizes"),
    [
        (3, SMALL_LOOKS), (14, SMALL_LOOKS), (16, SIZES), (29, SIZES), (31, LARGE_LOOKS),
        (90, LARGE_LOOKS),
    ],
)  # fmt: skip
@pytest.mark.parametrize("score", [0.06, 0.3, 0.9])
def test_only_looks_that_are_made_for_a_box_are_taken(
    side: float, sizes: list[float], score: float
) -> None:
    box = (5.0, 5.0, 5 + side, 5 + 0.7 * side)
    assert looks_taken(found((box, score))) == sizes


def test_small_and_large_boxes_together_have_all_looks() -> None:
    assert looks_taken(found((LARGE, 0.9), (SMALL, 0.3))) == SIZES
    assert looks_taken(found((SMALL, 0.9), (HUGE, 0.3))) == SIZES


def test_a_box_in_any_look_so_far_is_a_reason_for_more_looks() -> None:
    small, large = found((SMALL, 0.3)), found((LARGE, 0.3))
    for both in (0.6, 0.8):
        assert looks_taken(small, {both: large}) == SIZES
        assert looks_taken(large, {both: small}) == SIZES
    assert looks_taken(large, {0.4: small}) == looks_taken(large, {0.3: small}) == SIZES
    assert looks_taken(small, earlier=[found(), large]) == SIZES
    assert looks_taken(large, earlier=[small, found()]) == SIZES
    assert looks_taken(found(), earlier=[large]) == LARGE_LOOKS


def test_a_box_that_is_hardly_seen_is_no_reason_for_more_looks() -> None:
    faint_small, faint_large = found((SMALL, 0.04)), found((LARGE, 0.04))
    small = found((SMALL, 0.3), (LARGE, 0.04))
    assert looks_taken(small, {0.6: faint_large}, [faint_large]) == SMALL_LOOKS
    large = found((LARGE, 0.3), (SMALL, 0.04))
    assert looks_taken(large, {0.8: faint_small}, [faint_small]) == LARGE_LOOKS


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


def a_field(side: int) -> np.ndarray:
    """Draw a field with one white rectangle, off the middle."""
    field = np.zeros((500, 640, 3), np.uint8)
    field[120 : 120 + 3 * side // 4, 60 : 60 + side] = 255
    return field


def what_it_is_shown(seen: list[int], score: float, at: Sequence[int] = ()) -> Any:
    """Return a network that finds the white rectangle and notes how wide its pictures are.

    Its score is that at widths of ``at``, where they are given, and 0.04 at all others.
    """

    def run(tensor: np.ndarray) -> np.ndarray:
        seen.append(tensor.shape[3])
        y, x = (np.flatnonzero((tensor[0, 0] > 0.75).any(axis)) for axis in (1, 0))
        sides = x[-1] + 1 - x[0], y[-1] + 1 - y[0]
        middle = (x[-1] + 1 + x[0]) / 2, (y[-1] + 1 + y[0]) / 2
        own = score if not at or tensor.shape[3] in at else 0.04
        return np.array([(*middle, *sides, own)], np.float32).T[None]

    return run


@pytest.mark.parametrize(
    ("side", "score", "widths"),
    [
        (80, 0.3, [320, 192, 256, 416]),
        (160, 0.3, [320, 192, 256, 128, 96, 416]),
        (240, 0.3, [320, 192, 256, 128, 96]),
        (80, 0.6, [320]),
        (80, 0.04, [320]),
    ],
)
def test_a_detector_looks_at_multiples_of_its_stride(
    side: int, score: float, widths: list[int]
) -> None:
    """A rectangle must come back where it is, in padded pictures, whether a look is mirrored or
    not."""
    seen: list[int] = []
    boxes, scores = a_detector(what_it_is_shown(seen, score)).detect(a_field(side), 0.01)
    assert seen == widths
    assert boxes == pytest.approx(np.array([[60, 120, 60 + side, 120 + 3 * side / 4]]), abs=4)
    assert scores == pytest.approx([score])


@pytest.mark.parametrize(
    ("side", "widths"),
    [
        (80, [128, 256, 320, 192, 416]),
        (160, [128, 256, 320, 192, 128, 96, 416]),  # that of 128 px is mirrored now
        (30, [128, 320, 192, 256, 416]),  # too small for a first look at 256 px
    ],
)
def test_a_first_look_of_the_same_size_is_not_taken_again(side: int, widths: list[int]) -> None:
    seen: list[int] = []
    boxes, scores = a_detector(what_it_is_shown(seen, 0.3)).detect_whole(a_field(side), 0.01)
    assert seen == widths
    assert boxes == pytest.approx(np.array([[60, 120, 60 + side, 120 + 3 * side // 4]]), abs=5)
    assert scores == pytest.approx([0.3])


def test_what_a_first_look_alone_has_shown_decides_which_looks_are_taken() -> None:
    seen: list[int] = []
    network = what_it_is_shown(seen, 0.3, at=[128])
    a_detector(network).detect_whole(a_field(240), 0.01)
    assert seen == [128, 256, 320, 192, 128, 96]
