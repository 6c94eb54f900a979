"""Run the training of a detector, from the prepared folder to its card."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ultralytics import YOLO

from wbcdet.datasets.laboratories import with_other_names
from wbcdet.training.config import (
    DetectorRecipe,
    TrainingError,
    check_laboratories,
    check_same,
    fingerprint,
    stamp,
)
from wbcdet.training.detector_training import SceneTrainer
from wbcdet.training.devices import pick_device
from wbcdet.training.model_card import CARD, read_card, size_of, trained_on, write_card
from wbcdet.training.run_folder import run_folder
from wbcdet.training.usage_reports import ultralytics_reports_nothing
from wbcdet.utils.files import atomic_write
from wbcdet.utils.schemas import JsonObject

#: Ultralytics' settings that every run shares.
SETTINGS: dict[str, object] = {
    "optimizer": "AdamW",
    "lrf": 1.0,  # the rate stays: see MeanOfWeights
    "weight_decay": 0.01,
    "warmup_epochs": 1.0,
    "amp": False,
    "plots": False,
    "exist_ok": True,
    "save_period": 5,
    "close_mosaic": 0,
}


def train_detector(
    prepared: Path, out: Path, recipe: DetectorRecipe, device: str = "auto", workers: int = 2
) -> JsonObject:
    """Train a detector to the end, or go on from the checkpoint in ``out``.

    Ultralytics keeps checkpoints in half precision: a run that goes on has the scenes and the
    schedule of one that was never stopped, and its weights except for that rounding.

    Args:
        prepared: folder of ``wbcdet data prepare``.
        out: folder of the run.
        recipe: how to train; its ``data`` is filled in here.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: processes that compose scenes for a GPU; on the processor none are used.

    Returns:
        The card.

    Raises:
        TrainingError: it cannot begin or go on.
    """
    ultralytics_reports_nothing()
    data = fingerprint(prepared)
    check_laboratories(prepared, recipe.leave_out)
    recipe = replace(recipe, data=data, leave_out=with_other_names(recipe.leave_out))
    place = "cpu" if pick_device(device) == "cpu" else "0"
    laboratories = _laboratories(prepared, recipe.leave_out)
    if not laboratories:
        raise TrainingError(f"{prepared}: no training field is left; leave out fewer laboratories")
    last, noted = out / "weights" / "last.pt", out / "recipe.json"
    SceneTrainer.prepared = prepared
    SceneTrainer.scenes = recipe.scenes
    SceneTrainer.sizes = recipe.sizes
    SceneTrainer.leave_out = recipe.leave_out
    SceneTrainer.start = None
    SceneTrainer.mean_from = recipe.mean_from
    places = {"device": place, "workers": workers}
    with run_folder(out):
        if last.exists():
            written = json.loads(noted.read_text(encoding="utf-8")) if noted.exists() else None
            check_same(recipe, written, last)
            if (out / CARD).exists():
                return read_card(out)
            _go_on(last, out, places)
        else:
            model = _model(recipe)
            atomic_write(noted, json.dumps(stamp(recipe), indent=1).encode())
            model.train(trainer=SceneTrainer, **_settings(prepared, out, recipe), **places)
        return _finish(out, last, recipe, laboratories)


def _laboratories(prepared: Path, leave_out: tuple[str, ...]) -> list[str]:
    """Return the laboratory of every field and of every cut-out cell that scenes are composed
    of."""
    laboratories = []
    for table in ("fields.csv", "cutouts.csv"):
        with (prepared / table).open(encoding="utf-8", newline="") as stream:
            rows = [r for r in csv.DictReader(stream) if r.get("detect", "train") == "train"]
        laboratories += [r["laboratory"] for r in rows if r["laboratory"] not in leave_out]
    return laboratories


def _model(recipe: DetectorRecipe) -> YOLO:
    """Return what ultralytics is to train; safetensors are read by the trainer itself."""
    stamp(recipe)  # complains of a missing file
    try:
        if recipe.start is None or recipe.start.suffix == ".safetensors":
            SceneTrainer.start = recipe.start
            model = YOLO(recipe.model)
        else:
            model = YOLO(recipe.start)
    except FileNotFoundError as error:
        raise TrainingError(f"{recipe.model}: ultralytics knows no such network") from error
    model.add_callback("on_fit_epoch_end", _say_time_left)
    return model


def _go_on(last: Path, out: Path, places: dict[str, object]) -> None:
    try:
        model = YOLO(last)
    except Exception as error:  # of several kinds, for a file that is not torch's own
        raise TrainingError(
            f"{last}: cannot be read; put one of the epoch*.pt beside it in its place, or delete "
            f"{out} to start over"
        ) from error
    model.add_callback("on_fit_epoch_end", _say_time_left)
    try:
        model.train(trainer=SceneTrainer, resume=True, save_dir=str(out.resolve()), **places)
    except AssertionError as error:
        # Stopped after the last epoch: only the card is missing.
        if "nothing to resume" not in " ".join(str(error).split()):
            raise


def _say_time_left(trainer: Any) -> None:
    done = trainer.epoch - trainer.start_epoch + 1
    left = trainer.epochs - trainer.epoch - 1
    if left > 0:
        seconds = (time.time() - trainer.train_time_start) / done * left
        print(f"epoch {trainer.epoch + 1}/{trainer.epochs} done, about {seconds / 60:.0f} min left")


def _settings(prepared: Path, out: Path, recipe: DetectorRecipe) -> JsonObject:
    description = out / "scenes.yaml"  # ultralytics asks for a file even when the data is ours
    here = json.dumps(str(prepared.resolve()))
    description.write_text(f"train: {here}\nval: {here}\nnc: 1\nnames: [wbc]\n", encoding="utf-8")
    return {
        **SETTINGS,
        "data": str(description),
        "imgsz": recipe.size,
        "epochs": recipe.epochs,
        "time": recipe.hours,
        "batch": recipe.batch,
        "nbs": recipe.batch,
        "lr0": recipe.rate,
        "project": str(out.parent.resolve()),
        "name": out.name,
    }


def _finish(out: Path, last: Path, recipe: DetectorRecipe, laboratories: list[str]) -> JsonObject:
    with (out / "results.csv").open(encoding="utf-8", newline="") as stream:
        *_, row = csv.DictReader(stream)
    network = YOLO(last).model.float()
    return write_card(
        out,
        last,
        {
            "name": "white cell detector",
            "arch": f"ultralytics {Path(recipe.model).stem}, one class",
            **size_of(network, recipe.size),
            "classes": ["wbc"],
            "input_size": recipe.size,
            "validation": {
                "scenes": "composed of validation fields",
                "ap50": float(row["metrics/mAP50(B)"]),
                "ap50_95": float(row["metrics/mAP50-95(B)"]),
            },
            "recipe": stamp(recipe),
            "epochs_done": int(row["epoch"]),
            **trained_on(laboratories, "detect"),
        },
    )
