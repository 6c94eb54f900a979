"""Find nuclei of a slide that lie in no box: cells that the detector may have missed.

The detector's own scores do not tell what it has overlooked. But the cells that it did find show
what a nucleus of this slide looks like, in its stain, under its lamp, by its camera; a spot outside
the boxes that has their colour and their size is very likely another one. Nothing here was trained.
``docs/unknown-ground.md`` says how well that works.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from wbcdet.inference.stained_spots import INSIDE
from wbcdet.records import FieldResult, StainedSpot
from wbcdet.utils.boxes import Box, part_of_smaller
from wbcdet.utils.schemas import JsonObject

#: Fewest nuclei in boxes from which their colour is known.
_MIN_NUCLEI = 8
#: Cells whose nuclei show the colour: of at least this score.
_SURE = 0.5
#: Least area of a nucleus, over the square of the cells' width: in a box, and outside, where it may
#: be a platelet; and the greatest width, over that of the cells.
_MIN_INSIDE, _MIN_OUTSIDE, _MAX_WIDTH = 0.06, 0.12, 1.6
#: A spot has the colour of nuclei from this part of the way from the other spots on, along the
#: linear discriminant of the two, and within so many standard deviations of the nuclei.
_ON_THE_WAY, _MAX_AWAY = 0.5, 5.0
#: Variance of a density that all colours have at least.
_NOISE = 1e-3


@dataclass(frozen=True, slots=True)
class UnboxedNucleus:
    """What looks like a nucleus of the slide and lies in no box.

    Attributes:
        file: the field.
        box: where it lies, pixels of the field.
    """

    file: str
    box: Box

    def to_dict(self) -> dict[str, object]:
        """Return it as it stands in ``results.json``."""
        return {"file": self.file, "box": list(self.box)}

    @classmethod
    def from_dict(cls, data: JsonObject) -> UnboxedNucleus:
        """Return the nucleus that ``to_dict`` wrote."""
        x_min, y_min, x_max, y_max = (float(value) for value in data["box"])
        return cls(str(data["file"]), (x_min, y_min, x_max, y_max))


def unboxed_nuclei(results: Iterable[FieldResult]) -> tuple[list[UnboxedNucleus], int]:
    """Return the nuclei of a slide that lie in no box, and the number of nuclei that lie in one.

    Both are empty where too few cells were found to know their colour.
    """
    search = NucleusSearch()
    for result in results:
        search.add(result)
    return search.found()


class NucleusSearch:
    """Takes the fields of a slide one after the other; see :func:`unboxed_nuclei`."""

    def __init__(self) -> None:
        self._widths: list[float] = []
        self._inside: list[StainedSpot] = []
        self._outside: list[tuple[str, StainedSpot]] = []

    def add(self, result: FieldResult) -> None:
        """Take the record of a field into account."""
        for cell in result.cells:
            if not cell.touches_edge:
                self._widths.append(max(cell.box[2] - cell.box[0], cell.box[3] - cell.box[1]))
        for spot in result.spots:
            held = [c for c in result.cells if part_of_smaller(spot.box, c.box) >= INSIDE]
            if not held:
                self._outside.append((result.file, spot))
            elif any(cell.detection_score >= _SURE for cell in held):
                self._inside.append(spot)

    def found(self) -> tuple[list[UnboxedNucleus], int]:
        """Return what can be said by now."""
        width = float(np.median(self._widths)) if self._widths else 0.0
        inside = [spot for spot in self._inside if spot.area >= _MIN_INSIDE * width**2]
        if len(inside) < _MIN_NUCLEI:
            return [], 0
        outside = [one for one in self._outside if one[1].area >= _MIN_INSIDE * width**2]
        like = _like_nuclei(_colours(inside), _colours([spot for _, spot in outside]))
        nuclei = [
            UnboxedNucleus(file, spot.box)
            for (file, spot), is_like in zip(outside, like, strict=True)
            if is_like
            and spot.area >= _MIN_OUTSIDE * width**2
            and max(spot.box[2] - spot.box[0], spot.box[3] - spot.box[1]) <= _MAX_WIDTH * width
        ]
        return nuclei, len(inside)


def _colours(spots: Sequence[StainedSpot]) -> np.ndarray:
    return np.array([spot.colour for spot in spots], float).reshape(-1, 3)


def _like_nuclei(nuclei: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Say of each spot (N,) whether it has the colour of nuclei.

    Args:
        nuclei: (M, 3) colours of spots in boxes.
        others: (N, 3) colours of spots outside, most of them no nuclei.
    """
    if not len(others):
        return np.zeros(0, bool)
    nucleus = np.median(nuclei, 0)
    scatter = np.cov(nuclei.T) + _NOISE * np.eye(3)
    away = others - nucleus
    near = np.einsum("ij,ij->i", away @ np.linalg.inv(scatter), away) <= _MAX_AWAY**2
    other = np.median(others, 0)
    both = scatter + (np.cov(others.T) if len(others) > 1 else 0.0)
    direction = np.linalg.solve(both, nucleus - other)
    way = (others - other) @ direction >= _ON_THE_WAY * float((nucleus - other) @ direction)
    result: np.ndarray = near & way
    return result
