"""Crops to labels: which of the four a cell is, or why it is none safely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wbcdet.inference.backends import check_output, open_backend
from wbcdet.inference.preprocess import crop_cell, normalise, normalise_stain
from wbcdet.inference.weights import WeightsError, load_model
from wbcdet.records import LABELS, CellType

#: Why a cell is unclassified, by the class that won over the four.
REASONS = {"basophil": "basophil-like", "artefact": "artefact"}


@dataclass(frozen=True, slots=True)
class Classification:
    """What the classifier says of one crop; fields as in :class:`wbcdet.records.Cell`."""

    label: CellType
    label_score: float
    scores: dict[str, float]
    reason: str | None


class Classifier:
    """Names white blood cells.

    Everything about its input, its classes and its thresholds is read from the model's card.

    Args:
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.

    Raises:
        WeightsError: the model is missing, damaged or cannot run on the device.
    """

    def __init__(self, device: str = "auto", threads: int = 1) -> None:
        model = load_model("classifier")
        self.card: dict[str, Any] = model.card
        self.name = model.name
        self.sha256 = model.sha256
        self.identity = model.identity
        unknown = set(self.card["classes"]) - {str(label) for label in LABELS} - set(REASONS)
        if unknown:
            raise WeightsError(
                f"{model.path}: names cells {', '.join(sorted(unknown))}, which this version of "
                "wbcdet does not know"
            )
        # Half precision would change names, and the detector takes ten times as long.
        exact = "cpu" if device == "cpu-bf16" else device
        self._backend = open_backend(model, exact, threads)
        size = self.card["input_size"]
        check_output(
            model,
            self._backend.run(np.zeros((1, 3, size, size), np.float32)),
            (1, len(self.card["classes"])),
        )

    def crop(self, pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
        """The square that the network sees of a cell, (S, S, 3) uint8 BGR."""
        crop = crop_cell(pixels, box, self.card["input_size"], self.card["crop_padding"])
        return normalise_stain(crop, **self.card["stain"])

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probability of every class on the card, (N, classes) float32."""
        if not crops:
            return np.zeros((0, len(self.card["classes"])), np.float32)
        batch = normalise(crops, self.card["mean"], self.card["std"])
        logits = self._backend.run(batch) / self.card["temperature"]
        if not np.isfinite(logits).all():
            raise WeightsError(f"{self.name}: gives no numbers for a cell; reinstall wbcdet")
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    def classify(
        self, crops: Sequence[np.ndarray], min_score: float | None = None
    ) -> list[Classification]:
        """Name the cells on crops made by :meth:`crop`.

        Args:
            crops: N pictures (S, S, 3) uint8 BGR.
            min_score: least score of a label, 0..1; None takes the card's threshold.
        """
        least = self.card["min_score"] if min_score is None else min_score
        classes = self.card["classes"]
        return [decide(row, classes, least) for row in self.probabilities(crops)]


def decide(probabilities: np.ndarray, classes: Sequence[str], min_score: float) -> Classification:
    """The verdict on one cell from the probability of each class.

    A cell is unclassified when a class beside the four is the most probable one, or when the best
    of the four is below ``min_score``.

    Raises:
        ValueError: a probability is no number between 0 and 1.
    """
    if not all(0.0 <= p <= 1.0 + 1e-6 for p in map(float, probabilities)):
        raise ValueError(f"{list(map(float, probabilities))} are no probabilities")
    by_class = {name: float(p) for name, p in zip(classes, probabilities, strict=True)}
    scores = {str(label): by_class[str(label)] for label in LABELS}
    best = max(LABELS, key=lambda label: scores[str(label)])
    winner = max(by_class, key=lambda name: by_class[name])
    reason = REASONS.get(winner)
    if reason is None and scores[str(best)] < min_score:
        reason = "low-score"
    label = best if reason is None else CellType.UNCLASSIFIED
    return Classification(label, scores[str(best)], scores, reason)
