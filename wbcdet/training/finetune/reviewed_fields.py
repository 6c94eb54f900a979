"""Reviewed fields as training data of the detector."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.review.cell_state import ARTEFACT, DELETED, SAME_IOU, CellState
from wbcdet.review.images import PictureError
from wbcdet.review.session import Session
from wbcdet.training.finetune.places import Places, field_key
from wbcdet.training.finetune.reviewed_cells import is_undrawn, report_name
from wbcdet.utils.boxes import iou

#: Fields that are learnt from at most, and their longer side in memory, px.
MAX_FIELDS, _LONGEST = 100, 2048


@dataclass(slots=True)
class ReviewedField:
    """A field of which a person has decided on every cell.

    Attributes:
        name: of the field.
        group: the same for fields that show the same place: copies of a picture, and those that
            overlap.
        pixels: (H, W, 3) uint8 BGR.
        cells: (N, 4) float32 its white cells, px of ``pixels``.
        drawn: cells of them that a person drew: the machine had missed them.
        taken: boxes that a person took away, or called artefacts. One in whose place a person drew
            the same cell is in neither number: the machine had found it.
        read: reads the field as it was counted, where ``pixels`` are fewer than it has, or it is a
            part of a slide; None where they are all that there is.
    """

    name: str
    group: str
    pixels: np.ndarray
    cells: np.ndarray
    drawn: int
    taken: int
    read: Callable[[], Field] | None = None

    def as_counted(self) -> tuple[Field, np.ndarray]:
        """Return the field as a count looks at it, and its cells (N, 4) in pixels of it.

        Raises:
            PictureError, FieldError: it cannot be read any more.
        """
        if self.read is None:
            return Field(self.name, None, self.pixels), self.cells
        whole = self.read()
        return whole, self.cells * (whole.width / self.pixels.shape[1])


@dataclass(slots=True)
class ReviewedFields:
    """Fields of reports to learn from.

    Attributes:
        fields: those in which every cell is reviewed.
        unfinished: number of fields in which only some cells are: a cell that nobody has looked at
            teaches nothing about where cells are.
        missing: why fields in which every cell is reviewed could not be read, a line each.
        reports: names of the reports that the fields come from, by the sha256 of their results.
    """

    fields: list[ReviewedField] = field(default_factory=list)
    unfinished: int = 0
    missing: list[str] = field(default_factory=list)
    reports: dict[str, str] = field(default_factory=dict)

    @property
    def places(self) -> int:
        """Number of groups of fields of which none shows what another one shows."""
        return len({reviewed.group for reviewed in self.fields})

    @property
    def drawn(self) -> int:
        """Number of cells that a person drew."""
        return sum(reviewed.drawn for reviewed in self.fields)

    @property
    def taken(self) -> int:
        """Number of boxes that a person took away."""
        return sum(reviewed.taken for reviewed in self.fields)


def read_reviewed_fields(sessions: Sequence[Session]) -> ReviewedFields:
    """Return the fields of reports in which every cell is reviewed, each picture once.

    Args:
        sessions: one a report.
    """
    fields = ReviewedFields()
    whole: list[tuple[Session, int]] = []
    for session in sessions:
        state = session.state
        for reviewed_field in state.report.fields:
            states = [
                (key, cell)
                for key, cell in state.of_field(reviewed_field.number)
                if not is_undrawn(cell)
            ]
            reviewed = [cell for _, cell in states if cell.reviewed]
            open_ = [1 for key, cell in states if not cell.reviewed and state.left_out(key) is None]
            if reviewed and not open_:
                whole.append((session, reviewed_field.number))
            fields.unfinished += bool(reviewed and open_)
    if len(whole) > MAX_FIELDS:
        drawn = np.random.default_rng(0).choice(len(whole), MAX_FIELDS, replace=False)
        whole = [whole[place] for place in sorted(drawn)]
    places = Places()
    for session in sessions:
        places.join_report(session.state.report, {n for other, n in whole if other is session})
    keys: dict[str, tuple[str, int]] = {}
    for session, number in whole:
        try:
            read = _read(session, number)
        except (PictureError, FieldError) as error:
            fields.missing.append(str(error))
            continue
        fields.reports[session.state.report.sha256] = report_name(session.folder)
        key = field_key(session.state.report, number)
        if read.group in keys:  # what overlaps with a copy overlaps with the picture
            places.join(keys[read.group], key)
        else:
            keys[read.group] = key
            fields.fields.append(read)
    first: dict[Hashable, str] = {}
    for read in fields.fields:
        read.group = first.setdefault(places.of(keys[read.group]), read.group)
    return fields


def _read(session: Session, number: int) -> ReviewedField:
    picture = session.pictures.field(number)
    pixels = picture.pixels
    group = hashlib.sha256(pixels.tobytes()).hexdigest()
    factor = min(1.0, _LONGEST / max(pixels.shape[:2]))
    if factor < 1:
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    # Of a large TIFF the pixels are a reduced overview.
    scale = pixels.shape[1] / picture.width
    states = [cell for _, cell in session.state.of_field(number) if not is_undrawn(cell)]
    # Of the machine's: no box that a person drew is an error of it.
    gone = [cell for cell in states if cell.cell and cell.label in (ARTEFACT, DELETED)]
    there = [cell for cell in states if cell.label not in (ARTEFACT, DELETED)]
    boxes = [[value * scale for value in cell.box] for cell in there]
    added = [cell for cell in there if cell.cell is None]
    again = _drawn_again(gone, added)
    drawn, taken = len(added) - again, len(gone) - again
    name = session.state.report.fields[number].result.file
    cells = np.array(boxes, np.float32).reshape(-1, 4)
    read = (
        None if scale == 1 and picture.region is None else partial(session.pictures.field, number)
    )
    return ReviewedField(name, group, pixels, cells, drawn, taken, read)


def _drawn_again(gone: Sequence[CellState], added: Sequence[CellState]) -> int:
    """Count cells whose box a person took away to draw a better one."""
    left, again = list(gone), 0
    for cell in added:
        same = next((one for one in left if iou(one.box, cell.box) >= SAME_IOU), None)
        if same is not None:
            left.remove(same)
            again += 1
    return again
