"""Run the training of a classifier, from the prepared folder to its card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from wbcdet.datasets.cells import CLASSES, MEAN, STD, LabelledCell, load_cells
from wbcdet.datasets.laboratories import with_other_names
from wbcdet.training.architectures import architecture
from wbcdet.training.augment_cells import CROP, CROP_SIZE, CellDataset
from wbcdet.training.classifier_training import WEIGHTS, Run, fit_temperature, validation_logits
from wbcdet.training.config import ClassifierRecipe, TrainingError, check_laboratories, fingerprint
from wbcdet.training.devices import pick_device
from wbcdet.training.model_card import CARD, read_card, size_of, trained_on, write_card
from wbcdet.utils.schemas import JsonObject


def begin(
    prepared: Path,
    out: Path,
    recipe: ClassifierRecipe,
    device: str = "auto",
    data: CellDataset | None = None,
) -> Run:
    """Return a run on the training cells of the prepared folder, new or going on from its
    checkpoint.

    Args:
        prepared: folder of ``wbcdet data prepare``.
        out: folder of the run.
        recipe: how to train; its ``data`` is filled in here.
        device: ``auto``, ``cpu`` or ``cuda``.
        data: crops of :func:`training_cells` of this folder and recipe; None to load them here.

    Raises:
        TrainingError: it cannot begin or go on.
    """
    architecture(recipe.arch)
    tables = fingerprint(prepared)
    check_laboratories(prepared, recipe.leave_out)
    recipe = replace(recipe, data=tables, leave_out=with_other_names(recipe.leave_out))
    device = pick_device(device)
    if data is None:
        data = CellDataset(training_cells(prepared, recipe.leave_out), recipe.crops)
    return Run(out, data, recipe, device=device)


def training_cells(prepared: Path, leave_out: tuple[str, ...] = ()) -> list[LabelledCell]:
    """Return the training cells of the prepared folder.

    Args:
        leave_out: laboratories to leave out, by all their names.

    Raises:
        TrainingError: there is none.
    """
    cells = load_cells(prepared, ("train",), leave_out=leave_out)
    if not cells:
        raise TrainingError(f"{prepared}: no training cell is left; leave out fewer laboratories")
    return cells


def complete(run: Run, prepared: Path, workers: int = 2) -> JsonObject:
    """Train a run to its end, judge it on the validation cells, write its card.

    Args:
        workers: processes that vary the crops.

    Returns:
        The card; of a run that was complete before, the one that it has.
    """
    if run.finished and (run.out / CARD).exists():
        return read_card(run.out)
    run.train(workers)
    return _card(run, prepared)


def _card(run: Run, prepared: Path) -> JsonObject:
    recipe = run.recipe
    network = run.average.eval()
    logits, labels = validation_logits(network, prepared, recipe.leave_out)
    # A laboratory left out may take all validation cells with it.
    right = float((logits.argmax(1) == labels).mean()) if len(labels) else None
    temperature = fit_temperature(logits, labels) if len(labels) else 1.0
    assert isinstance(run.data, CellDataset)
    return write_card(
        run.out,
        run.out / WEIGHTS,
        {
            "name": architecture(recipe.arch).title,
            "arch": recipe.arch,
            **size_of(network, CROP_SIZE),
            "classes": list(CLASSES),
            **CROP,
            "mean": list(MEAN),
            "std": list(STD),
            "colour_order": "RGB",
            "temperature": round(temperature, 4),
            "validation": {"cells": len(labels), "accuracy": right},
            "recipe": run.stamp,
            "initialisation": run.initialisation,
            "computed": run.computed,
            "final_loss": round(run.loss, 4),
            **trained_on([c.laboratory for c in run.data.cells], "classify"),
        },
    )
