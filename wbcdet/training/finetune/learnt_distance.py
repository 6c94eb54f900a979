"""Tell how far cells lie from what a network was trained on, before and after learning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from wbcdet.inference.cards import ClassifierCard
from wbcdet.training.distance import fit_distance, load_distance
from wbcdet.training.finetune import tune
from wbcdet.training.finetune.replay import Replay, as_arrays
from wbcdet.training.leucocytenet import FeatureDistance, LeucoCyteNet


@dataclass(frozen=True, slots=True)
class LearntDistance:
    """What a network was trained on, in its features.

    Attributes:
        distance: of a cell from it; None for a classifier that has no such check.
        limit: the greatest distance of a cell that gets a name.
    """

    distance: FeatureDistance | None
    limit: float

    def away(self, features: np.ndarray) -> np.ndarray:
        """Return distances (N,) of features (N, F), in the greatest of a cell that gets a name."""
        if self.distance is None:
            return np.zeros(len(features))
        with torch.no_grad():
            return np.asarray(self.distance(torch.from_numpy(features)).numpy()) / self.limit


class LearntDistances:
    """Finds how far cells lie from what a network was trained on, before and after learning.

    Args:
        path: safetensors of the classifier to start from.
        card: of it.
        known: (N, F) features of the replay by it.
        replay: of the cells that it was trained on.
        maps: of the laboratory's cells.

    Attributes:
        before: of the classifier to start from.
    """

    def __init__(
        self,
        path: Path,
        card: ClassifierCard,
        known: np.ndarray,
        replay: Replay,
        maps: tune.FeatureMaps,
    ) -> None:
        limit = float(card["unlike_trained"]["threshold"]) if "unlike_trained" in card else np.inf
        self.before = LearntDistance(load_distance(path), limit)
        self._known, self._replay, self._maps = known, replay, maps

    def after(self, tuned: LeucoCyteNet, learnt: np.ndarray) -> LearntDistance:
        """Return what a network was trained on that has learnt from some of the cells (indices).

        Its limit lies as far beyond the replay as the one before.
        """
        old = self.before.distance
        if old is None:
            return self.before
        labels, laboratories = as_arrays(self._replay)
        features = tune.outputs(tuned, self._replay.maps)[1]
        own = tune.outputs(tuned, self._maps.plain(learnt))[1]
        new = fit_distance(
            np.concatenate([features, own]),
            np.concatenate([labels, self._maps.labels.numpy()[learnt]]),
            [*laboratories, *("its own laboratory" for _ in own)],
        )
        with torch.no_grad():
            far = [
                float(torch.quantile(distance(torch.from_numpy(values)), 0.95))
                for distance, values in ((old, self._known), (new, features))
            ]
        return LearntDistance(new, self.before.limit * far[1] / max(far[0], 1e-6))
