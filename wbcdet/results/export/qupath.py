"""QuPath: one GeoJSON FeatureCollection a field or slide, to be dropped on the open picture."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from wbcdet.records import Cell
from wbcdet.results.export.base import Item, free_stem
from wbcdet.utils.boxes import Box, iou
from wbcdet.utils.files import atomic_write
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.text import alike

#: The parts of a slide are one picture here, so a cell that two of them show is written once.
WHOLE_SLIDES = True

#: Name space of the ids: the same cell of the same field has the same id in every export.
_SPACE = uuid.UUID("6f0e4a0e-7a3e-5b54-9f7e-2f6d7c1f2a10")

#: Overlap (IoU) from which two boxes on a slide are one cell.
_SAME = 0.4
#: Side of the squares of a slide by which cells near each other are found, px.
_SQUARE = 256


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``STEM.geojson`` for every field: detections with class, colour and measurements.

    The parts of a slide go into one file, in pixels of the slide.
    """
    by_stem: dict[str, list[JsonObject]] = {}
    slides: dict[str, _Slide] = {}
    stems = {alike(item.stem) for item in items if item.result.region is None}
    for item in items:
        region = item.result.region
        if region is None:
            by_stem[item.stem] = [
                feature(item.result.file, cell, cell.box) for cell in item.result.cells
            ]
            continue
        if region.slide not in slides:
            slides[region.slide] = _Slide(free_stem(region.slide, stems)[0])
        slide = slides[region.slide]
        features = by_stem.setdefault(slide.stem, [])
        for cell in item.result.cells:
            box = region.on_slide(cell.box)
            if slide.is_new(box):
                features.append(feature(item.result.file, cell, box))
    for stem, features in by_stem.items():
        collection = {"type": "FeatureCollection", "features": features}
        text = json.dumps(collection, ensure_ascii=False, indent=1)
        atomic_write(out / f"{stem}.geojson", f"{text}\n".encode())


class _Slide:
    """A slide whose cells come in, a part after the other.

    Args:
        stem: name of its file.
    """

    def __init__(self, stem: str) -> None:
        self.stem = stem
        # By the squares that they touch: of the thousands of a slide few are near each other.
        self._boxes: defaultdict[tuple[int, int], list[Box]] = defaultdict(list)

    def is_new(self, box: Box) -> bool:
        """Take a cell, where no part before has shown it: neighbours both show what lies between
        them."""
        x_min, y_min, x_max, y_max = (int(side // _SQUARE) for side in box)
        squares = [
            self._boxes[x, y] for x in range(x_min, x_max + 1) for y in range(y_min, y_max + 1)
        ]
        if any(iou(box, other) > _SAME for square in squares for other in square):
            return False
        for square in squares:
            square.append(box)
        return True


def feature(file: str, cell: Cell, box: Box) -> JsonObject:
    """Return a cell as QuPath's detection.

    Args:
        file: name of its field.
        cell: the cell.
        box: where it lies on the picture that is open in QuPath, px.
    """
    from wbcdet.results.palette import rgb_of

    x_min, y_min, x_max, y_max = box
    ring = [[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max], [x_min, y_min]]
    properties: dict[str, object] = {
        "objectType": "detection",
        "classification": {"name": str(cell.label), "color": list(rgb_of(cell.label))},
        "measurements": {
            "detection score": cell.detection_score,
            "label score": cell.label_score,
            **{f"{label} score": score for label, score in cell.scores.items()},
        },
    }
    if cell.reason is not None:
        properties["name"] = cell.reason
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_SPACE, f"{file}#{cell.id}")),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": properties,
    }
