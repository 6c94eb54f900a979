"""Class folders: one folder a class, each picture of one cell."""

from __future__ import annotations

from collections import Counter

from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.label_reader import NEUTRAL, SPLITS, LabelFolder
from wbcdet.results.class_names import TYPES, WHITE_CELL, standard_type


def read_classes(reading: LabelFolder) -> list[LabelledField]:
    """Read all pictures in folders named by a cell type, in parts such as ``test`` or not."""
    fields = []
    for folder in sorted(path for path in reading.root.rglob("*") if path.is_dir()):
        if standard_type(folder.name, reading.mapping) is not None:
            reading.class_of(folder.name)
    # A folder of unknown name is a class where it stands on the level of those that are known.
    levels = Counter(_level(source.name, reading) for source in reading.pictures)
    usual = max(levels, key=lambda level: (level > 0, levels[level])) or 1
    for source in reading.pictures:
        folders = source.name.split("/")[:-1]
        level = _level(source.name, reading) or min(usual, len(folders))
        name = folders[level - 1] if level else ""
        if not level or name.casefold() in NEUTRAL or name.casefold() in SPLITS:
            reading.note("picture-without-label", source.name, "lies in no class folder")
            continue
        entry = reading.class_of(name)
        entry.labels += 1
        if entry.standard in TYPES:
            result = reading.picture(source)
            result.picture_type = entry.standard
            fields.append(result)
    for entry in reading.classes.values():
        if entry.standard == WHITE_CELL and entry.labels:
            reading.note("untyped-class", entry.name, f"{entry.labels} pictures")
    return fields


def has_classes(reading: LabelFolder) -> bool:
    """Say whether some picture lies in a folder named by a cell type."""
    return any(_level(source.name, reading) for source in reading.pictures)


def _level(name: str, reading: LabelFolder) -> int:
    """Tell which folder on a picture's path names its class, from 1; 0 where none has a known
    name."""
    folders = name.split("/")[:-1]
    for level in range(len(folders), 0, -1):
        if standard_type(folders[level - 1], reading.mapping) is not None:
            return level
    return 0
