"""A black border around the field cuts cells, as the border of the picture does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.dark_border import DarkBorder

WIDTH, HEIGHT = 640, 480
#: Radius of the disc that an eyepiece shows.
RADIUS = 220


def through_eyepiece(pixels: np.ndarray) -> np.ndarray:
    disc = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    cv2.circle(disc, (WIDTH // 2, HEIGHT // 2), RADIUS, 1.0, -1)
    disc = cv2.GaussianBlur(disc, (0, 0), 3)[..., None]
    return np.round(pixels * disc + 4 * (1 - disc)).astype(np.uint8)


def box_at(x: float, y: float, side: float = 60) -> tuple[float, float, float, float]:
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


PLAIN = np.full((HEIGHT, WIDTH, 3), (215, 190, 225), np.uint8)


@pytest.mark.parametrize("smaller", [1, 2])
def test_a_round_field(smaller: int) -> None:
    pixels = cv2.resize(through_eyepiece(PLAIN), (WIDTH // smaller, HEIGHT // smaller))
    border = DarkBorder(pixels, (WIDTH, HEIGHT))
    for angle in np.arange(0, 2 * np.pi, 0.3):
        across, down = np.cos(angle), np.sin(angle)
        for away, is_cut in ((0, False), (RADIUS - 45, False), (RADIUS - 15, True)):
            box = box_at(WIDTH / 2 + away * across, HEIGHT / 2 + away * down)
            assert border.cuts(box) == is_cut, (angle, away)


def test_bars_beside_the_picture() -> None:
    pixels = PLAIN.copy()
    pixels[:, :100] = 0
    border = DarkBorder(pixels, (WIDTH, HEIGHT))
    assert border.cuts((100, 200, 140, 260)) and not border.cuts((112, 200, 172, 260))


@pytest.mark.parametrize("corner", [(0, 0), (WIDTH, 0), (0, HEIGHT)])
def test_what_is_dark_and_no_border(corner: tuple[int, int]) -> None:
    """A nucleus in the corner, nearly black; a black thing amid the field; a dark picture."""
    pixels = PLAIN.copy()
    cv2.circle(pixels, corner, 40, (50, 10, 20), -1)
    cv2.circle(pixels, (320, 240), 90, (5, 5, 5), -1)
    border = DarkBorder(pixels, (WIDTH, HEIGHT))
    assert not border.cuts(box_at(320, 240)) and not border.cuts((10, 10, 60, 60))
    assert not DarkBorder(PLAIN // 20, (WIDTH, HEIGHT)).cuts(box_at(320, 240))
    assert not DarkBorder(np.zeros((1, 1, 3), np.uint8), (1, 1)).cuts((0, 0, 1, 1))


def test_cells_of_a_round_field() -> None:
    field = render_field(
        1, WIDTH, HEIGHT, cell_px=40, counts={"neutrophil": 12, "lymphocyte": 10, "monocyte": 4}
    )
    result = Analyzer(device="cpu").analyze(through_eyepiece(field.pixels))
    away = {}
    for cell in result.cells:
        x0, y0, x1, y1 = cell.box
        away[cell.id] = np.hypot((x0 + x1 - WIDTH) / 2, (y0 + y1 - HEIGHT) / 2)
    cut = {cell.id for cell in result.cells if cell.touches_edge}
    assert cut and len(result.cells) - len(cut) >= 10
    assert max(away[cell] for cell in away.keys() - cut) < RADIUS - 12
    assert min(away[cell] for cell in cut) > RADIUS - 35
