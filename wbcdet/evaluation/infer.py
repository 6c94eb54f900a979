"""Run the models over labelled pictures, and pair their results with the labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from wbcdet.evaluation.classification import (
    FOUR,
    NOT_FOUND,
    NamedCell,
    as_labelled,
    is_declined,
    judged_cell,
)
from wbcdet.evaluation.dataset import LabelIssue, LabelledField
from wbcdet.evaluation.detection import FoundField, counting
from wbcdet.evaluation.end_to_end import AnalysedField
from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.scored_boxes import scored_boxes
from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field
from wbcdet.records import Cell, CellType

#: The detector's boxes down to this score make its precision-recall curve.
MIN_SCORE = 0.001
#: Tasks of a list: find the cells, name labelled cells, or both stages together.
FINDING, NAMING, BOTH = "finding", "naming", "both"


@dataclass(slots=True)
class Observation:
    """Results of the models on one picture.

    Attributes:
        found: the boxes of both stages; None where the list does not ask for them.
        analysed: what both stages say; None where the list does not ask for it.
        named: the verdict on each labelled cell that has a type.
        boxes: where each of these is; None where no box is known.
        as_crop: for a picture of one cell in which none was found, the verdict on all of it.
        cells_seen: how many cells both stages saw, 0 where they were not asked.
    """

    labelled: LabelledField
    found: FoundField | None = None
    analysed: AnalysedField | None = None
    named: list[NamedCell] = field(default_factory=list)
    boxes: list[np.ndarray | None] = field(default_factory=list)
    as_crop: NamedCell | None = None
    cells_seen: int = 0

    def regroup(self) -> None:
        """Give all parts the group that their picture has by now."""
        group = self.labelled.group
        for part in (self.found, self.analysed, *self.named):
            if part is not None:
                part.group = group


def observe(
    fields: Iterable[LabelledField],
    analyzer: Analyzer,
    tasks: Sequence[str],
    problems: list[LabelIssue],
) -> Iterator[tuple[Observation, Pixels]]:
    """Look at labelled pictures one after the other; each comes with its pixels.

    Args:
        fields: the pictures; those of one cell (``picture_type``) are always seen by both stages.
        analyzer: the models and their thresholds.
        tasks: any of ``FINDING``, ``NAMING`` and ``BOTH``.
        problems: takes the pictures that cannot be read.
    """
    waiting: deque[LabelledField] = deque()

    def read() -> Iterator[Field]:
        for labelled in fields:
            try:
                pixels = labelled.read()
            except FieldError as error:
                problems.append(LabelIssue("unreadable-picture", labelled.name, str(error)))
                continue
            waiting.append(labelled)
            yield Field(labelled.name, labelled.path, pixels)

    if BOTH in tasks:
        for picture, result in analyzer.analyze_fields(read()):
            assert picture is not None
            yield (
                _observe(waiting.popleft(), picture, analyzer, tasks, result.cells),
                picture.pixels,
            )
    else:
        for picture in read():
            yield _observe(waiting.popleft(), picture, analyzer, tasks, ()), picture.pixels


def _observe(
    labelled: LabelledField,
    field: Field,
    analyzer: Analyzer,
    tasks: Sequence[str],
    cells: Sequence[Cell],
) -> Observation:
    pixels = field.pixels
    cells = [as_labelled(cell) for cell in cells]
    observation = Observation(labelled, cells_seen=len(cells))
    if labelled.picture_type is not None:
        _judge_picture(observation, pixels, analyzer, cells)
        return observation
    if FINDING in tasks:
        boxes, scores = scored_boxes(
            field, analyzer.detector, analyzer.classifier, analyzer.settings, MIN_SCORE
        )
        truth = labelled.boxes
        kept = counting(boxes, truth, labelled.ignored)
        size = (field.width, field.height)
        observation.found = FoundField(
            truth, boxes[kept], scores[kept], size, labelled.group, labelled.given
        )
    if BOTH in tasks:
        boxes = np.array([cell.box for cell in cells]).reshape(-1, 4)
        counts = counting(boxes, labelled.boxes, labelled.ignored)
        kept_cells = [cell for cell, seen_ in zip(cells, counts, strict=True) if seen_]
        whole = not len(labelled.ignored) and all(labelled.types)
        observation.analysed = AnalysedField(
            labelled.boxes, labelled.types, kept_cells, labelled.group, whole
        )
    if NAMING in tasks:
        typed = [(b, t) for b, t in zip(labelled.boxes, labelled.types, strict=True) if t]
        crops = [analyzer.classifier.crop(pixels, box) for box, _ in typed]
        observation.named = name_crops(analyzer, crops, [t for _, t in typed], labelled.group)
        observation.boxes = [box for box, _ in typed]
    return observation


def name_crops(
    analyzer: Analyzer, crops: Sequence[np.ndarray], truth: Sequence[str], group: str
) -> list[NamedCell]:
    """Return the verdict on crops that ``Classifier.crop`` made."""
    verdicts = analyzer.classifier.classify(crops, analyzer.settings.min_score)
    return [judged_cell(t, verdict, group) for t, verdict in zip(truth, verdicts, strict=True)]


def label_threshold(analyzer: Analyzer) -> float:
    """Return the least score of a label: the setting, else the card's."""
    chosen = analyzer.settings.min_score
    return float(analyzer.classifier.card["min_score"] if chosen is None else chosen)


def box_threshold(analyzer: Analyzer) -> float:
    """Return the least score of a box: the setting, else the card's."""
    chosen = analyzer.settings.confidence
    return float(analyzer.detector.card["confidence"] if chosen is None else chosen)


def _judge_picture(
    observation: Observation, pixels: Pixels, analyzer: Analyzer, cells: Sequence[Cell]
) -> None:
    """Name a picture of one cell as its most certain cell that has a name."""
    truth, group = str(observation.labelled.picture_type), observation.labelled.group
    typed = [cell for cell in cells if cell.label is not CellType.UNCLASSIFIED]
    best = max(typed or cells, key=lambda c: c.detection_score * c.label_score, default=None)
    if best is None:
        observation.named = [NamedCell(truth, NOT_FOUND, np.zeros(len(FOUR)), True, group)]
        observation.boxes = [None]
        crop = analyzer.classifier.crop(pixels, _whole(pixels, analyzer))
        [observation.as_crop] = name_crops(analyzer, [crop], [truth], group)
        return
    scores = np.array([best.scores[name] for name in FOUR])
    declined = is_declined(best.reason, best.label_score, scores)
    observation.named = [NamedCell(truth, str(best.label), scores, declined, group, best.reason)]
    observation.boxes = [np.array(best.box)]


def _whole(pixels: Pixels, analyzer: Analyzer) -> np.ndarray:
    """Return the box around which ``Classifier.crop`` cuts the whole picture and no more."""
    height, width = pixels.shape[:2]
    half = max(height, width) / analyzer.classifier.card["crop_padding"] / 2
    return np.array([width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half])


def cell_rows(observation: Observation) -> Iterator[dict[str, object]]:
    """Yield the labelled cells of a picture that have a type, as rows of ``cells.csv``."""
    said: list[str | None] = [None] * len(observation.named)
    if observation.analysed is not None and observation.labelled.picture_type is None:
        met = {t: str(observation.analysed.cells[c].label) for t, c in observation.analysed.pairs()}
        typed = [t for t, kind in enumerate(observation.labelled.types) if kind]
        said = [met.get(t, NOT_FOUND) for t in typed]
    for cell, box, both in zip(observation.named, observation.boxes, said, strict=False):
        yield {
            **cell_row(observation.labelled.name, observation.labelled.split, cell, box),
            "both_stages": both,
        }


def cell_row(file: str, part: str, cell: NamedCell, box: np.ndarray | None) -> dict[str, object]:
    """Return one labelled cell as a row of ``cells.csv``."""
    corners = [None] * 4 if box is None else [round(float(v), 1) for v in box]
    return {
        "file": file,
        "part": part,
        "group": cell.group,
        **dict(zip(("x_min", "y_min", "x_max", "y_max"), corners, strict=True)),
        "truth": cell.truth,
        "named": cell.named,
        "reason": cell.reason,
        **{name: round(float(score), 4) for name, score in zip(FOUR, cell.scores, strict=True)},
    }
