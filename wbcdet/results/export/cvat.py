"""CVAT for images 1.1: one XML file for all fields."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from wbcdet.records import Cell
from wbcdet.results.export.base import Item, classes_of
from wbcdet.utils.files import atomic_write

#: Attributes of a box; a task has to declare them to show them.
_ATTRIBUTES = ("reason", "label_score", "detection_score")


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``annotations.xml``: boxes in pixels, with reason and scores as attributes."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    root.append(_meta(len(items), classes_of(items)))
    for number, item in enumerate(items):
        image = ElementTree.SubElement(
            root,
            "image",
            id=str(number),
            name=item.name,
            width=str(item.result.width),
            height=str(item.result.height),
        )
        image.extend(_box(cell) for cell in item.result.cells)
    ElementTree.indent(root)
    data = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    atomic_write(out / "annotations.xml", data + b"\n")


def _meta(size: int, classes: Sequence[str]) -> ElementTree.Element:
    from wbcdet.results.palette import colour_of

    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    for name, text in (("name", "wbcdet"), ("size", str(size)), ("mode", "annotation")):
        ElementTree.SubElement(task, name).text = text
    labels = ElementTree.SubElement(task, "labels")
    for name in classes:
        label = ElementTree.SubElement(labels, "label")
        ElementTree.SubElement(label, "name").text = name
        ElementTree.SubElement(label, "color").text = colour_of(name)
        attributes = ElementTree.SubElement(label, "attributes")
        for attribute in _ATTRIBUTES:
            node = ElementTree.SubElement(attributes, "attribute")
            for key, value in (("name", attribute), ("mutable", "False"), ("input_type", "text")):
                ElementTree.SubElement(node, key).text = value
            ElementTree.SubElement(node, "default_value")
            ElementTree.SubElement(node, "values")
    return meta


def _box(cell: Cell) -> ElementTree.Element:
    x_min, y_min, x_max, y_max = (f"{value:.2f}" for value in cell.box)
    box = ElementTree.Element(
        "box",
        label=str(cell.label),
        source="auto",
        occluded="0",
        xtl=x_min,
        ytl=y_min,
        xbr=x_max,
        ybr=y_max,
        z_order="0",
    )
    values = (cell.reason or "", f"{cell.label_score:g}", f"{cell.detection_score:g}")
    for name, value in zip(_ATTRIBUTES, values, strict=True):
        ElementTree.SubElement(box, "attribute", name=name).text = value
    return box
