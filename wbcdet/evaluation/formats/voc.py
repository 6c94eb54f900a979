"""Pascal VOC: one XML file a picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.label_reader import (
    LabelFolder,
    LabelledObject,
    finite,
    other_size,
    read_text,
)

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(reading: LabelFolder) -> list[LabelledField]:
    """Read all pictures with an XML file."""
    return reading.paired([p for p in reading.files.get(".xml", []) if is_voc(p)], _objects)


def is_voc(path: Path) -> bool:
    """Say whether the file is, or was meant to be, a VOC annotation."""
    return "<annotation" in read_text(path)[:2000]


def _objects(path: Path, size: tuple[int, int]) -> list[LabelledObject]:
    try:
        root = ET.parse(path).getroot()
    except ET.ParseError as error:
        raise ValueError(f"no whole XML ({error})") from error
    given = tuple(finite(root.findtext(f"size/{side}") or "0") for side in ("width", "height"))
    if all(given) and given != size:
        raise ValueError(other_size(given, size))
    objects = []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        corners = [finite(item.findtext(f"bndbox/{corner}") or "") for corner in _CORNERS]
        x0, y0, x1, y1 = corners
        if not name or x0 is None or y0 is None or x1 is None or y1 is None:
            raise ValueError("an object has no name or no whole box")
        difficult = (item.findtext("difficult") or "").strip() == "1"
        objects.append(LabelledObject(name, (x0, y0, x1, y1), difficult))
    return objects
