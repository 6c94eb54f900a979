"""YOLO: one text file a field, by supervision, and the data.yaml that ultralytics reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from wbcdet.results.export.base import Item, classes_of, numbered
from wbcdet.utils.files import atomic_write


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``labels/STEM.txt`` for every field, and ``data.yaml``."""
    # The writer of one field: `DetectionDataset.as_yolo` would read every picture for its size.
    from supervision.dataset.formats.yolo import detections_to_yolo_annotations

    labels = out / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    classes = classes_of(items)
    for item in items:
        shape = (item.result.height, item.result.width, 3)
        lines = detections_to_yolo_annotations(numbered(item.result, classes), shape)
        text = "".join(f"{line}\n" for line in lines)
        atomic_write(labels / f"{item.stem}.txt", text.encode())
    # Without a `path` the folder of the file counts, wherever the export is moved.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    head = f"train: images\nval: images\nnc: {len(classes)}\nnames:\n"
    atomic_write(out / "data.yaml", f"{head}{names}".encode())
