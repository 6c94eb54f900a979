"""Composed scenes: their boxes lie on their cells, and chance is that of the seed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import PURPLE

from wbcdet.datasets import scene_sources as sources
from wbcdet.datasets.scene_sources import cover_cells, load_cutouts, load_sources
from wbcdet.training import compose_scenes as scenes
from wbcdet.training import distractors
from wbcdet.training.compose_scenes import FIELD_STAIN, SceneMaker, _mirrored, _turn

SIZE = 192
GREY = (200, 200, 200)


def purple(image: np.ndarray, tolerance: int = 30) -> np.ndarray:
    """Where a picture has the colour of the made-up white cells."""
    return (np.abs(image.astype(int) - PURPLE) < tolerance).all(-1)


@pytest.fixture(scope="module")
def maker(made_up: Path) -> SceneMaker:
    return SceneMaker(load_sources(made_up, ("train",)), load_cutouts(made_up), SIZE)


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(30, 20, 60, 50)],
        [(0, 0, 30, 30), (100, 70, 160, 120)],  # in the corners
        [(10, 10, 40, 40), (60, 10, 90, 40), (110, 10, 140, 40), (10, 70, 40, 100)],
        [(20, 10, 130, 110)],  # so large that only smaller patches fit beside it
    ],
)
def test_covered_cells_are_gone(boxes: list[tuple[int, ...]]) -> None:
    image = np.full((120, 160, 3), GREY, np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = PURPLE
    before = image.copy()
    covered = cover_cells(image, np.array(boxes, np.float32).reshape(-1, 4))
    assert np.array_equal(image, before)
    assert covered.shape == image.shape and covered.dtype == np.uint8
    assert not purple(covered).any()
    assert np.array_equal(covered, cover_cells(image, np.array(boxes, np.float32).reshape(-1, 4)))


def test_a_cell_that_fills_its_field_stays_without_an_error() -> None:
    image = np.full((40, 40, 3), PURPLE, np.uint8)
    assert cover_cells(image, np.array([[0, 0, 40, 40]], np.float32)).shape == image.shape


def test_sources_by_split_and_laboratory(made_up: Path) -> None:
    sources = load_sources(made_up, ("train",))
    assert {lab: len(found) for lab, found in sources.items()} == {"a": 2, "b": 3}
    assert [len(s.cells) for s in sources["b"]] == [1, 2, 0]
    assert [len(s.ignored) for s in sources["b"]] == [0, 1, 0]
    assert sources["a"][0].cells.tolist() == [[40, 30, 70, 60]]
    assert all(s.cells.shape[1:] == s.ignored.shape[1:] == (4,) for s in sources["b"])
    assert not any(purple(s.blanks[0]).any() for found in sources.values() for s in found)
    assert {lab: len(s) for lab, s in load_sources(made_up, ("val", "test")).items()} == {
        "a": 2,
        "b": 2,
    }


def test_left_out_laboratory_gives_neither_fields_nor_cutouts(made_up: Path) -> None:
    assert set(load_sources(made_up, ("train",), leave_out=("b",))) == {"a"}
    assert set(load_cutouts(made_up)) == {"a", "b"}
    assert set(load_cutouts(made_up, leave_out=("b",))) == {"a"}
    assert load_cutouts(made_up)["a"][0].shape == (30, 30, 4)
    assert load_sources(made_up, ("train",), leave_out=("a", "b")) == {}


def test_large_fields_are_kept_smaller(made_up: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST_SOURCE", 80)
    source = load_sources(made_up, ("train",))["a"][0]
    assert source.images[0].shape == (60, 80, 3) and source.cells.tolist() == [[20, 15, 35, 30]]


def test_views_at_low_magnification_take_smaller_copies(made_up: Path) -> None:
    source = load_sources(made_up, ("train",))["a"][0]
    assert [image.shape[:2] for image in source.images] == [(120, 160), (60, 80), (30, 40)]
    widths = [source.at_scale(scale, False).shape[1] for scale in (3, 1, 0.6, 0.5, 0.3, 0.2, 0.01)]
    assert widths == [160, 160, 160, 80, 80, 40, 40]
    assert not purple(source.at_scale(0.3, True)).any()


def test_the_same_seed_the_same_scene(maker: SceneMaker) -> None:
    for view in (maker.make, maker.telephone):
        pairs = [(view((3, n)), view((3, n))) for n in range(10)]
        for (image, boxes), (image_again, boxes_again) in pairs:
            assert np.array_equal(image, image_again) and np.array_equal(boxes, boxes_again)
        assert len({image.tobytes() for (image, _), _ in pairs}) == 10


def test_scenes_keep_fine_colour(made_up: Path) -> None:
    parts = load_sources(made_up, ("train",)), load_cutouts(made_up), SIZE
    fine = SceneMaker(*parts, {**FIELD_STAIN, "colour_grain": 1})
    assert np.array_equal(SceneMaker(*parts).make((1, 2))[0], fine.make((1, 2))[0])


def test_scenes_leave_their_sources_alone(made_up: Path) -> None:
    maker = SceneMaker(load_sources(made_up, ("train",)), load_cutouts(made_up), SIZE)

    def state() -> list[bytes]:
        fields = [s for found in maker.sources.values() for s in found]
        kept = [a.tobytes() for s in fields for a in (*s.images, *s.blanks, s.cells, s.ignored)]
        return kept + [c.tobytes() for found in maker.cutouts.values() for c in found]

    before = state()
    for n in range(60):
        maker.make((n,))
    assert state() == before


def test_form_and_boxes(maker: SceneMaker) -> None:
    numbers = []
    for n in range(300):
        image, boxes = maker.make((n,))
        assert image.shape == (SIZE, SIZE, 3) and image.dtype == np.uint8
        assert boxes.ndim == 2 and boxes.shape[1] == 4
        assert (boxes >= 0).all() and (boxes <= SIZE).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        numbers.append(len(boxes))
    empty = numbers.count(0) / len(numbers)
    assert 0.1 < empty < 0.5  # scenes without a cell are there, and not the most
    assert max(numbers) > 3


def test_boxes_lie_on_the_cells(maker: SceneMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without changes of colour a white cell keeps its own, so that it can be told from the rest.
    for change in ("change_stain", "change_light", "change_optics", "match_field_stain"):
        monkeypatch.setattr(scenes, change, lambda image, *_, **__: image)
    monkeypatch.setattr(scenes, "through_eyepiece", lambda image, boxes, *_: (image, boxes))
    for change in ("draw_dirt", "draw_odd_red_cells", "draw_marks"):
        monkeypatch.setattr(scenes, change, lambda image, *_: image)
    off = covered = unboxed = 0.0
    for n in range(200):
        image, boxes = maker.make((n,))
        cell, boxed = purple(image), np.zeros((SIZE, SIZE), bool)
        for x0, y0, x1, y1 in boxes.round().astype(int):
            boxed[y0:y1, x0:x1] = True
        off += float((boxed & ~cell).sum())
        covered += float((boxed & cell).sum())
        unboxed += float((cell & ~boxed).sum())
    # A pixel of rim by interpolation on either side, and slivers at the border.
    assert off < 0.05 * covered and unboxed < 0.05 * covered


def test_mirrored_tiles_take_their_boxes_along(maker: SceneMaker) -> None:
    source, seen = maker.sources["b"][1], set()
    for seed in range(20):
        image, cells, ignored = _mirrored(source, np.random.default_rng(seed), 1.0, blank=False)
        inside = np.zeros(image.shape[:2], bool)
        for x0, y0, x1, y1 in cells.astype(int):
            inside[y0:y1, x0:x1] = True
        assert np.array_equal(inside, purple(image)) and len(ignored) == 1
        seen.add(tuple(cells[0]))
        image, cells, ignored = _mirrored(source, np.random.default_rng(seed), 1.0, blank=True)
        assert not purple(image).any() and not len(cells) and not len(ignored)
    assert len(seen) == 4  # as it is, mirrored either way, and both


def test_no_cutouts_is_no_hindrance(made_up: Path) -> None:
    maker = SceneMaker(load_sources(made_up, ("train",)), {}, SIZE)
    assert sum(len(maker.make((n,))[1]) for n in range(50)) > 10


def test_telephone_views_are_round_and_black_outside(maker: SceneMaker) -> None:
    for n in range(30):
        image, boxes = maker.telephone((n,))
        corners = [image[y, x].mean() for y in (0, -1) for x in (0, -1)]
        assert min(corners) <= 30  # the eyepiece may be off centre, but shows no whole square
        assert image[SIZE // 2, SIZE // 2].mean() > 40
        assert (boxes >= 0).all() and (boxes <= SIZE).all()
        sides = boxes[:, 2:] - boxes[:, :2]
        assert (sides > 0).all() and (sides < 0.35 * SIZE).all()


def test_a_turned_scene_keeps_its_boxes_on_its_cells() -> None:
    image = np.full((40, 40, 3), GREY, np.uint8)
    image[4:10, 20:35] = PURPLE
    boxes = np.array([[20, 4, 35, 10]], np.float32)
    seen = set()
    for seed in range(60):
        turned, moved = _turn(image, boxes, np.random.default_rng(seed))
        x0, y0, x1, y1 = moved[0].astype(int)
        assert purple(turned[y0:y1, x0:x1]).all() and purple(turned).sum() == 90
        seen.add(tuple(moved[0]))
    assert len(seen) == 8


def test_crowds_hold_many_cells_that_touch(maker: SceneMaker) -> None:
    numbers, touching = [], 0
    for seed in range(30):
        _, boxes, _ = maker._crowd(np.random.default_rng(seed))
        numbers.append(len(boxes))
        for i, a in enumerate(boxes):
            others = np.delete(boxes, i, 0)
            low, high = np.maximum(a[:2], others[:, :2]), np.minimum(a[2:], others[:, 2:])
            touching += bool(((high - low) >= 0).all(1).any())
    assert max(numbers) > 15 and np.median(numbers) >= 3 and touching > 10


@pytest.mark.parametrize("draw", [distractors.draw_odd_red_cells, distractors.draw_marks])
def test_distractors_leave_white_cells_alone(draw: Callable[..., np.ndarray]) -> None:
    image = np.full((120, 120, 3), GREY, np.uint8)
    boxes = np.array([[30, 30, 70, 70]], np.float32)
    changed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        arguments = (boxes, 30.0, rng) if draw is distractors.draw_odd_red_cells else (boxes, rng)
        out = draw(image, *arguments)
        assert out.shape == image.shape and out.dtype == np.uint8
        inside = np.abs(out[32:68, 32:68].astype(int) - image[32:68, 32:68])
        assert inside.max() <= 25  # the soft rim of a neighbour
        changed += bool((out != image).any())
    assert changed > 25
