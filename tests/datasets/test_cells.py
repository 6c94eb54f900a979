"""Labelled cells: which are taken, what their crops show, and how evenly they are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import PURPLE, WHITE_BOX, grain

from wbcdet.datasets.cells import CLASSES, LARGEST_CELL, LabelledCell, cut_patch, load_cells
from wbcdet.inference.cell_crop import cell_crop
from wbcdet.inference.preprocess import crop_cell
from wbcdet.inference.surroundings import REACH
from wbcdet.training.augment_cells import (
    BLOOD_SHARES,
    CROP,
    CROP_PADDING,
    CROP_SIZE,
    DECLINED_WEIGHTS,
    CellDataset,
    _cut_by_border,
    plain_crop,
    varied_crop,
)

ARTEFACT = CLASSES.index("artefact")


@pytest.fixture(scope="module")
def train(made_up: Path) -> list[LabelledCell]:
    return load_cells(made_up, ("train",))


def labels(cells: list[LabelledCell]) -> Counter[str]:
    return Counter(CLASSES[cell.label] for cell in cells)


def test_cells_by_split_and_laboratory(made_up: Path) -> None:
    known = load_cells(made_up, ("train",), artefacts=0)
    # Cells of unsure type are left out, the mistaken cells are artefacts.
    assert labels(known) == {"eosinophil": 2, "lymphocyte": 2, "artefact": 2}
    assert [c.silver for c in known] == [c.label == ARTEFACT for c in known]
    assert {c.split for c in known} == {"train"}
    assert labels(load_cells(made_up, ("val", "test"), artefacts=0)) == {
        "monocyte": 2,
        "basophil": 2,
    }
    assert {c.laboratory for c in load_cells(made_up, ("train",), laboratories=("a",))} == {"a"}
    assert {c.laboratory for c in load_cells(made_up, ("train",), leave_out=("a",))} == {"b"}
    assert load_cells(made_up, ("heldout",)) == []
    assert load_cells(made_up, ("train",), laboratories=("a",), leave_out=("a",)) == []


def test_artefacts_show_no_white_cell(made_up: Path, train: list[LabelledCell]) -> None:
    many = load_cells(made_up, ("train",), artefacts=40)
    assert labels(many)["artefact"] > labels(train)["artefact"] > 2
    for cell in (c for c in many if c.label == ARTEFACT):
        x0, y0, x1, y1 = (round(v) for v in cell.box)
        inside = cell.patch[y0:y1, x0:x1].astype(int)
        assert not (np.abs(inside - PURPLE) < 10).all(-1).any()


def test_the_same_cells_each_time(made_up: Path, train: list[LabelledCell]) -> None:
    again = load_cells(made_up, ("train",))
    assert [c.box for c in again] == [c.box for c in train]
    assert all(np.array_equal(a.patch, b.patch) for a, b in zip(again, train, strict=True))


@pytest.mark.parametrize(
    "box",
    [
        (100, 110, 160, 150),
        (0, 0, 30, 40),
        (550, 400, 640, 480),  # at the border
        (200, 100, 202, 102),
        (10.5, 20.25, 50.75, 61.5),
    ],
)
def test_plain_crop_is_that_of_inference(box: tuple[float, ...]) -> None:
    field = grain(480, 640)
    patch, inside = cut_patch(field, np.array(box, float))
    cell = LabelledCell("a", "f", "g", "train", patch, inside, 0, False)
    expected = cell_crop(field, box, CROP)
    assert np.abs(plain_crop(cell).astype(int) - expected).max() <= 8


def test_large_cells_are_kept_smaller() -> None:
    field = grain(1000, 1000)
    patch, inside = cut_patch(field, np.array([200, 300, 700, 650], float))
    assert max(patch.shape) <= 2 * REACH * LARGEST_CELL + 2
    assert inside[2] - inside[0] == pytest.approx(LARGEST_CELL)
    cell = LabelledCell("a", "f", "g", "train", patch, inside, 0, False)
    expected = cell_crop(field, (200, 300, 700, 650), CROP)
    assert np.abs(plain_crop(cell).astype(int) - expected).mean() < 2


def test_patch_reaches_as_far_as_any_turn(made_up: Path, train: list[LabelledCell]) -> None:
    cell = train[0]
    field = cv2.imread(str(made_up / "fields" / cell.field))
    turned = crop_cell(cell.patch, cell.box, CROP_SIZE, CROP_PADDING * 1.3, angle=45)
    expected = crop_cell(field, WHITE_BOX, CROP_SIZE, CROP_PADDING * 1.3, angle=45)
    assert np.abs(turned.astype(int) - expected).max() <= 2


def test_varied_crops(train: list[LabelledCell]) -> None:
    crops = [varied_crop(train[0], np.random.default_rng(n)) for n in range(60)]
    assert all(c.shape == (CROP_SIZE, CROP_SIZE, 3) and c.dtype == np.uint8 for c in crops)
    assert len({c.tobytes() for c in crops}) == 60
    again = varied_crop(train[0], np.random.default_rng(5))
    assert np.array_equal(again, crops[5])


def test_a_cell_cut_by_the_border_of_its_field() -> None:
    patch = grain(60, 80)
    for n in range(40):
        part, box = _cut_by_border(patch, np.array([20.0, 15, 60, 45]), np.random.default_rng(n))
        height, width = part.shape[:2]
        assert part.size < patch.size
        assert min(box) >= 0 and box[2] <= width and box[3] <= height
        # One side of the box lies on the new border, and at least half of the cell is left.
        assert np.isclose([box[0], box[1], width - box[2], height - box[3]], 0, atol=1).any()
        assert (box[2] - box[0]) * (box[3] - box[1]) >= 0.47 * 40 * 30
    thin = np.zeros((8, 8, 3), np.uint8)
    part, box = _cut_by_border(thin, np.array([0.0, 0, 8, 8]), np.random.default_rng(0))
    assert part.shape == thin.shape and box.tolist() == [0, 0, 8, 8]


def made(label: str, laboratory: str, number: int) -> list[LabelledCell]:
    index = CLASSES.index(label)
    patch = grain(60, 60, index)
    box = (15.0, 15.0, 45.0, 45.0)
    return [LabelledCell(laboratory, "f", "g", "train", patch, box, index, False)] * number


def test_types_come_by_the_root_of_their_share_and_laboratories_by_the_fifth_of_cells() -> None:
    cells = made("lymphocyte", "a", 4) + made("lymphocyte", "b", 400) + made("eosinophil", "a", 1)
    odds = CellDataset(cells, 10).odds
    assert odds[:404].sum() / odds[404] == pytest.approx((0.30 / 0.03) ** 0.5)
    assert odds[4:404].sum() / odds[:4].sum() == pytest.approx(100**0.2)
    # What is declined comes by weights of its own, which together are less than the four's.
    odds = CellDataset(cells + made("artefact", "a", 7), 10).odds
    assert odds[405:].sum() / odds[404] == pytest.approx(DECLINED_WEIGHTS["artefact"] / 0.03**0.5)
    assert set(BLOOD_SHARES) | set(DECLINED_WEIGHTS) == set(CLASSES)
    assert sum(DECLINED_WEIGHTS.values()) < sum(share**0.5 for share in BLOOD_SHARES.values())


def test_dataset_items(train: list[LabelledCell]) -> None:
    data = CellDataset(train, 50)
    assert len(data) == 50
    item = data[7]
    assert item["crop"].shape == (3, CROP_SIZE, CROP_SIZE) and item["crop"].is_contiguous()
    assert item["crop"].abs().max() <= 1.0
    assert data[7]["crop"].equal(item["crop"]) and not data[8]["crop"].equal(item["crop"])
    data.epoch = 1
    assert not data[7]["crop"].equal(item["crop"])


def test_one_cell_is_enough() -> None:
    assert CellDataset(made("monocyte", "a", 1), 3)[2]["label"] == CLASSES.index("monocyte")
