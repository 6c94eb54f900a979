"""Find the cells of one field: as a whole, or in tiles with each cell owned by one tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wbcdet.inference.classifier import Classification
from wbcdet.inference.magnification import MAX_READ, MAX_WHOLE, View, show
from wbcdet.inference.protocols import Classifier, Detector
from wbcdet.inference.tiling import Tile, TileDetections, assign, merge, owned, plan
from wbcdet.io.field import Field
from wbcdet.settings import Settings
from wbcdet.utils.boxes import Box
from wbcdet.utils.parallel import work_ahead


def _inside(
    boxes: np.ndarray, scores: np.ndarray, width: int, height: int
) -> Iterator[tuple[Box, float]]:
    """Return boxes cut to the field and rounded to 0.1 pixel; those without area are dropped."""
    limits = np.array([width, height, width, height], dtype=float)
    inside = np.round(np.clip(np.asarray(boxes, dtype=float).reshape(-1, 4), 0, limits), 1)
    for (x_min, y_min, x_max, y_max), score in zip(inside.tolist(), scores, strict=True):
        if x_max - x_min >= 1 and y_max - y_min >= 1:
            yield (x_min, y_min, x_max, y_max), float(score)


@dataclass(frozen=True, slots=True)
class Boxes:
    """Detections in a field: cells, best first, and scores of boxes that are nearly cells.

    Attributes:
        cells: box and score of each, from the threshold on.
        weak: scores of the boxes below it.
    """

    cells: list[tuple[Box, float]]
    weak: list[float]


def find_whole(field: Field, detector: Detector, settings: Settings) -> Boxes:
    """Return the cells of a field that is looked at as a whole.

    Raises:
        FieldError: the field is read in parts, and a part is damaged.
    """
    least = detector.threshold(settings.confidence)
    boxes, scores = detector.detect(field.pixels, detector.weakest(least))
    kept = scores >= least
    cells = _inside(boxes[kept] * field.reduction, scores[kept], field.width, field.height)
    return Boxes(list(cells), scores[~kept].tolist())


def crop(field: Field, box: Box, classifier: Classifier) -> np.ndarray:
    """Return what the classifier sees of a cell, from the pixels of the whole field.

    Raises:
        FieldError: as :func:`find_whole`.
    """
    x_min, y_min, x_max, y_max = box
    if max(field.width, field.height) <= MAX_WHOLE:
        return classifier.crop(field.pixels, np.array(box))
    # The crop reaches 0.63 of the box's longer side from its centre, shrinking it first 0.94.
    reach = max(x_max - x_min, y_max - y_min, 1.0) * classifier.card["crop_padding"] + 4
    x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = field.read(left, top, int(x + reach) + 1, int(y + reach) + 1)
    return classifier.crop(part, np.array(box) - [left, top, left, top])


def find_in_tiles(
    field: Field,
    view: View,
    detector: Detector,
    classifier: Classifier,
    settings: Settings,
    threads: int = 1,
) -> tuple[list[tuple[Box, float, Classification]], list[float]]:
    """Return the cells of a field that is looked at tile by tile, each once, best first; weak
    scores.

    As many tiles as ``threads`` are in memory at a time. The cells that a tile claims are named at
    once, while what surrounds them is at hand.

    Raises:
        FieldError: as :func:`find_whole`.
    """
    size = settings.crops_per_batch
    least = detector.threshold(settings.confidence)
    weakest = detector.weakest(least)
    weak: list[float] = []
    claims: list[TileDetections] = []
    named: list[Classification] = []
    crops: list[np.ndarray] = []

    def look(tile: Tile) -> tuple[TileDetections, list[float]]:
        shown, by, corner = show(field, *tile.box, full=view.size <= MAX_READ)
        boxes, scores = detector.detect(shown, weakest)
        boxes = boxes * by + np.array([*corner, *corner])
        kept = scores >= least
        nearly = ~kept & owned(tile, boxes)
        claimed = assign(tile, boxes[kept], scores[kept], field.width, field.height)
        return claimed, scores[nearly].tolist()

    tiles = plan(field.width, field.height, view.size, view.overlap)
    for claimed, nearly in work_ahead(look, tiles, threads, threads):
        claims.append(claimed)
        weak += nearly
        crops += [crop(field, _tenths(box), classifier) for box in claims[-1].boxes]
        while len(crops) >= size:
            named += classifier.classify(crops[:size], settings.min_score)
            del crops[:size]
    named += classifier.classify(crops, settings.min_score)
    start = np.cumsum([0, *(len(one.scores) for one in claims)])
    cells = []
    for tile_number, row, box in merge(claims):
        verdict = named[start[tile_number] + row]
        if not np.array_equal(box, claims[tile_number].boxes[row]):  # put together from parts
            crops = [crop(field, _tenths(box), classifier)]
            (verdict,) = classifier.classify(crops, settings.min_score)
        cells.append((_tenths(box), float(claims[tile_number].scores[row]), verdict))
    return cells, weak


def _tenths(box: np.ndarray) -> Box:
    x_min, y_min, x_max, y_max = np.round(box, 1).tolist()
    return x_min, y_min, x_max, y_max
