"""A model that is loaded and can run: what the detector and the classifier have in common."""

from __future__ import annotations

from pathlib import Path

from wbcdet.inference.backends import open_backend
from wbcdet.inference.weights import load_model


class LoadedModel:
    """Base of the detector and the classifier.

    Args:
        role: ``detector`` or ``classifier``.
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.
        weights: folder of the models; None takes those in use (``load_model``).

    Attributes:
        model: the file and its card.
        name, sha256: of the model.

    Raises:
        WeightsError: the model is missing, damaged or cannot run on the device.
    """

    def __init__(self, role: str, device: str, threads: int, weights: str | Path | None) -> None:
        self.model = load_model(role, weights)
        self.name = self.model.name
        self.sha256 = self.model.sha256
        self._backend = open_backend(self.model, device, threads)
