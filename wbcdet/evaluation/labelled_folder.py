"""Read a user's own labelled folder: class folders of cell pictures, YOLO, COCO or Pascal VOC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from wbcdet.evaluation.dataset import LabelIssue, LabelledField
from wbcdet.evaluation.formats import READERS, recognise
from wbcdet.evaluation.label_issues import summarise
from wbcdet.evaluation.label_reader import ClassCount, LabelFolder, LabelledError
from wbcdet.io.discover import search
from wbcdet.io.ownership import MARKER
from wbcdet.io.source import field_name
from wbcdet.results.class_names import IGNORE, NOT_WHITE, TYPES, suggestion
from wbcdet.settings import Settings


@dataclass(slots=True)
class LabelledFolder:
    """Contents of a labelled folder."""

    root: Path
    layout: str
    fields: list[LabelledField]
    problems: list[LabelIssue]
    classes: list[ClassCount]


def read_labelled(
    root: Path,
    layout: str = "auto",
    mapping: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> LabelledFolder:
    """Read a labelled folder.

    Args:
        root: the folder.
        layout: a key of ``formats.READERS``, or ``auto`` to recognise it.
        mapping: the user's class names, see :func:`wbcdet.results.class_names.parse_mapping`.
        settings: limits of the pictures.

    Raises:
        LabelledError: there is nothing to evaluate with.
    """
    if not root.is_dir():
        raise LabelledError(f"{root}: is no folder; name the folder that holds the labels")
    search_result = search([root])
    # Inside, pictures are known by their path below the folder, as their labels are.
    inside = [replace(source, name=source.below) for source in search_result.fields]
    pictures = [source for source in inside if source.problem is None]
    if not pictures:
        raise LabelledError(f"{root}: holds no picture; name the folder above pictures and labels")
    outputs = [Path(output) for output in search_result.passed.outputs]
    files: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        ours = path.name == MARKER or any(path.is_relative_to(output) for output in outputs)
        if not (hidden or ours) and path.is_file():
            files.setdefault(path.suffix.lower(), []).append(path)
    reading = LabelFolder(root, pictures, files, mapping or {}, settings or Settings())
    for source in inside:
        if source.problem is not None:
            reading.note("unreadable-picture", source.name, source.problem)
    chosen = recognise(reading) if layout == "auto" else layout
    fields = READERS[chosen](reading)
    _note_classes(reading, chosen)
    unknown = any(entry.standard is None and entry.labels for entry in reading.classes.values())
    # Fields that all are without cells tell how many false boxes there are; if a class may be
    # white cells that nobody knows of, they tell nothing.
    if not any(len(f.boxes) or f.picture_type for f in fields) and (unknown or not fields):
        raise LabelledError(_nothing(root, chosen, reading))
    start = field_name(root)
    for labelled in fields:
        labelled.name = f"{start}/{labelled.name}" if start else labelled.name
    return LabelledFolder(
        root, chosen, fields, reading.problems, sorted(reading.classes.values(), key=_order)
    )


def _order(entry: ClassCount) -> tuple[int, str]:
    known = entry.standard in TYPES
    return (TYPES.index(str(entry.standard)) if known else len(TYPES), entry.name)


def _note_classes(reading: LabelFolder, layout: str) -> None:
    singular, plural = ("picture", "pictures") if layout == "classes" else ("box", "boxes")
    for entry in reading.classes.values():
        if entry.standard is None and entry.labels:
            what = f"{entry.labels} {singular if entry.labels == 1 else plural}"
            if (guess := suggestion(entry.name)) is not None:
                what += f"; if it is {guess}: --map '{entry.name}={guess}'"
            reading.note("unknown-class", entry.name, what)
        elif not entry.labels and entry.standard not in (NOT_WHITE, IGNORE):
            reading.note("empty-class", entry.name, f"no {singular}")


def _nothing(root: Path, layout: str, reading: LabelFolder) -> str:
    reasons = "; ".join(summarise(reading.problems, most=1)) or "no label was found"
    return f"{root}: nothing to evaluate in this folder (read as {layout}): {reasons}"
