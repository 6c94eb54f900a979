"""The table of networks: figures of each, made once, and times taken in turns."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import grain
from torch import nn

pytest.importorskip("safetensors", reason="training needs safetensors: pip install wbcdet[train]")

from network_comparison import (
    LISTS,
    NamingList,
    compare_one,
    judge,
    naming_lists,
    table_head,
    table_row,
    time_networks,
)

from wbcdet.datasets.cells import CLASSES
from wbcdet.evaluation.benchmarks import NAMES
from wbcdet.training import classifier_training
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


def test_what_is_there_is_not_done_again(
    made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier_training, "cores", lambda: 1)
    recipe = ClassifierRecipe("leucocytenet-v1", epochs=1, crops=8, batch=8)
    lists = [made_list([0, 1, 2])]
    card, figures = compare_one(recipe, made_up, tmp_path, lists, SURE, "cpu", workers=0)
    assert card["arch"] == "leucocytenet-v1" and figures["made"]["cells"] == 3
    kept = {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()}
    again = compare_one(recipe, made_up, tmp_path, [], SURE, "cpu", workers=0)
    assert again == (card, json.loads(json.dumps(figures)))
    assert {f: f.stat().st_mtime_ns for f in tmp_path.iterdir()} == kept
    # Another threshold gives other figures; another budget is no comparison.
    assert compare_one(recipe, made_up, tmp_path, [], 0.9, "cpu", workers=0)[1] == {}
    with pytest.raises(TrainingError, match="epochs 1"):
        compare_one(replace(recipe, epochs=2), made_up, tmp_path, lists, SURE, "cpu", workers=0)


def test_times_are_medians_a_crop() -> None:
    networks = {"small": nn.Conv2d(3, 1, 1), "large": nn.Conv2d(3, 64, 9)}
    times = time_networks(networks, rounds=3)
    assert times.keys() == networks.keys() and times["small"].keys() == {1, 16}
    assert times["large"][16] > times["small"][16] > 0


def test_lists_are_those_of_the_evaluation(made_up: Path) -> None:
    assert set(LISTS) <= set(NAMES)
    lists = naming_lists(made_up)  # no laboratory of the lists is in it
    assert [len(part.crops) for part in lists] == [0] * len(LISTS)
    assert lists[0].title == "BCCD"
    assert judge(Oracle(), 1.0, lists, SURE)["BCCD"]["cells"] == 0


def test_table_of_networks() -> None:
    card = {"name": "VGG16", "initialisation": "random", "parameters": 14_726_000, "macs": 2.8e9}
    figures = {"BCCD": {"accuracy": 0.75, "accuracy_ci": (0.5, 0.875), "cells": 8}}
    row = table_row(card, {1: 20.04, 16: 11.0}, figures)
    assert row == "| VGG16 | random | 14.73 | 2800 | 20.0 | 11.0 | 75.0 (50.0-87.5) of 8 |"
    head = table_head(["BCCD"]).splitlines()
    assert head[0].count("|") == head[1].count("|") == row.count("|")
