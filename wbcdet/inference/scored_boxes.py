"""All boxes of a field with the score of both stages, weak ones too: for judging a detector."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wbcdet.inference.classifier import Classification
from wbcdet.inference.joint_score import settle
from wbcdet.inference.protocols import Classifier, Detector
from wbcdet.inference.sliced import crop, find_cells
from wbcdet.io.field import Field
from wbcdet.records import CellType
from wbcdet.settings import Settings

#: In place of what the classifier would say of a box that is too weak to be a cell.
_NOT_ASKED = Classification(CellType.UNCLASSIFIED, 0.0, {}, None)


def scored_boxes(
    field: Field, detector: Detector, classifier: Classifier, settings: Settings, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes of a field, looked for and scored as the analyser does.

    Args:
        field: the field.
        detector: finds them.
        classifier: says of each whether it is a white cell.
        settings: as for the analysis; its ``confidence`` does not count.
        least: least score of both stages that is kept, 0..1.

    Returns:
        boxes (N, 4) float32 ``x_min, y_min, x_max, y_max`` in pixels, and scores (N,) float32, best
        first.
    """
    found = find_cells(field, detector, replace(settings, confidence=least)).cells(
        field.width, field.height
    )
    own = detector.threshold()
    weakest = detector.weakest(own)
    # What is weaker is no cell whatever the classifier says of it.
    crops = [crop(field, box, classifier) for box, score in found if score >= weakest]
    verdicts = iter(classifier.classify(crops, min_score=settings.min_score))
    cells, _ = settle(
        [(box, score, next(verdicts) if score >= weakest else _NOT_ASKED) for box, score in found],
        least,
        own,
        weakest,
    )
    boxes = np.array([box for box, *_ in cells], np.float32).reshape(-1, 4)
    return boxes, np.array([score for _, score, _ in cells], np.float32)
