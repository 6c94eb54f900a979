"""Annotated pictures."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import cv2
import numpy as np
import pytest
from conftest import make_cell

from wbcdet.records import ALL_LABELS, Cell, CellType
from wbcdet.results import annotate as draw
from wbcdet.results.palette import _GIVEN, _OTHERS, _USUAL, COLOURS, rgb_of


def crowd(width: int, height: int) -> list[Cell]:
    """Cells in the corners, in the middle, and two that overlap."""
    w, h = width / 5, height / 5
    places = [(0, 0), (4 * w, 0), (0, 4 * h), (4 * w, 4 * h), (2 * w, 2 * h), (2.5 * w, 2.3 * h)]
    return [
        make_cell(
            number,
            (x, y, x + w, y + h),
            ALL_LABELS[number % 5],
            "low-score" if ALL_LABELS[number % 5] is CellType.UNCLASSIFIED else None,
        )
        for number, (x, y) in enumerate(places)
    ]


@pytest.mark.parametrize(("width", "height"), [(256, 256), (640, 480), (2048, 1536)])
def test_labels_lie_inside_and_apart(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rects: list[tuple[int, int, int, int]] = []
    real = draw._draw_label
    monkeypatch.setattr(
        draw,
        "_draw_label",
        lambda picture, mask, rect, label: (rects.append(rect), real(picture, mask, rect, label)),
    )
    picture = draw.annotate(np.full((height, width, 3), 220, np.uint8), crowd(width, height))
    rows, columns = picture.shape[:2]
    assert max(rows, columns) >= 640 and abs(columns / rows - width / height) < 0.01
    assert len(rects) == 6
    for left, top, right, bottom in rects:
        assert left >= 0 and top >= 0 and right <= columns and bottom <= rows
        assert bottom - top >= 15
    pairs = combinations(np.array(rects), 2)
    assert all(draw._covered(pair[None], other[None]) == 0 for pair, other in pairs)


def test_input_is_left_alone_and_no_cells_change_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (900, 1200, 3), np.uint8)
    before = pixels.copy()
    assert (draw.annotate(pixels, []) == before).all()
    drawn = draw.annotate(pixels, crowd(1200, 900))
    assert (pixels == before).all() and (drawn != before).any()


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (20, 20)])
def test_tiny_and_narrow_fields(shape: tuple[int, int]) -> None:
    height, width = shape
    cell = make_cell(0, (0.0, 0.0, float(width), float(height)))
    assert draw.annotate(np.zeros((*shape, 3), np.uint8), [cell]).ndim == 3


def test_grey_fields() -> None:
    """What the analyzer takes can be drawn, too."""
    grey = np.full((900, 1200), 220, np.uint8)
    drawn = draw.annotate(grey, crowd(1200, 900))
    assert (drawn == draw.annotate(np.dstack([grey] * 3), crowd(1200, 900))).all()


def test_every_label_has_its_own_colour_and_text() -> None:
    assert len(set(COLOURS.values())) == len(ALL_LABELS)
    assert draw.label_text(make_cell()) == "neutrophil 0.97"
    assert draw.label_text(make_cell(label=CellType.UNCLASSIFIED, reason="artefact")) == "artefact"


def test_a_real_field(real_field: Callable[[str, str], np.ndarray]) -> None:
    pixels = real_field("bccd.zip", ".jpg")
    height, width = pixels.shape[:2]
    assert draw.annotate(pixels, crowd(width, height)).shape == (480, 640, 3)


def test_types_of_a_laboratorys_own_are_told_apart() -> None:
    """On maps the colour alone says which type a dot is: all of them had one."""
    named = [rgb_of(label) for label in (*COLOURS, "basophil", "artefact")]
    usual = [rgb_of(names[0].title()) for names in _USUAL.values()]
    assert usual == list(_USUAL) and rgb_of("band") == rgb_of("bands")
    colours = np.array([*named, *usual, *_OTHERS], np.float32)
    lab = cv2.cvtColor(colours[None] / 255, cv2.COLOR_RGB2LAB)[0]
    apart = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1000 * np.eye(len(lab))
    assert apart.min() > 18
    assert {rgb_of(label) for label in ("deleted", "artefact")} == {_GIVEN["artefact"]}
    # Names that nobody thought of, also those that begin alike, get one of the others.
    own = [rgb_of(f"type {letter}") for letter in "abcdefghijkl"]
    assert set(own) <= set(_OTHERS) and len(set(own)) > 4
    assert rgb_of("type a") == rgb_of("type a") == own[0]
