"""Cells are cropped by the size and coloured by the stain of the red cells beside them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wbcdet.inference.cell_crop import LARGEST_ZOOM_OUT, cell_crop, match_stain, zoom_out
from wbcdet.inference.preprocess import crop_cell, normalise_stain
from wbcdet.inference.surroundings import REACH, Surroundings, measure_surroundings
from wbcdet.training.augment_cells import CROP, STAIN
from wbcdet.training.augment_stain import from_density

#: What the dyes take up of blue, green and red light.
AZURE, EOSIN = np.array((0.5, 1.2, 0.9)), np.array((0.35, 0.40, 0.12))
SIDE = 300
#: Of a white cell twice as wide as a red cell.
BOX = (110, 110, 190, 190)
PLAIN = np.eye(3)
#: Other dyes, lamps and cameras: what becomes of the densities, and the tint of the ground.
SLIDES = {
    "pale": (0.6 * np.eye(3), (0.05, 0.05, 0.05)),
    "blue light is weak": (np.diag((1.5, 1.0, 0.8)), (0.5, 0.1, 0.05)),
    "orange ground, violet red cells": (
        np.array([[0.7, 0.1, 0], [0.1, 0.9, 0.1], [0.3, 0.1, 1.0]]),
        (0.35, 0.2, 0.02),
    ),
}


def smear(change: np.ndarray = PLAIN, ground: tuple[float, ...] = (0.02,) * 3) -> np.ndarray:
    """Draw a cell with a nucleus and pink granules among red cells of 40 px, (300, 300, 3) BGR."""
    azure, eosin = (np.zeros((SIDE, SIDE), np.float32) for _ in range(2))
    for y in range(24, SIDE, 52):
        for x in range(24, SIDE, 52):
            if not (80 < x < 220 and 80 < y < 220):
                cv2.circle(eosin, (x, y), 20, 1.0, -1, cv2.LINE_AA)
    cv2.circle(azure, (150, 150), 40, 0.1, -1, cv2.LINE_AA)
    cv2.circle(eosin, (172, 150), 14, 0.8, -1, cv2.LINE_AA)
    cv2.circle(azure, (138, 150), 22, 1.0, -1, cv2.LINE_AA)
    density = azure[..., None] * AZURE + eosin[..., None] * EOSIN
    return from_density((density @ change.T + np.array(ground)).astype(np.float32))


def test_what_stands_around_a_cell() -> None:
    around = measure_surroundings(smear(), BOX)
    assert around.ground == pytest.approx(0.02, abs=0.02)
    assert around.nucleus == pytest.approx(AZURE, abs=0.15)
    assert around.red_cell == pytest.approx(EOSIN, abs=0.05)
    assert around.diameter == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", SLIDES)
def test_every_slide_comes_out_in_the_same_colours(name: str) -> None:
    change, ground = SLIDES[name]
    plain, other = smear(), smear(change, ground)
    assert np.abs(plain.astype(int) - other).mean() > 10
    crops = [cell_crop(field, BOX, CROP).astype(int) for field in (plain, other)]
    assert np.abs(crops[0] - crops[1]).mean() < 6
    # The granules have the colour of red cells and not that of the nucleus.
    size = CROP["input_size"]
    at = size // 2 + round(22 / 120 * size / zoom_out(measure_surroundings(plain, BOX), 2.4))
    granules = [crop[size // 2 - 2 : size // 2 + 3, at - 2 : at + 3].mean((0, 1)) for crop in crops]
    assert granules[0] == pytest.approx(granules[1], abs=14)
    assert all(blue < red - 15 for blue, _, red in granules)


def test_a_small_cell_is_shown_small() -> None:
    known = Surroundings(np.zeros(3), AZURE, EOSIN, 0.5)
    assert zoom_out(known, 2.4) == pytest.approx(1.2)
    assert zoom_out(Surroundings(np.zeros(3), AZURE, EOSIN, 0.3), 2.4) == 1
    assert zoom_out(Surroundings(np.zeros(3), AZURE, EOSIN, 1.0), 2.4) == LARGEST_ZOOM_OUT
    assert zoom_out(Surroundings(np.zeros(3), AZURE, None, None), 2.4) == 1


def test_without_red_cells_the_nucleus_decides() -> None:
    field = np.full((90, 90, 3), 235, np.uint8)
    cv2.circle(field, (45, 45), 20, (150, 60, 90), -1, cv2.LINE_AA)
    around = measure_surroundings(field, (20, 20, 70, 70))
    assert around.red_cell is None and around.diameter is None
    crop = cell_crop(field, (20, 20, 70, 70), CROP)
    assert crop.shape == (CROP["input_size"],) * 2 + (3,)
    assert crop[0, 0] == pytest.approx(crop[-1, -1], abs=2)


def test_faint_shadows_are_no_red_cells() -> None:
    field = smear()
    light = 250 - (250 - field.astype(int)) // 8
    light[100:200, 100:200] = field[100:200, 100:200]
    assert measure_surroundings(light.astype(np.uint8), BOX).red_cell is None


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_field_has_the_same_surroundings(turns: int) -> None:
    straight, turned = (measure_surroundings(np.rot90(smear(), n).copy(), BOX) for n in (0, turns))
    assert turned.red_cell == pytest.approx(straight.red_cell, abs=0.02)
    assert turned.diameter == pytest.approx(straight.diameter, abs=0.04)


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((1, 1), (0, 0, 1, 1)),
        ((8, 8), (0, 0, 8, 8)),
        ((40, 400), (0, 0, 40, 40)),
        ((50, 50), (20, 20, 20, 20)),
        ((50, 50), (-10, -10, 12, 12)),
        ((50, 50), (44, 44, 60, 60)),
        ((50, 50), (-30, -30, 80, 80)),
    ],
)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_any_box_of_any_field(size: tuple[int, int], box: tuple[int, ...], value: int) -> None:
    field = np.full((*size, 3), value, np.uint8)
    around = measure_surroundings(field, box)
    assert np.isfinite(around.ground).all() and np.isfinite(around.nucleus).all()
    crop = cell_crop(field, box, CROP)
    assert crop.shape == (CROP["input_size"],) * 2 + (3,)


def test_a_part_of_the_field_is_enough() -> None:
    large = cv2.copyMakeBorder(smear(), 500, 500, 500, 500, cv2.BORDER_REFLECT)
    box = np.array(BOX) + 500
    reach = int(80 * REACH) + 4
    low, high = 650 - reach, 650 + reach
    part = large[low:high, low:high]
    whole, cut = cell_crop(large, box, CROP), cell_crop(part, box - low, CROP)
    assert np.abs(whole.astype(int) - cut).mean() < 3


def test_cards_of_older_networks_are_cropped_as_before() -> None:
    stain = {name: value for name, value in STAIN.items() if name != "red_cell"}
    card = {"input_size": 96, "crop_padding": 1.25, "stain": stain}
    crop = crop_cell(smear(), BOX, 96, 1.25)
    assert np.array_equal(cell_crop(smear(), BOX, card), normalise_stain(crop, **stain))
    assert np.array_equal(cell_crop(smear(), BOX, {**card, "stain": None}), crop)


def test_what_is_asked_for_comes_out() -> None:
    crop = match_stain(smear(), measure_surroundings(smear(), BOX), **STAIN)
    assert crop[2, 50].tolist() == pytest.approx([235] * 3, abs=8)  # the ground
    red_cell = np.exp(-(np.array(STAIN["red_cell"][::-1]) + STAIN["ground"])) * 256 - 1
    assert crop[24, 24].tolist() == pytest.approx(red_cell.tolist(), abs=14)
