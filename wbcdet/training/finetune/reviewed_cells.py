"""Reviewed cells as training data."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wbcdet.datasets.cells import CLASSES, LabelledCell, cut_patch
from wbcdet.inference.surroundings import REACH
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.records import LABELS, CellType
from wbcdet.results.reserved_names import is_reserved
from wbcdet.review.cell_state import ARTEFACT, DELETED, CellState, Key
from wbcdet.review.images import PictureError
from wbcdet.review.session import Session
from wbcdet.review.state import ReviewState
from wbcdet.utils.boxes import Box, part_of_smaller

#: Cells that are learnt from at most: more take memory and time and teach little.
MAX_CELLS = 2000
#: Fewest cells of a type that the shipped classifier does not name, for it to become a label.
MIN_OWN = 20
#: Classes of the classifier that are no leukocytes: never a label.
_NO_LEUKOCYTES = ("erythroblast", "platelet", ARTEFACT)
#: Classes that it declines until a laboratory makes them labels.
DECLINED = tuple(n for n in CLASSES if n not in (*map(str, LABELS), *_NO_LEUKOCYTES))
#: A box of which a white cell's box shares this part (of the smaller one) shows that cell.
_SHOWS_CELL = 0.5


@dataclass(slots=True)
class Reviewed:
    """Cells of reports to learn from.

    Attributes:
        cells: the reviewed cells whose label is learnt.
        own: names of the laboratory's own classes; their labels follow those of ``CLASSES``.
        own_labels: types beside the four that the classifier is to name: the own classes, and those
            that it has known only to decline.
        unknown: reviewed cells with other labels, by label; they are not learnt.
        missing: why fields could not be read, a line each.
        offered: number of cells before ``MAX_CELLS`` of them were drawn at random.
        reports: names of the reports that the cells come from, by the sha256 of their results.
    """

    cells: list[LabelledCell] = field(default_factory=list)
    own: tuple[str, ...] = ()
    own_labels: tuple[str, ...] = ()
    unknown: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)
    offered: int = 0
    reports: dict[str, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes, in the order of the labels."""
        return (*CLASSES, *self.own)

    def by_class(self) -> dict[str, int]:
        """Return the number of cells of each class, in the order of the classes."""
        counts = Counter(self.classes[cell.label] for cell in self.cells)
        return {name: counts[name] for name in self.classes}


def read_reviewed(sessions: Sequence[Session]) -> Reviewed:
    """Return the reviewed cells of reports, cut from their fields.

    A box that a person took away is an artefact to the classifier, unless a white cell stays
    there: one of two boxes of a cell shows that cell. Cells that are in no count because an
    overlapping field shows them too are passed over: they must not stand on both sides of a split.
    For the same reason a picture that several reports hold is one group, and a cell of it that was
    decided on in several of them is taken from the first.

    Args:
        sessions: one a report.
    """
    reviewed = Reviewed()
    offered: list[tuple[int, Key]] = []
    named: Counter[str] = Counter()
    for number, session in enumerate(sessions):
        for key, current in session.state.cells.items():
            field = session.state.report.fields[key[0]]
            if not current.reviewed or key[1] in field.duplicate_of or is_undrawn(current):
                continue
            if shows_kept_cell(session.state, key):
                continue
            offered.append((number, key))
            named[_name(current)] += 1
    # Earlier versions let cells be called as our own rows are.
    enough = [
        name for name, count in sorted(named.items()) if count >= MIN_OWN and not is_reserved(name)
    ]
    reviewed.own = tuple(n for n in enough if n not in (*CLASSES, CellType.UNCLASSIFIED.value))
    chosen = [
        (number, key)
        for number, key in offered
        if _name(sessions[number].state.cells[key]) in reviewed.classes
    ]
    for name, count in named.items():
        if name not in reviewed.classes:
            reviewed.unknown[name] += count
    reviewed.offered = len(chosen)
    if len(chosen) > MAX_CELLS:
        names = [_name(sessions[number].state.cells[key]) for number, key in chosen]
        chosen = [chosen[place] for place in _drawn(names)]
    by_field: dict[tuple[int, int], list[Key]] = {}
    for number, key in chosen:
        by_field.setdefault((number, key[0]), []).append(key)
    taken: set[tuple[str, Box]] = set()
    for (number, _), keys in by_field.items():
        _read_field(sessions[number], keys, taken, reviewed)
    _settle_labels(reviewed)
    return reviewed


def _drawn(names: Sequence[str]) -> list[int]:
    """Return places of ``MAX_CELLS`` cells, drawn by chance.

    Of each type ``MIN_OWN`` are taken first, so that none loses its label for being rare.

    Args:
        names: type of each cell.
    """
    first: list[int] = []
    rest: list[int] = []
    seen: Counter[str] = Counter()
    for place in np.random.default_rng(0).permutation(len(names)).tolist():
        seen[names[place]] += 1
        (first if seen[names[place]] <= MIN_OWN else rest).append(place)
    return sorted((first + rest)[:MAX_CELLS])


def _settle_labels(reviewed: Reviewed) -> None:
    """Decide which types become labels, by the cells that there are.

    More were decided on where pictures are missing or stand in several reports: a label must not
    come of a few cells, or of none.
    """
    counts, before = reviewed.by_class(), reviewed.classes
    few = [name for name in reviewed.own if counts[name] < MIN_OWN]
    reviewed.unknown.update({name: counts[name] for name in few if counts[name]})
    reviewed.own = tuple(name for name in reviewed.own if name not in few)
    reviewed.own_labels = (
        *(name for name in DECLINED if counts[name] >= MIN_OWN), *reviewed.own,
    )  # fmt: skip
    reviewed.cells = [cell for cell in reviewed.cells if before[cell.label] not in few]
    for cell in reviewed.cells:
        cell.label = reviewed.classes.index(before[cell.label])


def is_undrawn(current: CellState) -> bool:
    """Say whether a person drew the box and took it away again, by undo or Del: it is nothing that
    was seen."""
    return current.label is None or (current.cell is None and current.label == DELETED)


def shows_kept_cell(state: ReviewState, key: Key) -> bool:
    """Say whether a box that was taken away, or is an artefact, lies over a white cell that stays:
    one that the machine found too, or that a person drew in its place."""
    if _name(state.cells[key]) != ARTEFACT:
        return False
    box = state.cells[key].box
    return any(
        other.is_present
        and other.label != ARTEFACT
        and part_of_smaller(box, other.box) >= _SHOWS_CELL
        for _, other in state.of_field(key[0])
    )


def report_name(folder: Path) -> str:
    """Return the name of a report, as the cells' laboratory."""
    return folder.resolve().name


def _read_field(
    session: Session, keys: Sequence[Key], taken: set[tuple[str, Box]], reviewed: Reviewed
) -> None:
    """Cut the cells of one field, but those that another report had too."""
    report = report_name(session.folder)
    file = session.state.report.fields[keys[0][0]].result.file
    try:
        picture = session.pictures.field(keys[0][0])
        reviewed.reports[session.state.report.sha256] = report
        group = hashlib.sha256(picture.pixels.tobytes()).hexdigest()
        for key in keys:
            current = session.state.cells[key]
            if (group, current.box) in taken:
                continue
            taken.add((group, current.box))
            patch, box = patch_of(picture, current.box)
            label = reviewed.classes.index(_name(current))
            reviewed.cells.append(
                LabelledCell(report, file, group, "train", patch, box, label, False)
            )
    except (PictureError, FieldError) as error:
        reviewed.missing.append(str(error))


def patch_of(picture: Field, box: Box) -> tuple[np.ndarray, Box]:
    """Return the part of a field that a cell's crop can depend on, and its box there."""
    x_min, y_min, x_max, y_max = box
    reach = int(max(x_max - x_min, y_max - y_min) * REACH) + 2
    left, top = max(0, int(x_min) - reach), max(0, int(y_min) - reach)
    part = picture.read(left, top, int(x_max) + reach, int(y_max) + reach)
    return cut_patch(part, np.array(box) - np.array([left, top, left, top]))


def _name(current: CellState) -> str:
    return ARTEFACT if current.label == DELETED else str(current.label)
