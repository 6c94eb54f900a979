"""Fine-tune a classifier on reviewed reports, judge it, and export it."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import numpy as np
from safetensors.torch import save_file

from wbcdet.inference.cards import ClassifierCard
from wbcdet.inference.weights import Model, sealed
from wbcdet.results.document import dump
from wbcdet.training.classifier_training import load_network
from wbcdet.training.config import TrainingError
from wbcdet.training.distance import add_centres, load_distance
from wbcdet.training.export import export_classifier
from wbcdet.training.finetune import tune
from wbcdet.training.finetune.judge import (
    ALPHA,
    FOLDS,
    Judgement,
    cross_validated,
    fit_temperature,
    is_right,
    judge,
)
from wbcdet.training.finetune.reviewed_cells import Reviewed
from wbcdet.training.leucocytenet import FeatureDistance, LeucoCyteNet
from wbcdet.utils.files import atomic_write
from wbcdet.utils.progress import progress

#: Fewest cells to learn from, and fewest of each of two types.
MIN_CELLS, MIN_OF_A_TYPE = 50, 5


@dataclass(frozen=True, slots=True)
class Learned:
    """A fine-tuned classifier and the judgement on it.

    Attributes:
        network: learnt from all cells.
        temperature: divisor of its logits.
        judgement: by cross-validation.
        distance: from what it was trained on, its new cells too; None where the classifier that it
            was made from has none.
    """

    network: LeucoCyteNet
    temperature: float
    judgement: Judgement
    distance: FeatureDistance | None = None


def check_cells(found: Reviewed) -> None:
    """Check that there are enough cells to learn from.

    Raises:
        TrainingError: there is not; the message says what is missing.
    """
    counts = found.by_class()
    total = sum(counts.values())
    if total < MIN_CELLS:
        also = f"; {found.missing[0]}" if found.missing else ""
        raise TrainingError(
            f"{total} reviewed cells to learn from, at least {MIN_CELLS} are needed: review more "
            f"of them (wbcdet review), names that are right too (Space){also}"
        )
    if sum(count >= MIN_OF_A_TYPE for count in counts.values()) < 2:
        raise TrainingError(
            f"at least {MIN_OF_A_TYPE} cells of each of two types are needed: "
            + ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        )
    if len({cell.group for cell in found.cells}) < FOLDS:
        raise TrainingError(
            f"the cells must come from at least {FOLDS} fields, so that some can be held back"
        )


def learn(model: Model, found: Reviewed, *, quiet: bool) -> Learned:
    """Fine-tune a classifier and judge it on held-back cells.

    Args:
        model: the classifier to start from; its safetensors stand beside it.
        found: the cells.
        quiet: show no progress.

    Raises:
        TrainingError: there are no weights to start from.
    """
    card = cast("ClassifierCard", model.card)
    path = model.path.with_name(card.get("training_file", "classifier.safetensors"))
    network = load_network(path, card.get("stages", 5), card.get("head", 320))
    assert isinstance(network, LeucoCyteNet)
    labels = np.array([cell.label for cell in found.cells])
    groups = [cell.group for cell in found.cells]
    with progress("Cutting cells", len(found.cells), quiet) as tick:
        features = tune.Features(network, found.cells, tick)
    every = np.arange(len(labels))
    with progress("Learning", FOLDS + 1, quiet) as tick:

        def held_back(learnt: np.ndarray, rest: np.ndarray) -> np.ndarray:
            logits = features.logits(tune.tune(network, features, learnt), rest)
            tick()
            return logits

        after = cross_validated(held_back, groups, labels)
        tuned = tune.tune(network, features, every)
        tick()
    temperature = fit_temperature(after, labels, card["temperature"])
    least = card["min_score"]
    judgement = judge(
        is_right(features.logits(network, every), labels, card["temperature"], least),
        is_right(after, labels, temperature, least),
        labels,
        groups,
    )
    distance = load_distance(path)
    if distance is not None:
        distance = add_centres(distance, features.averaged(), labels)
    return Learned(tuned, temperature, judgement, distance)


def export(learned: Learned, model: Model, found: Reviewed, name: str, out: Path) -> None:
    """Write the classifier with its card, ready for use.

    Args:
        learned: the classifier.
        model: what it was made from.
        found: what it has learnt from.
        name: how the laboratory calls it.
        out: folder; made where it does not exist.

    Raises:
        OSError: it cannot be written.
    """
    card = cast("ClassifierCard", model.card)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "tuned.safetensors"
        save_file({k: v.contiguous() for k, v in learned.network.state_dict().items()}, weights)
        # The exporter of torch prints its progress.
        with redirect_stdout(io.StringIO()):
            export_classifier(
                weights,
                out,
                learned.temperature,
                card["min_score"],
                "",
                card.get("stages", 5),
                card.get("head", 320),
                learned.distance,
                {key: card[key] for key in ("unlike_trained", "ground") if key in card},
            )
    written = json.loads((out / "classifier.json").read_text(encoding="utf-8"))
    written |= {
        "name": f"{card['name']}-{name}",
        "version": card["version"],
        "data": card.get("data", []),
        "recipe": (
            f"From {model.name}: head and dense layer, {tune.STEPS} steps of {tune.BATCH} crops, "
            f"pulled back to their old weights ({tune.PULL})."
        ),
        "learned": {
            "from_sha256": model.sha256,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "cells": found.by_class(),
            "reports": found.reports,
            "fields": len({cell.group for cell in found.cells}),
            "held_back": [asdict(row) for row in learned.judgement.rows],
            "p": learned.judgement.p,
            "criterion": f"more right, exact one-sided sign test p <= {ALPHA}, no type lost",
            "better": learned.judgement.better,
        },
    }
    atomic_write(out / "classifier.json", dump(sealed(written)).encode())


def table_rows(judgement: Judgement) -> Sequence[dict[str, object]]:
    """Return the table as text: type, cells, right before and after with their intervals."""

    def share(hits: int, of: int, interval: tuple[float, float]) -> str:
        low, high = (100 * end for end in interval)
        return f"{hits} = {100 * hits / of:.1f} % ({low:.1f} - {high:.1f})"

    return [
        {
            "type": row.name,
            "cells": str(row.cells),
            "before": share(row.before, row.cells, row.before_ci),
            "after": share(row.after, row.cells, row.after_ci),
            "gained": str(row.gained),
            "lost": str(row.lost),
        }
        for row in judgement.rows
    ]
