"""Figures of classifiers that were trained without one laboratory, each judged on that one.

All other figures come from ``wbcdet evaluate``; these need the networks of the training runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

LABORATORIES = ("bccd", "bcisc", "tecom", "txl-raabin", "txl-pbc")


def main(
    runs: Annotated[Path, typer.Option(help="Folder with one run a laboratory.")] = Path(
        "runs/left-out"
    ),
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
    stages: Annotated[int, typer.Option(help="Stages of the networks.")] = 5,
    head: Annotated[int, typer.Option(help="Channels of their heads.")] = 320,
) -> None:
    """Judge each laboratory by a classifier that was trained on the others alone.

    Temperature comes from the validation cells of the other laboratories; the threshold is that of
    the shipped card.
    """
    from wbcdet.datasets.cells import CLASSES, load_cells
    from wbcdet.evaluation.classification import judge_names, named_cell
    from wbcdet.evaluation.tables import NAMING_HEAD, naming_row
    from wbcdet.inference.classifier import Classifier
    from wbcdet.training.augment_cells import plain_crop
    from wbcdet.training.classifier_training import (
        fit_temperature,
        load_network,
        predict_logits,
        validation_logits,
    )
    from wbcdet.utils.calibration import softmax

    least = Classifier().card["min_score"]
    figures: dict[str, Any] = {}
    print(NAMING_HEAD)
    for laboratory in LABORATORIES:
        network = load_network(runs / laboratory / "classifier.safetensors", stages, head)
        temperature = fit_temperature(*validation_logits(network, prepared, (laboratory,)))
        every = ("train", "val", "test", "heldout")
        cells = load_cells(prepared, every, laboratories=(laboratory,))
        logits = predict_logits(network, [plain_crop(c) for c in cells]) / temperature
        odds = softmax(logits)
        named = [
            named_cell(CLASSES[c.label], row, CLASSES, least, c.group)
            for c, row in zip(cells, odds, strict=True)
        ]
        figures[laboratory] = judge_names(named, least)
        print(naming_row(laboratory, figures[laboratory]), flush=True)
    mean = float(np.mean([r["accuracy"] for r in figures.values()]))
    print(f"mean accuracy of the four classes: {100 * mean:.1f} %")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        document = {"min_score": least, **figures, "mean_accuracy": mean}
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
