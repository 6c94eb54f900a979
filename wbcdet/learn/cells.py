"""Reviewed cells as training data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wbcdet.fields import FieldError
from wbcdet.review.pictures import PictureError
from wbcdet.review.session import Session
from wbcdet.review.standing import ARTEFACT, DELETED, Key, Standing
from wbcdet.training.cells import CLASSES, REACH, LabelledCell, cut_patch


@dataclass(slots=True)
class Reviewed:
    """What reports give to learn from.

    Attributes:
        cells: the reviewed cells whose label the classifier knows.
        unknown: reviewed cells with other labels, by label; they are not learnt.
        missing: why fields could not be read, a line each.
    """

    cells: list[LabelledCell] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    missing: list[str] = field(default_factory=list)

    def by_class(self) -> dict[str, int]:
        """Number of cells of each class, in the order of the classes."""
        found = Counter(CLASSES[cell.label] for cell in self.cells)
        return {name: found[name] for name in CLASSES}


def read_reviewed(sessions: Sequence[Session]) -> Reviewed:
    """The reviewed cells of reports, cut from their fields.

    A box that a person took away is an artefact to the classifier. Cells that are in no count
    because an overlapping field shows them too are passed over: they must not stand on both sides
    of a split.

    Args:
        sessions: one a report.
    """
    found = Reviewed()
    for session in sessions:
        for one in session.board.report.fields:
            chosen = [
                (key, standing)
                for key, standing in session.board.of_field(one.number)
                if standing.reviewed and key[1] not in one.duplicate_of
            ]
            known = [(key, standing) for key, standing in chosen if _class(standing) is not None]
            found.unknown.update(str(s.label) for _, s in chosen if _class(s) is None)
            if known:
                _read_field(session, one.number, known, found)
    return found


def report_name(folder: Path) -> str:
    """The name of a report, as the cells' laboratory."""
    return folder.resolve().name


def _read_field(
    session: Session, number: int, known: Sequence[tuple[Key, Standing]], found: Reviewed
) -> None:
    report = report_name(session.folder)
    file = session.board.report.fields[number].result.file
    try:
        picture = session.pictures.field(number)
        for _, standing in known:
            patch, box = _patch(picture, standing.box)
            label = _class(standing)
            assert label is not None
            found.cells.append(
                LabelledCell(report, file, f"{report}/{file}", "train", patch, box, label, False)
            )
    except (PictureError, FieldError) as error:
        found.missing.append(str(error))


def _patch(
    picture: object, box: tuple[float, float, float, float]
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    x_min, y_min, x_max, y_max = box
    reach = int(max(x_max - x_min, y_max - y_min) * REACH) + 2
    left, top = max(0, int(x_min) - reach), max(0, int(y_min) - reach)
    part = picture.read(left, top, int(x_max) + reach, int(y_max) + reach)  # type: ignore[attr-defined]
    return cut_patch(part, np.array(box) - np.array([left, top, left, top]))


def _class(standing: Standing) -> int | None:
    label = ARTEFACT if standing.label == DELETED else standing.label
    return CLASSES.index(label) if label in CLASSES else None
