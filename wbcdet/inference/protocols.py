"""The two stages of the analysis, as :class:`~wbcdet.inference.analyzer.Analyzer` uses them.

Your own detector or classifier needs these members and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from wbcdet.utils.schemas import JsonObject

if TYPE_CHECKING:
    import numpy as np

    from wbcdet.inference.classifier import Classification, Thresholds


class Detector(Protocol):
    """Finds white blood cells in a field; may be called by several threads at the same time.

    Attributes:
        name, sha256: what results say of the model.
        card: ``input_size``, the longer side in pixels at which it looks at a picture; where the
            model was learned from reviewed cells, ``learned``.

    One that has a way of its own for fields that are seen as a whole, such as a smaller look that
    often is enough, offers it as ``detect_whole``, which takes the field's colours
    (:class:`wbcdet.inference.field_stain.FieldStain`) after what ``detect`` takes.
    """

    name: str
    sha256: str

    @property
    def card(self) -> JsonObject:
        """Facts on the model that the pipeline needs; see the attributes of the class."""
        ...

    def detect(
        self, pixels: np.ndarray, confidence: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the cells of a picture (H, W, 3) uint8 BGR.

        Returns:
            boxes (N, 4) ``x_min, y_min, x_max, y_max`` in pixels, and scores (N,), best first.
        """
        ...

    def threshold(self, confidence: float | None = None) -> float:
        """Give the least score of a cell: the one asked for, else the model's own."""
        ...

    def weakest(self, threshold: float) -> float:
        """Give the least score of a box that is nearly a cell; ``threshold`` for none such."""
        ...


class Classifier(Protocol):
    """Names white blood cells; may be called by several threads at the same time.

    Attributes:
        name, sha256: what results say of the model.
        card: ``crop_padding``, side of a crop over the longer side of its box; ``learned`` as for
            a detector.
    """

    name: str
    sha256: str

    @property
    def card(self) -> JsonObject:
        """Facts on the model that the pipeline needs; see the attributes of the class."""
        ...

    def crop(self, pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
        """Cut what ``classify`` takes of a cell from a picture (H, W, 3) uint8 BGR."""
        ...

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Give the probability of every class on the card (``classes``), (N, classes).

        Only evaluation asks for it.
        """
        ...

    def classify(
        self, crops: Sequence[np.ndarray], min_score: float | None = None
    ) -> list[Classification]:
        """Name the cells on crops, in order."""
        ...

    def thresholds(self, min_score: float | None = None) -> Thresholds:
        """Give the thresholds in force: those asked for, else the model's own."""
        ...
