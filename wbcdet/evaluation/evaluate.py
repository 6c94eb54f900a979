"""Evaluate one list or folder: run the models, judge, give the figures as plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wbcdet.evaluation.classification import FOUR, NOT_FOUND, NamedCell, judge_names
from wbcdet.evaluation.dataset import LabelIssue, LabelledCrop, LabelledField
from wbcdet.evaluation.detection import judge_detector
from wbcdet.evaluation.disagreement import diagnose
from wbcdet.evaluation.end_to_end import judge_pipeline
from wbcdet.evaluation.error_gallery import ErrorCase, Gallery
from wbcdet.evaluation.figures import Figures, LabelClass, OneCellPictures
from wbcdet.evaluation.infer import (
    BOTH,
    FINDING,
    NAMING,
    Observation,
    box_threshold,
    cell_row,
    cell_rows,
    label_threshold,
    name_crops,
    observe,
)
from wbcdet.evaluation.labelled_folder import LabelledFolder
from wbcdet.evaluation.near_duplicates import (
    Print,
    find_copies,
    fingerprint,
    judge_copies,
    trained_on,
)
from wbcdet.evaluation.outcome import judge_outcome
from wbcdet.inference.analyzer import Analyzer


@dataclass(frozen=True, slots=True)
class View:
    """A part of a list that is judged on its own."""

    title: str
    keep: Callable[[LabelledField], bool]


@dataclass(slots=True)
class TestList:
    """Pictures or cells to be evaluated.

    Attributes:
        name, title: short and long.
        tasks: what is asked of its pictures, see :mod:`wbcdet.evaluation.infer`.
        fields: pictures; or
        crops: labelled cells without their pictures, of which only the names are judged.
        note: what the reader must know of its labels.
        folder: where it is a user's own.
        views: its parts; without any it is judged as a whole.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    fields: Sequence[LabelledField] = ()
    crops: Sequence[LabelledCrop] = ()
    note: str = ""
    folder: LabelledFolder | None = None
    views: tuple[View, ...] = ()

    @property
    def size(self) -> int:
        """Number of pictures or crops to look at."""
        return len(self.fields) + len(self.crops)


@dataclass(slots=True)
class ListResult:
    """A list with its figures.

    Attributes:
        figures: plain values.
        rows: its labelled cells for ``cells.csv``.
        mistakes: its worst errors.
    """

    name: str
    title: str
    note: str
    figures: Figures
    rows: list[dict[str, object]] = field(default_factory=list)
    mistakes: list[ErrorCase] = field(default_factory=list)
    problems: list[LabelIssue] = field(default_factory=list)


def folder_list(folder: LabelledFolder) -> TestList:
    """Return a user's own labelled folder as a list."""
    tasks = (BOTH,) if folder.layout == "classes" else (FINDING, NAMING, BOTH)
    return TestList(str(folder.root), str(folder.root), tasks, folder.fields, folder=folder)


def evaluate_list(
    wanted: TestList,
    analyzer: Analyzer,
    tick: Callable[[], None] = lambda: None,
    most_pictures: int = 48,
) -> list[ListResult]:
    """Evaluate a list.

    Args:
        wanted: the list.
        analyzer: the models and their thresholds.
        tick: called after each picture or crop.
        most_pictures: errors to keep as small pictures.

    Returns:
        The list, or each of its views.
    """
    problems = list(wanted.folder.problems) if wanted.folder else []
    gallery = Gallery(most_pictures)
    observations, prints, rows = [], [], []
    for observed, pixels in observe(wanted.fields, analyzer, wanted.tasks, problems):
        gallery.collect(observed, pixels, box_threshold(analyzer))
        if wanted.folder and observed.labelled.path:
            prints.append(fingerprint(observed.labelled.path, pixels))
        observations.append(observed)
        tick()
    named = _name(wanted.crops, analyzer, gallery, tick)
    if wanted.folder:
        problems += _check_copies(observations, prints)
        found = [observation.found for observation in observations if observation.found is not None]
        problems += diagnose(found, box_threshold(analyzer))
    rows = [row for observation in observations for row in cell_rows(observation)]
    rows += [cell_row(c.file, "", cell, None) for c, cell in zip(wanted.crops, named, strict=True)]
    views = wanted.views or (View(wanted.title, lambda _: True),)
    results = []
    for number, view in enumerate(views):
        part = [observation for observation in observations if view.keep(observation.labelled)]
        name = wanted.name if not number else f"{wanted.name}-{number + 1}"
        results.append(
            ListResult(name, view.title, wanted.note, _judge(part, named, wanted, analyzer))
        )
    results[0].rows, results[0].mistakes, results[0].problems = rows, gallery.worst(), problems
    return results


def _name(
    crops: Sequence[LabelledCrop], analyzer: Analyzer, gallery: Gallery, tick: Callable[[], None]
) -> list[NamedCell]:
    size = analyzer.settings.crops_per_batch
    named: list[NamedCell] = []
    for start in range(0, len(crops), size):
        part = crops[start : start + size]
        pixels = [analyzer.classifier.crop(c.patch, c.box) for c in part]
        named_part = name_crops(analyzer, pixels, [c.truth for c in part], "")
        for crop, cell in zip(part, named_part, strict=True):
            cell.group = crop.group
            gallery.add_name(crop.file, crop.patch, cell, crop.box)
            tick()
        named += named_part
    return named


def _check_copies(observations: Sequence[Observation], prints: Sequence[Print]) -> list[LabelIssue]:
    fields = [observation.labelled for observation in observations]
    problems = judge_copies(fields, find_copies(prints))
    for observation in observations:
        observation.regroup()
    return problems + trained_on(prints, [f.name for f in fields])


def _judge(
    observations: Sequence[Observation],
    named: list[NamedCell],
    wanted: TestList,
    analyzer: Analyzer,
) -> Figures:
    out: Figures = {"tasks": list(wanted.tasks), "pictures": len(observations)}
    if wanted.folder:
        out["layout"] = wanted.folder.layout
        out["classes"] = [
            LabelClass(name=entry.name, labels=entry.labels, standard=entry.standard)
            for entry in wanted.folder.classes
        ]
    found = [observation.found for observation in observations if observation.found is not None]
    if found:
        out["finding"] = judge_detector(found, box_threshold(analyzer))
    cells = [cell for observation in observations for cell in observation.named] + named
    if cells:
        out["naming"] = judge_names(cells, label_threshold(analyzer))
    analysed = [
        observation.analysed for observation in observations if observation.analysed is not None
    ]
    if analysed:
        out["both"] = judge_pipeline(analysed)
    if (became := judge_outcome(observations)) is not None:
        out["outcome"] = became
    single = [
        observation for observation in observations if observation.labelled.picture_type is not None
    ]
    if single:
        out["one_cell_pictures"] = _pictures(single)
    return out


def _pictures(observations: Sequence[Observation]) -> OneCellPictures:
    """Count pictures of one cell: in how many one was found, and what those without look like
    whole."""
    lost = [
        observation
        for observation in observations
        if observation.named[0].named == NOT_FOUND and observation.as_crop
    ]
    of_four = [cell.as_crop for cell in lost if cell.as_crop and cell.as_crop.truth in FOUR]
    return {
        "pictures": len(observations),
        "without_cell": len(lost),
        "with_several": sum(observation.cells_seen > 1 for observation in observations),
        "without_cell_of_four": len(of_four),
        "right_as_crop": sum(cell.named == cell.truth for cell in of_four),
    }
