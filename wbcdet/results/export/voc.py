"""Pascal VOC: one XML file a field, by supervision, with what VOC asks for beyond that."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from wbcdet.records import CellType
from wbcdet.results.export.base import Item, classes_of, numbered
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
        atomic_write(annotations / f"{item.stem}.xml", _annotation(item, classes))
    atomic_write(lists / "default.txt", "".join(f"{item.stem}\n" for item in items).encode())
    # Readers without it know only the twenty classes of the first VOC.
    colours = (f"{name}:{','.join(map(str, rgb_of(name)))}::\n" for name in classes)
    atomic_write(out / "labelmap.txt", "".join(colours).encode())


def _annotation(item: Item, classes: Sequence[str]) -> bytes:
    # The writer of one field: `DetectionDataset.as_pascal_voc` would read every picture.
    from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc

    result = item.result
    shape = (result.height, result.width, 3)
    text = detections_to_pascal_voc(numbered(result, classes), list(classes), item.name, shape)
    root = ElementTree.fromstring(text)
    # supervision names its own maker as the source of the pictures.
    _set(root, "folder", PICTURES if item.placed else "")
    _set(root, "source/database", f"wbcdet {__version__}")
    for cell, node in zip(result.cells, root.iter("object"), strict=True):
        box = node.find("bndbox")
        assert box is not None
        node.remove(box)
        flags = {
            "pose": "Unspecified",
            "truncated": str(int(cell.touches_edge)),
            "difficult": str(int(cell.label is CellType.UNCLASSIFIED)),
        }
        for name, value in flags.items():
            ElementTree.SubElement(node, name).text = value
        node.append(box)
    ElementTree.indent(root)
    written: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _set(root: ElementTree.Element, path: str, text: str) -> None:
    node = root.find(path)
    if node is not None:
        node.text = text
