"""Fine-tune the detector on reviewed fields, and judge it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from wbcdet.inference.cards import DetectorCard
from wbcdet.inference.classifier import Classifier
from wbcdet.inference.weights import Model
from wbcdet.io.field import Field
from wbcdet.training.detector_training import FastModel
from wbcdet.training.finetune import tune_detector
from wbcdet.training.finetune.judge_detector import (
    DETECTOR_FOLDS,
    DetectorJudgement,
    FieldDetections,
    detect_field,
    judge_detector,
)
from wbcdet.training.finetune.kept import Kept
from wbcdet.training.finetune.reviewed_fields import ReviewedField, ReviewedFields
from wbcdet.utils.parallel import cores
from wbcdet.utils.progress import progress


@dataclass(frozen=True, slots=True)
class LearnedDetector:
    """A fine-tuned detector and the judgement on it."""

    network: FastModel
    judgement: DetectorJudgement


def learn_finding(
    model: Model, fields: ReviewedFields, kept: Kept, *, quiet: bool
) -> LearnedDetector:
    """Fine-tune a detector and judge it on held-back fields and on synthetic ones.

    Boxes are scored with the classifier that stands beside the detector, before and after.

    Args:
        model: the detector to start from; its safetensors stand beside it.
        fields: the reviewed fields.
        kept: what an interrupted run has done.
        quiet: show no progress.

    Raises:
        TrainingError: there are no weights to start from.
    """
    torch.set_num_threads(cores())
    path, card = model.training_path, cast("DetectorCard", model.card)
    folder = model.path.parent
    parts = detector_folds(fields.fields)
    before = tune_detector.detector_with(tune_detector.load_detector(path), folder)
    classifier = Classifier("cpu", weights=folder)
    pairs: list[tuple[FieldDetections, FieldDetections]] = []
    with progress("Learning to find", (DETECTOR_FOLDS + 1) * tune_detector.STEPS, quiet) as tick:
        for part in range(DETECTOR_FOLDS):
            learnt = [field for field, of in zip(fields.fields, parts, strict=True) if of != part]
            rest = [field for field, of in zip(fields.fields, parts, strict=True) if of == part]
            keep = kept.path(f"finding-{part}.pt")
            tuned = tune_detector.tune_detector(path, learnt, keep, tick, card.get("stain"))
            after = tune_detector.detector_with(tuned, folder)
            for field in rest:
                shown = (classifier, *field.as_counted(), field.group)
                pairs.append((detect_field(before, *shown), detect_field(after, *shown)))
        keep = kept.path("finding.pt")
        tuned = tune_detector.tune_detector(path, fields.fields, keep, tick, card.get("stain"))
    after = tune_detector.detector_with(tuned, folder)
    synthetic = []
    for number, drawn in enumerate(tune_detector.judged_synthetic()):
        truth = np.array([cell.box for cell in drawn.cells], np.float32).reshape(-1, 4)
        shown = (classifier, Field(str(number), None, drawn.pixels), truth, str(number))
        synthetic.append((detect_field(before, *shown), detect_field(after, *shown)))
    return LearnedDetector(tuned, judge_detector(pairs, synthetic, card["confidence"]))


def detector_folds(fields: Sequence[ReviewedField]) -> list[int]:
    """Return the part of each field: whole groups, the fields and corrections spread.

    Groups are dealt out one by one, the largest first and of equal ones the most corrected, each to
    the part that has the fewest fields, then the fewest corrections.
    """
    sizes: dict[str, np.ndarray] = {}
    for field in fields:
        size = np.array([1, field.drawn + field.taken])
        sizes[field.group] = sizes.get(field.group, 0) + size
    parts = np.zeros((DETECTOR_FOLDS, 2), int)
    part_of: dict[str, int] = {}
    for group in sorted(sizes, key=lambda group: (-sizes[group]).tolist()):
        part_of[group] = min(range(DETECTOR_FOLDS), key=lambda part: parts[part].tolist())
        parts[part_of[group]] += sizes[group]
    return [part_of[field.group] for field in fields]
