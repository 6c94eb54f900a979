"""Finding of `learn_show.py`: fields of a laboratory that both models were trained without, some of
them learnt, the rest judged before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from left_out import fields_of, recall_and_false

#: Laboratories that models were trained without, a folder each.
FINDING = ("bccd", "bcisc", "chula-ee", "pbc", "tecom", "txl-raabin")
#: Fields that are reviewed, and most that are judged: of the laboratory, and of all others.
FIELDS, JUDGED, OTHERS = 20, 120, 60


def draw_groups(groups: list[str], number: int, seed: int) -> np.ndarray:
    """Draw whole groups by chance until there are so many fields; (N,) which fields they are."""
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.array(groups, dtype=str), return_inverse=True)
    size = np.bincount(index)
    taken = np.zeros(len(names), bool)
    for group in rng.permutation(len(names)):
        if size[taken].sum() + size[group] <= number:
            taken[group] = True
    return taken[index]


def find_after(laboratory: str, draw: int, left_out: Path, prepared: Path) -> dict[str, Any]:
    """Judge finding before and after some fields of a laboratory were reviewed.

    What `wbcdet learn` does with them is done, its threshold chosen and its decision taken on
    these fields alone; then the rest is looked at as `wbcdet predict` would.
    """
    from wbcdet.evaluation.benchmarks import prepared_fields
    from wbcdet.evaluation.infer import FINDING as FIND
    from wbcdet.evaluation.infer import observe
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.inference.classifier import Classifier
    from wbcdet.inference.weights import load_model
    from wbcdet.training.finetune.kept import Kept
    from wbcdet.training.finetune.learn_finding import learn_finding
    from wbcdet.training.finetune.reviewed_fields import ReviewedFields
    from wbcdet.training.finetune.tune_detector import detector_with, load_detector

    models = left_out / laboratory
    model, classifier = load_model("detector", models), Classifier("cpu", weights=models)
    fields = fields_of(prepared, laboratory)
    others = prepared_fields(
        prepared,
        lambda row: row["laboratory"] != laboratory and row["detect"] == "test",
        completed=True,
    )
    taken = draw_groups([field.group for field in fields], FIELDS, draw)
    learnt = [field for field, there in zip(fields, taken, strict=True) if there]
    rest = [field for field, there in zip(fields, taken, strict=True) if not there]
    rest, others = rest[:: -(-len(rest) // JUDGED)], others[:: -(-len(others) // OTHERS)]
    before = detector_with(load_detector(model.training_path), models)
    reviewed = ReviewedFields([_reviewed(field, before, classifier) for field in learnt])
    kept = Kept("learn_show", model.sha256, *(field.name for field in reviewed.fields))
    learned = learn_finding(model, reviewed, kept, quiet=False)
    figures: dict[str, Any] = {
        "reviewed": len(reviewed.fields), "drawn": reviewed.drawn, "taken": reviewed.taken,
        "judged": len(rest), "threshold": learned.judgement.confidence,
        "better": learned.judgement.better, "why": learned.judgement.why,
    }  # fmt: skip
    after = detector_with(learned.network, models)
    for when, detector, threshold in (
        ("before", before, before.threshold()),
        ("after", after, learned.judgement.confidence),
    ):
        for where, some in (("", rest), ("others_", others)):
            both = Analyzer(detector=detector, classifier=classifier)
            seen = [one.found for one, _ in observe(some, both, (FIND,), [])]
            recall, boxes = recall_and_false(seen, threshold)
            cells = sum(len(found.truth) for found in seen if found is not None)
            figures |= {f"{where}{when}": recall, f"{where}false_{when}": boxes}
            figures[f"{where}cells"] = cells
    kept.done()
    return figures


def _reviewed(field: Any, before: Any, classifier: Any) -> Any:
    """Return a field as a person leaves it who draws all that is missed and takes away the rest."""
    from wbcdet.io.field import Field
    from wbcdet.training.finetune.judge_detector import detect_field
    from wbcdet.training.finetune.reviewed_fields import ReviewedField

    pixels, cells = field.read(), field.boxes.astype(np.float32)
    picture = Field(field.name, None, pixels)
    seen = detect_field(before, classifier, picture, cells, field.group)
    hit, false = seen.found(before.threshold())
    drawn = int((~hit).sum())
    return ReviewedField(field.name, field.group, pixels, cells, drawn, len(false))
