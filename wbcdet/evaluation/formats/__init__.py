"""Recognise the layout of a labelled folder, and read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.formats.classes import has_classes, read_classes
from wbcdet.evaluation.formats.coco import coco_document, read_coco
from wbcdet.evaluation.formats.unread import unread_labels
from wbcdet.evaluation.formats.voc import is_voc, read_voc
from wbcdet.evaluation.formats.yolo import label_texts, read_yolo
from wbcdet.evaluation.label_reader import LabelFolder, LabelledError, path_key, without_upload_id
from wbcdet.results.class_names import suggestion
from wbcdet.utils.decode_text import TooLargeError

#: Folders that a message names.
_NAMED = 8

READERS: dict[str, Callable[[LabelFolder], list[LabelledField]]] = {
    "classes": read_classes,
    "yolo": read_yolo,
    "coco": read_coco,
    "voc": read_voc,
}


def recognise(reading: LabelFolder) -> str:
    """Return the layout of a folder, by what lies in it.

    Raises:
        LabelledError: it is not one of the four, or more than one.
    """
    formats = []
    if any(_is_coco(path) for path in reading.files.get(".json", [])):
        formats.append("coco")
    if any(is_voc(path) for path in reading.files.get(".xml", [])):
        formats.append("voc")
    pictures = {path_key(source.name) for source in reading.pictures}
    texts = [path_key(reading.below(path)) for path in label_texts(reading)]
    uploaded = [(*folders, without_upload_id(name)) for *folders, name in texts]
    if not pictures.isdisjoint(texts + uploaded):
        formats.append("yolo")
    if len(formats) > 1:
        raise LabelledError(
            f"{reading.root}: holds labels in several formats ({', '.join(formats)}); "
            "choose one with --format"
        )
    if formats:
        return formats[0]
    if has_classes(reading):
        return "classes"
    if (other := unread_labels(reading)) is not None:
        raise LabelledError(f"{reading.root}: no labels that are read: {other}")
    raise LabelledError(
        f"{reading.root}: no labels found; wbcdet reads one folder a class (neutrophil, lymphocyte "
        "and so on), YOLO text files, COCO JSON and Pascal VOC XML. If it is one of these, say "
        f"which with --format, and name your classes with --map{_folders(reading)}"
    )


def _is_coco(path: Path) -> bool:
    with suppress(TooLargeError):  # is said by who reads it, or where nothing else is found
        return coco_document(path) is not None
    return False


def _folders(reading: LabelFolder) -> str:
    """Return names of the folders with pictures, which may be classes that nobody understands."""
    names = Counter(source.name.split("/")[-2] for source in reading.pictures if "/" in source.name)
    if not names:
        return ""
    known = [f"{name} ({count} pictures)" for name, count in names.most_common(_NAMED)]
    more = " and others" if len(names) > _NAMED else ""
    name = next(iter(names))
    guess = next((label for label in map(suggestion, names) if label), "neutrophil")
    return f"; the folders here are {', '.join(known)}{more}: --map '{name}={guess}', for example"
