"""YOLO: one text file a field, and the data.yaml that ultralytics reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from wbcdet.records import Cell
from wbcdet.results.export.base import Item, classes_of
from wbcdet.utils.files import atomic_write


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``labels/STEM.txt`` for every field, and ``data.yaml``."""
    labels = out / "labels"
    labels.mkdir(parents=True, exist_ok=True)
    classes = classes_of(items)
    for item in items:
        width, height = item.result.width, item.result.height
        lines = (_line(cell, classes, width, height) for cell in item.result.cells)
        atomic_write(labels / f"{item.stem}.txt", "".join(lines).encode())
    # Without a `path` the folder of the file counts, wherever the export is moved.
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(classes))
    head = f"train: images\nval: images\nnc: {len(classes)}\nnames:\n"
    atomic_write(out / "data.yaml", f"{head}{names}".encode())


def _line(cell: Cell, classes: Sequence[str], width: int, height: int) -> str:
    """Return number of the class, then centre and size of the box as parts of the picture."""
    x_min, y_min, x_max, y_max = cell.box
    places = (
        (x_min + x_max) / 2 / width,
        (y_min + y_max) / 2 / height,
        (x_max - x_min) / width,
        (y_max - y_min) / height,
    )
    numbers = " ".join(f"{place:.5f}" for place in places)
    return f"{classes.index(str(cell.label))} {numbers}\n"
