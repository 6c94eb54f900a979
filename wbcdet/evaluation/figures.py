"""Types of the figures of an evaluation, as they stand in ``evaluation.json``.

Proportions are 0..1. ``X_ci`` is the 95 % interval of ``X``, None where it has none; ``interval``
says how the intervals were made.
"""

from __future__ import annotations

from typing import TypedDict

from wbcdet.inference.run_info import RunInfo

Interval = tuple[float, float] | None


class EvaluationInfo(RunInfo, total=False):
    """What was evaluated, with the least scores of a cell and of a name."""

    confidence: float
    min_score: float


class LabelClass(TypedDict):
    """A class of a user's labels: its name, its labels, and the cell type it stands for."""

    name: str
    labels: int
    standard: str | None


#: Recall of the cells of a range of sizes: longer side of the box over that of the field.
SizeFigures = TypedDict(
    "SizeFigures",
    {"from": float, "to": float, "cells": int, "recall": float, "recall_ci": tuple[float, float]},
)


class CurvePoint(TypedDict):
    """Precision and recall of the detector at a threshold."""

    score: float
    recall: float
    precision: float


class AveragePrecision(TypedDict):
    """Average precision as COCO defines it, at IoU 0.5 and averaged over 0.5 to 0.95."""

    ap50: float
    ap50_95: float


class FoundFigures(TypedDict, total=False):
    """Figures of the detector where there are cells to be found."""

    ap50: float
    ap50_95: float
    recall: float
    recall_ci: Interval
    precision: float
    f1: float
    interval: str
    by_size: list[SizeFigures]
    curve: list[CurvePoint]


class _Fields(TypedDict):
    fields: int
    cells: int
    found: int
    confidence: float
    least_iou: float
    false_boxes: int
    false_per_field: float
    false_per_field_ci: Interval


class FindingFigures(_Fields, FoundFigures):
    """Figures of the detector at the threshold ``confidence``; without a cell the first ones."""


class ClassFigures(TypedDict):
    """Figures of one cell type; ``named`` counts the cells that got its label."""

    cells: int
    precision: float | None
    precision_ci: Interval
    recall: float | None
    recall_ci: Interval
    f1: float | None
    f1_ci: Interval
    named: int


class MeanFigures(TypedDict):
    """Means over the cell types."""

    precision: float | None
    precision_ci: Interval
    recall: float | None
    recall_ci: Interval
    f1: float | None
    f1_ci: Interval


class ByClass(TypedDict):
    """Figures of each cell type, and their means: types alike, and by their cells."""

    classes: dict[str, ClassFigures]
    macro: MeanFigures
    weighted: MeanFigures


class DeclinedFigures(TypedDict):
    """Cells of another type, and the share that came out unclassified, as they should, or with a
    laboratory's own label that is theirs."""

    cells: int
    unclassified: float | None
    unclassified_ci: Interval


class CalibrationBin(TypedDict):
    """Mean score of a bin, and the share of its cells that was right."""

    cells: int
    score: float
    right: float
    right_ci: tuple[float, float]


class Calibration(TypedDict):
    """Expected calibration error, and that of a perfectly calibrated classifier."""

    cells: int
    ece: float | None
    ece_by_chance: float | None
    bins: list[CalibrationBin]


class RiskPoint(TypedDict):
    """Share of cells named at a threshold, and of those the share of wrong names."""

    min_score: float
    coverage: float
    risk: float


class RiskInUse(TypedDict):
    """The same at the threshold in use; no risk where no cell is named."""

    min_score: float
    coverage: float
    risk: float | None


class RiskCoverage(TypedDict):
    """Risk against coverage as the threshold falls, and the area under it."""

    aurc: float | None
    coverage_most: float
    at_threshold: RiskInUse
    points: list[RiskPoint]


class FourWayFigures(MeanFigures):
    """Figures of the best of the four labels, types alike, where nothing may be declined."""

    accuracy: float | None
    accuracy_ci: Interval


class NamingFigures(ByClass):
    """Figures of the classifier; see :func:`wbcdet.evaluation.classification.judge_names`."""

    cells: int
    accuracy: float
    accuracy_ci: Interval
    unclassified: float
    missed: float
    accuracy_classified: float | None
    accuracy_classified_ci: Interval
    four_way: FourWayFigures
    min_score: float
    interval: str
    basophil: DeclinedFigures
    other: DeclinedFigures
    artefact: DeclinedFigures
    confusion: dict[str, dict[str, int]]
    reasons: dict[str, dict[str | None, int]]
    calibration: Calibration
    calibration_with_artefacts: float | None
    risk_coverage: RiskCoverage


class TypeDifference(TypedDict):
    """True and counted cells of a type; ``points`` is counted less true percentage."""

    true: int
    counted: int
    true_percent: float
    counted_percent: float
    points: float
    points_ci: Interval


class DifferentialFigures(TypedDict):
    """The differential over fields of which every cell's type is known."""

    fields: int
    cells: int
    types: dict[str, TypeDifference]
    mean_absolute_points: float | None


class PipelineFigures(TypedDict):
    """Figures of both stages; see :func:`wbcdet.evaluation.end_to_end.judge_pipeline`."""

    fields: int
    cells: int
    found: int
    recall: float | None
    recall_ci: Interval
    false_boxes: int
    false_per_field: float
    exact_counts: int
    exact: float | None
    exact_ci: Interval
    typed_cells: int
    found_and_named: int
    accuracy: float | None
    accuracy_ci: Interval
    unclassified: int
    interval: str
    differential: DifferentialFigures


class Outcome(TypedDict):
    """White cells by what became of them; see :func:`wbcdet.evaluation.outcome.judge_outcome`."""

    cells: int
    found: int
    named: int
    named_of_known_type: int
    right: int | None
    declined: int
    missed: int


class OneCellPictures(TypedDict):
    """Pictures of one cell: in how many none, or several, were found."""

    pictures: int
    without_cell: int
    with_several: int
    without_cell_of_four: int
    right_as_crop: int


class _Asked(TypedDict):
    tasks: list[str]
    pictures: int


class Figures(_Asked, total=False):
    """All figures of a list, those that were asked for.

    Attributes:
        tasks, pictures: what was asked of how many pictures.
        layout, classes: of a user's own folder: its layout, and its classes with their meaning.
    """

    layout: str
    classes: list[LabelClass]
    finding: FindingFigures
    naming: NamingFigures
    both: PipelineFigures
    outcome: Outcome
    one_cell_pictures: OneCellPictures
