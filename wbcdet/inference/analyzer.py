"""Analyzer: decode, detect, crop and classify fields, batched across fields."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from wbcdet.inference.classifier import Classification, Classifier
from wbcdet.inference.dark_border import DarkBorder
from wbcdet.inference.detector import Detector
from wbcdet.inference.domain_shift import reference_for
from wbcdet.inference.joint_score import Named, settle
from wbcdet.inference.protocols import Classifier as ClassifierProtocol
from wbcdet.inference.protocols import Detector as DetectorProtocol
from wbcdet.inference.run_info import ModelInfo, RunInfo
from wbcdet.inference.sliced import Detections, crop, find_cells
from wbcdet.io.colour import array_in_bgr
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.memory import Place
from wbcdet.io.source import Source, as_source
from wbcdet.records import LABELS, Cell, FieldResult, StainedSpot
from wbcdet.settings import Settings
from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.parallel import cores, map_ahead

_LOG = logging.getLogger(__name__)

Input = str | Path | Source | Field | np.ndarray
Done = tuple[Field | None, FieldResult]
#: A source, where its run holds memory, and its number among all that the analyzer has taken.
_Numbered = tuple[Place, Input, int]

#: Fields analysed at the same time, at most: what they take of memory, and what more threads gain.
_MAX_AT_ONCE = 8


#: Larger fields, in pixels, are analysed one after the other, each by all cores: they fill the
#: memory, and in the caller's thread Ctrl-C need not wait for their end.
_MAX_SIDE_BY_SIDE = 25_000_000


class Analyzer:
    """Finds and names the white blood cells of microscope fields.

    The models are loaded once, at construction. One analyzer may be shared between threads: it
    holds no state between fields, only how many it has taken: an array is called after that, so
    that no two have one name. A copy, also in another process (pickle), loads its models again.

    Args:
        settings: every default in one place; see :class:`wbcdet.Settings`.
        confidence, min_score, device, careful: each overrides that of the settings.
        threads: processor threads that share the work of one call of a model. With 1, many fields
            are done fastest, a core for each; with all cores, one field that comes by itself.
        weights: folder of the models, as ``weights/`` of the repository is one; a model that it
            lacks is the shipped one. None takes the shipped ones, or the models that
            ``wbcdet learn`` has put in use; the log and the results say so.
        detector, classifier: a stage of your own, in the place of the shipped one.

    Attributes:
        at_once: fields that it analyses at the same time: as many as there are cores for their
            threads, up to 8.

    Raises:
        ValueError: a setting is out of its range.
        WeightsError: a model is missing, damaged or cannot run on the device.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        confidence: float | None = None,
        min_score: float | None = None,
        device: str | None = None,
        careful: bool | None = None,
        threads: int = 1,
        weights: str | Path | None = None,
        detector: DetectorProtocol | None = None,
        classifier: ClassifierProtocol | None = None,
    ) -> None:
        chosen = settings or Settings()
        self.settings = replace(
            chosen,
            confidence=chosen.confidence if confidence is None else confidence,
            min_score=chosen.min_score if min_score is None else min_score,
            device=chosen.device if device is None else device,
            careful=chosen.careful if careful is None else careful,
        )
        device, careful = self.settings.device, self.settings.careful
        self.detector = detector or Detector(device, threads, weights, careful=careful)
        self.classifier = classifier or Classifier(device, threads, weights, careful=careful)
        self.at_once = max(1, min(cores() // threads, _MAX_AT_ONCE))
        self._turn = threading.Lock()
        self._taken, self._counting = 0, threading.Lock()
        self._threads, self._own = threads, (detector, classifier)
        self._weights = None if weights is None else Path(weights).absolute()
        _LOG.debug("%s and %s on %s", self.detector.name, self.classifier.name, device)

    def __reduce__(self) -> tuple[Callable[..., Analyzer], tuple[object, ...]]:
        """Return how a copy is made: its models are loaded again."""
        parts = (self.settings, self._threads, self._weights, *self._own)
        return _loaded_again, (type(self), parts, self._models())

    def analyze(self, source: Input) -> FieldResult:
        """Analyse one field.

        Args:
            source: a file or URL; or BGR pixels (height, width, 3) or grey pixels (height, width),
                both uint8; or a ``Source`` or ``Field`` of ``wbcdet.io``.

        Returns:
            the field's record; with a ``failure`` where a file or URL could not be read, which
            raises nothing.

        Raises:
            ValueError: an array of another shape or type, or with masked pixels.
            TypeError: ``source`` is none of these.
        """
        [done] = self._analyze_batch([(Place(object(), 0), source, self._next())])
        field, result = self._finish(done)
        if field is not None:
            field.leave_run()
        return result

    def analyze_many(self, sources: Iterable[Input]) -> Iterator[FieldResult]:
        """Analyse many fields, in order.

        Args:
            sources: a list, or what gives one after the other, of what ``analyze`` takes;
                ``wbcdet.io.discover.find_fields([folder])`` lists the fields of a folder. An array
                may be used again for the next field.

        Returns:
            an iterator of records, one for each source; each field is analysed when it is due, and
            a file that cannot be read gives a record with a ``failure``.

        Raises:
            TypeError: one picture or name, not several.
            ValueError: an array of another shape or type, when it is due.
        """
        return (result for _, result in self.analyze_fields(sources))

    def analyze_fields(self, sources: Iterable[Input]) -> Iterator[Done]:
        """Analyse many fields, in order, and hand each back with its pixels (None on failure).

        Each processor core works on one field, from decoding to naming, and they are handed back in
        order; however many fields there are, only two more than there are cores (8 at most) are in
        memory. A large TIFF comes back as a field whose ``pixels`` are a reduced overview; boxes
        are always in pixels of the whole field.

        Raises:
            TypeError: one picture or name, not several.
        """
        # The letters of a name and the rows of a picture would be fields of their own.
        if isinstance(sources, str | os.PathLike | Source | Field) or _is_picture(sources):
            raise TypeError(
                "a list of fields is needed, not one field: put it into a list, or call analyze(); "
                "find_fields([folder]) of wbcdet.io.discover lists the fields of a folder"
            )
        return self._analyze_fields(sources)

    def _analyze_fields(self, sources: Iterable[Input]) -> Iterator[Done]:
        run = object()
        pending = (
            (Place(run, number), _kept(source), self._next())
            for number, source in enumerate(sources)
        )
        batches = iter(lambda: list(islice(pending, self.settings.fields_per_batch)), [])
        ahead = self.at_once + 2
        for batch in map_ahead(self._analyze_batch, batches, self.at_once, ahead):
            batch.reverse()
            while batch:
                done = self._finish(batch.pop())
                if done[0] is not None:
                    done[0].leave_run()
                yield done
                del done  # its pixels belong to the caller now

    def info(self) -> RunInfo:
        """Return what made the results.

        ``detector`` and ``classifier`` with their sha256; ``settings`` with their fingerprint;
        ``thresholds``, those in force, whether asked for or of the models: ``confidence`` of a
        cell, ``min_score`` of each label, ``unlike_trained``; ``ground``, what slides are compared
        with (None where the models have no reference).
        """
        settings = self.settings
        confidence = self.detector.threshold(settings.confidence)
        naming = self.classifier.thresholds(settings.min_score)
        return {
            "detector": _model_info(self.detector),
            "classifier": _model_info(self.classifier),
            "settings": {
                **settings.to_dict(),
                "confidence": confidence,
                "min_score": min(naming.min_score.values()),
                "fingerprint": settings.fingerprint(),
            },
            "thresholds": {
                "confidence": confidence,
                "min_score": naming.min_score,
                "unlike_trained": naming.unlike_trained,
            },
            "ground": reference_for(self.classifier.card, self.detector.sha256),
        }

    def _models(self) -> tuple[ModelInfo, ModelInfo]:
        return _model_info(self.detector), _model_info(self.classifier)

    def _next(self) -> int:
        with self._counting:
            self._taken += 1
            return self._taken - 1

    def _load(self, source: Input, place: Place, number: int) -> Field | FieldResult:
        if isinstance(source, Field):
            return source
        if isinstance(source, np.ndarray):
            return Field(f"array-{number}", None, array_in_bgr(source))
        if not isinstance(source, Source | str | os.PathLike):
            raise TypeError(
                "a field is a path, an address, a Field or a numpy array, not "
                f"{type(source).__name__}"
            )
        item = source if isinstance(source, Source) else as_source(str(source))
        try:
            return read_field(item, self.settings, place)
        except FieldError as error:
            _LOG.debug("%s cannot be read", item.name, exc_info=True)
            return FieldResult.failed(item.name, str(error))

    def _analyze_batch(self, sources: list[_Numbered]) -> list[Done | Field]:
        """Return fields with their records; the largest as they are, for :meth:`_finish`."""
        batch = [self._load(source, place, number) for place, source, number in sources]
        side_by_side = [
            item
            for item in batch
            if isinstance(item, Field) and item.width * item.height <= _MAX_SIDE_BY_SIDE
        ]
        done = iter(self._analyze(side_by_side))
        return [
            (None, item)
            if isinstance(item, FieldResult)
            else next(done)
            if item in side_by_side
            else item
            for item in batch
        ]

    def _finish(self, done: Done | Field) -> Done:
        if not isinstance(done, Field):
            return done
        with self._turn:
            return self._analyze([done])[0]

    def _analyze(self, fields: list[Field]) -> list[Done]:
        named: dict[int, list[Named]] = {}
        stains: dict[int, tuple[float, ...] | None] = {}
        spots: dict[int, tuple[StainedSpot, ...]] = {}
        remarks: dict[int, tuple[str, ...]] = {}
        borders: dict[int, DarkBorder] = {}
        whole: dict[int, list[tuple[Box, float]]] = {}
        failed: dict[int, FieldResult] = {}
        crops: list[np.ndarray] = []
        for number, field in enumerate(fields):
            try:
                detections = find_cells(
                    field, self.detector, self.settings, self.classifier, self.at_once
                )
                stains[number] = detections.stain
                spots[number] = detections.spots
                remarks[number] = (*field.remarks, *detections.remarks)
                borders[number] = DarkBorder(field.pixels, (field.width, field.height))
                if detections.labels is not None:
                    named[number] = _named(detections, detections.labels)
                    continue
                cells = detections.cells(field.width, field.height)
                own = [crop(field, box, self.classifier) for box, _ in cells]
            except FieldError as error:
                _LOG.debug("%s cannot be read", field.name, exc_info=True)
                failed[number] = FieldResult.failed(field.name, str(error))
            else:
                whole[number] = cells
                crops += own
            finally:
                field.release()
        verdicts = iter(self._classify(crops))
        for number, cells in whole.items():
            named[number] = [(box, score, next(verdicts)) for box, score in cells]
        return [
            (None, failed[number])
            if number in failed
            else (
                field,
                _record(
                    field,
                    *self._settled(named[number]),
                    stains[number],
                    spots[number],
                    remarks[number],
                    borders[number],
                ),
            )
            for number, field in enumerate(fields)
        ]

    def _settled(self, named: list[Named]) -> tuple[list[Named], list[float]]:
        """Return the cells among what may be cells, and the scores of the boxes that are nearly
        cells."""
        own = self.detector.threshold()
        least = self.detector.threshold(self.settings.confidence)
        return settle(named, least, own, self.detector.weakest(own))

    def _classify(self, crops: list[np.ndarray]) -> list[Classification]:
        size = self.settings.crops_per_batch
        verdicts: list[Classification] = []
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            verdicts += self.classifier.classify(part, min_score=self.settings.min_score)
        return verdicts


def _loaded_again(
    kind: type[Analyzer],
    parts: tuple[Settings, int, Path | None, DetectorProtocol | None, ClassifierProtocol | None],
    models: tuple[ModelInfo, ModelInfo],
) -> Analyzer:
    settings, threads, weights, detector, classifier = parts
    analyzer = kind(
        settings, threads=threads, weights=weights, detector=detector, classifier=classifier
    )
    if analyzer._models() != models:
        # Two halves of one run would come from two models, without a word.
        raise WbcdetError(
            f"{weights or 'the models in use'}: other models than those of the analyzer that is "
            "copied; make a new Analyzer"
        )
    return analyzer


def _model_info(model: DetectorProtocol | ClassifierProtocol) -> ModelInfo:
    """Say which model it was, and where it was learned from a laboratory's cells, when.

    The card too: other classes or another temperature make other results of the same file.
    """
    said = ModelInfo(name=model.name, sha256=model.sha256)
    if (card := model.card.get("card_sha256")) is not None:
        said["card_sha256"] = card
    if (learned := model.card.get("learned")) is not None:
        said["learned"] = learned["created"]
    return said


def _is_picture(sources: object) -> bool:
    """Say whether these are the pixels of one field, not several fields."""
    if not isinstance(sources, np.ndarray):
        return False
    return sources.ndim < 3 or (sources.ndim == 3 and sources.shape[2] == 3)


def _kept(source: Input) -> Input:
    """Return a source as it is now: fields wait for their turn, and many a camera hands out one
    array for all its frames."""
    return source.copy() if isinstance(source, np.ndarray) else source


def _named(detections: Detections, labels: list[Classification]) -> list[Named]:
    boxes = ((x0, y0, x1, y1) for x0, y0, x1, y1 in detections.boxes.tolist())
    return list(zip(boxes, detections.scores.tolist(), labels, strict=True))


def _record(
    field: Field,
    named: list[Named],
    weak: list[float],
    stain: tuple[float, ...] | None,
    spots: tuple[StainedSpot, ...],
    remarks: tuple[str, ...],
    border: DarkBorder,
) -> FieldResult:
    size = field.width, field.height
    cells = tuple(
        _cell(i, *found, is_cut=_at_edge(found[0], *size) or border.cuts(found[0]))
        for i, found in enumerate(named)
    )
    nearly = tuple(_rounded(score) for score in weak)
    return FieldResult(
        field.name,
        *size,
        cells,
        weak_scores=nearly,
        stain=stain,
        remarks=remarks,
        region=field.region,
        spots=spots,
    )


def _at_edge(box: Box, width: int, height: int) -> bool:
    return min(box[0], box[1], width - box[2], height - box[3]) < 1.0


def _cell(number: int, box: Box, score: float, verdict: Classification, *, is_cut: bool) -> Cell:
    scores = {str(name): value for name, value in verdict.scores.items()}
    return Cell(
        id=number,
        box=box,
        detection_score=_rounded(score),
        label=verdict.label,
        label_score=_rounded(verdict.label_score),
        scores={str(label): _rounded(scores[str(label)]) for label in LABELS},
        reason=verdict.reason,
        touches_edge=is_cut,
        distance=None if verdict.distance is None else round(max(0.0, verdict.distance), 4),
    )


def _rounded(score: float) -> float:
    return min(1.0, max(0.0, round(float(score), 4)))
