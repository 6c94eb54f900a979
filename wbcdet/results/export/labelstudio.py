"""Label Studio: tasks with predictions to correct, and the labelling configuration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from wbcdet.records import Cell, FieldResult
from wbcdet.results.export.base import Item, classes_of
from wbcdet.utils.files import atomic_write
from wbcdet.utils.version import __version__


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``tasks.json`` and ``labels.xml``.

    Pictures are addressed as local files of Label Studio, below the export folder. The score of a
    field is that of its most doubtful cell: sorted by it, the fields to look at come first.
    """
    tasks = [_task(item) for item in items]
    text = json.dumps(tasks, ensure_ascii=False, indent=1)
    atomic_write(out / "tasks.json", f"{text}\n".encode())
    atomic_write(out / "labels.xml", _configuration(classes_of(items)))


def _task(item: Item) -> dict[str, object]:
    result = item.result
    path = f"images/{item.name}" if item.placed else item.name
    prediction: dict[str, object] = {
        "model_version": f"wbcdet {__version__}",
        "result": [_region(result, cell) for cell in result.cells],
    }
    if result.cells:
        prediction["score"] = min(cell.label_score for cell in result.cells)
    return {
        "data": {"image": f"/data/local-files/?d={quote(path)}", "file": result.file},
        "predictions": [prediction],
    }


def _region(result: FieldResult, cell: Cell) -> dict[str, object]:
    x_min, y_min, x_max, y_max = cell.box
    region: dict[str, object] = {
        "id": f"cell-{cell.id}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": result.width,
        "original_height": result.height,
        "image_rotation": 0,
        "score": cell.label_score,
        "value": {
            "x": 100 * x_min / result.width,
            "y": 100 * y_min / result.height,
            "width": 100 * (x_max - x_min) / result.width,
            "height": 100 * (y_max - y_min) / result.height,
            "rotation": 0,
            "rectanglelabels": [str(cell.label)],
        },
    }
    if cell.reason is not None:
        region["meta"] = {"text": [cell.reason]}
    return region


def _configuration(classes: Sequence[str]) -> bytes:
    from wbcdet.results.palette import colour_of

    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name="image", value="$image", zoom="true")
    labels = ElementTree.SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in classes:
        ElementTree.SubElement(labels, "Label", value=name, background=colour_of(name))
    ElementTree.indent(view)
    result: bytes = ElementTree.tostring(view, encoding="utf-8") + b"\n"
    return result
