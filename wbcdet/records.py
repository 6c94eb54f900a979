"""Records of the results: cell types, cells, field results and their dict form."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, Any, TypedDict

from wbcdet.utils.schemas import JsonObject

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv

FORMAT = "wbcdet-results/1"
NOTICE = "Research use only. Not a medical device."


class CellType(str, Enum):
    """The label of a cell: one of four white cell types, or unclassified."""

    EOSINOPHIL = "eosinophil"
    LYMPHOCYTE = "lymphocyte"
    MONOCYTE = "monocyte"
    NEUTROPHIL = "neutrophil"
    UNCLASSIFIED = "unclassified"

    def __str__(self) -> str:
        return self.value


#: The four labels in the order of every table, CSV and score vector.
LABELS: tuple[CellType, ...] = (
    CellType.EOSINOPHIL,
    CellType.LYMPHOCYTE,
    CellType.MONOCYTE,
    CellType.NEUTROPHIL,
)

#: The four labels, then unclassified: the ``class_id`` order of ``FieldResult.detections``.
ALL_LABELS: tuple[CellType, ...] = (*LABELS, CellType.UNCLASSIFIED)

#: Reason of an unclassified cell that is no white cell: a platelet, a clump, dirt.
ARTEFACT = "artefact"

#: Reasons of which a single cell matters: they are flagged wherever they are counted.
ALARMING: tuple[str, ...] = ("blast-like", "immature-like", "erythroblast-like")

#: Reasons why a cell is unclassified, in the order of every table: what it looks like; a crop
#: unlike the training data; no label with a sufficient score; not a white cell.
REASONS: tuple[str, ...] = (
    *ALARMING,
    "basophil-like",
    "unlike-trained",
    "low-score",
    ARTEFACT,
)

#: Header of ``FieldResult.to_frame()`` and of ``cells.csv``.
CELL_COLUMNS: tuple[str, ...] = (
    "file",
    "id",
    "x_min",
    "y_min",
    "x_max",
    "y_max",
    "detection_score",
    "label",
    "label_score",
    *(str(label) for label in LABELS),
    "reason",
    "touches_edge",
    "distance",
    "field_remarks",
)

#: Those that hold text.
_TEXT = ("file", "label", "reason", "field_remarks")

#: First words of the remark on a field that was read although its file is damaged.
DAMAGED = "damaged"


class _CellRecord(TypedDict):
    id: int
    box: list[float]
    detection_score: float
    label: str
    label_score: float
    scores: dict[str, float]
    reason: str | None
    touches_edge: bool


class CellRecord(_CellRecord, total=False):
    """A cell in ``results.json``; why it is in no count, and what for, where there was one."""

    distance: float
    diameter_um: float
    left_out: str | None
    duplicate_of: dict[str, str | int]


class _FieldRecord(TypedDict):
    file: str
    width: int
    height: int
    cells: list[CellRecord]
    failure: str | None
    remarks: list[str]


class FieldRecord(_FieldRecord, total=False):
    """A field in ``results.json``; a report adds its slide, sha256 and quality."""

    weak_scores: list[float]
    stain: list[float]
    spots: list[dict[str, object]]
    region: dict[str, object]
    group: str
    sha256: str | None
    quality: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class Cell:
    """One white blood cell found in a field.

    Attributes:
        id: running number of the cell in its field, from 0.
        box: ``(x_min, y_min, x_max, y_max)`` in pixels of the full field, origin top left.
        detection_score: how sure both models are that this is a white blood cell, 0..1; of the
            detector alone where the classifier does not know platelets and artefacts.
        label: one of the four labels, or ``unclassified``; in a reviewed report also what a person
            calls it, such as ``basophil`` or ``artefact``, as plain text, and from a classifier of
            ``wbcdet learn`` a type that a laboratory has taught it.
        label_score: calibrated probability of the most probable label, 0..1; in a reviewed report
            that of the label which the cell has now, 0 where a person gave another name.
        scores: probability of each of the four labels, 0..1; what is missing to 1 is "none of
            them", or a type of the laboratory's own.
        reason: why the cell is unclassified, one of ``REASONS``; None where it has a label.
        touches_edge: the border of the field cuts the cell, as its box reaches it; or a black
            border around the field does, as that of an eyepiece.
        distance: how far its features lie from all that the classifier was trained on, 0 or more,
            without a unit; None where the classifier does not measure it.
    """

    id: int
    box: tuple[float, float, float, float]
    detection_score: float
    label: CellType | str
    label_score: float
    scores: dict[str, float]
    reason: str | None = None
    touches_edge: bool = False
    distance: float | None = None

    def to_dict(self) -> CellRecord:
        """Return the cell as it stands in ``results.json``."""
        data: CellRecord = {
            "id": self.id,
            "box": list(self.box),
            "detection_score": self.detection_score,
            "label": str(self.label),
            "label_score": self.label_score,
            "scores": {str(label): self.scores[str(label)] for label in LABELS},
            "reason": self.reason,
            "touches_edge": self.touches_edge,
        }
        if self.distance is not None:
            data["distance"] = self.distance
        return data

    @classmethod
    def from_dict(cls, data: JsonObject) -> Cell:
        """Return the cell that ``to_dict`` wrote.

        Raises:
            ValueError, KeyError, TypeError: the mapping is not a cell.
        """
        x_min, y_min, x_max, y_max = (float(value) for value in data["box"])
        if not (x_max > x_min and y_max > y_min and isfinite(x_max + y_max - x_min - y_min)):
            raise ValueError(f"box {list(data['box'])} is empty or turned around")
        cell = cls(
            id=int(data["id"]),
            box=(x_min, y_min, x_max, y_max),
            detection_score=_score("detection_score", data["detection_score"]),
            label=as_label(data["label"]),
            label_score=_score("label_score", data["label_score"]),
            scores={str(label): _score(label, data["scores"][str(label)]) for label in LABELS},
            reason=None if data["reason"] is None else str(data["reason"]),
            touches_edge=bool(data["touches_edge"]),
            distance=_distance(data.get("distance")),
        )
        if (cell.label is CellType.UNCLASSIFIED) != (cell.reason is not None):
            raise ValueError("a cell has a reason exactly when it is unclassified")
        return cell

    def to_row(self, file: str, remarks: Sequence[str] = ()) -> dict[str, object]:
        """Return the cell as one flat row under ``CELL_COLUMNS``, with its field's name and
        remarks."""
        values = (
            file,
            self.id,
            *self.box,
            self.detection_score,
            str(self.label),
            self.label_score,
            *(self.scores[str(label)] for label in LABELS),
            self.reason,
            self.touches_edge,
            self.distance,
            "; ".join(remarks),
        )
        return dict(zip(CELL_COLUMNS, values, strict=True))


@dataclass(frozen=True, slots=True)
class StainedSpot:
    """What is stained like a nucleus, in a cell that was found or outside.

    Attributes:
        box: ``(x_min, y_min, x_max, y_max)`` in pixels of the field.
        area: in square pixels of the field.
        colour: optical density above the ground of blue, green and red light.
    """

    box: tuple[float, float, float, float]
    area: float
    colour: tuple[float, ...]

    def enlarged(self, by: int) -> StainedSpot:
        """Return the spot in a field that is so many times as large."""
        x_min, y_min, x_max, y_max = (by * value for value in self.box)
        return StainedSpot((x_min, y_min, x_max, y_max), by * by * self.area, self.colour)

    def to_dict(self) -> dict[str, object]:
        """Return the spot as it stands in ``results.json``."""
        return {"box": list(self.box), "area": self.area, "colour": list(self.colour)}

    @classmethod
    def from_dict(cls, data: JsonObject) -> StainedSpot:
        """Return the spot that ``to_dict`` wrote.

        Raises:
            ValueError, KeyError, TypeError: the mapping is not a spot.
        """
        x_min, y_min, x_max, y_max = (float(value) for value in data["box"])
        blue, green, red = (float(value) for value in data["colour"])
        return cls((x_min, y_min, x_max, y_max), float(data["area"]), (blue, green, red))


@dataclass(frozen=True, slots=True)
class SlideRegion:
    """Where a field lies on a slide of which it is a part.

    Attributes:
        slide: name of the slide.
        x, y: its corner, in pixels of the slide's finest level.
        downsample: pixels of the finest level to one of the field, along a side.
        um_per_px: µm to one pixel of the field.
        edge: it lies at the edge or tail of the smear, where large cells gather.
    """

    slide: str
    x: int
    y: int
    downsample: float
    um_per_px: float
    edge: bool = False

    def on_slide(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return a box of the field in pixels of the slide's finest level."""
        x_min, y_min, x_max, y_max = (value * self.downsample for value in box)
        return x_min + self.x, y_min + self.y, x_max + self.x, y_max + self.y

    def diameter_um(self, cell: Cell) -> float:
        """Return the mean of a cell's two sides in µm."""
        x_min, y_min, x_max, y_max = cell.box
        return round((x_max - x_min + y_max - y_min) / 2 * self.um_per_px, 2)

    @classmethod
    def from_dict(cls, data: JsonObject) -> SlideRegion:
        """Return the region of a field in ``results.json``.

        Raises:
            ValueError, KeyError, TypeError: the mapping is not of one.
        """
        region = cls(
            str(data["slide"]),
            int(data["x"]),
            int(data["y"]),
            float(data["downsample"]),
            float(data["um_per_px"]),
            bool(data["edge"]),
        )
        if not (0 < region.downsample < math.inf and 0 < region.um_per_px < math.inf):
            raise ValueError("scale of a region is not a number above 0")
        return region


@dataclass(frozen=True, slots=True)
class FieldResult:
    """The result of one input: its cells, or the reason it could not be read.

    Attributes:
        file: name of the field, unique in its run.
        width, height: pixels of the upright field; 0 where it could not be read.
        cells: the cells found, their ids counted from 0; empty where no cell was found or
            ``failure`` is set.
        failure: why the field could not be read, in one line; None where it was read.
        weak_scores: scores, 0..1, of the boxes that were nearly cells, below the threshold.
        stain: optical densities of ground, stained area and nuclei, as
            :func:`wbcdet.inference.field_stain.measure_stain` gives them; None where they were
            not measured.
        spots: what is stained like nuclei in it; see :mod:`wbcdet.inference.unboxed_nuclei`.
        remarks: what to know of how it was read, a line each: ``animation: first of 12 pictures``,
            ``z-stack: plane 7 of 15, the sharpest``, ``damaged: ...``.
        region: where the field lies on its slide; None where it is not a part of a scanned slide.
    """

    file: str
    width: int
    height: int
    cells: tuple[Cell, ...] = field(default_factory=tuple)
    failure: str | None = None
    weak_scores: tuple[float, ...] = ()
    stain: tuple[float, ...] | None = None
    remarks: tuple[str, ...] = ()
    region: SlideRegion | None = None
    spots: tuple[StainedSpot, ...] = ()

    @property
    def is_damaged(self) -> bool:
        """Whether the file is damaged, though it was read: its cells may be wrong."""
        return any(remark.startswith(DAMAGED) for remark in self.remarks)

    @classmethod
    def failed(cls, file: str, reason: str) -> FieldResult:
        """Return the record of an input that could not be read."""
        return cls(file, 0, 0, (), " ".join(reason.split()))

    @property
    def detections(self) -> sv.Detections:
        """The cells as ``supervision.Detections``.

        ``xyxy`` (N, 4) float32 pixels; ``confidence`` (N,) float32 detection scores; ``class_id``
        (N,) index into ``ALL_LABELS``, and ``len(ALL_LABELS)`` for every other name;
        ``data["class_name"]`` (N,) str; ``data["label_score"]`` (N,) float32.

        Raises:
            WbcdetError: supervision is not installed.
        """
        import numpy as np

        from wbcdet.utils.errors import WbcdetError
        from wbcdet.utils.extras import missing

        try:
            import supervision as sv
        except ImportError as error:
            raise WbcdetError(missing(error, "detections", "train")) from error

        if not self.cells:
            empty = sv.Detections.empty()
            empty.data = {
                "class_name": np.array([], dtype=str),
                "label_score": np.array([], dtype=np.float32),
            }
            return empty
        return sv.Detections(
            xyxy=np.array([cell.box for cell in self.cells], dtype=np.float32),
            confidence=np.array([cell.detection_score for cell in self.cells], dtype=np.float32),
            class_id=np.array([_number(cell.label) for cell in self.cells], dtype=int),
            data={
                "class_name": np.array([str(cell.label) for cell in self.cells]),
                "label_score": np.array([cell.label_score for cell in self.cells], np.float32),
            },
        )

    def counts(self) -> dict[str, int]:
        """Count the cells of each label of ``ALL_LABELS``, zeros included, then of others by name:
        a laboratory's own, or a reviewer's."""
        return count_labels([self])

    def to_frame(self) -> pd.DataFrame:
        """Return one row for each cell, with the columns ``CELL_COLUMNS`` even where there is none.

        Raises:
            WbcdetError: pandas is not installed.
        """
        from wbcdet.utils.errors import WbcdetError
        from wbcdet.utils.extras import missing

        try:
            import pandas as pd
        except ImportError as error:
            raise WbcdetError(missing(error, "to_frame()", "pandas")) from error

        rows = [cell.to_row(self.file, self.remarks) for cell in self.cells]
        frame = pd.DataFrame(rows, columns=list(CELL_COLUMNS))
        # Without a cell, or without a distance, pandas knows no type: frames that are put together
        # would lose theirs.
        text = pd.Series([""]).dtype
        types = {name: text if name in _TEXT else float for name in CELL_COLUMNS}
        return frame.astype({**types, "id": int, "touches_edge": bool})

    def to_dict(self) -> FieldRecord:
        """Return the field as it stands in ``results.json``."""
        data: FieldRecord = {
            "file": self.file,
            "width": self.width,
            "height": self.height,
            "cells": [cell.to_dict() for cell in self.cells],
            "failure": self.failure,
            "remarks": list(self.remarks),
        }
        if self.weak_scores:
            data["weak_scores"] = list(self.weak_scores)
        if self.stain is not None:
            data["stain"] = list(self.stain)
        if self.spots:
            data["spots"] = [spot.to_dict() for spot in self.spots]
        if self.region is not None:
            data["region"] = asdict(self.region)
            for cell, values in zip(self.cells, data["cells"], strict=True):
                values["diameter_um"] = self.region.diameter_um(cell)
        return data

    @classmethod
    def from_dict(cls, data: JsonObject) -> FieldResult:
        """Return the field that ``to_dict`` wrote.

        Raises:
            ValueError, KeyError, TypeError: the mapping is not a field.
        """
        failure = data["failure"]
        cells = tuple(Cell.from_dict(cell) for cell in data["cells"])
        if failure is not None and cells:
            raise ValueError("a field that could not be read has no cells")
        width, height = int(data["width"]), int(data["height"])
        if len({cell.id for cell in cells}) < len(cells):
            raise ValueError("two cells have the same id")
        for cell in cells:
            if min(cell.box) < -1 or cell.box[2] > width + 1 or cell.box[3] > height + 1:
                raise ValueError(f"cell {cell.id}: its box is not inside the field")
        return cls(
            file=str(data["file"]),
            width=width,
            height=height,
            cells=cells,
            failure=None if failure is None else str(failure),
            weak_scores=tuple(
                _score("weak_scores", score) for score in data.get("weak_scores") or ()
            ),
            stain=_numbers(data.get("stain")),
            remarks=tuple(map(str, data.get("remarks", ()))),
            region=SlideRegion.from_dict(data["region"]) if "region" in data else None,
            spots=tuple(map(StainedSpot.from_dict, data.get("spots") or ())),
        )


def count_labels(results: Iterable[FieldResult]) -> dict[str, int]:
    """Count the cells of all results by label of ``ALL_LABELS``, zeros included, then of others by
    name: every cell is in one count."""
    counts = Counter(str(cell.label) for result in results for cell in result.cells)
    names = [str(label) for label in ALL_LABELS]
    return {label: counts[label] for label in (*names, *sorted(set(counts) - set(names)))}


def as_label(name: Any) -> CellType | str:
    """Return a label: as ``CellType`` where it is one, else as text.

    Raises:
        ValueError: it is not text, or is empty.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"label {name!r} is not text, or is empty")
    return CellType(name) if name in ALL_LABELS else name


def _number(label: str) -> int:
    return ALL_LABELS.index(CellType(label)) if label in ALL_LABELS else len(ALL_LABELS)


def _distance(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"distance {value} is no number from 0 on")
    return number


def _numbers(values: Any) -> tuple[float, ...] | None:
    return None if values is None else tuple(float(value) for value in values)


def _score(name: object, value: Any) -> float:
    number = float(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} {value} is not between 0 and 1")
    return number
