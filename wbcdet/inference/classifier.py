"""Classifier: crops to labels, or the reason why a cell gets none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from wbcdet.inference.backends import check_output
from wbcdet.inference.cards import ClassifierCard
from wbcdet.inference.cell_crop import cell_crop
from wbcdet.inference.flipped_views import MIRRORINGS, mirrored
from wbcdet.inference.loaded_model import LoadedModel
from wbcdet.inference.preprocess import normalise
from wbcdet.inference.weights import WeightsError
from wbcdet.records import ARTEFACT, LABELS, CellType
from wbcdet.utils.calibration import softmax


@dataclass(frozen=True, slots=True)
class Classification:
    """Result of the classifier for one crop; fields as in :class:`wbcdet.records.Cell`.

    Attributes:
        no_cell: probability that it is no white cell, but a platelet or an artefact; None where
            the classifier does not tell.
    """

    label: CellType | str
    label_score: float
    scores: dict[str, float]
    reason: str | None
    distance: float | None = None
    no_cell: float | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Score and distance thresholds within which a crop gets a label.

    Attributes:
        min_score: least score of each label.
        unlike_trained: distance beyond which a crop is unlike all that was trained on; None for a
            classifier that has no such check.
    """

    min_score: dict[str, float]
    unlike_trained: float | None


class Classifier(LoadedModel):
    """Names white blood cells.

    Everything about its input, its classes and its thresholds is read from the model's card.

    Args:
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.
        weights: folder of the models; None takes those in use (``load_model``).
        careful: look at every crop as it is, mirrored and turned by half, and average.

    Raises:
        WeightsError: the model is missing, damaged or cannot run on the device.
    """

    def __init__(
        self,
        device: str = "auto",
        threads: int = 1,
        weights: str | Path | None = None,
        *,
        careful: bool = False,
    ) -> None:
        # Half precision would change names, and the detector takes ten times as long.
        exact = "cpu" if device == "cpu-bf16" else device
        super().__init__("classifier", exact, threads, weights)
        self.card = cast("ClassifierCard", self.model.card)
        self._views = MIRRORINGS if careful else MIRRORINGS[:1]
        # A laboratory's own model may be older than this check.
        unlike = self.card.get("unlike_trained")
        self._unlike_from = None if unlike is None else float(unlike["threshold"])
        named = [] if unlike is None else [str(unlike["output"])]
        self._outputs = [self._backend.outputs[0], *named]
        missing = set(named) - set(self._backend.outputs)
        if missing:
            raise WeightsError(
                f"{self.model.path}: lacks the output {missing.pop()!r} that its card names; "
                "reinstall wbcdet, or train and export the classifier again"
            )
        size = self.card["input_size"]
        empty = np.zeros((1, 3, size, size), np.float32)
        logits, *distance = self._backend.run_outputs(empty, self._outputs)
        check_output(self.model, logits, (1, len(self.card["classes"])))
        for output in distance:
            check_output(self.model, output, (1,))

    def crop(self, pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
        """Return the square that the network sees of a cell, (S, S, 3) uint8 BGR."""
        return cell_crop(pixels, box, self.card)

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Return the calibrated probability of every class on the card, (N, classes) float32."""
        return self._probabilities(crops)[0]

    def thresholds(self, min_score: float | None = None) -> Thresholds:
        """Return the thresholds in force.

        Args:
            min_score: least score of every label, 0..1; None takes those on the card.
        """
        own = self.card.get("decline_below") or {}
        names = (*map(str, LABELS), *self.card.get("own_labels", ()))
        least = {name: float(own.get(name, self.card["min_score"])) for name in names}
        if min_score is not None:
            least = dict.fromkeys(names, min_score)
        return Thresholds(least, self._unlike_from)

    def classify(
        self, crops: Sequence[np.ndarray], min_score: float | None = None
    ) -> list[Classification]:
        """Name the cells on crops made by :meth:`crop`.

        Args:
            crops: N pictures (S, S, 3) uint8 BGR.
            min_score: least score of a label, 0..1; None takes the card's thresholds.
        """
        thresholds = self.thresholds(min_score)
        card = self.card
        given = (card["classes"], thresholds.min_score, card.get("reasons"))
        own = card.get("own_labels", ())
        return [
            decide(row, *given, away, thresholds.unlike_trained, own)
            for row, away in zip(*self._probabilities(crops), strict=True)
        ]

    def _probabilities(self, crops: Sequence[np.ndarray]) -> tuple[np.ndarray, list[float | None]]:
        """Return probabilities (N, classes) and distances (None without one), averaged over the
        views."""
        if not crops:
            return np.zeros((0, len(self.card["classes"])), np.float32), []
        odds, away = [], []
        for view in self._views:
            mirrored_crops = [mirrored(crop, *view) for crop in crops]
            batch = normalise(mirrored_crops, self.card["mean"], self.card["std"])
            logits, *distance = self._backend.run_outputs(batch, self._outputs)
            if not all(np.isfinite(output).all() for output in (logits, *distance)):
                raise WeightsError(f"{self.name}: gives no numbers for a cell; reinstall wbcdet")
            odds.append(softmax(logits / self.card["temperature"]))
            away += distance
        # One view is handed on as it is: averaging would cost time and the last digit.
        mean = odds[0] if len(odds) == 1 else np.mean(odds, 0)
        return mean, np.mean(away, 0).tolist() if away else [None] * len(crops)


def decide(
    probabilities: np.ndarray,
    classes: Sequence[str],
    min_score: float | Mapping[str, float],
    reasons: Mapping[str, str] | None = None,
    distance: float | None = None,
    unlike_from: float | None = None,
    own: Sequence[str] = (),
) -> Classification:
    """Return the verdict on one cell from the probability of each class.

    A cell is unclassified when what has no label is more probable than each label, all classes of
    one reason taken together; else when it is unlike all that was trained on; else when the best
    label is below its threshold.

    Args:
        probabilities: (classes,).
        classes: in the order of the card.
        min_score: least score of a name, of all labels or of each.
        reasons: why a cell of a class that is not one of the four is unclassified; a class that
            is not listed gives ``CLASS-like``.
        distance: from all that was trained on; None where it is not known.
        unlike_from: greatest distance of a cell that gets a name; None for any.
        own: classes that are labels beside the four, of a laboratory's own classifier.

    Raises:
        ValueError: a probability is no number between 0 and 1.
    """
    if not all(0.0 <= p <= 1.0 + 1e-6 for p in map(float, probabilities)):
        raise ValueError(f"{list(map(float, probabilities))} are no probabilities")
    by_class = {name: float(p) for name, p in zip(classes, probabilities, strict=True)}
    scores = {str(label): by_class.pop(str(label)) for label in LABELS}
    labels: dict[CellType | str, float] = {label: scores[str(label)] for label in LABELS}
    labels |= {name: by_class.pop(name) for name in own}
    others: dict[str, float] = {}
    for name, probability in by_class.items():
        why = (reasons or {}).get(name) or (name if name == ARTEFACT else f"{name}-like")
        others[why] = others.get(why, 0.0) + probability
    best = max(labels, key=lambda label: labels[label])
    score = labels[best]
    least = min_score[str(best)] if isinstance(min_score, Mapping) else min_score
    reason = max(others, key=lambda why: others[why], default=None)
    if reason is None or others[reason] <= score:
        reason = None
        if distance is not None and unlike_from is not None and distance > unlike_from:
            reason = "unlike-trained"
        elif score < least:
            reason = "low-score"
    label = best if reason is None else CellType.UNCLASSIFIED
    return Classification(label, score, scores, reason, distance, others.get(ARTEFACT))
