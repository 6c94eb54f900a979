"""QuPath: one GeoJSON FeatureCollection a field, to be dropped on the open picture."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wbcdet.records import Cell
from wbcdet.results.export.base import Item
from wbcdet.utils.files import atomic_write

#: Name space of the ids: the same cell of the same field has the same id in every export.
_SPACE = uuid.UUID("6f0e4a0e-7a3e-5b54-9f7e-2f6d7c1f2a10")


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``STEM.geojson`` for every field: detections with class, colour and measurements."""
    for item in items:
        features = [_feature(item.result.file, cell) for cell in item.result.cells]
        collection = {"type": "FeatureCollection", "features": features}
        text = json.dumps(collection, ensure_ascii=False, indent=1)
        atomic_write(out / f"{item.stem}.geojson", f"{text}\n".encode())


def _feature(file: str, cell: Cell) -> dict[str, Any]:
    from wbcdet.results.palette import rgb_of

    x_min, y_min, x_max, y_max = cell.box
    ring = [[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max], [x_min, y_min]]
    properties: dict[str, Any] = {
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
