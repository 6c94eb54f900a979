"""Corrected labels of other programs, matched with the cells of a review."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from wbcdet.io.formats import SUFFIXES
from wbcdet.results.corrected import CorrectedField
from wbcdet.results.export.base import make_items
from wbcdet.review.cell_state import (
    DELETED,
    SAME_IOU,
    BroughtLabel,
    ChangeError,
    Key,
    checked_label,
)
from wbcdet.review.machine_report import MachineReport
from wbcdet.review.state import ReviewState
from wbcdet.utils.boxes import Box, iou
from wbcdet.utils.text import composed

#: Pixels by which a side may differ, as formats round it, and the box was not moved.
_ROUNDING = 0.6
#: What Label Studio puts before the name of a picture that was uploaded.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


@dataclass(slots=True)
class BroughtBack:
    """What came back.

    Attributes:
        fields: fields of the report that the file has.
        renamed, moved, added, deleted: numbers of cells that have changed here.
        same: cells that came back as they stand; nobody is taken to have looked at them.
        missing: cells that stand here and not in the file.
        conflicts: what was not taken, a line each.
    """

    fields: int = 0
    renamed: int = 0
    moved: int = 0
    added: int = 0
    deleted: int = 0
    same: int = 0
    missing: int = 0
    conflicts: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Say in one line what has changed."""
        counts = [
            (self.renamed, "renamed"),
            (self.moved, "with another box"),
            (self.added, "added"),
            (self.deleted, "deleted"),
            (self.same, "as they were"),
        ]
        said = ", ".join(f"{number} {what}" for number, what in counts)
        return f"{self.fields} field{'s' * (self.fields != 1)}: cells {said}"


def bring_back(
    state: ReviewState, who: str, corrected: Sequence[CorrectedField], *, delete_missing: bool
) -> BroughtBack:
    """Take over corrected labels as one step, which one undo takes back.

    What a person has decided here stays where the file says something else. A cell that came back
    as the machine had it is not taken to be reviewed.

    Args:
        state: the review.
        who: whose decisions they are.
        corrected: what came back.
        delete_missing: a cell that a field of the file does not have is no cell.

    Raises:
        ChangeError: ``who`` is not a name.
        OSError: nothing can be written; nothing is changed.
    """
    done, changes = BroughtBack(), list[BroughtLabel]()
    names = _Names(state.report)
    with state.turn:
        numbers: set[int] = set()
        untouched: dict[int, str] = {}
        for returned in corrected:
            number, problem = names.find(returned.names, returned.stem)
            if number is None:
                done.conflicts.append(f"{_line(returned.names)}: {problem}")
                continue
            file = state.report.fields[number].result.file
            if returned.untouched:
                untouched[number] = file
                continue
            done.conflicts += [f"{file}: {_line((text,))}" for text in returned.problems]
            if number in numbers:
                done.conflicts.append(
                    f"{file}: stands in the file more than once; the first counts"
                )
                continue
            result = state.report.fields[number].result
            if returned.size is not None and returned.size != (result.width, result.height):
                width, height = returned.size
                done.conflicts.append(
                    f"{file}: is {width:g} x {height:g} pixels in the file and {result.width} x "
                    f"{result.height} in the report; this is another picture"
                )
                continue
            numbers.add(number)
            done.fields += 1
            changes += _field(state, number, returned, done, delete_missing=delete_missing)
        state.bring(who, changes)
    waiting = [file for number, file in untouched.items() if number not in numbers]
    if waiting:
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        done.conflicts.append(f"{waiting[0]}{more}: no annotation yet, only predictions")
    return done


def _field(
    state: ReviewState,
    number: int,
    corrected: CorrectedField,
    done: BroughtBack,
    *,
    delete_missing: bool,
) -> list[BroughtLabel]:
    file = state.report.fields[number].result.file
    here = {key: current for key, current in state.of_field(number) if current.label is not None}
    cells: list[tuple[str, Box]] = []
    for label, box in corrected.cells:
        try:
            cells.append((checked_label(label), state.cut(number, box)))
        except ChangeError as error:
            done.conflicts.append(f"{file}: {_line((label,))} {_at(box)}: {error}")
    pairs = _pairs([(key, current.box) for key, current in here.items()], [box for _, box in cells])
    changes = []
    for at, (label, box) in enumerate(cells):
        key = pairs.get(at)
        if key is None:
            over = max(
                (iou(box, other) for n, (_, other) in enumerate(cells) if n < at), default=0.0
            )
            if over >= SAME_IOU or any(iou(box, other.box) >= SAME_IOU for other in here.values()):
                done.conflicts.append(
                    f"{file}: {label} {_at(box)} lies over another cell; it is not added"
                )
                continue
            done.added += 1
            changes.append(BroughtLabel(number, label, box, None))
            continue
        current = here[key]
        moved = max(abs(a - b) for a, b in zip(box, current.box, strict=True)) > _ROUNDING
        if current.label == label and not moved:
            done.same += 1
            continue
        name = f"{file}: cell {key[1]}"
        if current.reviewed and current.label != label:
            done.conflicts.append(
                f"{name} is {current.label} by {current.who} here and {label} in the file; it stays"
            )
        elif current.moved and moved:
            done.conflicts.append(f"{name}: its box was moved here and in the file; it stays")
        else:
            done.renamed += current.label != label
            done.moved += moved
            changes.append(BroughtLabel(number, label, box if moved else current.box, key))
    for key in here.keys() - set(pairs.values()):
        current = here[key]
        if current.label == DELETED:
            continue
        done.missing += 1
        if delete_missing and current.reviewed:
            done.conflicts.append(
                f"{file}: cell {key[1]} is not in the file, and {current.label} by "
                f"{current.who} here; it stays"
            )
        elif delete_missing:
            done.deleted += 1
            changes.append(BroughtLabel(number, DELETED, current.box, key))
    return changes


def _pairs(here: Sequence[tuple[Key, Box]], boxes: Sequence[Box]) -> dict[int, Key]:
    """Return the cell of each box that comes back, the best pairs first, each cell once."""
    alike = sorted(
        (
            (-same, at, key)
            for at, box in enumerate(boxes)
            for key, other in here
            if (same := iou(box, other)) >= SAME_IOU
        ),
    )
    pairs: dict[int, Key] = {}
    taken: set[Key] = set()
    for _, at, key in alike:
        if at not in pairs and key not in taken:
            pairs[at] = key
            taken.add(key)
    return pairs


class _Names:
    """The fields of a report by the names that they may come back under."""

    def __init__(self, report: MachineReport) -> None:
        self._levels: list[dict[str, set[int]]] = [defaultdict(set) for _ in range(4)]
        items, _ = make_items([recorded.result for recorded in report.fields], Path(), None)
        numbers = [recorded.number for recorded in report.fields if recorded.result.failure is None]
        for number, item in zip(numbers, items, strict=True):
            file = composed(item.result.file)
            own, name, base, stem = self._levels
            own[file].add(number)
            name[composed(item.stem)].add(number)
            base[PurePosixPath(file).name].add(number)
            stem[PurePosixPath(file).stem].add(number)

    def find(self, names: Sequence[str], stem: str | None) -> tuple[int | None, str]:
        """Return the number of a field, or None and why not.

        Args:
            names: what it may be called.
            stem: name of its own file, as the export gives it: that goes first, as a point in it
                begins no ending.
        """
        if stem is not None and len(own := self._levels[1].get(composed(stem), ())) == 1:
            return next(iter(own)), ""
        several = False
        tries = [composed(name).replace("\\", "/") for name in names]
        tries += [_UPLOADED.sub("", PurePosixPath(name).name) for name in tries]
        for level, forms in zip(self._levels, _FORMS, strict=True):
            for name in tries:
                fields = {n for form in forms(name) for n in level.get(form, ())}
                if len(fields) == 1:
                    return fields.pop(), ""
                several = several or len(fields) > 1
        if several:
            return None, "is one of several fields of the report; keep the folders in its name"
        return None, "is no field of this report"


def _without_ending(name: str) -> str:
    """Return a name without the ending of a picture; ``field.2`` has none."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


#: The forms of a name that are looked up at each level.
_FORMS: tuple[Callable[[str], list[str]], ...] = (
    lambda name: [name],
    lambda name: [PurePosixPath(name).name, _without_ending(name)],
    lambda name: [PurePosixPath(name).name],
    lambda name: [PurePosixPath(name).name, _without_ending(name)],
)


def _at(box: Box) -> str:
    return f"at {box[0]:.0f}, {box[1]:.0f}"


def _line(names: Sequence[str]) -> str:
    """Return a text of a file on one line."""
    text = " ".join(str(names[0]).split()) if names else "?"
    return "".join(c if c.isprintable() else "?" for c in text)[:200] or "?"
