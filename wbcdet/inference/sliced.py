"""The cells of one field: seen as a whole, or tile by tile with each cell owned by one tile."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from wbcdet.inference.classifier import Classification
from wbcdet.inference.magnification import MAX_READ, MAX_WHOLE, View, show
from wbcdet.inference.protocols import Classifier, Detector
from wbcdet.inference.tiling import Tile, TileDetections, assign, merge, plan
from wbcdet.io.field import Field
from wbcdet.settings import Settings
from wbcdet.utils.boxes import Box
from wbcdet.utils.parallel import work_ahead


def _inside(
    boxes: np.ndarray, scores: np.ndarray, width: int, height: int
) -> Iterator[tuple[Box, float]]:
    """Boxes cut to the field and rounded to 0.1 pixel; those without area are dropped."""
    limits = np.array([width, height, width, height], dtype=float)
    inside = np.round(np.clip(np.asarray(boxes, dtype=float).reshape(-1, 4), 0, limits), 1)
    for (x_min, y_min, x_max, y_max), score in zip(inside.tolist(), scores, strict=True):
        if x_max - x_min >= 1 and y_max - y_min >= 1:
            yield (x_min, y_min, x_max, y_max), float(score)


def find_whole(field: Field, detector: Detector, settings: Settings) -> list[tuple[Box, float]]:
    """The cells of a field that is looked at as a whole, best first.

    Raises:
        FieldError: the field is read in parts, and a part is damaged.
    """
    boxes, scores = detector.detect(field.pixels, settings.confidence)
    return list(_inside(boxes * field.reduction, scores, field.width, field.height))


def crop(field: Field, box: Box, classifier: Classifier) -> np.ndarray:
    """What the classifier sees of a cell, from the pixels of the whole field.

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
) -> list[tuple[Box, float, Classification]]:
    """The cells of a field that is looked at tile by tile, each once, best first.

    As many tiles as ``threads`` are in memory at a time. The cells that a tile claims are named at
    once, while what surrounds them is at hand.

    Raises:
        FieldError: as :func:`find_whole`.
    """
    size = settings.crops_per_batch
    claims: list[TileDetections] = []
    named: list[Classification] = []
    crops: list[np.ndarray] = []

    def look(tile: Tile) -> TileDetections:
        shown, by, corner = show(field, *tile.box, full=view.size <= MAX_READ)
        boxes, scores = detector.detect(shown, settings.confidence)
        boxes = boxes * by + np.array([*corner, *corner])
        return assign(tile, boxes, scores, field.width, field.height)

    tiles = plan(field.width, field.height, view.size, view.overlap)
    for claimed in work_ahead(look, tiles, threads, threads):
        claims.append(claimed)
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
    return cells


def _tenths(box: np.ndarray) -> Box:
    x_min, y_min, x_max, y_max = np.round(box, 1).tolist()
    return x_min, y_min, x_max, y_max
