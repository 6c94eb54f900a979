"""Crops, which training and inference share."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from conftest import grain

from wbcdet.inference.preprocess import DENSITY, crop_cell, normalise, normalise_stain


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two pictures in grey levels."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.uint8
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_square_is_centred_on_the_box_and_padded() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    # 16 px wide, 10 high: a square of 1.25 * 16 = 20 px around (38, 35), cut at full scale.
    crop = crop_cell(pixels, (30, 30, 46, 40), 20, 1.25)
    assert np.array_equal(crop, pixels[25:45, 28:48])


@pytest.mark.parametrize("size", [40, 30, 15])
def test_scale(size: int) -> None:
    pixels = grain(64, 80)
    window = pixels[25:45, 28:48]
    expected = cv2.resize(window, (size, size), interpolation=cv2.INTER_LINEAR)
    crop = crop_cell(pixels, [30, 30, 46, 40], size, 1.25)
    # Beyond the window resizing repeats its rim, where the crop goes on in the field.
    assert difference(crop[2:-2, 2:-2], expected[2:-2, 2:-2]) < 1


def test_fractions_of_a_pixel_count() -> None:
    ramp = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], 40, 0).repeat(3, 2)
    left = crop_cell(ramp, (20, 10, 36, 26), 20, 1.25)
    half = crop_cell(ramp, np.array([20.5, 10, 36.5, 26]), 20, 1.25)
    assert np.array_equal(half, left + 1)  # the ramp rises by two a pixel


def test_beyond_the_field_stands_its_ground() -> None:
    pixels = np.full((40, 50, 3), (200, 210, 220), np.uint8)
    pixels[:6, :6] = (120, 40, 90)  # a nucleus in the corner
    crop = crop_cell(pixels, (-8, -8, 8, 8), 16, 1.0)
    assert np.array_equal(crop[8:, 8:], pixels[:8, :8])
    assert (crop[:8] == (200, 210, 220)).all() and (crop[:, :8] == (200, 210, 220)).all()
    beside = crop_cell(pixels, (60, 60, 70, 70), 16, 1.0)
    assert (beside == 255).all()


def test_a_large_cell_is_averaged_not_sampled() -> None:
    # Black and white at random: straight sampling keeps much of the contrast, an average is grey.
    pixels = np.random.default_rng(0).integers(0, 2, (600, 600, 1), np.uint8) * 255
    crop = crop_cell(pixels.repeat(3, 2), (100, 100, 500, 500), 50, 1.25)
    assert crop.std() < 20 and abs(crop.mean() - 127) < 5

    smooth = grain(600, 600)
    crop = crop_cell(smooth, (100, 120, 500, 480), 50, 1.25)
    expected = cv2.resize(smooth[50:550, 50:550], (50, 50), interpolation=cv2.INTER_AREA)
    assert difference(crop, expected) < 1.5


@pytest.mark.parametrize(("box", "size"), [((60, 70, 100, 110), 48), ((20, 20, 180, 180), 48)])
def test_a_quarter_turn(box: tuple[int, int, int, int], size: int) -> None:
    pixels = grain(200, 200)
    straight = crop_cell(pixels, box, size, 1.2)
    turned = crop_cell(pixels, box, size, 1.2, angle=90)
    assert difference(turned, np.ascontiguousarray(np.rot90(straight))) < 1
    assert difference(turned, straight) > 5


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        ((40, 40), (20, 20, 21, 21)),  # one pixel
        ((40, 40), (20, 20, 20, 20)),  # nothing
        ((1, 1), (0, 0, 1, 1)),
        ((40, 40), (30, 30, 500, 500)),  # far out of the field
        ((2000, 2000), (2500, -900, 3500, 100)),  # beside it, and large
        ((3, 5000), (100, 0, 1100, 3)),  # a strip too thin to shrink
        ((5000, 1), (0, 0, 1, 5000)),
    ],
)
def test_odd_boxes_give_a_crop(shape: tuple[int, int], box: tuple[float, ...]) -> None:
    crop = crop_cell(np.full((*shape, 3), 77, np.uint8), box, 32, 1.25)
    assert crop.shape == (32, 32, 3) and np.isin(crop, (77, 255)).all()


def test_one_pixel_box_shows_that_pixel() -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[20, 10] = (0, 0, 255)
    crop = crop_cell(pixels, (10, 20, 11, 21), 33, 1.0)
    assert crop[16, 16].tolist() == [0, 0, 255]


def test_normalise_gives_rgb_by_mean_and_deviation() -> None:
    crop = np.zeros((4, 4, 3), np.uint8)
    crop[..., 0], crop[..., 1], crop[..., 2] = 0, 51, 255  # blue, green, red
    batch = normalise([crop, 255 - crop], mean=(0.5, 0.2, 0.1), std=(0.25, 0.5, 0.1))
    assert batch.shape == (2, 3, 4, 4) and batch.dtype == np.float32
    assert batch.flags.c_contiguous
    assert batch[0, :, 1, 2] == pytest.approx([2.0, 0.0, -1.0], abs=1e-6)
    assert batch[1, :, 3, 0] == pytest.approx([-2.0, 1.2, 9.0], abs=1e-5)


EVEN = {"nucleus": (0.6, 1.2, 0.9), "ground": 0.1, "limits": (0.25, 8.0)}


def stained(ground: tuple[int, ...], nucleus: tuple[int, ...]) -> np.ndarray:
    """Return a crop with a round nucleus and a cytoplasm half as dense above the ground."""
    picture = np.empty((96, 96, 3), np.float32)
    low, high = DENSITY[list(ground)], DENSITY[list(nucleus)]
    picture[:] = low
    cv2.circle(picture, (48, 48), 34, ((low + high) / 2).tolist(), -1)
    cv2.circle(picture, (48, 48), 22, high.tolist(), -1)
    return np.clip(np.exp(-picture) * 256 - 1, 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("ground", "nucleus"),
    [
        ((230, 230, 230), (160, 60, 110)),
        ((120, 240, 250), (60, 70, 140)),  # yellow light
        ((200, 190, 185), (170, 110, 150)),  # pale
    ],
)
def test_even_stain_moves_ground_and_nucleus(
    ground: tuple[int, ...], nucleus: tuple[int, ...]
) -> None:
    even = normalise_stain(stained(ground, nucleus), **EVEN)
    assert DENSITY[even[2, 2]] == pytest.approx([0.1] * 3, abs=0.02)
    found, wanted = DENSITY[even[48, 48]] - 0.1, np.array([0.9, 1.2, 0.6])
    stretch = wanted / (DENSITY[list(nucleus)] - DENSITY[list(ground)])
    mean = np.exp(np.log(stretch).mean())
    # The amount is that of the wanted nucleus, the hue half way to it.
    assert found == pytest.approx(wanted * (mean / stretch) ** 0.5, rel=0.06)
    # What lies half way between ground and nucleus stays there.
    assert DENSITY[even[48, 48 - 28]] == pytest.approx(0.1 + found / 2, abs=0.04)


def test_even_stain_stretches_within_its_limits() -> None:
    pale = stained((240, 240, 240), (232, 230, 233))
    even = normalise_stain(pale, EVEN["nucleus"], 0.1, (0.5, 2.0))
    assert DENSITY[even[48, 48]].max() < 0.25
    for flat in (0, 128, 255):
        blank = normalise_stain(np.full((96, 96, 3), flat, np.uint8), **EVEN)
        assert DENSITY[blank] == pytest.approx(np.full((96, 96, 3), 0.1), abs=0.02)
