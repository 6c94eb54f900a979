"""The current state of a cell, and the checks of requested changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from wbcdet.inference.run_info import RunInfo, taught_labels
from wbcdet.records import LABELS, Cell, CellType
from wbcdet.results.class_names import understand
from wbcdet.results.reserved_names import is_reserved
from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError

#: Labels beside the machine's that have a key of their own.
BASOPHIL, ARTEFACT = "basophil", "artefact"
#: Label of a box that a person took away: no cell at all.
DELETED = "deleted"
UNCLASSIFIED = CellType.UNCLASSIFIED.value
#: Labels whose other names become the label.
_STANDARD = (*map(str, LABELS), BASOPHIL, ARTEFACT)

#: Letters of a label that a person makes up, and of a person's name.
MAX_LETTERS = 40
#: Largest number of a cell in its field, as of ``results.schema.json``.
MAX_NUMBER = 2**31 - 1

#: Taught types that are offered and counted without a cell; the report may come from somebody else.
_MAX_TAUGHT = 12

#: Two boxes hold the same cell from this intersection over union on: of two readers, of one who
#: drew what a later count finds, and one that comes back from another program.
SAME_IOU = 0.5

#: A cell: number of its field, and its number there.
Key = tuple[int, int]


class _LabelledState(TypedDict):
    label: str
    reviewed: bool


class RecordedState(_LabelledState, total=False):
    """State of a cell as a decision records it.

    Attributes:
        box: only where a person has moved it.
        picture: sha256 of the file in which a person draws it, where that is known; only of the
            decision that draws it.
    """

    box: list[float]
    picture: str


class ChangeError(WbcdetError, ValueError):
    """A change cannot be made; the message is one line."""


class ConflictError(ChangeError):
    """Somebody else has changed these cells meanwhile."""


@dataclass(slots=True)
class CellState:
    """Current state of a cell.

    Attributes:
        label: its label; None where a person drew it and took that back.
        reviewed: a person has decided.
        box: pixels of the field.
        origin: the box as the machine found it or a person drew it; it tells the cell from others.
        stored: its number in its field by which the store knows it: of a drawn cell the one that it
            was drawn with, which a report that was counted again may have given to another.
        number: of the cell in its slide, from 1; it never changes.
        last_decision: number of the last decision on it, 0 without one.
        shown_decision: number of the one that it shows: an undo shows the one before again.
        cell: what the machine found; None where a person drew it.
        touches_edge: the border of the field, or a black one around it, cuts the cell.
        who, time: of the last decision.
    """

    label: str | None
    reviewed: bool
    box: Box
    origin: Box
    stored: int
    number: int = 0
    last_decision: int = 0
    shown_decision: int = 0
    cell: Cell | None = None
    touches_edge: bool = False
    who: str = ""
    time: str = ""

    @property
    def is_present(self) -> bool:
        """Whether it is a cell or an artefact: neither deleted nor taken back."""
        return self.label is not None and self.label != DELETED

    @property
    def moved(self) -> bool:
        """A person has moved or resized the box."""
        return self.box != self.origin

    def recorded(self) -> RecordedState | None:
        """Return it as a decision records it; None where the cell is not there."""
        if self.label is None:
            return None
        recorded = RecordedState(label=self.label, reviewed=self.reviewed)
        if self.moved:
            recorded["box"] = list(self.box)
        return recorded


@dataclass(frozen=True, slots=True)
class LabelChange:
    """One cell of a change that somebody asks for.

    Attributes:
        key: the cell.
        last_decision: the last one on it that they had seen.
        label: what it is to be called.
    """

    key: Key
    last_decision: int
    label: str


@dataclass(frozen=True, slots=True)
class BroughtLabel:
    """One cell as another program brings it back.

    Attributes:
        field: number of its field.
        label: what it is called there.
        box: its box there, pixels of the field.
        key: the cell that it is; None where it is a new one.
    """

    field: int
    label: str
    box: Box
    key: Key | None


def is_short_line(text: str) -> bool:
    """Say whether a text can be a label or a name: one line that can be printed, not too long."""
    return 0 < len(text) <= MAX_LETTERS and text.isprintable()


def checked_label(label: str) -> str:
    """Return a label as it is kept: small letters, one line, the standard one of its names.

    Raises:
        ChangeError: it is empty, too long or not printable, or tables and reports call something
            else so.
    """
    label = " ".join(label.split()).casefold()
    if not is_short_line(label):
        raise ChangeError(f"a label has 1 to {MAX_LETTERS} letters")
    if is_reserved(label):
        raise ChangeError(f"{label!r} is no cell type: reports use it otherwise; name another")
    return standard_label(label)


def taught_types(info: RunInfo) -> list[str]:
    """Return the types that the classifier of a report was taught, as far as they can be labels.

    Args:
        info: of the report.
    """
    return [
        label
        for label in taught_labels(info)
        if is_short_line(label) and not is_reserved(label) and checked_label(label) == label
    ][:_MAX_TAUGHT]


def standard_label(label: str) -> str:
    """Return ``artefact`` for ``debris``, ``monocyte`` for ``monozyten``: what a name stands for.

    Any other name is returned as it is, also that of one shape of neutrophils, such as ``bands``:
    who tells them apart means to.
    """
    meaning = understand(label)
    if meaning.part or meaning.standard not in _STANDARD:
        return label
    return meaning.standard


def checked_note(note: str) -> str:
    """Return a remark: one line of what can be printed.

    Raises:
        ChangeError: it holds something else.
    """
    note = " ".join(note.split())
    if not note.isprintable():
        raise ChangeError("a note holds letters and signs only")
    return note


def checked_name(name: str) -> str:
    """Return the name of a person.

    Raises:
        ChangeError: it is empty, too long or not printable.
    """
    name = " ".join(name.split())
    if not is_short_line(name):
        raise ChangeError(f"a name has 1 to {MAX_LETTERS} letters")
    return name
