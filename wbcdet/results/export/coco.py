"""COCO JSON, as pycocotools reads it.

Written here and not by supervision: that reads every picture again, drops the folders of file
names, dates the pictures at the time of the export and puts a Creative Commons licence on them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from wbcdet.records import NOTICE
from wbcdet.results.export.base import Item, classes_of
from wbcdet.utils.files import atomic_write
from wbcdet.utils.version import __version__


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``annotations/instances_default.json``.

    Boxes are ``[x, y, width, height]`` in pixels; ``score`` is the detection score.
    """
    classes = classes_of(items)
    document = {
        "info": {"description": f"wbcdet {__version__}. {NOTICE}", "version": __version__},
        "licenses": [],
        "categories": [
            {"id": number, "name": name, "supercategory": "leukocyte"}
            for number, name in enumerate(classes, 1)
        ],
        "images": [
            {
                "id": number,
                "file_name": item.name,
                "width": item.result.width,
                "height": item.result.height,
            }
            for number, item in enumerate(items, 1)
        ],
        "annotations": _annotations(items, classes),
    }
    path = out / "annotations" / "instances_default.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def _annotations(items: Sequence[Item], classes: Sequence[str]) -> list[dict[str, object]]:
    annotations: list[dict[str, object]] = []
    for image, item in enumerate(items, 1):
        for cell in item.result.cells:
            x_min, y_min, x_max, y_max = cell.box
            width, height = round(x_max - x_min, 4), round(y_max - y_min, 4)
            attributes: dict[str, object] = {
                "cell": cell.id,
                "label_score": cell.label_score,
                "touches_edge": cell.touches_edge,
            }
            if cell.reason is not None:
                attributes["reason"] = cell.reason
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": classes.index(str(cell.label)) + 1,
                    "bbox": [x_min, y_min, width, height],
                    "area": round(width * height, 4),
                    "segmentation": [],
                    "iscrowd": 0,
                    "score": cell.detection_score,
                    "attributes": attributes,
                }
            )
    return annotations
