"""What is left out of a first look holds no cell."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.detector import Detector, letterbox
from wbcdet.inference.field_stain import measure_colours
from wbcdet.inference.nucleus_map import has_the_densest, is_cut, part_with_nuclei

BLACK = (0, 0, 0)


def lone_cell(label: str = "neutrophil", size: tuple[int, int] = (640, 480)) -> np.ndarray:
    return cv2.resize(render_field(3, counts={label: 1}).pixels, size)


@pytest.mark.parametrize("cell_px", [110, 160])
def test_every_drawn_cell_lies_in_the_part(cell_px: int) -> None:
    parts = 0
    for seed in range(6):
        field = render_field(seed, cell_px=cell_px, counts={"monocyte": 1, "lymphocyte": seed % 2})
        found = part_with_nuclei(measure_colours(field.pixels), 640, 480, 256, 32)
        if found is None:
            continue
        parts += 1
        x0, y0, x1, y1 = found[0]
        for cell in field.cells:
            left, top, right, bottom = cell.box
            assert x0 <= left and y0 <= top and right <= x1 and bottom <= y1, (seed, cell.label)
    assert parts


@pytest.mark.parametrize(
    "size", [(640, 480), (480, 640), (2048, 1536), (641, 479), (300, 300), (1000, 300), (257, 255)]
)
def test_a_part_is_seen_at_the_scale_of_the_field_without_padding(size: tuple[int, int]) -> None:
    pixels = lone_cell(size=size)
    found = part_with_nuclei(measure_colours(pixels), *size, 256, 32)
    assert found is not None
    (x0, y0, x1, y1), side = found
    assert 0 <= x0 < x1 <= size[0] and 0 <= y0 < y1 <= size[1]
    tensor, scale, *_ = letterbox(pixels[y0:y1, x0:x1], side, 32, 114)
    assert scale == pytest.approx(256 / max(size), rel=0.02)
    height, width = tensor.shape[2:]
    assert max(height, width) == side and height * width <= 0.7 * 256 * 256
    padded = width - round((x1 - x0) * scale), height - round((y1 - y0) * scale)
    whole = x0 == 0 and x1 == size[0], y0 == 0 and y1 == size[1]
    assert all(pad <= 1 or all_of_it for pad, all_of_it in zip(padded, whole, strict=True))


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (300, 1), (640, 480)])
def test_a_field_without_stain_has_no_part(value: int, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    assert part_with_nuclei(measure_colours(pixels), *size, 256, 32) is None


def test_a_part_and_the_whole_show_the_same_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, pixels = Detector("cpu"), lone_cell()
    (in_part,), _ = detector.detect_whole(pixels)
    monkeypatch.setattr("wbcdet.inference.detector.part_with_nuclei", lambda *_: None)
    (in_whole,), _ = detector.detect_whole(pixels)
    assert np.abs(in_part - in_whole).max() < 5


def test_a_box_at_an_inner_border_may_be_cut() -> None:
    inside, at_border = np.array([[20.0, 20, 80, 80]]), np.array([[20.0, 20, 98, 80]])
    part = (0, 0, 100, 100)
    assert not is_cut(inside, part, 640, 480, 0.4)
    assert is_cut(at_border, part, 640, 480, 0.4)
    assert not is_cut(at_border, part, 100, 480, 0.4)  # there the field itself ends


def test_a_scale_bar_denser_than_nuclei_hides_no_cell() -> None:
    detector, pixels = Detector("cpu"), lone_cell()
    (cell,), _ = detector.detect_whole(pixels)
    x0, y0, x1, y1 = (int(value) for value in cell)
    for left in (max(0, x0 - 40), 10, 560):
        marked = pixels.copy()
        cv2.rectangle(marked, (left, 440), (left + 60, 470), BLACK, -1)
        second = marked[y0:y1, x0:x1].copy()
        height, width = second.shape[:2]
        x = 0 if x0 > 320 else 640 - width
        marked[5 : 5 + height, x : x + width] = second
        assert not has_the_densest(cell[None], measure_colours(marked))
        assert len(detector.detect_whole(marked)[0]) == len(detector.detect(marked)[0])
