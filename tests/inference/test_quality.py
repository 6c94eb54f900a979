"""Quality of a field: real and drawn fields pass, damaged ones are called what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from conftest import make_cell

from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.quality import cell_width, measure, measure_field
from wbcdet.io.colour import Pixels
from wbcdet.io.field import Field, read_field


@pytest.fixture(scope="module")
def drawn() -> tuple[Pixels, float]:
    """Return a drawn field and the width of its cells."""
    field = render_field(4, 640, 480, cell_px=110, counts={"neutrophil": 2, "monocyte": 1})
    return field.pixels, float(np.median([cell.diameter for cell in field.cells]))


def exposed(pixels: Pixels, factor: float) -> Pixels:
    return np.clip(pixels * factor, 0, 255).astype(np.uint8)


def grey(pixels: Pixels) -> Pixels:
    return cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)


def check_damage(pixels: Pixels, cell: float) -> None:
    assert measure(pixels, cell).problems == ()
    damaged = {
        "blurred": cv2.GaussianBlur(pixels, (0, 0), 0.05 * cell),
        "overexposed": exposed(pixels, 2.2),
        "too dark": exposed(pixels, 0.3),
        "no stain": grey(pixels),
    }
    for problem, picture in damaged.items():
        assert problem in measure(picture, cell).problems, problem
    assert measure(damaged["blurred"], cell).focus < measure(pixels, cell).focus / 4


def test_a_drawn_field(drawn: tuple[Pixels, float]) -> None:
    check_damage(*drawn)


@pytest.mark.parametrize(
    ("archive", "ending", "cell"),
    [
        ("bccd.zip", "BloodImage_00001.jpg", 200),
        ("tecom-cellavision.zip", "Dataset 2/010.bmp", 170),
    ],
)
def test_a_real_field(
    real_field: Callable[[str, str], np.ndarray], archive: str, ending: str, cell: float
) -> None:
    check_damage(real_field(archive, ending), cell)


def test_resolution_does_not_matter(drawn: tuple[Pixels, float]) -> None:
    pixels, cell = drawn
    first = measure(pixels, cell)
    for zoom in (2.0, 3.7):
        large = cv2.resize(pixels, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        again = measure(large, cell * zoom)
        assert 0.6 < again.focus / first.focus < 1.6
        assert abs(again.brightness - first.brightness) < 5
        assert abs(again.covered - first.covered) < 0.1


def test_without_cells_only_strong_blur_is_called_so(drawn: tuple[Pixels, float]) -> None:
    pixels, cell = drawn
    assert measure(pixels).problems == ()
    assert "blurred" in measure(cv2.GaussianBlur(pixels, (0, 0), 0.15 * cell)).problems


def test_glass_without_cells() -> None:
    rng = np.random.default_rng(0)
    glass = np.clip(rng.normal((215, 205, 218), 3, (480, 640, 3)), 0, 255).astype(np.uint8)
    assert measure(glass).problems == ("empty",)
    assert measure(np.full((480, 640, 3), 255, np.uint8)).problems == ("empty", "overexposed")
    assert measure(np.zeros((480, 640, 3), np.uint8)).problems == ("empty", "too dark")


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (40, 3), (31, 33)])
def test_tiny_pictures(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    quality = measure(picture, 90.0)
    assert np.isfinite([quality.focus, quality.colour, quality.covered]).all()


def test_of_a_large_field_little_is_read(drawn: tuple[Pixels, float]) -> None:
    pixels, cell = drawn
    taken: list[int] = []

    class Counted(Field):
        def read(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
            part = super().read(x0, y0, x1, y1)
            taken.append(part.shape[0] * part.shape[1])
            return part

    tiled = np.tile(pixels, (10, 10, 1))
    quality = measure_field(Counted("", None, tiled), cell)
    assert sum(taken) < 0.1 * tiled.shape[0] * tiled.shape[1]
    measured = measure(pixels, cell)
    assert quality.problems == () and 0.6 < quality.focus / measured.focus < 1.6
    blurred = cv2.GaussianBlur(tiled, (0, 0), 0.05 * cell)
    assert measure_field(Field("", None, blurred), cell).problems == ("blurred",)


def test_of_a_large_tiff_the_overview_is_enough(
    drawn: tuple[Pixels, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbcdet.io.field._MAX_WHOLE", 100)
    monkeypatch.setattr("wbcdet.io.tiff.OVERVIEW_SIDE", 320)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, drawn[0][:, :, ::-1], photometric="rgb", tile=(64, 64))
    field = read_field(path)
    assert field.reduction == 2
    assert measure_field(field, drawn[1]) == measure(field.pixels, drawn[1] / 2)
    assert measure_field(field).problems == ()


def test_the_width_of_cells() -> None:
    cells = [make_cell(n, (0.0, 0.0, width, 20.0)) for n, width in enumerate((30.0, 40.0, 90.0))]
    assert cell_width(cells) == 40.0
    assert cell_width([replace(cells[0], touches_edge=True), cells[2]]) == 90.0
    assert cell_width([]) is None
