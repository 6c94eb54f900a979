"""Labelled fields of a laboratory, in the one form that all readers bring them to."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Kinds of boxes. ``ignore`` is neither a cell to find nor background. Of test fields alone:
#: ``unboxed``, a white cell for which the data set has no box, and ``unboxed_part``, a sliver or
#: smudge of one.
KINDS = ("wbc", "rbc", "platelet", "not_wbc", "ignore", "unboxed", "unboxed_part")


@dataclass(frozen=True, slots=True)
class LabBox:
    """One labelled object: pixels ``x_min, y_min, x_max, y_max`` of its field."""

    box: tuple[float, float, float, float]
    kind: str
    cell_type: str = ""  # a class of the classifier, "unsure", or "" where nobody said
    silver: bool = False  # read for this project, not by an expert
    published_type: str = ""  # what the data set says where ``cell_type`` corrects it


@dataclass(slots=True)
class LabField:
    """One field of a laboratory with its splits and boxes."""

    laboratory: str
    file: str
    group: str
    detect: str
    classify: str
    boxes: list[LabBox] = field(default_factory=list)
