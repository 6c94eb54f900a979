"""The table of networks: figures of each, made once, and times taken in turns."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import grain
from torch import nn

pytest.importorskip("safetensors", reason="training needs safetensors: pip install wbcdet[train]")

from network_comparison import (
    LISTS,
    NamingList,
    SharedCrops,
    compare_one,
    judge,
    naming_lists,
    tables,
    time_networks,
)

from wbcdet.datasets.cells import CLASSES
from wbcdet.evaluation.benchmarks import NAMES, load_lists
from wbcdet.inference.classifier import Classifier
from wbcdet.training import classifier_training
from wbcdet.training.augment_cells import CellDataset
from wbcdet.training.classifier_run import training_cells
from wbcdet.training.config import ClassifierRecipe, TrainingError

SURE = 0.5


class Oracle(nn.Module):
    """Reads the class off the crop: all pixels of class n are 10 n."""

    def __init__(self, unsure: float = 1.0) -> None:
        super().__init__()
        self.unsure = nn.Parameter(torch.tensor(unsure))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        label = (((x.mean((1, 2, 3)) * 0.502 + 0.498) * 255) / 10).round().long()
        return 9 * nn.functional.one_hot(label, len(CLASSES)).float() / self.unsure


def made_list(numbers: list[int]) -> NamingList:
    crops = [grain(96, 96) * 0 + 10 * n for n in numbers]
    return NamingList(
        "made", crops, [CLASSES[n] for n in numbers], [str(n) for n in range(99)][: len(numbers)]
    )


def test_judge() -> None:
    cells = made_list([0, 1, 2, 3, 3, 4, 5])
    figures = judge(Oracle(), 1.0, [cells], SURE)["made"]
    assert figures["cells"] == 5 and figures["accuracy"] == 1 and figures["unclassified"] == 0
    low, high = figures["accuracy_ci"]
    assert 0.5 < low < 0.6 and high == 1  # Wilson, 5 of 5
    # Hotter logits are less sure: below the threshold a cell is unclassified, and counts wrong.
    unsure = judge(Oracle(), 9.0, [cells], SURE)["made"]
    assert unsure["accuracy"] == 0 and unsure["unclassified"] == 1
    cells.truth[0] = "monocyte"
    wrong = judge(Oracle(), 1.0, [cells], SURE)["made"]
    assert wrong["accuracy"] == pytest.approx(0.8)
    json.dumps(wrong)


def test_the_best_of_four_is_judged_beside_what_is_declined() -> None:
    cells = made_list([0, 1, 2, 3])
    # Below the threshold nothing is named, but the best of the four is still right.
    figures = judge(Oracle(), 9.0, [cells], SURE)["made"]
    assert figures["accuracy"] == 0
    four = figures["four_way"]
    assert [four[key] for key in ("accuracy", "precision", "recall", "f1")] == [1, 1, 1, 1]
    # A basophil is not among the four: it harms none of their measures.
    with_basophil = judge(Oracle(), 9.0, [made_list([0, 1, 2, 3, 4])], SURE)["made"]
    assert with_basophil["four_way"] == four


class Torn(nn.Module):
    """Gives eosinophil 0.4, platelet and artefact 0.3 each."""

    def __init__(self) -> None:
        super().__init__()
        odds = torch.full((len(CLASSES),), 1e-9)
        odds[0], odds[-2], odds[-1] = 0.4, 0.3, 0.3
        self.logits = nn.Parameter(odds.log())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(x), -1)


def test_classes_of_one_reason_count_together() -> None:
    """As at inference: what is more probably no cell than each type is declined."""
    figures = judge(Torn(), 1.0, [made_list([0])], 0.1)["made"]
    assert figures["unclassified"] == 1


def test_what_is_there_is_not_done_again(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_training, "cores", lambda: 1)
    recipe = ClassifierRecipe("leucocytenet-v1", epochs=1, crops=8, batch=8)
    lists, crops = [made_list([0, 1, 2])], SharedCrops(training_cells(made_up), 8)

    def compare(min_score: float = SURE, **other: int) -> tuple[dict, dict]:
        changed = replace(recipe, **other)
        return compare_one(changed, made_up, tmp_path, crops, lists, min_score, "cpu", workers=0)

    card, figures = compare()
    assert card["arch"] == "leucocytenet-v1" and figures["made"]["cells"] == 3
    kept = {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    assert compare() == (card, json.loads(json.dumps(figures)))
    assert {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == kept
    # Another threshold or list gives other figures; another budget is no comparison.
    assert compare(0.9)[1].keys() == {"made"}
    assert (tmp_path / "figures.json").stat().st_mtime_ns != kept[tmp_path / "figures.json"]
    lists.append(NamingList("more", lists[0].crops, lists[0].truth, lists[0].groups))
    assert compare()[1].keys() == {"made", "more"}
    with pytest.raises(TrainingError, match="epochs 1"):
        compare(epochs=2)


def test_every_network_sees_the_same_crops(made_up: Path) -> None:
    cells = training_cells(made_up)
    shared, alone = SharedCrops(cells, 4), CellDataset(cells, 4)
    for epoch in (0, 1, 0):
        shared.epoch = alone.epoch = epoch
        for index in range(4):
            crop, label = shared.draw(index)
            assert crop is shared.draw(index)[0]
            wanted, wanted_label = alone.draw(index)
            assert np.array_equal(crop, wanted) and label == wanted_label
            assert torch.equal(shared[index]["crop"], alone[index]["crop"])


def test_times_are_medians_a_crop() -> None:
    networks = {"small": nn.Conv2d(3, 1, 1), "large": nn.Conv2d(3, 64, 9)}
    times = time_networks(networks, rounds=3)
    assert times.keys() == networks.keys() and times["small"].keys() == {1, 16}
    assert times["large"][16] > times["small"][16] > 0


def test_lists_are_those_of_the_evaluation(made_up: Path) -> None:
    assert set(LISTS) <= set(NAMES)
    lists = naming_lists(made_up)  # no laboratory of the lists is in it
    assert [len(part.crops) for part in lists] == [0] * len(LISTS)
    assert lists[0].title == "PBC (experts' classes)"
    assert judge(Oracle(), 1.0, lists, SURE)[lists[0].title]["cells"] == 0


def test_crops_are_those_of_the_evaluation(made_up: Path, tmp_path: Path) -> None:
    """The shipped classifier's own crops, of a test part that is called PBC."""
    prepared = tmp_path / "prepared"
    shutil.copytree(made_up, prepared)
    fields = prepared / "fields.csv"
    fields.write_text(fields.read_text().replace(",a,", ",pbc,"))
    crops = naming_lists(prepared)[0].crops
    [wanted] = [t for t in load_lists(("pbc-experts",), prepared, None) if t.crops]
    classifier = Classifier("cpu")
    assert len(crops) == len(wanted.crops) > 1
    for crop, cell in zip(crops, wanted.crops, strict=True):
        assert np.array_equal(crop, classifier.crop(cell.patch, cell.box))


def test_tables_of_networks() -> None:
    mean = {"accuracy": 0.875, "accuracy_ci": (0.75, 1.0), "precision": 0.5, "recall": 0.5}
    four = {**mean, "f1": 0.25, "f1_ci": (0.125, 0.5)}
    figures = {"accuracy": 0.75, "accuracy_ci": (0.5, 0.875), "cells": 8, "four_way": four}
    card = {"name": "VGG16", "initialisation": "random", "parameters": 14_726_000, "macs": 2.8e9}
    one = {"card": card, "milliseconds": {1: 20.04, 16: 11.0}}
    lists = {"PBC": figures, "BCCD": {**figures, "accuracy": 0.5, "cells": 9}}
    text = tables({"vgg16": {**one, "lists": lists}})
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2] == "| VGG16 | random | 14.73 | 2800 | 20.0 | 11.0 |"
    assert rows[3].startswith("| network | cells | accuracy % (95 %) | macro precision %")
    assert rows[5] == "| VGG16 | 8 | 87.5 (75.0-100.0) | 50.0 | 50.0 | 25.0 (12.5-50.0) |"
    assert rows[6] == "| network | PBC (8) | BCCD (9) |"
    assert rows[8] == "| VGG16 | 75.0 (50.0-87.5) | 50.0 (50.0-87.5) |"
    assert all(len({row.count("|") for row in rows[n : n + 3]}) == 1 for n in (0, 3, 6))
