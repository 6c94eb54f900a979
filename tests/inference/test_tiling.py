"""Tiles: every cell counted once, wherever it lies; views that suit the cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import grain

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import SmearField, render_smear
from wbcdet.inference.magnification import View, cell_size, choose_view
from wbcdet.inference.sliced import crop
from wbcdet.inference.tiling import Tile, assign, merge, plan
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.records import FieldResult
from wbcdet.settings import Settings


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(device="cpu")


@pytest.mark.parametrize(
    ("width", "height", "size", "overlap"),
    [(1000, 700, 256, 64), (257, 5000, 256, 128), (100, 80, 256, 64), (513, 512, 256, 1)],
)
def test_cores_cover_the_field_once_and_tiles_overlap(
    width: int, height: int, size: int, overlap: int
) -> None:
    tiles = plan(width, height, size, overlap)
    owners = np.zeros((height, width), int)
    for tile in tiles:
        x0, y0, x1, y1 = tile.box
        assert 0 <= x0 <= tile.core[0] < tile.core[2] <= x1 <= width
        assert 0 <= y0 <= tile.core[1] < tile.core[3] <= y1 <= height
        assert (x1 - x0, y1 - y0) == (min(size, width), min(size, height))
        owners[tile.core[1] : tile.core[3], tile.core[0] : tile.core[2]] += 1
        for side, length, near, far in ((0, width, 0, 2), (1, height, 1, 3)):
            if tile.box[near] > 0:
                assert tile.core[near] - tile.box[near] >= overlap // 2, side
            if tile.box[far] < length:
                assert tile.box[far] - tile.core[far] >= overlap // 2, side
    assert (owners == 1).all()


class Eye:
    """A detector that sees every cell of which a tile shows enough, never twice alike.

    Boxes differ from tile to tile by up to 4 % of the cell, and what is cut ends at the tile.
    """

    def __init__(self, cells: np.ndarray, seed: int) -> None:
        self.cells = cells
        self.rng = np.random.default_rng(seed)

    def __call__(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        x0, y0, x1, y1 = tile.box
        sides = self.cells[:, 2:] - self.cells[:, :2]
        boxes = self.cells + self.rng.uniform(-0.04, 0.04, self.cells.shape) * np.tile(sides, 2)
        boxes = boxes.clip([x0, y0, x0, y0], [x1, y1, x1, y1])
        shown = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(1) / sides.prod(1)
        seen = shown > self.rng.uniform(0.25, 0.6, len(shown))
        return boxes[seen], self.rng.uniform(0.45, 1, int(seen.sum()))


def settled(cells: np.ndarray, width: int, height: int, seed: int = 0) -> np.ndarray:
    eye = Eye(cells, seed)
    claims = []
    for tile in plan(width, height, SIZE, OVERLAP):
        claims.append(assign(tile, *eye(tile), width, height))
    return np.array([box for _, _, box in merge(claims)]).reshape(-1, 4)


def each_once(cells: np.ndarray, found: np.ndarray) -> bool:
    """Found boxes and cells stand one to one."""
    low = np.maximum(cells[:, None, :2], found[None, :, :2])
    high = np.minimum(cells[:, None, 2:], found[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    area, areas = (cells[:, 2:] - cells[:, :2]).prod(1), (found[:, 2:] - found[:, :2]).prod(1)
    hits = shared / (area[:, None] + areas[None] - shared) > 0.6
    return len(found) == len(cells) and (hits.sum(0) == 1).all() and (hits.sum(1) == 1).all()


SIZE, OVERLAP = 256, 64
SIDE = 600
SEAMS = sorted({tile.core[0] for tile in plan(SIDE, SIDE, SIZE, OVERLAP)} - {0})


@pytest.mark.parametrize("width", [20, 40, 64, 90, 150])
def test_one_cell_at_every_place_about_every_seam_and_corner(width: int) -> None:
    """Also cells larger than the overlap, which no tile sees whole when they lie on a seam."""
    steps = range(-OVERLAP, OVERLAP + 1, 4)
    places = [(seam + step, SIDE / 4.1) for seam in SEAMS for step in steps]
    places += [(y, x) for x, y in places]
    places += [(s + a, t + b) for s in SEAMS for t in SEAMS for a in steps[::4] for b in steps[::5]]
    for number, (x, y) in enumerate(places):
        height = width * (0.8 if number % 2 else 1.1)
        cell = np.array([[x - width / 2, y - height / 2, x + width / 2, y + height / 2]])
        assert each_once(cell, settled(cell, SIDE, SIDE, number)), (x, y)


def test_cells_that_touch_each_other_on_a_seam_stay_two() -> None:
    number = 0
    for seam in SEAMS:
        for step in range(-40, 41, 4):
            for small in (20, 36):
                x = seam + step
                pair = np.array([[x - 44, 100, x, 144], [x, 110, x + small, 110 + small]], float)
                for cells in (pair, pair[:, [1, 0, 3, 2]]):
                    number += 1
                    assert each_once(cells, settled(cells, SIDE, SIDE, number)), (seam, step)


def test_a_crowd_is_counted_exactly() -> None:
    rng = np.random.default_rng(3)
    # Cells of all sizes up to the overlap, one in each square of a grid, some touching.
    corners = np.stack(np.meshgrid(np.arange(0, 1500, 66), np.arange(0, 1300, 66)), -1)
    for seed in range(3):
        sides = rng.uniform(12, 64, (*corners.shape[:2], 2))
        low = corners + rng.uniform(0, 1, sides.shape) * (66 - sides)
        cells = np.concatenate([low, low + sides], -1).reshape(-1, 4)
        assert each_once(cells, settled(cells, 1518, 1320, seed))


def test_no_cells_and_no_tiles() -> None:
    assert merge([]) == []
    assert settled(np.zeros((0, 4)), 600, 600).shape == (0, 4)


@pytest.fixture(scope="module")
def smear() -> SmearField:
    return render_smear(6, 2700, 1400, cell_px=60, cells_per_mm2=200)


def truth(field: SmearField) -> np.ndarray:
    return np.array([cell.box for cell in field.cells])


def boxes_of(result: FieldResult) -> np.ndarray:
    return np.array([cell.box for cell in result.cells]).reshape(-1, 4)


def found_once(field: SmearField, result: FieldResult) -> bool:
    """Every drawn cell has one box; the detector may take some drawn platelets for cells."""
    cells, boxes = truth(field), boxes_of(result)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    at = ((middle[None] > cells[:, None, :2]) & (middle[None] < cells[:, None, 2:])).all(2)
    return each_once(cells, boxes[at.any(0)]) and len(boxes) <= 1.2 * len(cells)


def test_a_plain_field_is_seen_as_a_whole() -> None:
    def refuse(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("looked at")

    field = Field("", None, np.zeros((1536, 2048, 3), np.uint8))
    assert choose_view(field, refuse, 416, Settings()) is None
    assert choose_view(field, refuse, 416, Settings(tile_size=2048)) is None
    assert choose_view(field, refuse, 416, Settings(tile_size=1000)) == View(1000, 250)
    given = Settings(tile_size=1000, tile_overlap=300)
    assert choose_view(field, refuse, 416, given) == View(1000, 300)


def test_the_view_follows_the_cells(analyzer: Analyzer, smear: SmearField) -> None:
    field = Field("", None, smear.pixels)
    side = analyzer.detector.card["input_size"]
    width = cell_size(field, analyzer.detector.detect, side)
    median = np.median((truth(smear)[:, 2:] - truth(smear)[:, :2]).max(1))
    assert width is not None and 0.8 * median < width < 1.25 * median
    view = choose_view(field, analyzer.detector.detect, side, analyzer.settings)
    assert view is not None and view.size % side == 0 and view.overlap > 1.5 * median
    assert 30 <= median * side / view.size <= 90  # of the size that the detector knows best
    blank = Field("", None, np.full((1400, 2700, 3), 220, np.uint8))
    assert choose_view(blank, analyzer.detector.detect, side, analyzer.settings) == View(2048, 512)


@pytest.mark.parametrize("tile", [None, 900])
def test_a_large_smear_is_counted_exactly(
    analyzer: Analyzer, smear: SmearField, tile: int | None
) -> None:
    chosen = analyzer if tile is None else Analyzer(Settings(tile_size=tile), device="cpu")
    result = chosen.analyze(smear.pixels)
    assert (result.width, result.height) == (2700, 1400)
    assert found_once(smear, result)
    assert [cell.id for cell in result.cells] == list(range(len(result.cells)))
    assert not any(cell.touches_edge for cell in result.cells)  # drawn whole inside the field


@pytest.mark.parametrize("overlap", [1, 100])
def test_tiles_that_share_less_than_half_a_cell_are_said(smear: SmearField, overlap: int) -> None:
    x, y = (round(value) for value in smear.cells[0].center)
    part = smear.pixels[max(0, y - 180) : y + 180, max(0, x - 180) : x + 180]
    chosen = Analyzer(Settings(tile_size=220, tile_overlap=overlap), device="cpu")
    result = chosen.analyze(np.ascontiguousarray(part))
    assert result.cells
    said = [line for line in result.remarks if "may count twice" in line]
    assert bool(said) == (overlap == 1)
    assert overlap > 1 or said[0].startswith("tiles of 220 px share 1 px, and cells are ")


def test_cells_at_the_border_of_the_field_are_flagged(
    analyzer: Analyzer, smear: SmearField
) -> None:
    x0, y0, x1, y1 = (round(value) for value in max(smear.cells, key=lambda c: c.diameter).box)
    middle = (x0 + x1) // 2
    cut = smear.pixels[:, middle:] if middle < 1400 else smear.pixels[:, :middle]
    result = Analyzer(Settings(tile_size=800), device="cpu").analyze(np.ascontiguousarray(cut))
    flagged = [cell.box for cell in result.cells if cell.touches_edge]
    assert any(y0 - 5 < box[1] and box[3] < y1 + 5 for box in flagged)
    for box in flagged:
        assert min(box[0], box[1], cut.shape[1] - box[2], cut.shape[0] - box[3]) < 1


def test_a_tiff_read_in_parts_gives_what_its_pixels_give(
    analyzer: Analyzer, smear: SmearField, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "smear.tif"
    rgb = smear.pixels[:, :, ::-1]
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(256, 256), compression="zlib")
    monkeypatch.setattr("wbcdet.io.field._MAX_WHOLE", 1_000_000)
    field, result = next(analyzer.analyze_fields([path]))
    assert field is not None and field.reduction == 1
    assert np.array_equal(field.pixels, smear.pixels)
    assert result.cells == analyzer.analyze(smear.pixels).cells
    # Through an overview much smaller than the field.
    monkeypatch.setattr("wbcdet.io.tiff.OVERVIEW_SIDE", 500)
    field, result = next(analyzer.analyze_fields([path]))
    assert field is not None and field.reduction == 6
    assert field.pixels.shape == (233, 450, 3)
    assert found_once(smear, result)
    # Tiles too large to be read are looked at in the overview.
    monkeypatch.setattr("wbcdet.io.tiff.OVERVIEW_SIDE", 1400)
    monkeypatch.setattr("wbcdet.inference.sliced.MAX_READ", 800)
    field, result = next(Analyzer(Settings(tile_size=900), device="cpu").analyze_fields([path]))
    assert field is not None and field.reduction == 2
    assert found_once(smear, result)


def test_crops_of_a_field_read_in_parts(
    analyzer: Analyzer, smear: SmearField, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbcdet.io.field._MAX_WHOLE", 1_000_000)
    monkeypatch.setattr("wbcdet.io.tiff.OVERVIEW_SIDE", 500)
    path = tmp_path / "smear.tif"
    tifffile.imwrite(path, smear.pixels[:, :, ::-1], photometric="rgb", tile=(64, 64))
    parts, whole = read_field(path), Field("", None, smear.pixels)
    rng = np.random.default_rng(0)
    for _ in range(60):
        x, y = rng.uniform(-20, (2700, 1400))
        w, h = rng.uniform(12, 600, 2)
        box = tuple(np.round(np.clip([x, y, x + w, y + h], 0, (2700, 1400) * 2), 1).tolist())
        if box[2] - box[0] < 2 or box[3] - box[1] < 2:
            continue
        cut = crop(parts, box, analyzer.classifier)
        assert np.array_equal(cut, crop(whole, box, analyzer.classifier)), box
        # A crop that is shrunk may start a pixel beside: its place is rounded.
        straight = analyzer.classifier.crop(smear.pixels, box)
        assert np.abs(cut.astype(int) - straight).mean() < 3, box


def test_a_tile_that_cannot_be_read_is_a_failed_field(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbcdet.io.field._MAX_WHOLE", 1_000_000)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, grain(2000, 3000), photometric="rgb", tile=(256, 256), compression="zlib"
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    path.write_bytes(data)
    good = grain(100, 120)
    fields = list(analyzer.analyze_fields([good, path, good]))
    assert [result.failure is None for _, result in fields] == [True, False, True]
    assert "copy" in str(fields[1][1].failure) and fields[1][0] is None
    with pytest.raises(FieldError):
        _ = read_field(path).pixels


@pytest.mark.parametrize(
    "wrong",
    [
        {"tile_size": 10},
        {"tile_overlap": 0},
        {"tile_size": 100, "tile_overlap": 51},
        {"max_tiff_pixels": 0},
    ],
)
def test_settings_are_checked(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(reversed(wrong))):
        Settings(**wrong)


def test_real_cells_on_seams_and_corners(
    analyzer: Analyzer, real_field: Callable[[str, str], np.ndarray]
) -> None:
    """One real field moved so that its cell comes to lie anywhere about two seams."""
    field = real_field("bccd.zip", "BloodImage_00001.jpg")
    alone = analyzer.analyze(field).cells
    assert len(alone) == 1
    x0, y0, x1, y1 = alone[0].box
    chosen = Analyzer(Settings(tile_size=1300, tile_overlap=400), device="cpu")
    width, height = 2200, 2200
    seam = plan(width, height, 1300, 400)[0].core[2]
    ground = np.median(field.reshape(-1, 3), 0).astype(np.uint8)
    for step in (-180, -20, 0, 90):
        for other in (0, 130):
            canvas = np.full((height, width, 3), ground, np.uint8)
            left, top = round(seam + step - (x0 + x1) / 2), round(seam + other - (y0 + y1) / 2)
            canvas[top : top + field.shape[0], left : left + field.shape[1]] = field
            cells = chosen.analyze(canvas).cells
            assert len(cells) == 1, (step, other)
            assert (
                np.abs(np.array(cells[0].box) - [x0 + left, y0 + top, x1 + left, y1 + top]).max()
                < 25
            )
