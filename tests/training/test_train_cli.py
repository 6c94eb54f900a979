"""``wbcdet train``: whole runs on made-up fields, going on, and one line for every mistake."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

pytest.importorskip("safetensors", reason="training needs safetensors: pip install wbcdet[train]")

from safetensors.torch import save_file

from wbcdet.cli import train as train_command
from wbcdet.cli.train import app
from wbcdet.records import NOTICE
from wbcdet.training import classifier_training, detector_training
from wbcdet.training.architectures import ARCHITECTURES
from wbcdet.training.augment_cells import CROP_SIZE
from wbcdet.training.classifier_training import Run, load_network
from wbcdet.training.config import DetectorRecipe
from wbcdet.utils.lock import locked

SMALL = ("--arch", "leucocytenet-v1", "--epochs", "2", "--crops", "16", "--batch", "8")

Train = Callable[..., Result]


@pytest.fixture
def train(made_up: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Run ``wbcdet train`` in ``tmp_path`` on the made-up fields."""
    monkeypatch.setattr(classifier_training, "cores", lambda: 1)
    monkeypatch.chdir(tmp_path)

    def run(command: str, *options: object, prepared: Path = made_up) -> Result:
        fixed = ("--prepared", prepared, "--device", "cpu", "--workers", 0)
        return CliRunner().invoke(app, [command, *map(str, (*fixed, *options))])

    return run


def test_classifier(train: Train, tmp_path: Path) -> None:
    first = train("classifier", *SMALL)
    assert first.exit_code == 0, first.output
    out = tmp_path / "runs" / "leucocytenet-v1"
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    weights = out / card["file"]
    assert card["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert card["notice"] == NOTICE and card["arch"] == "leucocytenet-v1"
    assert card["recipe"]["epochs"] == 2 and card["initialisation"] == "random"
    assert card["parameters"] > 5e5 and card["macs"] > 5e7
    assert 0 <= card["validation"]["accuracy"] <= 1 and card["temperature"] > 0
    assert card["laboratories"].keys() == {"a", "b"} and card["data"] == []
    assert str(tmp_path) not in json.dumps(card)
    network = load_network(weights, arch=card["arch"])
    assert network(torch.zeros(1, 3, CROP_SIZE, CROP_SIZE)).shape == (1, len(card["classes"]))
    assert "LeucoCyteNetv1, 0.55 million parameters, validation accuracy" in first.stdout
    assert first.stdout.count("\n") == 1 and "epoch 2/2  loss" in first.stderr

    again = train("classifier", *SMALL)
    assert again.exit_code == 0 and "this training is finished" in again.stdout
    assert json.loads((out / "card.json").read_text(encoding="utf-8")) == card

    other = train("classifier", *SMALL, "--rate", "0.01")
    assert other.exit_code == 2
    assert "rate 0.001 (asked for: 0.01); repeat its command to go on" in other.stderr


def test_stopped_classifier_goes_on(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, calls = Run._learn, []

    def stop(self: Run, *batch: Any) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learn(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_learn", stop)
        stopped = train("classifier", *SMALL, "--out", "cut")
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith("wbcdet: stopped; the same command goes on from the last whole "
                                   "epoch\n")  # fmt: skip
    assert not (tmp_path / "cut" / "card.json").exists()
    assert train("classifier", *SMALL, "--out", "cut").exit_code == 0
    assert train("classifier", *SMALL, "--out", "whole").exit_code == 0
    cards = [json.loads((tmp_path / n / "card.json").read_text()) for n in ("cut", "whole")]
    assert cards[0] == cards[1]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--arch", "vgg19"), "no network is called 'vgg19'; there are densenet201, "),
        (("--leave-out", "c"), "has no laboratory 'c'; it has a, b"),
        (("--leave-out", "a", "--leave-out", "b"), "no training cell is left"),
        (("--device", "gpu"), "--device must be one of auto, cpu, cuda, not 'gpu'"),
        (("--from", "none.safetensors"), "none.safetensors: no such file to start from"),
        (("--from", "other.safetensors"), "other.safetensors: is of another network"),
        (("--crops", "7"), "an epoch must hold a batch at least"),
        (("--pretrained",), "leucocytenet-v1 has no ImageNet weights; leave out --pretrained"),
        (("--stages", "7"), "--stages and --head are options of leucocytenet alone"),
        (("--out", "file"), "file"),
    ],
)
def test_mistakes_are_one_line(
    train: Train, tmp_path: Path, options: tuple[str, ...], line: str
) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "file").write_text("not a folder")
    result = train("classifier", *SMALL, *options)
    assert result.exit_code == 2
    assert result.stderr.startswith("wbcdet: ") and result.stderr.count("\n") == 1
    assert line in result.stderr


@pytest.mark.parametrize(("command", "small"), [("classifier", SMALL), ("detector", ())])
def test_a_folder_of_somebody_else_and_one_in_use_stay_as_they_are(
    train: Train, tmp_path: Path, command: str, small: tuple[str, ...]
) -> None:
    own = tmp_path / "own" / "classifier.safetensors"
    own.parent.mkdir()
    own.write_text("mine")
    result = train(command, *small, "--out", "own")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "own: holds what no training wrote" in result.stderr
    assert own.read_text() == "mine" and len(list(own.parent.iterdir())) == 1
    with locked(tmp_path / "used"):
        result = train(command, *small, "--out", "used")
    assert result.exit_code == 2 and "another run of wbcdet" in result.stderr


@pytest.mark.parametrize("command", ["classifier", "detector"])
def test_no_prepared_folder(train: Train, tmp_path: Path, command: str) -> None:
    result = train(command, prepared=tmp_path / "nothing")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "nothing: no training data (fields.csv is missing); make it with" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_a_laboratory_left_out_may_take_all_validation_cells(
    made_up: Path, train: Train, tmp_path: Path
) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    for name in ("boxes.csv", "cutouts.csv"):
        (prepared / name).write_text((made_up / name).read_text())
    fields = (made_up / "fields.csv").read_text()
    (prepared / "fields.csv").write_text(fields.replace(",val", ",test"))
    (prepared / "fields").symlink_to(made_up / "fields")
    result = train("classifier", *SMALL, prepared=prepared)
    assert result.exit_code == 0 and "validation accuracy unknown" in result.stdout
    card = json.loads((tmp_path / "runs/leucocytenet-v1/card.json").read_text())
    assert card["validation"] == {"cells": 0, "accuracy": None} and card["temperature"] == 1


def test_help_names_every_network(train: Train) -> None:
    text = " ".join(train("classifier", "--help").stdout.replace("-\n", "-").split())
    assert all(name in text.replace("- ", "-") for name in ARCHITECTURES) and NOTICE in text


DETECTOR = ("--size", "64", "--epochs", "2", "--scenes", "4", "--batch", "2", "--out", "found")


def test_detector(train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector_training, "VALIDATION_SCENES", 4)
    monkeypatch.setattr(detector_training, "cores", lambda: 1)
    monkeypatch.setattr(train_command, "DetectorRecipe", partial(DetectorRecipe, sizes=(64, 96)))
    trainer = detector_training.SceneTrainer
    save = trainer.save_model

    def stop(self: Any) -> Any:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return save(self)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_model", stop)
        stopped = train("detector", *DETECTOR)
    assert stopped.exit_code == 130 and (tmp_path / "found/weights/last.pt").exists()
    assert not (tmp_path / "found/card.json").exists()

    other = train("detector", *DETECTOR, "--leave-out", "a")
    assert other.exit_code == 2 and "leave_out [] (asked for: ['a'])" in other.stderr

    done = train("detector", *DETECTOR)
    assert done.exit_code == 0, done.output
    card = json.loads((tmp_path / "found/card.json").read_text(encoding="utf-8"))
    assert card["epochs_done"] == 2 and card["file"] == "weights/last.pt"
    assert card["parameters"] > 2e6 and 0 <= card["validation"]["ap50"] <= 1
    assert str(tmp_path) not in json.dumps(card)
    assert done.stdout.splitlines()[-1].startswith("found/weights/last.pt: white cell detector, ")

    again = train("detector", *DETECTOR)
    assert again.exit_code == 0 and again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]


class Timed(torch.nn.Module):
    """A network whose steps take as long as is asked for each precision."""

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3)
        self.seconds, self.bfloat16, self.steps = seconds, False, {"float32": 0, "bfloat16": 0}

    def predict(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        name = "bfloat16" if self.bfloat16 else "float32"
        self.steps[name] += 1
        time.sleep(self.seconds[name])
        return {"one": self.norm(picture)}


@pytest.mark.parametrize(
    ("bfloat16", "chosen", "steps"),
    [(0.01, "bfloat16", 3), (0.06, "float32", 3), (0.4, "float32", 1)],
)
def test_the_faster_precision_is_taken(bfloat16: float, chosen: str, steps: int) -> None:
    model = Timed(float32=0.04, bfloat16=bfloat16).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    said = detector_training.choose_precision(model, 32)  # type: ignore[arg-type]
    assert said.startswith(f"{chosen} (a picture of 32 px") and model.bfloat16 == (
        chosen != "float32"
    )
    # Where it is hopeless, one step says so; what was learnt before is as it was.
    assert model.steps == {"float32": 3, "bfloat16": steps} and not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.norm.weight.grad is None
