"""QuPath: one GeoJSON FeatureCollection a field or slide, to be dropped on the open picture."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

from wbcdet.records import Cell
from wbcdet.results.export.base import Item
from wbcdet.results.writer import picture_name
from wbcdet.utils.boxes import Box, iou
from wbcdet.utils.files import atomic_write
from wbcdet.utils.schemas import JsonObject

#: Name space of the ids: the same cell of the same field has the same id in every export.
_SPACE = uuid.UUID("6f0e4a0e-7a3e-5b54-9f7e-2f6d7c1f2a10")

#: Overlap (IoU) from which two boxes on a slide are one cell.
_SAME = 0.4


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``STEM.geojson`` for every field: detections with class, colour and measurements.

    The parts of a slide go into one file, in pixels of the slide.
    """
    by_stem: dict[str, list[JsonObject]] = {}
    taken: dict[str, list[Box]] = {}
    for item in items:
        region = item.result.region
        stem = item.stem if region is None else picture_name(region.slide).replace("/", "__")
        features = by_stem.setdefault(stem, [])
        for cell in item.result.cells:
            box = cell.box if region is None else region.on_slide(cell.box)
            # Neighbouring parts both show what lies between them.
            if region is not None and any(iou(box, other) > _SAME for other in taken.get(stem, ())):
                continue
            features.append(feature(item.result.file, cell, box))
            if region is not None:
                taken.setdefault(stem, []).append(box)
    for stem, features in by_stem.items():
        collection = {"type": "FeatureCollection", "features": features}
        text = json.dumps(collection, ensure_ascii=False, indent=1)
        atomic_write(out / f"{stem}.geojson", f"{text}\n".encode())


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
