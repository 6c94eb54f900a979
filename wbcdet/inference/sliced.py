"""Find the cells of one field: as a whole, or in tiles with each cell owned by one tile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from wbcdet.inference.classifier import Classification
from wbcdet.inference.closer_look import look_closer
from wbcdet.inference.field_stain import measure_field, measure_stain
from wbcdet.inference.magnification import MAX_READ, MAX_WHOLE, View, choose_view, show
from wbcdet.inference.protocols import Classifier, Detector
from wbcdet.inference.stained_spots import find_spots
from wbcdet.inference.surroundings import REACH
from wbcdet.inference.tiling import Tile, TileDetections, assign, merge, owned, plan
from wbcdet.io.field import Field
from wbcdet.records import StainedSpot
from wbcdet.settings import Settings
from wbcdet.utils.boxes import Box
from wbcdet.utils.parallel import map_ahead

#: Neighbouring tiles share this part of a cell's width at least; with less, no tile may see enough
#: of a cell on their seam to tell that both saw the same one.
_LEAST_SHARED = 0.5


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
class Detections:
    """What may be cells in a field, best first.

    Attributes:
        boxes: (N, 4) ``x_min, y_min, x_max, y_max`` in pixels of the field.
        scores: (N,) 0..1, the detector's, from ``Detector.weakest`` on: which of them are cells,
            :func:`wbcdet.inference.joint_score.settle` tells when they have names.
        stain: colours of the field, see :func:`wbcdet.inference.field_stain.measure_stain`.
        labels: of the boxes of a field that was seen in tiles; None where it was seen as a whole,
            so that its crops can be classified together with those of other fields.
        remarks: what to know of how they were found, a line each.
        spots: what is stained like nuclei in a field that was seen as a whole.
    """

    boxes: np.ndarray
    scores: np.ndarray
    stain: tuple[float, ...] | None
    labels: list[Classification] | None = None
    remarks: tuple[str, ...] = ()
    spots: tuple[StainedSpot, ...] = ()

    def cells(self, width: int, height: int) -> list[tuple[Box, float]]:
        """Return each box with its score, cut to a field of this size, to 0.1 pixel."""
        return list(_inside(self.boxes, self.scores, width, height))


def find_cells(
    field: Field,
    detector: Detector,
    settings: Settings,
    classifier: Classifier | None = None,
    threads: int = 1,
) -> Detections:
    """Find what may be cells in a field; the one place that decides between whole field and tiles.

    Args:
        field: any field.
        detector: finds the cells.
        settings: threshold, tiles, and crops in a batch.
        classifier: names the cells of a field that is seen in tiles, while what surrounds them is
            in memory; None leaves them without labels.
        threads: tiles that are in memory at a time.

    Raises:
        FieldError: the field is read in parts, and a part is damaged.
    """
    view = choose_view(field, detector.detect, detector.card["input_size"], settings)
    if view is None:
        return _find_whole(field, detector, settings)
    return _find_in_tiles(field, view, detector, settings, classifier, threads)


def _find_whole(field: Field, detector: Detector, settings: Settings) -> Detections:
    least = detector.threshold(settings.confidence)
    colours = measure_field(field.pixels)
    detect_whole = getattr(detector, "detect_whole", None)  # your own need not have it
    if detect_whole is None:
        boxes, scores = detector.detect(field.pixels, detector.weakest(least))
    else:
        boxes, scores = detect_whole(field.pixels, detector.weakest(least), colours)
    certain = boxes[scores >= detector.threshold()]
    spots = find_spots(field.pixels, colours, certain)
    boxes, scores = look_closer(
        field.pixels, spots, (boxes, scores), detector, detector.weakest(least)
    )
    stain = None if colours is None else colours.values
    spots = tuple(spot.enlarged(field.reduction) for spot in spots)
    return Detections(boxes * field.reduction, scores, stain, spots=spots)


def crop(field: Field, box: Box, classifier: Classifier) -> np.ndarray:
    """Return what the classifier sees of a cell, from the pixels of the whole field.

    Raises:
        FieldError: as :func:`find_cells`.
    """
    x_min, y_min, x_max, y_max = box
    if max(field.width, field.height) <= MAX_WHOLE:
        return classifier.crop(field.pixels, np.array(box))
    # The crop itself reaches less far than what it is compared with.
    reach = max(x_max - x_min, y_max - y_min, 1.0) * REACH + 4
    x, y = (x_min + x_max) / 2, (y_min + y_max) / 2
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = field.read(left, top, int(x + reach) + 1, int(y + reach) + 1)
    return classifier.crop(part, np.array(box) - [left, top, left, top])


def _find_in_tiles(
    field: Field,
    view: View,
    detector: Detector,
    settings: Settings,
    classifier: Classifier | None,
    threads: int,
) -> Detections:
    """Find the cells of a field tile by tile, each once; those that a tile claims are classified
    at once, while what surrounds them is in memory."""
    size = settings.crops_per_batch
    least = detector.threshold(settings.confidence)
    weakest = detector.weakest(least)
    claims: list[TileDetections] = []
    # What is below the threshold is no tile's claim: on a seam it would be one with better boxes.
    nearly: list[TileDetections] = []
    named: list[Classification] = []
    crops: list[np.ndarray] = []

    def detect_tile(tile: Tile) -> tuple[TileDetections, TileDetections]:
        shown, by, corner = show(field, *tile.box, full=view.size <= MAX_READ)
        boxes, scores = detector.detect(shown, weakest)
        boxes = boxes * by + np.array([*corner, *corner])
        kept = scores >= least
        claimed = assign(tile, boxes[kept], scores[kept], field.width, field.height)
        weak = assign(tile, boxes[~kept], scores[~kept], field.width, field.height)
        return claimed, weak.only(owned(tile, weak.boxes) & ~weak.cut)

    tiles = plan(field.width, field.height, view.size, view.overlap)
    for claimed, weak in map_ahead(detect_tile, tiles, threads, threads):
        claims.append(claimed)
        nearly.append(weak)
        if classifier is None:
            continue
        crops += [crop(field, _tenths(box), classifier) for box in claimed.boxes]
        crops += [crop(field, _tenths(box), classifier) for box in weak.boxes]
        while len(crops) >= size:
            named += classifier.classify(crops[:size], settings.min_score)
            del crops[:size]
    merged = merge(claims)
    stain = measure_stain(field.pixels)
    weak_boxes = np.concatenate([weak.boxes for weak in nearly])
    weak_scores = np.concatenate([weak.scores for weak in nearly])
    boxes = np.array([_tenths(box) for box in (*(box for *_, box in merged), *weak_boxes)], float)
    boxes = boxes.reshape(-1, 4)
    scores = np.array([claims[tile].scores[row] for tile, row, _ in merged], float)
    scores = np.concatenate([scores, weak_scores])
    remarks = _seam_remarks(boxes[: len(merged)], view)
    if classifier is None:
        return Detections(boxes, scores, stain, remarks=remarks)
    named += classifier.classify(crops, settings.min_score)
    of_tile = (
        len(claim.scores) + len(weak.scores) for claim, weak in zip(claims, nearly, strict=True)
    )
    start = np.cumsum([0, *of_tile])
    labels = []
    for tile_number, row, box in merged:
        verdict = named[start[tile_number] + row]
        if not np.array_equal(box, claims[tile_number].boxes[row]):  # put together from parts
            crops = [crop(field, _tenths(box), classifier)]
            (verdict,) = classifier.classify(crops, settings.min_score)
        labels.append(verdict)
    for tile_number, weak in enumerate(nearly):
        first = start[tile_number] + len(claims[tile_number].scores)
        labels += named[first : first + len(weak.scores)]
    return Detections(boxes, scores, stain, labels, remarks)


def _seam_remarks(boxes: np.ndarray, view: View) -> tuple[str, ...]:
    """Say where tiles of a user's choice share too little for the cells (N, 4) that they show."""
    width = float(np.median((boxes[:, 2:] - boxes[:, :2]).max(1))) if len(boxes) else 0.0
    if view.overlap >= _LEAST_SHARED * width:
        return ()
    return (
        f"tiles of {view.size} px share {view.overlap} px, and cells are {width:.0f} px wide: one "
        f"on a seam may count twice; take tiles of {4 * width:.0f} px or more",
    )


def _tenths(box: np.ndarray) -> Box:
    x_min, y_min, x_max, y_max = np.round(box, 1).tolist()
    return x_min, y_min, x_max, y_max
