"""Shared part of the readers of all layouts: pictures, class names, boxes, issues."""

from __future__ import annotations

import filecmp
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from wbcdet.evaluation.dataset import LabelIssue, LabelledField
from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.io.formats import is_tiff_file
from wbcdet.io.source import Source
from wbcdet.results.class_names import IGNORE, NOT_WHITE, WHITE_CELL, standard_type
from wbcdet.settings import Settings
from wbcdet.utils.boxes import ious
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.text import alike

#: Folder names that stand for a part of training.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: Folder names that say nothing of a picture: without them it has its label's path.
NEUTRAL = frozenset(
    ("images", "image", "imgs", "pictures", "jpegimages", "labels", "annotations", "xml")
)
#: Shorter sides than this hold no cell: a click of the labelling tool, px.
_MIN_SIDE = 2.0
#: A field has fewer white cells and a data set fewer classes: more were not labelled by a person.
_MAX_CELLS = 10_000
_MAX_CLASSES = 10_000
#: Boxes that overlap more than this are of one cell.
_SAME_CELL = 0.7
#: Labels may differ from the picture's border by rounding, px.
_ROUNDING = 2.0


class LabelledError(WbcdetError):
    """A folder holds nothing to evaluate with; the message is one line that names the remedy."""


@dataclass(slots=True)
class ClassCount:
    """A class as the data name it, its standard type (None: unknown), and its number of labels."""

    name: str
    standard: str | None
    labels: int = 0


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """One label before its class is understood: box in pixels."""

    name: str
    box: tuple[float, float, float, float]
    ignore: bool = False


@dataclass(slots=True)
class LabelFolder:
    """One folder while it is read.

    Attributes:
        pictures: all pictures of the folder, named by their path below it.
        mapping: the user's class names.
        files: the folder's files that are no pictures, by lower-case ending with its dot.
    """

    root: Path
    pictures: list[Source]
    files: dict[str, list[Path]]
    mapping: Mapping[str, str]
    settings: Settings
    problems: list[LabelIssue] = field(default_factory=list)
    classes: dict[str, ClassCount] = field(default_factory=dict)

    def note(self, kind: str, where: object, what: str) -> None:
        """Keep a problem."""
        self.problems.append(LabelIssue(kind, str(where), " ".join(what.split())))

    def below(self, path: Path) -> str:
        """Return a path as it is named in reports."""
        return path.relative_to(self.root).as_posix()

    def paired(
        self,
        labels: Iterable[Path],
        parse: Callable[[Path, tuple[int, int]], list[LabelledObject]],
        named: Callable[[Path], str] = lambda path: path.name,
    ) -> list[LabelledField]:
        """Return pictures with a label file each, paired by :func:`path_key`.

        Args:
            labels: the label files.
            parse: from a file and the picture's size to its objects; raises ``ValueError``.
            named: what a file that has no picture of its name calls its picture.
        """
        waiting: dict[tuple[str, ...], Path] = {}
        rivals: dict[Path, Path] = {}
        for own in labels:
            first = waiting.setdefault(path_key(self.below(own)), own)
            # A copy does no harm. Of two that differ, nobody knows which is the truth.
            if first is not own and not filecmp.cmp(first, own, shallow=False):
                rivals[first] = own
        self._pair_by_name(waiting, named)
        taken, fields = set(), []
        for source in self.pictures:
            key = path_key(source.name)
            path = waiting.get(key)
            if path is None or key in taken:
                what = "no label file of its name" if path is None else "its name stands twice"
                self.note("picture-without-label", source.name, what)
                continue
            taken.add(key)
            if path in rivals:
                both = f"{self.below(path)} and {self.below(rivals[path])}"
                self.note("broken-label", source.name, f"{both} are both its labels; keep one")
                continue
            size = self.size_of(source)
            if size is None:
                continue
            try:
                labelled = self.boxed(source, size, parse(path, size))
            except ValueError as error:
                self.note("broken-label", source.name, f"{self.below(path)}: {error}")
                continue
            if labelled is not None:
                fields.append(labelled)
        for key, path in waiting.items():
            if key not in taken:
                self.note("label-without-picture", self.below(path), "no picture of its name")
        return fields

    def _pair_by_name(
        self, waiting: dict[tuple[str, ...], Path], named: Callable[[Path], str]
    ) -> None:
        """Give labels of other names the keys of the only pictures that they can mean."""
        pictures = {path_key(source.name) for source in self.pictures}
        alone: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for key in pictures - waiting.keys():
            alone[key[-1]].append(key)
        for key in [key for key in waiting if key not in pictures]:
            name = without_upload_id(named(waiting[key]))
            meant = alone.get(path_key(name if "." in name else f"{name}.")[-1], [])
            if len(meant) == 1 and meant[0] not in waiting:
                waiting[meant[0]] = waiting.pop(key)

    def class_of(self, name: str) -> ClassCount:
        """Return the entry of a class; asking for a new class adds it.

        Raises:
            LabelledError: there are more classes than any data set has.
        """
        if name not in self.classes:
            if len(self.classes) >= _MAX_CLASSES:
                raise LabelledError(
                    f"{self.root}: its labels name more than {_MAX_CLASSES} classes; export them "
                    "again with one class a cell type"
                )
            self.classes[name] = ClassCount(name, standard_type(name, self.mapping))
        return self.classes[name]

    def size_of(self, source: Source) -> tuple[int, int] | None:
        """Return width and height of the upright picture, from its header; None, noted, if
        unreadable."""
        from PIL import Image

        # Of a TIFF, Pillow sees the first page, which may be a thumbnail. Its plugins raise nearly
        # anything on damaged bytes; our own reading says why.
        with suppress(Exception):
            if not is_tiff_file(Path(source.path)):
                with Image.open(Path(source.path)) as picture:
                    # What reads HEIC here, if another program's part has put it in, hides the turn.
                    if picture.format != "HEIF":
                        turned = picture.getexif().get(0x0112, 1) in (5, 6, 7, 8)
                        return picture.size[::-1] if turned else picture.size
        try:
            field = read_field(source, self.settings)
        except FieldError as error:
            self.note("unreadable-picture", source.name, str(error))
            return None
        return field.width, field.height

    def picture(self, source: Source) -> LabelledField:
        """Return a picture without labels yet."""
        parts = [part.casefold() for part in source.name.split("/")[:-1]]
        split = next((SPLITS[part] for part in parts if part in SPLITS), "")
        path = Path(source.path)
        read = partial(_read, source, self.settings)
        return LabelledField(source.name, read, group=source.name, split=split, path=path)

    def boxed(
        self, source: Source, size: tuple[int, int], objects: list[LabelledObject]
    ) -> LabelledField | None:
        """Return a picture with boxes; None, noted, where a label is broken: its truth is not
        known."""
        boxes: list[np.ndarray] = []
        as_given: list[np.ndarray] = []
        types: list[str] = []
        names: list[str] = []
        ignored: list[np.ndarray] = []
        kept: set[tuple[str, tuple[float, ...]]] = set()
        every = np.array([labelled.box for labelled in objects], float).reshape(-1, 4)
        inner = np.clip(every, 0, [*size, *size])
        usable = np.isfinite(every).all(1) & ((inner[:, 2:] - inner[:, :2]).min(1) >= _MIN_SIDE)
        reaches_out = np.abs(every - inner).max(1) > _ROUNDING
        outside = repeats = 0
        for at, labelled in enumerate(objects):
            entry, given, box = self.class_of(labelled.name), every[at], inner[at]
            if entry.standard == NOT_WHITE:
                entry.labels += 1
                continue
            if not usable[at]:
                shown = ", ".join(f"{value:.4g}" for value in labelled.box)
                self.note(
                    "broken-label",
                    source.name,
                    f"box of {labelled.name} ({shown}) is empty or lies outside"
                    f"{_likely(given, size)}",
                )
                return None
            key = (labelled.name, labelled.box)
            if key in kept:
                repeats += 1
                continue
            kept.add(key)
            entry.labels += 1
            outside += bool(reaches_out[at])
            if labelled.ignore or entry.standard in (None, IGNORE):
                ignored.append(box)
            elif entry.standard != "artefact":
                boxes.append(box)
                as_given.append(given)
                types.append("" if entry.standard == WHITE_CELL else str(entry.standard))
                names.append(labelled.name)
        if len(boxes) > _MAX_CELLS:
            what = f"{len(boxes)} boxes, more than a field has white cells ({_MAX_CELLS})"
            self.note("broken-label", source.name, what)
            return None
        single, clash = _once_a_cell(boxes, types)
        if clash is not None:
            both = " and ".join(names[at] for at in clash)
            self.note("broken-label", source.name, f"one cell is both {both}")
            return None
        repeats += len(boxes) - len(single)
        boxes, as_given = [boxes[at] for at in single], [as_given[at] for at in single]
        types = [types[at] for at in single]
        if outside:
            self.note("box-outside", source.name, f"{outside} of {len(objects)} boxes")
        if repeats:
            self.note("repeated-label", source.name, f"{repeats} of {len(objects)} boxes")
        result = self.picture(source)
        result.boxes, result.types = np.array(boxes).reshape(-1, 4), tuple(types)
        result.given = np.array(as_given).reshape(-1, 4)
        result.ignored, result.size = np.array(ignored).reshape(-1, 4), size
        return result


def _once_a_cell(
    boxes: Sequence[np.ndarray], types: Sequence[str]
) -> tuple[list[int], tuple[int, int] | None]:
    """Find boxes that are of one cell, as of two readers or of two versions of a file.

    Returns:
        the places of the boxes to keep, named ones before white cells of any type; and two boxes of
        one cell whose types differ, if there are such.
    """
    every = np.array(boxes).reshape(-1, 4)
    kept: list[int] = []
    for at in sorted(range(len(boxes)), key=lambda at: not types[at]):
        same = [kept[k] for k in np.flatnonzero(ious(every[at], every[kept]) > _SAME_CELL)]
        if any(types[at] and types[k] != types[at] for k in same):
            return kept, (same[0], at)
        if not same:
            kept.append(at)
    return sorted(kept), None


def without_upload_id(name: str) -> str:
    """Return the name that a file had before Label Studio put eight signs of its own before it."""
    return re.sub(r"^[0-9a-f]{8}-(?=.)", "", name)


def path_key(name: str) -> tuple[str, ...]:
    """Return the key that a picture and its label share, wherever a tool puts the two.

    ``images/train/7.jpg``, ``train/images/7.JPG`` and ``labels/train/7.txt`` have the same key.
    """
    *folders, file = alike(name).split("/")
    return (*(part for part in folders if part not in NEUTRAL), file.rpartition(".")[0])


def _likely(given: np.ndarray, size: tuple[int, int]) -> str:
    """Guess how an impossible box would have to be read to be a valid one."""
    width, height = size
    x0, y0, x1, y1 = given
    if x0 >= 0 and y0 >= 0 and x1 > 0 and y1 > 0:
        if (x1 <= x0 or y1 <= y0) and x0 + x1 <= width and y0 + y1 <= height:
            return "; are its last two numbers width and height, not right and bottom?"
        if x1 <= height and y1 <= width:
            return "; was it drawn before the picture was turned, or is y written before x?"
    return ""


def other_size(given: Sequence[float | None], size: tuple[int, int]) -> str:
    """Say that labels were made on a picture of another size, and guess which one."""
    text = f"made on {given[0]:g} x {given[1]:g} pixels, the picture has {size[0]} x {size[1]}"
    if tuple(given) == size[::-1]:
        text += "; the boxes were drawn before the picture was turned: draw them on it upright"
    return text


def finite(text: str) -> float | None:
    """Return a finite number, else None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read(source: Source, settings: Settings) -> Pixels:
    picture = read_field(source, settings)
    if picture.width * picture.height > settings.max_pixels:
        raise FieldError("picture is too large to be evaluated as a whole; label parts of it")
    return picture.read(0, 0, picture.width, picture.height)
