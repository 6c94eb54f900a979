"""COCO: one JSON file for all pictures, or one for each part."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.formats.masks import Box, mask_bounds
from wbcdet.evaluation.label_files import read_json
from wbcdet.evaluation.label_reader import (
    LabelFolder,
    LabelledError,
    LabelledObject,
    finite,
    other_size,
    without_upload_id,
)
from wbcdet.io.source import Source
from wbcdet.results.class_names import standard_type
from wbcdet.utils.decode_text import TooLargeError
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.text import alike

Entry = JsonObject


def read_coco(reading: LabelFolder) -> list[LabelledField]:
    """Read all pictures that the folder's COCO files list.

    Raises:
        LabelledError: a category number stands for two classes.
    """
    by_path = {Path(source.path): source for source in reading.pictures}
    by_name: dict[str, list[Source]] = defaultdict(list)
    for source in reading.pictures:
        known_as = Path(alike(source.name))
        by_name[known_as.name].append(source)
        by_name[known_as.stem].append(source)
    # A picture that several entries or files list has the boxes of all.
    listed: dict[str, tuple[Source, list[LabelledObject] | None]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for path in reading.files.get(".json", []):
        try:
            document = coco_document(path)
        except TooLargeError as error:
            reading.note("unread-file", reading.below(path), str(error))
            continue
        if document is None:
            continue
        names = _categories(reading, path, document)
        objects: dict[str, list[Entry]] = defaultdict(list)
        for annotation in document["annotations"]:
            objects[_number(annotation.get("image_id"))].append(annotation)
        doubtful = _shared_ids(document["images"])
        known = {_number(image.get("id")) for image in document["images"]}
        unfit = _unfit_ids(known, set(objects))
        crowds = all(annotation.get("iscrowd") for annotation in document["annotations"])
        for image in document["images"]:
            file = str(image.get("file_name"))
            picture = _picture(path, file, by_path, by_name)
            if picture is None:
                reading.note("label-without-picture", f"{reading.below(path)}: {file}", "no file")
                continue
            number = _number(image.get("id"))
            if unfit is not None:
                reading.note("broken-label", picture.name, unfit)
                listed[picture.name] = picture, None
                continue
            if number in doubtful:
                others = ", ".join(sorted(doubtful[number] - {file}))
                what = f"has the id {number} of {others} too: whose boxes are whose is not known"
                reading.note("shared-id", picture.name, what)
                listed[picture.name] = picture, None
                continue
            own = _objects(reading, picture, objects.pop(number, []), names, crowds=crowds)
            if picture.name not in sizes:
                sizes[picture.name] = reading.size_of(picture)
            size = sizes[picture.name]
            # Of each entry by itself: another may have the boxes of a scaled or turned copy.
            if own is not None and size is not None and (wrong := _misfit(image, own, size)):
                reading.note("broken-label", picture.name, wrong)
                own = None
            before = listed.get(picture.name, (picture, []))[1]
            both = None if own is None or before is None else [*before, *own]
            listed[picture.name] = picture, both
        for number, rest in objects.items():
            if number not in known:
                what = f"{len(rest)} annotations of image id {number}, which is not listed"
                reading.note("label-without-picture", reading.below(path), what)
    fields = []
    for source, both in listed.values():
        size = sizes.get(source.name)
        if both is None or size is None:
            continue
        if (field := reading.boxed(source, size, both)) is not None:
            fields.append(field)
    for source in reading.pictures:
        if source.name not in listed:
            reading.note("picture-without-label", source.name, "in no COCO file")
    return fields


def coco_document(path: Path) -> JsonObject | None:
    """Return a COCO file's content; None for any other JSON.

    Raises:
        TooLargeError: it is larger, or holds more, than labels may.
    """
    try:
        document = read_json(path)
    except TooLargeError:
        raise
    except (OSError, ValueError):
        return None
    wanted = ("images", "annotations", "categories")
    if not isinstance(document, dict):
        return None
    parts = [document.get(key) for key in wanted]
    whole = all(isinstance(p, list) and all(isinstance(x, dict) for x in p) for p in parts)
    return document if whole else None


def _number(value: Any) -> str:
    """Return an id as text: some programs write 7 in one place and "7" or 7.0 in another."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)


def _categories(reading: LabelFolder, path: Path, document: JsonObject) -> dict[str, str]:
    """Return class names by number."""
    names: dict[str, str] = {}
    said = {_number(a.get("category_id")) for a in document["annotations"]}
    for category in document["categories"]:
        number, name = _number(category.get("id")), str(category.get("name"))
        if names.get(number, name) != name and number in said:
            raise LabelledError(
                f"{reading.root}: in {reading.below(path)} the category {number} is both "
                f"{names[number]!r} and {name!r}; export the labels with one number a class"
            )
        names[number] = name
        # Some tools put an unused category for all others first.
        if number in said or standard_type(name, reading.mapping) is not None:
            reading.class_of(name)
    return names


def _unfit_ids(pictures: set[str], annotated: set[str]) -> str | None:
    """Say why annotations are of other pictures, by the ids of both; None where they fit."""
    if not annotated or annotated <= pictures:
        return None
    if pictures.isdisjoint(annotated):
        return "no annotation of the file has the id of a picture in it"
    if all(number.isdecimal() for number in pictures | annotated):
        own = {int(number) for number in pictures}
        others = {int(number) for number in annotated}
        if any({number + step for number in others} <= own for step in (1, -1)):
            return "its pictures count from 0 and its annotations from 1, or the other way round"
    return None


def _shared_ids(images: list[Entry]) -> dict[str, set[str]]:
    """Return ids that more than one picture has, with the names of these."""
    files: dict[str, set[str]] = defaultdict(set)
    for image in images:
        files[_number(image.get("id"))].add(str(image.get("file_name")))
    return {number: names for number, names in files.items() if len(names) > 1}


def _picture(
    path: Path, file: str, by_path: dict[Path, Source], by_name: dict[str, list[Source]]
) -> Source | None:
    file = file.replace("\\", "/")  # as Windows writes it
    if "://" in file:
        file = unquote(urlsplit(file).path).lstrip("/")
    here, above = path.parent, path.parent.parent
    for folder in (here, here / "images", above, above / "images"):
        if folder / file in by_path:
            return by_path[folder / file]
    last = alike(file.rpartition("/")[2])
    # The picture may have been renamed by the labelling tool, or saved in another format.
    names = (last, without_upload_id(last), last.rpartition(".")[0] or last)
    same = next((found for name in names if (found := by_name.get(name))), [])
    if len(same) > 1:  # of several, the one whose folders it names too
        parts = Counter(alike(file).split("/")[:-1])
        shared = [sum((parts & Counter(alike(s.name).split("/")[:-1])).values()) for s in same]
        most = max(shared)
        same = [s for s, n in zip(same, shared, strict=True) if n == most and most]
    return same[0] if len(same) == 1 else None


def _objects(
    reading: LabelFolder,
    source: Source,
    annotations: list[Entry],
    names: dict[Any, str],
    *,
    crowds: bool,
) -> list[LabelledObject] | None:
    """Return the objects of a picture; None, noted, where one is broken.

    Args:
        reading: takes the notes.
        source: the picture.
        annotations: of the picture.
        names: of the classes, by number.
        crowds: the file calls all its objects crowds, as some programs do with any mask.
    """
    objects = []
    for annotation in annotations:
        try:
            name = names[_number(annotation["category_id"])]
            box = _box(annotation)
        except (KeyError, TypeError, ValueError, OverflowError):
            what = f"annotation {annotation.get('id')!r} has no known category or no box"
            reading.note("broken-label", source.name, what)
            return None
        crowd = bool(annotation.get("iscrowd")) and not crowds
        objects.append(LabelledObject(name, box, crowd))
    return objects


def _box(annotation: Entry) -> Box:
    """Return left, top, right and bottom; of an annotation without a box those of its mask."""
    given = annotation.get("bbox") or []
    if annotation.get("segmentation") and not any(given):
        return mask_bounds(annotation["segmentation"])
    x, y, w, h = (float(value) for value in given)
    return x, y, x + w, y + h


def _misfit(image: Entry, objects: list[LabelledObject], size: tuple[int, int]) -> str | None:
    """Say why the boxes of an entry are not in pixels of the picture; None where they are."""
    # As with ids, some programs write 640 and others "640".
    given = finite(str(image.get("width"))), finite(str(image.get("height")))
    if all(given) and given != size:
        return other_size(given, size)
    if objects and all(max(labelled.box) <= 2 for labelled in objects):
        return "boxes are in parts of the picture's sides (0 to 1); COCO has pixels"
    return None
