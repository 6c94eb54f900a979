"""The map of a slide: where it was counted, and where its cells lie; and the same for QuPath."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.inference.smear_map import SmearMap
from wbcdet.io.colour import Pixels
from wbcdet.records import Cell
from wbcdet.report.thumbnails import to_jpeg
from wbcdet.results.export.qupath import feature
from wbcdet.results.palette import rgb_of
from wbcdet.utils.boxes import Box
from wbcdet.utils.schemas import JsonObject

#: Longest side of a map, px.
_SIDE = 1400
_ZONE, _EDGE = (0, 140, 0), (0, 120, 230)
_QUALITY = 85
#: Ending of the picture of a slide without marks, which stands for it from afar.
OVERVIEW = ".overview.jpg"


@dataclass(frozen=True, slots=True)
class SlideMap:
    """The map of one slide.

    Attributes:
        title: name of the slide.
        jpeg: the picture.
        caption: what it shows, in words.
    """

    title: str
    jpeg: bytes
    caption: str


#: A counted cell: the field that it is in, the cell, and its box on the slide.
OnSlide = tuple[str, Cell, Box]


def draw_map(
    smear: SmearMap,
    zone: npt.NDArray[np.bool_],
    parts: Sequence[tuple[Box, bool]],
    cells: Iterable[OnSlide],
    size: tuple[int, int],
) -> bytes:
    """Return the map as JPEG.

    Args:
        smear: the slide from afar.
        zone: squares that are to be counted.
        parts: cores of the parts that were counted, px of the slide, and whether they are edge.
        cells: the cells that were counted.
        size: width and height of the slide, px.
    """
    side = smear.picture.shape[1] / smear.kind.shape[1]
    picture = _cut(smear, size)
    by = min(_SIDE / max(picture.shape[:2]), 4.0)
    shape = [max(1, round(length * by)) for length in picture.shape[1::-1]]
    method = cv2.INTER_AREA if by < 1 else cv2.INTER_LINEAR
    canvas = cv2.resize(picture, shape, interpolation=method)
    scale = side * by / smear.side
    for mask, colour in ((smear.edge, _EDGE), (zone, _ZONE)):
        for outline in _outlines(mask, smear.side * scale):
            cv2.polylines(canvas, [np.round(outline).astype(np.int32)], True, colour, 2)
    for (x0, y0, x1, y1), _ in parts:
        low, high = (round(x0 * scale), round(y0 * scale)), (round(x1 * scale), round(y1 * scale))
        cv2.rectangle(canvas, low, high, (90, 90, 90), 1)
    for _, cell, (x0, y0, x1, y1) in cells:
        place = round((x0 + x1) / 2 * scale), round((y0 + y1) / 2 * scale)
        red, green, blue = rgb_of(str(cell.label))
        cv2.circle(canvas, place, 4, (40, 40, 40), -1, cv2.LINE_AA)
        cv2.circle(canvas, place, 3, (blue, green, red), -1, cv2.LINE_AA)
    if smear.direction is not None:
        dx, dy = smear.direction
        start = (30 + 20, 30 + 20)
        end = round(start[0] + 36 * dx), round(start[1] + 36 * dy)
        cv2.arrowedLine(canvas, start, end, (0, 0, 0), 2, cv2.LINE_AA, tipLength=0.3)
    return to_jpeg(canvas, _QUALITY)


def overview(smear: SmearMap, size: tuple[int, int]) -> bytes:
    """Return the slide from afar as JPEG, without marks."""
    return to_jpeg(np.ascontiguousarray(_cut(smear, size)), _QUALITY)


def _cut(smear: SmearMap, size: tuple[int, int]) -> Pixels:
    """Return the picture of the map, without what its last squares have beyond the slide."""
    side = smear.picture.shape[1] / smear.kind.shape[1]
    width, height = (max(1, round(length / smear.side * side)) for length in size)
    return smear.picture[:height, :width]


def to_geojson(
    smear: SmearMap,
    zone: npt.NDArray[np.bool_] | None,
    cells: Iterable[OnSlide],
    um_per_px: float,
) -> bytes:
    """Zone and cells for QuPath, in pixels of the slide's finest level.

    Args:
        smear: the slide from afar.
        zone: squares that were to be counted; None where a person drew it, and has it.
        cells: the cells that were counted.
        um_per_px: of the finest level.
    """
    features: list[JsonObject] = []
    for outline in [] if zone is None else _outlines(zone, smear.side):
        ring = np.round(outline, 1).tolist()
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [[*ring, ring[0]]]},
                "properties": {"objectType": "annotation", "name": "zone"},
            }
        )
    for file, cell, box in cells:
        annotation = feature(file, cell, box)
        side = (box[2] - box[0] + box[3] - box[1]) / 2
        annotation["properties"]["measurements"]["diameter µm"] = round(side * um_per_px, 2)
        features.append(annotation)
    document = {"type": "FeatureCollection", "features": features}
    return f"{json.dumps(document, ensure_ascii=False)}\n".encode()


def _outlines(mask: npt.NDArray[np.bool_], side: float) -> list[npt.NDArray[np.float64]]:
    """Outer outlines of the squares of a mask, each (N, 2)."""
    # Doubled, so that outlines run along the borders of squares and not through their middles.
    large = np.kron(mask.astype(np.uint8), np.ones((4, 4), np.uint8))
    contours, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [
        (contour[:, 0].astype(float) + 0.5) / 4 * side for contour in contours if len(contour) > 2
    ]
