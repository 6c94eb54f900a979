"""Views of a field, their boxes as one, and the answers of ``--careful``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import grain

from wbcdet import Analyzer
from wbcdet.inference.flipped_views import MIRRORINGS, fuse, mirrored, mirrored_boxes
from wbcdet.settings import Settings

Found = tuple[np.ndarray, np.ndarray]


def view(*boxes: tuple[float, ...]) -> Found:
    """Boxes ``x0, y0, x1, y1, score`` of one view."""
    rows = np.array(boxes, np.float32).reshape(-1, 5)
    return rows[:, :4], rows[:, 4]


def test_views_are_a_group() -> None:
    pixels = grain(30, 40)
    seen = {mirrored(pixels, *mirroring).tobytes() for mirroring in MIRRORINGS}
    for turn in MIRRORINGS:
        turned = mirrored(pixels, *turn)
        assert {mirrored(turned, *mirroring).tobytes() for mirroring in MIRRORINGS} == seen
    assert len(seen) == 4 and mirrored(pixels, False, False) is pixels


def test_boxes_follow_the_pixels() -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[5:12, 20:36] = 255
    box = np.array([[20.0, 5.0, 36.0, 12.0]])
    for mirroring in MIRRORINGS:
        x0, y0, x1, y1 = mirrored_boxes(box, *mirroring, 40, 30)[0].astype(int)
        part = mirrored(pixels, *mirroring)[y0:y1, x0:x1]
        assert part.shape == (7, 16, 3) and part.min() == 255
        assert np.array_equal(
            mirrored_boxes(mirrored_boxes(box, *mirroring, 40, 30), *mirroring, 40, 30), box
        )
    assert mirrored_boxes(np.zeros((0, 4)), True, True, 40, 30).shape == (0, 4)


def test_a_fused_box_is_the_weighted_mean_and_its_score_that_of_all_views() -> None:
    views = [view((0, 0, 10, 10, 0.9)), view((1, 0, 11, 10, 0.3)), view(), view()]
    boxes, scores = fuse(views, 0.25, 0.5)
    assert scores == pytest.approx([(0.9 + 0.3) / 4])
    assert boxes[0] == pytest.approx([0.25, 0, 10.25, 10])
    # One view alone does not make a cell: 0.9 of four views is 0.225.
    assert len(fuse([views[0], view(), view(), view()], 0.25, 0.5)[0]) == 0


def test_each_view_adds_one_box_to_a_cell() -> None:
    two = ((0, 0, 10, 10, 0.9), (3, 0, 13, 10, 0.8))  # IoU 0.54: touching cells
    boxes, scores = fuse([view(*two)] * 4, 0.25, 0.5)
    assert boxes == pytest.approx(np.array(two)[:, :4]) and scores == pytest.approx([0.9, 0.8])
    boxes, _ = fuse([view(two[0]), view(two[0]), view(two[0]), view(two[0])], 0.25, 0.5)
    assert len(boxes) == 1
    empty, none = fuse([view()] * 4, 0.25, 0.5)
    assert empty.shape == (0, 4) and none.shape == (0,)


def test_order_of_the_views_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    cells = rng.uniform(0, 200, (12, 2))
    views = []
    for _ in range(4):
        corner = cells + rng.normal(0, 1, cells.shape)
        score = rng.uniform(0.1, 1, len(cells))
        kept = score > 0.3
        boxes = np.concatenate([corner, corner + 15], 1)
        views.append((boxes[kept].astype(np.float32), score[kept].astype(np.float32)))
    first = fuse(views, 0.25, 0.5)
    for order in ((3, 2, 1, 0), (1, 3, 0, 2)):
        again = fuse([views[i] for i in order], 0.25, 0.5)
        assert again[0] == pytest.approx(first[0]) and again[1] == pytest.approx(first[1])
    assert len(first[0]) == len(cells)


@pytest.fixture(scope="module")
def careful() -> Analyzer:
    return Analyzer(careful=True, device="cpu")


def test_a_field_and_the_field_turned_have_the_same_cells(
    careful: Analyzer, real_field: Callable[[str, str], np.ndarray]
) -> None:
    fields = [
        real_field("bccd.zip", "BloodImage_00007.jpg"),
        real_field("bccd.zip", "BloodImage_00010.jpg")[:, :407],  # odd sides: uneven padding
        np.ascontiguousarray(np.tile(grain(131, 100), (1, 2, 1))),
    ]
    assert any(careful.analyze(np.ascontiguousarray(field)).cells for field in fields)
    for pixels in fields:
        height, width = pixels.shape[:2]
        first = careful.analyze(np.ascontiguousarray(pixels)).cells
        for mirroring in MIRRORINGS[1:]:
            turned = careful.analyze(mirrored(pixels, *mirroring)).cells
            assert len(turned) == len(first)
            back = mirrored_boxes(
                np.array([cell.box for cell in turned]).reshape(-1, 4), *mirroring, width, height
            )
            for cell, box, other in zip(first, back, turned, strict=True):
                assert box == pytest.approx(cell.box, abs=0.21)
                assert other.detection_score == pytest.approx(cell.detection_score, abs=1e-3)
                assert other.label == cell.label
                assert other.label_score == pytest.approx(cell.label_score, abs=0.05)


def test_careful_looks_four_times_and_says_so(careful: Analyzer) -> None:
    runs = []
    detector = careful.detector
    backend = detector._backend

    class Counting:
        def run(self, tensor: np.ndarray) -> np.ndarray:
            if tensor.shape[3] == detector.card["input_size"]:  # and no second look
                runs.append(tensor)
            return backend.run(tensor)

    detector._backend = Counting()  # type: ignore[assignment]
    try:
        detector.detect(grain(96, 128))
    finally:
        detector._backend = backend
    assert len(runs) == 4 and len({run.tobytes() for run in runs}) == 4
    info = careful.info()["settings"]
    assert info["careful"] is True
    assert info["fingerprint"] != Settings(device="cpu").fingerprint()
    assert Analyzer(Settings(careful=True), careful=False).settings.careful is False
