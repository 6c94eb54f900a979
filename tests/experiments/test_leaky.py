"""The leaky protocol: copies of a cell meet across one split and never across the other."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import REPOSITORY, grain

pytest.importorskip("safetensors", reason="training needs safetensors: pip install wbcdet[train]")

from leaky_protocol import (
    FOUR,
    Copies,
    CopyDataset,
    bccd_cells,
    macro,
    make_copies,
    measure,
    split_copies,
)

from wbcdet.datasets.cells import CLASSES, LabelledCell, load_cells
from wbcdet.records import LABELS
from wbcdet.training import classifier_training
from wbcdet.training.augment_cells import CROP_SIZE
from wbcdet.training.config import ClassifierRecipe, TrainingError


@pytest.fixture(scope="module")
def cells() -> list[LabelledCell]:
    """Forty cells, ten a class; each group is two neighbours."""
    box = (15.0, 15.0, 45.0, 45.0)
    return [
        LabelledCell(
            "bccd", f"{n}", f"g{n // 2}", "train", grain(60, 60, n), box, n * 4 // 40, False
        )
        for n in range(40)
    ]


@pytest.fixture(scope="module")
def copies(cells: list[LabelledCell]) -> Copies:
    return make_copies(cells, 50)


def test_the_four_come_first() -> None:
    assert CLASSES[:FOUR] == tuple(str(label) for label in LABELS)


def test_copies_come_evenly(cells: list[LabelledCell], copies: Copies) -> None:
    assert copies.crops.shape == (200, CROP_SIZE, CROP_SIZE, 3) and copies.crops.dtype == np.uint8
    assert np.bincount(copies.labels).tolist() == [50] * 4
    assert set(np.bincount(copies.originals)) == {5}
    assert all(cells[o].label == k for o, k in zip(copies.originals, copies.labels, strict=True))
    assert all(cells[o].group == g for o, g in zip(copies.originals, copies.groups, strict=True))
    of_one = copies.crops[copies.originals == 3]
    assert len({c.tobytes() for c in of_one}) == 5
    again = make_copies(cells, 50)
    assert np.array_equal(again.crops, copies.crops)
    assert not np.array_equal(make_copies(cells, 50, seed=1).crops, copies.crops)


def test_a_class_without_cells_has_no_copies(cells: list[LabelledCell]) -> None:
    made = make_copies([c for c in cells if c.label != 2], 7)
    assert np.bincount(made.labels, minlength=4).tolist() == [7, 7, 0, 7]


@pytest.mark.parametrize("seed", range(3))
def test_splits(copies: Copies, seed: int) -> None:
    leaky, clean = (split_copies(copies, split, seed) for split in ("random", "groups"))
    assert np.bincount(copies.labels[leaky]).tolist() == [10] * 4
    assert np.isin(copies.originals[leaky], copies.originals[~leaky]).mean() > 0.9
    assert not set(copies.groups[clean]) & set(copies.groups[~clean])
    assert np.bincount(copies.labels[clean], minlength=4).min() > 0
    assert np.bincount(copies.labels[clean]).max() <= 10
    assert np.array_equal(clean, split_copies(copies, "groups", seed))


def test_every_training_copy_comes_once_a_turn(copies: Copies) -> None:
    train = ~split_copies(copies, "groups")
    number = int(train.sum())
    data = CopyDataset(copies, train, number + 5)
    known = {c.tobytes() for c in copies.crops[train]}
    seen = [data[n] for n in range(number)]
    assert len({item["crop"].numpy().tobytes() for item in seen}) == len(known) == number
    assert sorted(item["label"] for item in seen) == sorted(copies.labels[train].tolist())
    first = data[0]["crop"]
    data.epoch = 1
    assert not data[0]["crop"].equal(first)
    assert len(data) == number + 5 and data[number + 4]["crop"].shape == (3, CROP_SIZE, CROP_SIZE)


def test_macro_figures() -> None:
    truth, said = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 1, 1, 2, 2])
    figures = macro(truth, said)
    assert figures["precision"] == pytest.approx((1 + 2 / 3 + 1 / 2 + 0) / 4)
    assert figures["recall"] == pytest.approx((1 / 2 + 1 + 1 + 0) / 4)
    assert figures["f1"] == pytest.approx((2 / 3 + 4 / 5 + 2 / 3 + 0) / 4)


def test_only_typed_bccd_cells_take_part(made_up: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has no typed BCCD cell"):
        bccd_cells(made_up)
    fields = (made_up / "fields.csv").read_text(encoding="utf-8")
    (tmp_path / "fields.csv").write_text(fields.replace(",a,", ",bccd,"), encoding="utf-8")
    # The eosinophil was corrected since it was published.
    boxes = (made_up / "boxes.csv").read_text(encoding="utf-8").splitlines()
    boxes = [f"{line}," for line in boxes]
    boxes[0] += "published_type"
    boxes = [b.replace("eosinophil,0,", "unsure,1,eosinophil") for b in boxes]
    (tmp_path / "boxes.csv").write_text("\n".join(boxes), encoding="utf-8")
    (tmp_path / "fields").symlink_to(made_up / "fields")
    found = bccd_cells(tmp_path)
    # Of its five objects the basophil, the mistaken cell and the red cells are not among the four.
    assert [(c.laboratory, CLASSES[c.label], c.split) for c in found] == [
        ("bccd", "eosinophil", "train"),
        ("bccd", "lymphocyte", "train"),
        ("bccd", "monocyte", "val"),
    ]
    corrected = load_cells(tmp_path, ("train", "val"), laboratories=("bccd",), artefacts=0)
    assert CLASSES.index("eosinophil") not in {c.label for c in corrected}


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("leaky", REPOSITORY / "experiments" / "leaky.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_measured_and_printed(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_training, "cores", lambda: 1)
    recipe = ClassifierRecipe("leucocytenet-v1", 1, 16, batch=8, data="random")
    leaky = measure(tmp_path / "a", copies, "random", recipe, workers=0)
    assert leaky["test_copies"] == 40 and leaky["trained_on"] > 0.9
    low, high = leaky["accuracy_ci"]
    assert 0 <= low <= leaky["accuracy"] <= high <= 1
    # Stopped after the training, the same command judges the same weights.
    assert measure(tmp_path / "a", copies, "random", recipe, workers=0) == leaky
    with pytest.raises(TrainingError, match="data random"):
        other = ClassifierRecipe("leucocytenet-v1", 1, 16, batch=8, data="groups")
        measure(tmp_path / "a", copies, "groups", other, workers=0)
    json.dumps(leaky)

    clean = {**leaky, "accuracy": leaky["accuracy"] - 0.1, "f1": leaky["f1"] - 0.2}
    printed = script()
    lines = [
        printed.row("LeucoCyteNet", printed.TITLES["random"], leaky),
        printed.difference("LeucoCyteNet", leaky, clean),
    ]
    columns = printed.HEAD.splitlines()[0].count("|")
    assert all(line.count("|") == columns for line in lines)
    assert "(leaky)" in lines[0] and "| +10.0 | +0.0 | +0.0 | +20.0 |" in lines[1]
