"""Changes of stain, light and optics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import grain

from wbcdet.training.augment_stain import (
    change_light,
    change_optics,
    change_stain,
    density,
    from_density,
)

CHANGES = [change_stain, change_light, change_optics]


def test_density_and_back_within_one_level() -> None:
    levels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    od = density(levels)
    assert od.dtype == np.float32 and (np.diff(od[..., 0].ravel()) < 0).all()
    assert density(np.full((1, 1, 3), 255, np.uint8)).max() == 0
    assert np.abs(from_density(od).astype(int) - levels).max() <= 1


def test_from_density_is_clipped() -> None:
    assert from_density(np.array([[[-5.0, 0.0, 50.0]]])).tolist() == [[[255, 255, 0]]]


def test_no_strength_no_change() -> None:
    image = grain()
    for seed in range(20):
        changed = change_stain(image, np.random.default_rng(seed), strength=0.0)
        assert np.abs(changed.astype(int) - image).max() <= 1


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (96, 96)])
def test_form_stays_and_input_is_left_alone(
    change: Callable[..., np.ndarray], shape: tuple[int, int]
) -> None:
    image = grain(*shape)
    before = image.copy()
    for seed in range(25):
        out = change(image, np.random.default_rng(seed))
        assert out.shape == image.shape and out.dtype == np.uint8
    assert np.array_equal(image, before)


@pytest.mark.parametrize("change", CHANGES)
def test_chance_is_that_of_the_seed(change: Callable[..., np.ndarray]) -> None:
    image = grain()
    first, again = (
        [change(image, np.random.default_rng(seed)) for seed in range(12)] for _ in range(2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({out.tobytes() for out in first}) > 6


def test_a_stronger_change_goes_further() -> None:
    image = grain().astype(np.uint8)

    def distance(strength: float) -> float:
        outs = [change_stain(image, np.random.default_rng(s), strength) for s in range(30)]
        return float(np.mean([np.abs(out.astype(int) - image).mean() for out in outs]))

    assert 1 < distance(0.3) < distance(1.0)
