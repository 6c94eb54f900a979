"""Recognise files of labels in formats that are not read, to name the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from wbcdet.evaluation.label_files import read_json, read_start, read_text
from wbcdet.evaluation.label_reader import LabelFolder
from wbcdet.utils.decode_text import MAX_BYTES, TooLargeError

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_PACKED = (".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar", ".tgz")
_REMEDY = "export them again as COCO, YOLO or Pascal VOC, which every labelling tool writes"


def unread_labels(reading: LabelFolder) -> str | None:
    """Name a file of labels that is not read, and say what it is and what to do; None without
    one."""
    for ending, look in _KINDS.items():
        for path in reading.files.get(ending, []):
            try:
                what = look(path)
            except TooLargeError as error:
                return f"{reading.below(path)} {error}"
            except OSError:
                continue
            if what is not None:
                return f"{reading.below(path)} is {what}; {_REMEDY}"
    for ending in _PACKED:
        for path in reading.files.get(ending, []):
            return f"{reading.below(path)} is packed; unpack it, if it holds the labels"
    return None


def _xml(path: Path) -> str | None:
    return "an export for images of CVAT" if "<annotations" in read_start(path)[:2000] else None


def _table(path: Path) -> str | None:
    first = read_start(path).split("\n", 1)[0]
    columns = [name.strip(" \"'\r").lower() for name in re.split(r"[,;\t|]", first)]
    if set(_CORNERS) <= set(columns):
        return "a table of boxes"
    return "a table of labels" if {"label", "class"} & set(columns) else None


def _json(path: Path) -> str | None:
    try:
        document = read_json(path)
    except TooLargeError:
        raise
    except ValueError:
        text = read_text(path, MAX_BYTES)
        cut = '"annotations"' in text or '"bbox"' in text
        return "no whole JSON, cut short or damaged" if cut else None
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return None
    if first is not document:
        return next((what for keys, what in _LISTS if keys <= first.keys()), None)
    if any(isinstance(value, dict) and "regions" in value for value in _values(document)):
        return "a project of the VGG Image Annotator"
    return next((what for keys, what in _DOCUMENTS if keys <= document.keys()), None)


def _values(document: dict[str, Any]) -> list[Any]:
    inner = document.get("_via_img_metadata", document)
    return list(inner.values()) if isinstance(inner, dict) else []


#: What a list of entries with these keys is.
_LISTS: tuple[tuple[set[str], str], ...] = (
    ({"image_id", "category_id"}, "a list of COCO results, without pictures and classes"),
    ({"data", "annotations"}, "a project of Label Studio"),
    ({"image", "label"}, "a project of Label Studio"),
    ({"image", "annotations"}, "a file for Create ML"),
)
#: What a document with these keys is.
_DOCUMENTS: tuple[tuple[set[str], str], ...] = (
    ({"shapes", "imagePath"}, "a file of Labelme"),
    ({"items", "categories"}, "a file of Datumaro"),
    ({"type", "features"}, "a file of QuPath (GeoJSON)"),
    ({"annotations", "images"}, "COCO without its list of classes (categories)"),
    ({"annotations", "categories"}, "COCO without its list of pictures (images)"),
)
_KINDS = {".json": _json, ".xml": _xml, ".csv": _table, ".geojson": _json}
