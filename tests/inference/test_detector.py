"""Field to boxes: the letterbox, suppression, and the detector that ships."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.detector import Detector, letterbox, nms


@pytest.mark.parametrize(
    ("height", "width", "size", "shape", "scale", "left", "top"),
    [
        (480, 640, 512, (384, 512), 0.8, 0, 0),
        (640, 480, 512, (512, 384), 0.8, 0, 0),
        (64, 64, 64, (64, 64), 1.0, 0, 0),
        (1, 1, 64, (64, 64), 64.0, 0, 0),
        (20, 5000, 512, (32, 512), 0.1024, 0, 15),
        (5000, 20, 512, (512, 32), 0.1024, 15, 0),
        (1, 5000, 512, (32, 512), 0.1024, 0, 15),  # at least one row remains
        (33, 47, 64, (64, 64), 64 / 47, 0, 9),
        (101, 77, 96, (96, 96), 96 / 101, 11, 0),
    ],
)
def test_letterbox_form(
    height: int,
    width: int,
    size: int,
    shape: tuple[int, int],
    scale: float,
    left: int,
    top: int,
) -> None:
    pixels = np.full((height, width, 3), 255, np.uint8)
    tensor, *rest = letterbox(pixels, size, 32, 114)
    assert tensor.shape == (1, 3, *shape) and tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    assert rest == [pytest.approx(scale), left, top]
    content = tensor[0, 0] == 1
    rows, columns = np.nonzero(content.any(1))[0], np.nonzero(content.any(0))[0]
    assert (rows[0], columns[0]) == (top, left)
    assert content[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert np.allclose(tensor[0, 0][~content], 114 / 255)
    assert len(rows) == max(1, round(height * scale))
    assert len(columns) == max(1, round(width * scale))


def test_letterbox_values_are_rgb_from_0_to_1() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    before = pixels.copy()
    tensor, _, left, top = letterbox(pixels, 64, 32, 114)
    assert (left, top) == (0, 12)
    picture = tensor[0, :, 12:52].transpose(1, 2, 0)
    assert np.allclose(picture, pixels[..., ::-1] / 255, atol=1e-6)
    assert np.array_equal(pixels, before)


A, B, C = (0, 0, 10, 10), (100, 0, 110, 10), (50, 50, 90, 90)


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        ([], []),
        ([A], [0]),
        ([A] * 50, [0]),
        ([A, B, C], [0, 1, 2]),
        ([A, (10, 0, 20, 10)], [0, 1]),  # they touch
        ([A, (5, 0, 15, 10)], [0, 1]),  # IoU 1/3
        ([A, (2, 0, 12, 10)], [0]),  # IoU 2/3
        ([A, (0, 0, 10, 5)], [0, 1]),  # nested, IoU exactly at the limit of 1/2
        ([A, (0, 0, 10, 6)], [0]),  # nested, IoU 0.6
        ([C, (60, 60, 70, 70)], [0, 1]),  # nested and small: another cell
        # The second falls to the first, so it must not take the third with it.
        ([A, (3, 0, 13, 10), (6, 0, 16, 10)], [0, 2]),
        ([(5, 5, 5, 5), (5, 5, 5, 5), A], [0, 1, 2]),  # no area, no division by zero
    ],
)
def test_suppress(boxes: list[tuple[float, ...]], kept: list[int]) -> None:
    assert nms(np.array(boxes, np.float32).reshape(-1, 4), 0.5) == kept


def stand_in(raw: list[tuple[float, ...]]) -> Detector:
    """Return a detector whose network says ``raw``: centre, width, height, score in input
    pixels."""
    detector = Detector.__new__(Detector)
    detector.card = {
        "input_size": 64,
        "stride": 32,
        "letterbox_grey": 114,
        "confidence": 0.5,
        "nms_iou": 0.5,
    }
    answer = np.array(raw, np.float32).reshape(-1, 5).T[None]
    backend: Any = SimpleNamespace(run=lambda tensor: answer)
    detector._backend = backend
    return detector


def test_boxes_return_to_field_pixels_best_first() -> None:
    # A field of 128x80 px: half the scale, 12 px of padding above and below 40 px.
    field = np.zeros((80, 128, 3), np.uint8)
    detector = stand_in(
        [
            (20, 30, 8, 10, 0.6),
            (40, 32, 10, 10, 0.9),
            (41, 32, 10, 10, 0.8),  # the same cell
            (50, 40, 6, 6, 0.5),  # below the threshold
            (1, 13, 10, 10, 0.7),  # over the upper left corner
            (30, 5, 8, 8, 0.95),  # in the padding alone
        ]
    )
    detector.card["confidence"] = 0.55
    boxes, scores = detector.detect(field)
    assert boxes.dtype == scores.dtype == np.float32
    assert scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert boxes.tolist() == [[70, 30, 90, 50], [0, 0, 12, 12], [32, 26, 48, 46]]
    assert len(detector.detect(field, 0.3)[0]) == 4
    assert len(detector.detect(field, 0.5)[0]) == 4  # the threshold itself counts
    assert len(detector.detect(field, 0.99)[0]) == 0


@pytest.mark.parametrize("raw", [[], [(20, 30, 8, 10, 0.1)]])
def test_nothing_found_has_the_usual_form(raw: list[tuple[float, ...]]) -> None:
    boxes, scores = stand_in(raw).detect(np.zeros((80, 128, 3), np.uint8))
    assert boxes.shape == (0, 4) and scores.shape == (0,)
    assert boxes.dtype == scores.dtype == np.float32


@pytest.fixture(scope="module")
def shipped() -> Detector:
    return Detector("cpu")


@pytest.mark.parametrize("value", [0, 114, 200, 255])
def test_blank_fields_hold_no_cell(shipped: Detector, value: int) -> None:
    assert len(shipped.detect(np.full((480, 640, 3), value, np.uint8))[0]) == 0


def test_camera_noise_is_no_cell(shipped: Detector) -> None:
    noise = np.random.default_rng(0).normal((200, 190, 210), 12, (480, 640, 3))
    assert len(shipped.detect(noise.clip(0, 255).astype(np.uint8))[0]) == 0


def test_an_empty_field_of_red_cells_holds_no_cell(shipped: Detector) -> None:
    fields = [render_field(seed, counts={}).pixels for seed in range(4)]
    assert sum(len(shipped.detect(pixels)[0]) for pixels in fields) <= 1


@pytest.mark.parametrize("shape", [(1, 1), (20, 5000), (5000, 20), (33, 47), (2000, 3000)])
def test_fields_of_any_size(shipped: Detector, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    boxes, scores = shipped.detect(pixels, 1e-4)
    assert boxes.shape == (len(scores), 4)
    assert (boxes >= 0).all() and (boxes <= [shape[1], shape[0]] * 2).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 1).all()
    assert (np.diff(scores) <= 0).all() and ((scores >= 1e-4) & (scores <= 1)).all()


def test_drawn_cells_are_found(shipped: Detector) -> None:
    fields = [render_field(seed) for seed in range(10)]
    cells = found = shown = 0
    for field in fields:
        boxes, _ = shipped.detect(field.pixels)
        shown += len(boxes)
        for cell in field.cells:
            x, y = cell.center
            inside = (boxes[:, 0] < x) & (x < boxes[:, 2]) & (boxes[:, 1] < y) & (y < boxes[:, 3])
            sides = (boxes[:, 2:] - boxes[:, :2]).mean(1)[inside]
            cells += 1
            found += any(0.6 < side / cell.diameter < 1.6 for side in sides)
    assert found >= 0.9 * cells
    assert shown - found <= 0.15 * cells
