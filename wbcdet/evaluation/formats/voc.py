"""Pascal VOC: one XML file a picture."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.label_files import MAX_BYTES_OF_A_PICTURE, read_start
from wbcdet.evaluation.label_reader import (
    LabelFolder,
    LabelledObject,
    finite,
    other_size,
)
from wbcdet.utils.decode_text import read_bytes, unicode_text

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_MIDDLE = ("cx", "cy", "w", "h")
_START = re.compile(r"<(\w+:)?annotation[\s>/]", re.IGNORECASE)


def read_voc(reading: LabelFolder) -> list[LabelledField]:
    """Read all pictures with an XML file."""
    labels = [path for path in reading.files.get(".xml", []) if is_voc(path)]
    return reading.paired(labels, _objects, _picture_of)


def is_voc(path: Path) -> bool:
    """Say whether the file is, or was meant to be, a VOC annotation."""
    return _START.search(read_start(path)[:2000]) is not None


def _picture_of(path: Path) -> str:
    """Return the name of the picture that an annotation is of, as it says itself."""
    try:
        root = _parse(path)
    except ValueError:
        return path.name
    name = root.findtext("filename") or root.findtext("path") or path.name
    return name.strip().replace("\\", "/").rpartition("/")[2]


def _parse(path: Path) -> ET.Element:
    data = read_bytes(path, MAX_BYTES_OF_A_PICTURE)
    if "<!ENTITY" in unicode_text(data, "replace"):
        raise ValueError("defines entities, which labels have no need of; export it again")
    try:
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise ValueError(f"no whole XML ({error})") from error
    for item in root.iter():
        item.tag = str(item.tag).rpartition("}")[2].lower()  # some tools declare a namespace
    return root


def _objects(path: Path, size: tuple[int, int]) -> list[LabelledObject]:
    root = _parse(path)
    given = tuple(finite(root.findtext(f"size/{side}") or "0") for side in ("width", "height"))
    if all(given) and given != size:
        raise ValueError(other_size(given, size))
    objects = []
    for item in root.iter("object"):
        name = (item.findtext("name") or "").strip()
        box = _numbers(item, "bndbox", _CORNERS) or _upright(item)
        if not name or box is None:
            raise ValueError("an object has no name or no whole box")
        difficult = (item.findtext("difficult") or "").strip() == "1"
        objects.append(LabelledObject(name, box, difficult))
    return objects


def _numbers(
    item: ET.Element, place: str, names: tuple[str, ...]
) -> tuple[float, float, float, float] | None:
    """Return the four numbers that stand there; None where one is missing."""
    values = [finite(item.findtext(f"{place}/{name}") or "") for name in names]
    a, b, c, d = values
    return None if a is None or b is None or c is None or d is None else (a, b, c, d)


def _upright(item: ET.Element) -> tuple[float, float, float, float] | None:
    """Return the bounds of a turned box, as tools for these write it; None without one."""
    given = _numbers(item, "robndbox", _MIDDLE)
    angle = finite(item.findtext("robndbox/angle") or "")
    if given is None or angle is None:
        return None
    x, y, w, h = given
    cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
    across, down = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
    return x - across, y - down, x + across, y + down
