"""YOLO: one text file a picture, one box (or polygon) a line, in parts of the picture's sides."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.label_files import read_text
from wbcdet.evaluation.label_reader import (
    LabelFolder,
    LabelledError,
    LabelledObject,
    finite,
)
from wbcdet.results.class_names import standard_type
from wbcdet.utils.decode_text import TooLargeError

_NAME_FILES = ("classes.txt", "*.names", "names.txt", "_darknet.labels")
#: Text files that lie beside labels in many a YOLO folder.
_NO_LABELS = frozenset(
    ("classes.txt", "names.txt", "train.txt", "val.txt", "valid.txt", "test.txt")
)
#: Parts of a side beyond which a number must be in pixels.
_MAX_PARTS = 2.0
_PERCENT = 100.0
#: How far a box may reach out of its picture, for roundings.
_SLACK = 0.02
#: The largest list of class names, bytes: YAML is slow to read.
_MAX_LIST_BYTES = 1_000_000


def read_yolo(reading: LabelFolder) -> list[LabelledField]:
    """Read all pictures with a text file; an empty file says that there is no cell."""
    names = _names(reading)
    for name in names.values():
        reading.class_of(name)
    return reading.paired(label_texts(reading), partial(_objects, names=names))


def label_texts(reading: LabelFolder) -> list[Path]:
    """Return text files that may be labels."""
    return [
        path
        for path in reading.files.get(".txt", [])
        if path.name.lower() not in _NO_LABELS and not path.name.lower().startswith("readme")
    ]


def _names(reading: LabelFolder) -> dict[int, str]:
    """Return class names by number, from the data set's own file, below the folder or just above
    it.

    Raises:
        LabelledError: two files name the classes differently.
    """
    named = _name_lists(reading, inside=True) or _name_lists(reading, inside=False)
    if not named:
        return {}
    (path, names), *others = named
    for other, also in others:
        for number in sorted(names.keys() & also.keys()):
            first, second = names[number], also[number]
            same = standard_type(first, reading.mapping), standard_type(second, reading.mapping)
            if first != second and (same[0] != same[1] or same[0] is None):
                raise LabelledError(
                    f"{reading.root}: {path.name} and {other.name} name the classes differently: "
                    f"number {number} is {first!r} in {path} and {second!r} in {other}; remove "
                    "the file that the labels were not made with"
                )
        names = {**also, **names}
    return names


def _name_lists(reading: LabelFolder, *, inside: bool) -> list[tuple[Path, dict[int, str]]]:
    """Return the files that name classes, below the folder or just above it."""
    import yaml

    above = reading.root.resolve().parent
    if inside:
        lists = [*reading.files.get(".yaml", []), *reading.files.get(".yml", [])]
        plain = [path for name in _NAME_FILES for path in sorted(reading.root.rglob(name))]
    else:
        lists = [*sorted(above.glob("*.yaml")), *sorted(above.glob("*.yml"))]
        plain = [path for name in _NAME_FILES for path in sorted(above.glob(name))]
    named: list[tuple[Path, dict[int, str]]] = []
    for path in lists:
        try:
            # A path of Windows between double quotes is no YAML.
            text = read_text(path, _MAX_LIST_BYTES).replace("\\", "/")
            names = yaml.safe_load(text)["names"]
            pairs = names.items() if isinstance(names, dict) else enumerate(names)
            named.append((path, {int(number): _scalar(name) for number, name in pairs}))
        except TooLargeError as error:
            reading.note("unread-file", path, f"{error}, if it names classes")
        except (OSError, ValueError, TypeError, KeyError, RecursionError, yaml.YAMLError):
            continue
    for path in plain:
        if path.is_file():
            try:
                names = [line.strip() for line in read_text(path, _MAX_LIST_BYTES).splitlines()]
            except TooLargeError as error:
                raise LabelledError(f"{path}: a list of classes that {error}") from error
            named.append((path, {number: name for number, name in enumerate(names) if name}))
    return named


def _scalar(name: object) -> str:
    """Return the text of a class name; a list in its place may stand for millions (aliases)."""
    if isinstance(name, (list, dict, set, tuple)):
        raise TypeError("a class name that is a list")
    return str(name)


def _objects(path: Path, size: tuple[int, int], names: dict[int, str]) -> list[LabelledObject]:
    width, height = size
    objects = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        values = [value for part in text.split() if (value := finite(part)) is not None]
        # A sixth number is a score; more are the corners of a polygon.
        corners = len(values) >= 7 and len(values) % 2 == 1
        pose = _has_points(values[5:]) and not (corners and _only_corners(values[1:]))
        polygon = corners and not pose
        if len(values) != len(text.split()) or not (len(values) in (5, 6) or polygon or pose):
            raise ValueError(f"line {line} is no YOLO label: {text[:60]!r}")
        kind, *rest = values
        if polygon:
            x0, x1, y0, y1 = min(rest[::2]), max(rest[::2]), min(rest[1::2]), max(rest[1::2])
        else:
            x, y, w, h = rest[:4]
            x0, x1, y0, y1 = x - w / 2, x + w / 2, y - h / 2, y + h / 2
        if max(abs(value) for value in (x0, x1, y0, y1)) > _MAX_PARTS:
            unit = "pixels" if max(rest[:4]) > _PERCENT else "percent or pixels"
            raise ValueError(
                f"line {line} is in {unit}, not in parts of the picture's sides (0 to 1)"
            )
        if kind != int(kind) or kind < 0:
            raise ValueError(f"line {line} has no class number: {text[:60]!r}")
        name = names.get(int(kind), str(int(kind)))
        objects.append(LabelledObject(name, (x0 * width, y0 * height, x1 * width, y1 * height)))
    return objects


def _has_points(values: list[float]) -> bool:
    """Say whether what follows a box are points (of a pose): x, y, and how well each is seen."""
    visibility = values[2::3]
    return (
        bool(visibility)
        and len(values) % 3 == 0
        and all(flag in (0, 1, 2) for flag in visibility)
        and any(visibility)
    )


def _only_corners(values: list[float]) -> bool:
    """Say whether a box with points cannot be meant, but corners: of a cell at the picture's border
    some are 0 or 1, as the marks are that tell whether a point is seen."""
    x, y, w, h = values[:4]
    points = list(zip(values[4::3], values[5::3], values[6::3], strict=True))
    if any(seen == 2 for *_, seen in points):
        return False
    leaves = min(x - w / 2, y - h / 2) < -_SLACK or max(x + w / 2, y + h / 2) > 1 + _SLACK
    # Points may be set a little beside their box, not a whole box away from its middle.
    return leaves or any(seen and (abs(px - x) > w or abs(py - y) > h) for px, py, seen in points)
