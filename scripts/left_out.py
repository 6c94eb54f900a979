"""Leave each laboratory out of training in turn, and judge models on it that never saw it.

All other figures come from ``wbcdet evaluate``; these need training runs of their own, which are
shorter than those of the shipped models and all alike. An interrupted call goes on where it was.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

#: All laboratories with white cells; under ``pbc`` its pictures in TXL-PBC are left out too.
LABORATORIES = ("aslan", "bccd", "bcisc", "chula-ee", "pbc", "tecom", "txl-raabin")
#: Aslan's cells were typed by eye for this project and are few of three types.
NAMED = ("bccd", "bcisc", "chula-ee", "pbc", "tecom", "txl-raabin")
#: Fields of a laboratory that the detector is judged on, at most; taken at even steps.
_MAX_FIELDS = 250
#: Cells of each laboratory and class that the classifier is judged on, at most.
_MAX_CELLS = 300
#: Threshold of the shipped detector.
THRESHOLD = 0.25
#: False boxes a field at which detectors are compared.
ALLOWED_FALSE = 0.05

Runs = Annotated[Path, typer.Option(help="Folder for one run a laboratory.")]
Prepared = Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")]
Only = Annotated[list[str] | None, typer.Option(help="These laboratories alone.")]
Out = Annotated[Path | None, typer.Option(help="JSON file for the figures.")]


@app.command()
def detector(
    start: Annotated[Path | None, typer.Option("--from", help="Weights to start from.")] = None,
    runs: Runs = Path("runs/left-out-detector"),
    prepared: Prepared = Path("prepared"),
    epochs: Annotated[int, typer.Option(help="Epochs of each run.")] = 4,
    scenes: Annotated[int, typer.Option(help="Scenes in an epoch.")] = 6000,
    size: Annotated[list[int] | None, typer.Option(help="Input sizes to judge at, px.")] = None,
    only: Only = None,
    out: Out = None,
) -> None:
    """Find the cells of each laboratory with a detector that was trained on the others."""
    from wbcdet.training.config import DetectorRecipe
    from wbcdet.training.detector_run import train_detector
    from wbcdet.training.export import export_detector

    figures: dict[str, Any] = {}
    print("| laboratory | input px | cells | found % at threshold | false a field |"
          f" found % at {ALLOWED_FALSE} false | its threshold |")  # fmt: skip
    print("|---|---|---|---|---|---|---|")
    for laboratory in only or LABORATORIES:
        run = runs / laboratory
        recipe = DetectorRecipe(start=start, epochs=epochs, scenes=scenes, leave_out=(laboratory,))
        train_detector(prepared, run, recipe)
        for side in size or (320,):
            models = run / f"models-{side}"
            if not (models / "detector.json").exists():
                models.mkdir(exist_ok=True)
                export_detector(run / "weights" / "last.pt", models, side, THRESHOLD, "left out")
            found = find_cells(models, prepared, laboratory)
            figures[f"{laboratory}-{side}"] = row = judge_finding(found, THRESHOLD)
            print(
                f"| {laboratory} | {side} | {row['cells']} | {100 * row['recall']:.1f} "
                f"| {row['false_per_field']:.3f} | {100 * row['recall_at_allowed']:.1f} "
                f"| {row['threshold_at_allowed']:.3f} |",
                flush=True,
            )
    _write(out, figures)


@app.command()
def classifier(
    runs: Runs = Path("runs/left-out-classifier"),
    prepared: Prepared = Path("prepared"),
    epochs: Annotated[int, typer.Option(help="Epochs of each run.")] = 16,
    crops: Annotated[int, typer.Option(help="Crops in an epoch.")] = 2400,
    only: Annotated[
        list[str] | None,
        typer.Option(help="These laboratories alone; those joined by + are left out together."),
    ] = None,
    out: Out = None,
) -> None:
    """Name the cells of each laboratory with a classifier that was trained on the others.

    Two laboratories that are left out together share a run, in which less is left to train on.
    Scores of all cells are written to RUNS/LEFT-OUT/LABORATORY/scores.npz: temperature and
    thresholds are chosen on them (``scripts/thresholds.py``).
    """
    from wbcdet.training.classifier_run import begin, complete
    from wbcdet.training.config import ClassifierRecipe

    figures: dict[str, Any] = {}
    print("| laboratory | cells of the four | right % | by type | basophils declined % |")
    print("|---|---|---|---|---|")
    for together in only or NAMED:
        run = runs / together
        left_out = tuple(together.split("+"))
        recipe = ClassifierRecipe(epochs=epochs, crops=crops, leave_out=left_out)
        training = begin(prepared, run, recipe, "cpu")
        complete(training, prepared, 0)
        for laboratory in left_out:
            figures[laboratory] = row = name_cells(run, prepared, laboratory, left_out)
            print(
                f"| {laboratory} | {row['cells']} | {100 * row['right']:.1f} | "
                + ", ".join(f"{k} {100 * v:.0f}" for k, v in row["by_type"].items())
                + f" | {row['basophils_declined']} |",
                flush=True,
            )
    mean = float(np.mean([row["right"] for row in figures.values()]))
    print(f"mean of the laboratories: {100 * mean:.1f} %")
    _write(out, {**figures, "mean": mean})


@app.command()
def models(
    laboratory: Annotated[str, typer.Argument(help="Laboratory that both models never saw.")],
    out: Annotated[Path, typer.Option(help="Folder for both models.")],
    detectors: Annotated[Path, typer.Option(help="Runs of `left_out.py detector`.")] = Path(
        "runs/left-out-detector"
    ),
    classifiers: Annotated[Path, typer.Option(help="Runs of `left_out.py classifier`.")] = Path(
        "runs/left-out-classifier"
    ),
    thresholds: Annotated[Path, typer.Option(help="Of scripts/thresholds.py.")] = Path(
        "runs/thresholds.json"
    ),
    prepared: Prepared = Path("prepared"),
) -> None:
    """Put the two models that never saw a laboratory into one folder, thresholds as they ship."""
    from wbcdet.datasets.laboratories import with_other_names
    from wbcdet.training.classifier_training import load_network
    from wbcdet.training.distance import training_distance
    from wbcdet.training.export import export_classifier, export_detector

    run = next(run for run in classifiers.iterdir() if laboratory in run.name.split("+"))
    left_out = with_other_names(tuple(run.name.split("+")))
    weights = run / "classifier.safetensors"
    chosen = json.loads(thresholds.read_text(encoding="utf-8"))
    out.mkdir(parents=True, exist_ok=True)
    export_detector(
        detectors / laboratory / "weights" / "last.pt", out, 320, THRESHOLD, f"without {laboratory}"
    )
    export_classifier(
        weights, out, chosen["temperature"], chosen["min_score"], f"without {run.name}",
        distance=training_distance(load_network(weights), prepared, left_out),
        extra={"unlike_trained": {"output": "distance", "threshold": chosen["distance"]}},
        offsets=chosen["offsets"],
    )  # fmt: skip


def fields_of(prepared: Path, laboratory: str) -> list[Any]:
    """Return all labelled fields of a laboratory, of whatever part, with boxes they lacked."""
    from wbcdet.evaluation.benchmarks import prepared_fields

    parts = ("train", "val", "test", "heldout")
    return prepared_fields(
        prepared,
        lambda row: (
            row["laboratory"] == laboratory
            and (row["detect"] in parts or (laboratory == "tecom" and row["classify"] in parts))
        ),
        completed=True,
    )


def find_cells(models: Path, prepared: Path, laboratory: str) -> list[Any]:
    """Return what the detector in ``models`` finds on fields of a laboratory, down to a score near
    0; by itself, as the shipped classifier knows the laboratory."""
    from wbcdet.evaluation.detection import FoundField, counting
    from wbcdet.evaluation.infer import MIN_SCORE
    from wbcdet.inference.detector import Detector
    from wbcdet.inference.sliced import find_cells as find
    from wbcdet.io.field import Field
    from wbcdet.settings import Settings

    fields = fields_of(prepared, laboratory)
    step = max(1, len(fields) // _MAX_FIELDS)
    detector, settings = Detector(weights=models), Settings(confidence=MIN_SCORE)
    found = []
    for labelled in fields[::step]:
        field = Field(labelled.name, labelled.path, labelled.read())
        seen = find(field, detector, settings)
        kept = counting(seen.boxes, labelled.boxes, labelled.ignored)
        size = (field.width, field.height)
        found.append(
            FoundField(
                labelled.boxes, seen.boxes[kept], seen.scores[kept], size, labelled.group,
                labelled.given,
            )
        )  # fmt: skip
    return found


def judge_finding(found: list[Any], confidence: float) -> dict[str, Any]:
    """Return figures at a threshold, and at that which allows ``ALLOWED_FALSE`` boxes a field."""
    from wbcdet.evaluation.detection import judge_detector

    row = judge_detector(found, confidence)
    best = (0.0, 1.0)
    for threshold in np.arange(0.02, 0.95, 0.01):
        there = recall_and_false(found, float(threshold))
        if there[1] <= ALLOWED_FALSE:
            best = (there[0], float(threshold))
            break
    return {
        "cells": row["cells"],
        "fields": len(found),
        "recall": row["recall"],
        "false_per_field": row["false_per_field"],
        "recall_at_allowed": best[0],
        "threshold_at_allowed": best[1],
    }


def recall_and_false(found: list[Any], confidence: float) -> tuple[float, float]:
    """Return recall and false boxes a field at a threshold."""
    from wbcdet.evaluation.detection import match

    hits = cells = false = 0
    for f in found:
        shown = f.boxes[f.scores >= confidence]
        good = len(match(f.truth, shown))
        hits, cells, false = hits + good, cells + len(f.truth), false + len(shown) - good
    return hits / max(cells, 1), false / max(len(found), 1)


def name_cells(
    run: Path, prepared: Path, laboratory: str, left_out: tuple[str, ...]
) -> dict[str, Any]:
    """Return the accuracy over the four types, and write ``scores.npz``."""
    import torch

    from wbcdet.datasets.cells import CLASSES, load_cells
    from wbcdet.datasets.laboratories import with_other_names
    from wbcdet.training.augment_cells import plain_crop
    from wbcdet.training.classifier_training import load_network, predict_outputs
    from wbcdet.training.distance import training_distance

    every = ("train", "val", "test", "heldout")
    cells = load_cells(
        prepared, every, laboratories=with_other_names((laboratory,)), most=_MAX_CELLS
    )
    network = load_network(run / "classifier.safetensors")
    logits, features = predict_outputs(network, (plain_crop(c) for c in cells))
    labels = np.array([c.label for c in cells])
    distance = training_distance(network, prepared, with_other_names(left_out))
    (run / laboratory).mkdir(exist_ok=True)
    np.savez_compressed(
        run / laboratory / "scores.npz", logits=logits, labels=labels,
        distance=distance(torch.from_numpy(features)).numpy(),
        groups=np.array([c.group for c in cells]),
    )  # fmt: skip
    named = logits.argmax(1)
    four, basophils = labels < 4, labels == CLASSES.index("basophil")
    return {
        "cells": int(four.sum()),
        "right": float((named == labels)[four].mean()),
        "by_type": {
            CLASSES[k]: float((named == k)[labels == k].mean())
            for k in range(4)
            if (labels == k).any()
        },
        "basophils_declined": (
            f"{100 * float((named >= 4)[basophils].mean()):.1f}" if basophils.any() else "-"
        ),
    }


def _write(out: Path | None, figures: dict[str, Any]) -> None:
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
