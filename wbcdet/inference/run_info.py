"""Types of what a run says of itself: models, settings, thresholds, as in ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from wbcdet.inference.cards import GroundCard
from wbcdet.io.source import RootInfo
from wbcdet.records import LABELS


class _NamedModel(TypedDict):
    name: str
    sha256: str


class ModelInfo(_NamedModel, total=False):
    """A model: ``learned`` is the date of one of ``wbcdet learn``."""

    card_sha256: str
    learned: str


class ThresholdsInfo(TypedDict):
    """Thresholds in force: of a cell, of each label, and of the distance from the training."""

    confidence: float
    min_score: dict[str, float]
    unlike_trained: float | None


class RangeInfo(TypedDict):
    """Reference range of a label."""

    low: float
    high: float
    source: str


class _CountInfo(TypedDict):
    group_by: str | None
    exclude_edge: bool
    skip_bad: bool
    dedupe: bool
    target: int | None
    ranges: dict[str, RangeInfo]


class CountInfo(_CountInfo, total=False):
    """Options of a count (:class:`wbcdet.report.counts.CountOptions`)."""

    identifiers: dict[str, dict[str, str]]


class StreamInfo(TypedDict, total=False):
    """Counters of a stream: frames by what became of them, and what could not be read.

    ``source`` gave frames last, ``sources`` are all that did in the runs of a report.
    """

    source: str
    sources: list[str]
    totals: dict[str, float]
    unread: list[str]
    last_frame: int


class RunInfo(TypedDict, total=False):
    """What made results: ``info`` of ``results.json``, and the first line of a journal.

    Attributes:
        detector, classifier: the models.
        settings: see :class:`wbcdet.settings.Settings`; with their ``fingerprint``.
        thresholds: those in force, whether asked for or of the models.
        ground: what slides are compared with; None where the models have no reference.
        wbcdet, created, notice: version, date and time, and what results may not be used for.
        folder, sources: where the fields are.
        count, stream, review: of the command that wrote a report; a journal of a stream has True.
        journal: format of the journal.
    """

    detector: ModelInfo
    classifier: ModelInfo
    settings: Mapping[str, object]
    thresholds: ThresholdsInfo
    ground: GroundCard | None
    wbcdet: str
    created: str
    notice: str
    folder: str
    sources: list[RootInfo]
    count: CountInfo
    stream: StreamInfo | bool
    review: Mapping[str, object]
    journal: str


def taught_labels(info: RunInfo | None) -> tuple[str, ...]:
    """Return the types that the classifier of a run was taught beside the four, in its order.

    Args:
        info: of the run; one of a version that wrote no thresholds names none.
    """
    # A label has a threshold whether or not the run has found a cell of it.
    thresholds = info.get("thresholds") if info else None
    named = thresholds.get("min_score", {}) if thresholds else {}
    return tuple(label for label in named if label not in LABELS)
