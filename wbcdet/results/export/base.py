"""Common base of all export formats: the fields that were read, under unique names."""

from __future__ import annotations

import hashlib
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from wbcdet.io.formats import SUFFIXES
from wbcdet.io.source import RootInfo, places
from wbcdet.records import ALL_LABELS, FieldResult
from wbcdet.results.writer import picture_name
from wbcdet.utils.files import open_atomic, sha256_of
from wbcdet.utils.safe_files import is_below
from wbcdet.utils.text import alike, plural

#: Class names that every export has, in order.
CLASSES: tuple[str, ...] = tuple(str(label) for label in ALL_LABELS)

#: Bytes of an exported name, short of the 255 that file systems allow with an ending.
_STEM_BYTES = 150


@dataclass(frozen=True, slots=True)
class Item:
    """One field to export.

    Attributes:
        result: its record, without a failure.
        stem: name for a separate file, without ending and folders, unique also where neither
            capitals nor how accents are written count.
        name: what the format calls the picture: the copy's name, or the field's own name where
            no picture goes along.
        placed: the picture lies in the export.
    """

    result: FieldResult
    stem: str
    name: str
    placed: bool


class Writer(Protocol):
    """Protocol of an export format: a module or any object with this function.

    It may also have ``PICTURES``, the folder in the export that pictures go to (``images``), and
    ``WHOLE_SLIDES``, true where the parts of a slide are one picture: then each cell is in one.
    """

    def write(self, items: Sequence[Item], out: Path) -> None:
        """Write all fields into a folder that exists and is empty except for the pictures."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Source of the pictures, and whether they are copied or linked into the export.

    Attributes:
        folder: the folder that was analysed, or the working folder of the run.
        link: link, do not copy.
        roots: ``info.sources`` of the results.
        digests: sha256 of the files that were analysed, by field, as far as the results say them.
    """

    folder: Path
    link: bool
    roots: Sequence[RootInfo] = ()
    digests: Mapping[str, str] = field(default_factory=dict)


def make_items(
    results: Iterable[FieldResult], target: Path, pictures: Pictures | None
) -> tuple[list[Item], list[str]]:
    """Return the fields that were read, with their pictures placed in the export.

    Args:
        results: the records of a run; those with a failure are left out.
        target: folder for the pictures, made only where there is one.
        pictures: where they come from; None leaves them out.

    Returns:
        the items, and one reason for every picture that could not be taken along.

    Raises:
        OSError: the export cannot be written.
    """
    items: list[Item] = []
    problems: list[str] = []
    taken: set[str] = set()
    for result in results:
        if result.failure is not None:
            continue
        stem, suffix = free_stem(result.file, taken)
        name = result.file if result.file.isprintable() else f"{stem}{suffix}"
        placed = False
        if pictures is not None:
            name = f"{stem}{suffix}"
            picture, problem = find_picture(pictures.folder, result, pictures.roots)
            known = pictures.digests.get(result.file)
            if picture is None:
                problems.append(f"{result.file}: {problem}")
            elif known is not None and sha256_of(picture) != known:
                problem = "has changed since it was analysed, or is another of this name"
                problems.append(f"{result.file}: {problem}")
            else:
                _place(picture, target / name, link=pictures.link)
                placed = True
        items.append(Item(result, stem, name, placed))
    return items, problems


def classes_of(items: Iterable[Item]) -> tuple[str, ...]:
    """Return class names in the order of every format: ``CLASSES``, then what only a person has
    given."""
    labels = {str(cell.label) for item in items for cell in item.result.cells}
    return (*CLASSES, *sorted(labels - set(CLASSES)))


def find_picture(
    folder: Path, result: FieldResult, roots: Sequence[RootInfo] = ()
) -> tuple[Path | None, str]:
    """Return the picture of a field below a folder, or None and why not.

    A picture of another size is not taken: many slides have a ``1.jpg``. Nor is one that a link
    leads to out of the folder: the name comes from the report.
    """
    paths = places(result.file, folder, roots)
    if not paths:
        return None, "the name leads out of the folder"
    try:
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            files = [path.with_name(re.sub(r"#\d+$", "", path.name)) for path in paths]
            several = any(file.is_file() for file in files)
            return None, "is one of several in its file" if several else "not found"
    except (OSError, ValueError):
        return None, "not found"
    if not is_below(path, folder):
        return None, "a link leads out of the folder"
    size = _header_size(path)
    if size is not None and sorted(size) != sorted((result.width, result.height)):
        return None, f"has {size[0]} x {size[1]} pixels, not {result.width} x {result.height}"
    return path, ""


def summary(items: Sequence[Item], left_out: int, kind: str, out: Path) -> str:
    """Return the closing line of an export."""
    cells = sum(len(item.result.cells) for item in items)
    count = len(items)
    what = f"{plural(count, 'field')} with {plural(cells, 'cell')}"
    line = f"{what} written to {out} as {kind}"
    if left_out:
        which = "1 field that was" if left_out == 1 else f"{left_out} fields that were"
        line += f"; {which} not read left out"
    return line


def free_stem(file: str, taken: set[str]) -> tuple[str, str]:
    """Return a stem for a file that no other has so far, and the ending of the picture.

    ``taken`` holds what the stems so far are ``alike``.
    """
    safe = picture_name(file).removesuffix(".jpg").replace("/", "__")
    suffix = PurePosixPath(file).suffix
    if suffix.lower() not in SUFFIXES:
        suffix = ""
    # `picture_name` keeps the .jpg of its own, so only other endings are still there.
    stem = safe[: -len(suffix)] if suffix and safe.endswith(suffix) else safe
    data = stem.encode()
    if len(data) > _STEM_BYTES:
        mark = hashlib.sha256(data).hexdigest()[:8]
        stem = f"{data[:_STEM_BYTES].decode(errors='ignore')}-{mark}"
    free, number = stem, 1
    while alike(free) in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(alike(free))
    return free, suffix


def _header_size(path: Path) -> tuple[int, int] | None:
    """Return width and height as the file's header says, or None where Pillow cannot tell."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                return picture.size
    # Pillow's plugins raise nearly anything; those who read the export will say what is wrong.
    except Exception:
        return None


def _place(source: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(source.resolve())
        return
    with open_atomic(target, synced=False) as copy, source.open("rb") as original:
        shutil.copyfileobj(original, copy)
