"""Labelled pictures: the boxes and types of the cells on a field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wbcdet.io.colour import Pixels


def no_boxes() -> np.ndarray:
    """Return an array of no boxes, (0, 4)."""
    return np.zeros((0, 4))


@dataclass(slots=True)
class LabelledField:
    """One picture and its labels.

    Attributes:
        name: of the picture in its list.
        read: gives (H, W, 3) uint8 BGR; raises ``FieldError`` where it cannot.
        boxes: (N, 4) white cells that must be found, pixels.
        types: cell type of each, one of ``class_names.TYPES``; "" where it is unknown.
        ignored: (M, 4) regions in which a box is neither right nor wrong.
        picture_type: type of the one cell that the picture is of, where a class folder says it
            and no box does; else None.
        group: pictures that share a cell or a slide have the same one.
        split: training part by the folder's own names (``train``, ``val``, ``test``) or "".
        size: width and height that the labels were made on, where they say so.
        path: the file, where there is one.
        given: (N, 4) ``boxes`` as they were written, even beyond the picture; or (0, 4).
    """

    name: str
    read: Callable[[], Pixels]
    boxes: np.ndarray = field(default_factory=no_boxes)
    types: tuple[str, ...] = ()
    ignored: np.ndarray = field(default_factory=no_boxes)
    picture_type: str | None = None
    group: str = ""
    split: str = ""
    size: tuple[int, int] | None = None
    path: Path | None = None
    given: np.ndarray = field(default_factory=no_boxes)


@dataclass(frozen=True, slots=True)
class LabelledCrop:
    """One labelled cell with its surroundings, of a picture that is not looked at as a whole.

    Attributes:
        file: the picture it is from.
        patch: (H, W, 3) uint8 BGR, the part of the picture around the cell.
        box: of the cell within the patch, px.
        truth: one of ``class_names.TYPES``.
        group: see :class:`LabelledField`.
    """

    file: str
    patch: Pixels
    box: np.ndarray
    truth: str
    group: str


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """An issue of labelled data that the reader of a figure must know.

    Attributes:
        kind: a key of ``label_issues.KINDS``.
        where: the file or class.
        what: in one line.
    """

    kind: str
    where: str
    what: str
