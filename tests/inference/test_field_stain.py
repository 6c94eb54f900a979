"""A field's ground and red cells are brought to the colours that the detector knows."""

from __future__ import annotations

import numpy as np
import pytest

from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.detector import letterbox
from wbcdet.inference.field_stain import match_field_stain, measure_stain
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
    left = np.abs(matched.astype(int) - wanted).mean()
    # What is dense enough to count as stained differs with the amount, so a part remains.
    assert left < 4 if amount == 1 else left < 0.5 * np.abs(other.astype(int) - field).mean()


def test_ground_and_red_cells_have_the_wanted_colours() -> None:
    measured = measure_stain(match_field_stain(_field(), **FIELD_STAIN))
    assert measured is not None
    assert measured[:3] == pytest.approx(FIELD_STAIN["ground"], abs=0.05)
    assert measured[3:6] == pytest.approx(FIELD_STAIN["red_cell"], abs=0.06)


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
