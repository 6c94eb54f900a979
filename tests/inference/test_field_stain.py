"""A field's ground and red cells are brought to the colours that the detector knows."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.detector import letterbox
from wbcdet.inference.field_stain import coarsen_colour, match_field_stain, measure_stain
from wbcdet.training.augment_stain import density, from_density
from wbcdet.training.compose_scenes import FIELD_STAIN


def _field(seed: int = 3) -> np.ndarray:
    return render_field(seed).pixels


@pytest.mark.parametrize(
    ("ground", "amount"),
    [
        ((0.0, 0.0, 0.0), 1.0),
        ((0.3, 0.1, 0.2), 1.0),
        ((0.1, 0.4, 0.0), 0.6),
        ((0.0, 0.0, 0.3), 1.5),
    ],
)
def test_another_lamp_and_stain_give_the_same_picture(
    ground: tuple[float, float, float], amount: float
) -> None:
    field = _field()
    clear = np.array((measure_stain(field) or ())[:3], np.float32)
    other = from_density((density(field) - clear) * np.float32(amount) + clear + np.float32(ground))
    wanted = match_field_stain(field, **FIELD_STAIN)
    matched = match_field_stain(other, **FIELD_STAIN)
    assert np.abs(matched.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("steepness", [0.3, 0.6])
def test_a_vignette_in_colours_is_taken_out(seed: int, steepness: float) -> None:
    field = _field(seed)
    height, width = field.shape[:2]
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    shade = (x**2 + y**2)[..., None] * [0.5, 0.3, 0.1] + x[..., None] * [0.0, 0.2, 0.5]
    uneven = from_density(density(field) + (steepness * shade).astype(np.float32))
    wanted = match_field_stain(field, **FIELD_STAIN).astype(int)
    left = np.abs(match_field_stain(uneven, **FIELD_STAIN) - wanted).mean()
    assert left < 0.4 * np.abs(uneven.astype(int) - field).mean()


def test_a_flare_of_the_lamp_is_not_the_ground() -> None:
    field = _field()
    height, width = field.shape[:2]
    clear = np.array((measure_stain(field) or ())[:3])
    darker = from_density(density(field) + np.float32(0.4))
    cv2.circle(darker, (width // 2, height // 2), height // 8, (255, 255, 190), -1)
    measured = measure_stain(darker)
    assert measured is not None
    assert measured[:3] == pytest.approx(clear + 0.4, abs=0.04)


def test_cells_crowded_on_one_side_do_not_tilt_the_ground() -> None:
    field = _field()
    height, width = field.shape[:2]
    clear = np.array((measure_stain(field) or ())[:3])
    cells = np.zeros((height, width), np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(30):
        at = int(rng.uniform(0, 0.35 * width)), int(rng.uniform(0, height))
        cv2.circle(cells, at, height // 12, 1, -1)
    nuclei = density(field) + cells[..., None] * np.float32([0.7, 1.3, 0.8])
    measured = measure_stain(from_density(nuclei))
    assert cells.mean() > 0.25
    assert measured is not None
    assert measured[:3] == pytest.approx(clear, abs=0.05)


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (97, 211)])
def test_fields_without_stain_stay_as_they_are(value: int, shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), value, np.uint8)
    assert np.array_equal(match_field_stain(pixels, **FIELD_STAIN), pixels)


def test_faint_stain_is_not_stretched_without_bound() -> None:
    rng = np.random.default_rng(0)
    faint = rng.integers(225, 256, (200, 200, 3), np.uint8)
    matched = match_field_stain(faint, **FIELD_STAIN)
    assert np.ptp(density(matched)) <= FIELD_STAIN["limits"][1] * np.ptp(density(faint)) + 0.05


def test_red_cells_that_take_up_no_red_light_make_no_blots_of_nuclei() -> None:
    field = _field()
    stain = np.array(measure_stain(field) or ())
    above = density(field) - stain[:3].astype(np.float32)
    # As some lamps and stains show them: of the red light that red cells take up, a tenth is left.
    red = stain[5] / stain[3:6].sum()
    eosin = np.minimum(above[..., 2], red * above.sum(2))
    above[..., 2] -= 0.9 * np.maximum(eosin, 0)
    pale = from_density(above + stain[:3].astype(np.float32))
    before, after = measure_stain(pale), measure_stain(match_field_stain(pale, **FIELD_STAIN))
    assert before is not None and after is not None
    stretched = np.array(after[6:]) / np.array(before[6:])
    assert stretched[2] < 1.1 * stretched[:2].max()


def test_letterbox_matches_before_it_pads() -> None:
    field = _field()
    before = field.copy()
    tensor, _, left, top = letterbox(field, 320, 32, 114, FIELD_STAIN)
    plain, *_ = letterbox(field, 320, 32, 114)
    assert np.array_equal(field, before)
    assert not np.allclose(tensor, plain)
    pad = np.ones(tensor.shape[2:], bool)
    height, width = (round(side * 320 / max(field.shape[:2])) for side in field.shape[:2])
    pad[top : top + height, left : left + width] = False
    assert np.allclose(tensor[0, :, pad], 114 / 255)


def test_coarse_colour_keeps_brightness_and_loses_fine_colour() -> None:
    rng = np.random.default_rng(0)
    plain = np.full((64, 96, 3), (200, 170, 210), np.uint8)
    # Noise of opposite sign in red and blue: nearly all colour and no brightness.
    noise = rng.integers(-20, 21, (64, 96))
    noisy = plain.astype(int) + np.stack([noise, noise * 0, -noise], 2) // (1, 1, 2)
    coarse = coarsen_colour(noisy.astype(np.uint8), 4)
    assert coarse.shape == plain.shape and coarse.dtype == np.uint8
    assert np.abs(coarse.astype(int) - plain).mean() < 0.3 * np.abs(noisy - plain).mean()
    grey = rng.integers(0, 256, (64, 96, 1), np.uint8).repeat(3, 2)
    assert np.abs(coarsen_colour(grey, 4).astype(int) - grey).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 2), (33, 31)])
def test_coarse_colour_of_any_size(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), (90, 120, 60), np.uint8)
    assert np.abs(coarsen_colour(pixels, 4).astype(int) - pixels).max() <= 1
    assert coarsen_colour(pixels, 1) is pixels


def test_the_detector_sees_coarse_colour_as_its_card_says() -> None:
    field = _field()
    width, height = 320, round(field.shape[0] * 320 / field.shape[1])
    small = cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA)
    wanted = match_field_stain(coarsen_colour(small, 4), **{**FIELD_STAIN, "colour_grain": 1})
    coarse, _, left, top = letterbox(field, 320, 32, 114, FIELD_STAIN)
    seen = coarse[0, ::-1, top : top + height, left : left + width].transpose(1, 2, 0) * 255
    assert np.abs(seen - wanted).max() < 1e-3
    fine = letterbox(field, 320, 32, 114, {**FIELD_STAIN, "colour_grain": 1})[0]
    assert np.abs(coarse - fine).max() > 0.02


def test_coarse_colour_turns_with_the_field() -> None:
    field = _field()
    turned = coarsen_colour(np.ascontiguousarray(field[::-1, ::-1]), 4)[::-1, ::-1]
    assert np.abs(turned.astype(int) - coarsen_colour(field, 4)).max() <= 1
