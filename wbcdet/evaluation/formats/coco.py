"""COCO: one JSON file for all pictures, or one for each part."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from wbcdet.evaluation.class_names import standard_type
from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.label_reader import LabelFolder, LabelledObject
from wbcdet.io.discover import Source


def read_coco(reading: LabelFolder) -> list[LabelledField]:
    """All pictures that the folder's COCO files list."""
    by_path = {Path(source.path): source for source in reading.pictures}
    by_name: dict[str, list[Source]] = defaultdict(list)
    for source in reading.pictures:
        by_name[Path(source.name).name].append(source)
    fields, used = [], set()
    for path in reading.files.get(".json", []):
        document = coco_document(path)
        if document is None:
            continue
        names = {c.get("id"): str(c.get("name")) for c in document["categories"]}
        said = {a.get("category_id") for a in document["annotations"]}
        for number, name in names.items():
            # Some tools put an unused category for all others first.
            if number in said or standard_type(name, reading.mapping) is not None:
                reading.class_of(name)
        objects: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in document["annotations"]:
            objects[annotation.get("image_id")].append(annotation)
        for image in document["images"]:
            file = str(image.get("file_name"))
            found = _picture(path, file, by_path, by_name)
            if found is None:
                reading.note("label-without-picture", f"{reading.below(path)}: {file}", "no file")
                objects.pop(image.get("id"), None)
                continue
            used.add(found.name)
            result = _field(reading, found, image, objects.pop(image.get("id"), []), names)
            if result is not None:
                fields.append(result)
        for number, rest in objects.items():
            what = f"{len(rest)} annotations of image id {number!r}, which is not listed"
            reading.note("label-without-picture", reading.below(path), what)
    for source in reading.pictures:
        if source.name not in used:
            reading.note("picture-without-label", source.name, "in no COCO file")
    return fields


def coco_document(path: Path) -> dict[str, Any] | None:
    """A COCO file's content; None for any other JSON."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = ("images", "annotations", "categories")
    if not isinstance(document, dict):
        return None
    parts = [document.get(key) for key in wanted]
    whole = all(isinstance(p, list) and all(isinstance(x, dict) for x in p) for p in parts)
    return document if whole else None


def _picture(
    path: Path, file: str, by_path: dict[Path, Source], by_name: dict[str, list[Source]]
) -> Source | None:
    here, above = path.parent, path.parent.parent
    for folder in (here, here / "images", above, above / "images"):
        if folder / file in by_path:
            return by_path[folder / file]
    same = by_name.get(Path(file).name, [])
    return same[0] if len(same) == 1 else None


def _field(
    reading: LabelFolder,
    source: Source,
    image: dict[str, Any],
    annotations: list[dict[str, Any]],
    names: dict[Any, str],
) -> LabelledField | None:
    size = reading.size_of(source)
    if size is None:
        return None
    given = (image.get("width"), image.get("height"))
    if all(given) and given != size:
        what = f"made on {given[0]} x {given[1]} pixels, the picture has {size[0]} x {size[1]}"
        reading.note("broken-label", source.name, what)
        return None
    objects = []
    for annotation in annotations:
        try:
            name = names[annotation["category_id"]]
            x, y, w, h = (float(value) for value in annotation["bbox"])
        except (KeyError, TypeError, ValueError):
            what = f"annotation {annotation.get('id')!r} has no known category or no box"
            reading.note("broken-label", source.name, what)
            return None
        crowd = bool(annotation.get("iscrowd"))
        objects.append(LabelledObject(name, (x, y, x + w, y + h), crowd))
    return reading.boxed(source, size, objects)
