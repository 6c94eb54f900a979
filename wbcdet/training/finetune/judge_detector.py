"""Judge whether the fine-tuned detector is better, on fields that it has not learnt from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wbcdet.inference.classifier import Classifier
from wbcdet.inference.detector import Detector
from wbcdet.inference.scored_boxes import scored_boxes
from wbcdet.io.field import Field
from wbcdet.settings import Settings
from wbcdet.training.finetune.judge import ALPHA, sign_test
from wbcdet.utils.boxes import match_boxes
from wbcdet.utils.intervals import Groups

#: Parts of the cross-validation of the detector; fields that overlap are in one part.
DETECTOR_FOLDS = 2
#: Scores from which a box is a cell that are tried for the new detector.
_CANDIDATES = tuple(np.round(np.arange(0.15, 0.61, 0.05), 2).tolist())
#: Least score of a box that is kept for that.
LEAST = min(_CANDIDATES)
#: Errors that a step of the threshold must save. Chosen on the simulated laboratories of
#: experiments/judge_finding.py: 0.5 takes more there, and moves further.
_ERRORS_A_STEP, _STEP = 1.0, 0.05
#: Least IoU of a box with a cell that it is to have found.
_MIN_IOU = 0.5


@dataclass(frozen=True, slots=True)
class FieldDetections:
    """What a detector says of a field, with the classifier beside it.

    Attributes:
        truth: (N, 4) its cells.
        boxes: (M, 4) down to a score of ``LEAST``.
        scores: (M,) of both stages.
        group: the same for fields that overlap, and may show the same cells.
    """

    truth: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    group: str

    def found(self, confidence: float) -> tuple[np.ndarray, np.ndarray]:
        """Return whether each cell (N,) is found at a threshold, and the false boxes (F, 4)."""
        shown = self.boxes[self.scores >= confidence]
        pairs = match_boxes(self.truth, shown, _MIN_IOU)
        hit, false = np.zeros(len(self.truth), bool), np.ones(len(shown), bool)
        hit[[cell for cell, _ in pairs]] = True
        false[[box for _, box in pairs]] = False
        return hit, shown[false]


@dataclass(frozen=True, slots=True)
class Finding:
    """Cells found and false boxes, before and after, over some fields.

    What overlapping fields show is in the figures as often as it is shown, except where it says
    *once*: there a group of them counts as the field of it that shows the most.

    Attributes:
        fields, groups, cells: how many; fields that overlap are one group.
        before, after: cells found.
        before_ci, after_ci: 95 % intervals of their share.
        false_before, false_after: boxes that are no cell.
        gained, lost: cells found only after, and only before.
        gone, new: false boxes only before, and only after.
        went, came: errors of both kinds only before, and only after, once.
        errors: errors of both kinds after, once.
    """

    fields: int
    groups: int
    cells: int
    before: int
    after: int
    before_ci: tuple[float, float]
    after_ci: tuple[float, float]
    false_before: int
    false_after: int
    gained: int
    lost: int
    gone: int
    new: int
    went: int
    came: int
    errors: int


@dataclass(frozen=True, slots=True)
class DetectorJudgement:
    """The figures, and the decision that follows from them.

    Attributes:
        own: on held-back fields of the laboratory.
        synthetic: on synthetic fields.
        confidence: score from which a box is a cell, for the new detector.
        better: use it.
        why: in one line.
    """

    own: Finding
    synthetic: Finding
    confidence: float
    better: bool
    why: str


def detect_field(
    detector: Detector, classifier: Classifier, field: Field, truth: np.ndarray, group: str
) -> FieldDetections:
    """Return what a detector says of a field, found and scored as the analysis does it."""
    boxes, scores = scored_boxes(field, detector, classifier, Settings(), LEAST)
    return FieldDetections(truth, boxes, scores, group)


def judge_detector(
    own: Sequence[tuple[FieldDetections, FieldDetections]],
    synthetic: Sequence[tuple[FieldDetections, FieldDetections]],
    confidence: float,
) -> DetectorJudgement:
    """Return the figures and the decision.

    The threshold of the new detector is near the one before (:func:`_threshold`). Better means: no
    fewer cells found, no more false boxes, and errors of both kinds that went outweigh those that
    came, beyond chance (exact one-sided sign test over the cells and boxes that differ). On
    synthetic fields it must lose no cells and make no more false boxes, beyond chance.
    Of overlapping fields an error counts once (:class:`Finding`).

    Few cells are missed and few boxes false in some twenty fields: each kind alone is rarely beyond
    chance there, both together often are.

    Args:
        own: before and after, of each held-back field.
        synthetic: the same of synthetic fields.
        confidence: threshold before.
    """
    tried = {one: compare(own, confidence, one) for one in {*_CANDIDATES, confidence}}
    best = _threshold(tried, confidence)
    here, there = tried[best], compare(synthetic, confidence, best)
    forgets = sign_test(there.lost, there.gained) <= ALPHA
    strays = there.false_after > there.false_before and (
        sign_test(there.false_after, there.false_before) <= ALPHA
    )
    what = (
        f"{here.gained} cells gained and {here.lost} lost, "
        f"{here.gone} false boxes gone and {here.new} new"
    )
    if here.groups < here.fields:
        what += f"; once where fields overlap: {here.went} errors gone and {here.came} new"
    if here.false_after > here.false_before:
        why = f"it makes more false boxes on held-back fields ({what})"
    elif here.after < here.before:
        why = f"it finds fewer cells on held-back fields ({what})"
    elif (p := sign_test(here.went, here.came)) > ALPHA:
        why = (
            f"what it gains on held-back fields may be chance ({what}, p = {p:.2f}); review more "
            "fields"
        )
    elif forgets or strays:
        why = (
            f"it gets worse on synthetic fields ({there.lost} cells lost, {there.gained} gained, "
            f"{there.false_before} false boxes before and {there.false_after} after)"
        )
    else:
        return DetectorJudgement(here, there, best, True, what)
    return DetectorJudgement(here, there, best, False, why)


def _threshold(tried: Mapping[float, Finding], confidence: float) -> float:
    """Return the threshold for the new detector: of those at which it finds no fewer cells at no
    more false boxes than before, if there are any, the one with the fewest errors, where each step
    away from the threshold before counts as some.

    Args:
        tried: the figures at each threshold.
        confidence: threshold before.
    """

    def cost(one: float) -> tuple[float, float]:
        seen, away = tried[one], abs(one - confidence)
        return round(seen.errors + _ERRORS_A_STEP * away / _STEP, 6), away

    no_worse = [
        one
        for one, seen in tried.items()
        if seen.after >= seen.before and seen.false_after <= seen.false_before
    ]
    return min(no_worse or tried, key=cost)


def compare(
    pairs: Sequence[tuple[FieldDetections, FieldDetections]],
    confidence: float,
    confidence_after: float,
) -> Finding:
    """Return the figures over fields, before and after, each at its threshold."""
    first = [before.found(confidence) for before, _ in pairs]
    second = [after.found(confidence_after) for _, after in pairs]
    none = np.zeros(0, bool)
    hit = np.concatenate([none, *(hits for hits, _ in first)])
    hit_after = np.concatenate([none, *(hits for hits, _ in second)])
    of = Groups([field.group for field, _ in pairs for _ in range(len(field.truth))])
    every = np.ones(len(hit), bool)
    false_before, false_after = (sum(len(false) for _, false in seen) for seen in (first, second))
    stay, went, came, errors = 0, [], [], []
    for (hits, false), (hits_then, false_then) in zip(first, second, strict=True):
        same = len(match_boxes(false, false_then, _MIN_IOU))
        stay += same
        went.append(int((hits_then & ~hits).sum()) + len(false) - same)
        came.append(int((hits & ~hits_then).sum()) + len(false_then) - same)
        errors.append(int((~hits_then).sum()) + len(false_then))
    groups = [field.group for field, _ in pairs]
    return Finding(
        len(pairs),
        len(set(groups)),
        len(hit),
        int(hit.sum()),
        int(hit_after.sum()),
        of.share(hit, every),
        of.share(hit_after, every),
        false_before,
        false_after,
        int((hit_after & ~hit).sum()),
        int((hit & ~hit_after).sum()),
        false_before - stay,
        false_after - stay,
        _once(went, groups),
        _once(came, groups),
        _once(errors, groups),
    )


def _once(counts: Sequence[int], groups: Sequence[str]) -> int:
    """Return the sum over groups of the most that one field of each shows."""
    most: dict[str, int] = {}
    for group, count in zip(groups, counts, strict=True):
        most[group] = max(count, most.get(group, 0))
    return sum(most.values())
