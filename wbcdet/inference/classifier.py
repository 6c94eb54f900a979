"""Crops to labels: which of the four a cell is, or why it is none safely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wbcdet.inference.backends import open_backend
from wbcdet.inference.preprocess import crop_cell, normalise, normalise_stain
from wbcdet.inference.weights import load_model
from wbcdet.records import LABELS, CellType
from wbcdet.utils.calibration import softmax

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

    Args and errors as for :class:`~wbcdet.inference.detector.Detector`.
    """

    def __init__(
        self, device: str = "auto", threads: int = 1, weights: str | Path | None = None
    ) -> None:
        model = load_model("classifier", weights)
        self.card: dict[str, Any] = model.card
        self.name = model.name
        self.sha256 = model.sha256
        # Half precision would change names, and the detector takes ten times as long.
        exact = "cpu" if device == "cpu-bf16" else device
        self._backend = open_backend(model, exact, threads)

    def crop(self, pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
        """The square that the network sees of a cell, (S, S, 3) uint8 BGR."""
        crop = crop_cell(pixels, box, self.card["input_size"], self.card["crop_padding"])
        return normalise_stain(crop, **self.card["stain"])

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Calibrated probability of every class on the card, (N, classes) float32."""
        if not crops:
            return np.zeros((0, len(self.card["classes"])), np.float32)
        batch = normalise(crops, self.card["mean"], self.card["std"])
        return softmax(self._backend.run(batch) / self.card["temperature"])

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
    """
    by_class = {name: float(p) for name, p in zip(classes, probabilities, strict=True)}
    scores = {str(label): by_class[str(label)] for label in LABELS}
    best = max(LABELS, key=lambda label: scores[str(label)])
    winner = max(by_class, key=lambda name: by_class[name])
    reason = REASONS.get(winner)
    if reason is None and scores[str(best)] < min_score:
        reason = "low-score"
    label = best if reason is None else CellType.UNCLASSIFIED
    return Classification(label, scores[str(best)], scores, reason)
