"""Pascal VOC: one XML file a field, the list of them, and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from wbcdet.records import Cell, CellType
from wbcdet.results.export.base import Item, classes_of
from wbcdet.utils.files import atomic_write
from wbcdet.utils.version import __version__

#: Folder of the pictures in a VOC data set.
PICTURES = "JPEGImages"


def write(items: Sequence[Item], out: Path) -> None:
    """Write ``Annotations/STEM.xml`` for every field, the list of them, and the classes.

    Unclassified cells are marked ``difficult``, cells cut by the border ``truncated``.
    """
    from wbcdet.results.palette import rgb_of

    annotations, lists = out / "Annotations", out / "ImageSets" / "Main"
    for folder in (annotations, lists):
        folder.mkdir(parents=True, exist_ok=True)
    classes = classes_of(items)
    for item in items:
        atomic_write(annotations / f"{item.stem}.xml", _annotation(item))
    atomic_write(lists / "default.txt", "".join(f"{item.stem}\n" for item in items).encode())
    # Readers without it know only the twenty classes of the first VOC.
    colours = (f"{name}:{','.join(map(str, rgb_of(name)))}::\n" for name in classes)
    atomic_write(out / "labelmap.txt", "".join(colours).encode())


def _annotation(item: Item) -> bytes:
    result = item.result
    root = ElementTree.Element("annotation")
    _add(root, "folder", PICTURES if item.placed else "")
    _add(root, "filename", item.name)
    _add(ElementTree.SubElement(root, "source"), "database", f"wbcdet {__version__}")
    size = ElementTree.SubElement(root, "size")
    for name, value in (("width", result.width), ("height", result.height), ("depth", 3)):
        _add(size, name, str(value))
    _add(root, "segmented", "0")
    for cell in result.cells:
        root.append(_object(cell))
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _object(cell: Cell) -> ElementTree.Element:
    node = ElementTree.Element("object")
    _add(node, "name", str(cell.label))
    _add(node, "pose", "Unspecified")
    _add(node, "truncated", str(int(cell.touches_edge)))
    _add(node, "difficult", str(int(cell.label is CellType.UNCLASSIFIED)))
    # VOC counts pixels from 1 and names the first and the last that belong to the box.
    x_min, y_min = (round(side + 1) for side in cell.box[:2])
    x_max, y_max = (round(side) for side in cell.box[2:])
    sides = (
        ("xmin", x_min), ("ymin", y_min), ("xmax", max(x_min, x_max)), ("ymax", max(y_min, y_max))
    )  # fmt: skip
    box = ElementTree.SubElement(node, "bndbox")
    for name, side in sides:
        _add(box, name, str(side))
    return node


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
