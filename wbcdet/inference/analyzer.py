"""Fields to results: decode, detect, crop, classify, batched across fields."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wbcdet.inference.classifier import Classification, Classifier
from wbcdet.inference.detector import Detector
from wbcdet.inference.magnification import choose_view
from wbcdet.inference.sliced import Box, crop, find_in_tiles, find_whole
from wbcdet.io.discover import Source, as_source
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.memory import Place
from wbcdet.records import LABELS, Cell, FieldResult
from wbcdet.settings import Settings
from wbcdet.utils.parallel import cores, work_ahead

Input = str | Path | Source | Field | np.ndarray
Done = tuple[Field | None, FieldResult]

#: Fields analysed at the same time, at most: what they take of memory, and what more threads gain.
_MAX_AT_ONCE = 8


#: Larger fields, in pixels, are analysed one after the other, each by all cores: they fill the
#: memory, and in the caller's thread Ctrl-C need not wait for their end.
_MAX_SIDE_BY_SIDE = 25_000_000


class Analyzer:
    """Finds and names the white blood cells of microscope fields.

    The models are loaded once, at construction. One analyzer may be shared between threads: it
    holds no state between fields.

    Args:
        settings: every default in one place.
        confidence, min_score, device: shortcuts that override the settings.
        threads: processor threads that share the work of one call of a model. With 1, many fields
            are done fastest, a core for each; with all cores, one field that comes by itself.

    Raises:
        ValueError: a setting is out of its range.
        OSError, RuntimeError: the models cannot be loaded.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        confidence: float | None = None,
        min_score: float | None = None,
        device: str | None = None,
        threads: int = 1,
    ) -> None:
        given = {"confidence": confidence, "min_score": min_score, "device": device}
        changes = {name: value for name, value in given.items() if value is not None}
        self.settings = replace(settings or Settings(), **changes)  # type: ignore[arg-type]
        self.detector = Detector(self.settings.device, threads)
        self.classifier = Classifier(self.settings.device, threads)
        self._at_once = max(1, min(cores() // threads, _MAX_AT_ONCE))
        self._turn = threading.Lock()

    def analyze(self, source: Input) -> FieldResult:
        """Analyse one field.

        Args:
            source: a file or URL, or BGR pixels (height, width, 3) or grey pixels
                (height, width), both uint8.

        Returns:
            the field's record; with a ``failure`` where a file could not be read.

        Raises:
            ValueError: an array of another shape or type.
        """
        [done] = self._analyze_batch([(Place(object(), 0), source)])
        field, result = self._finish(done)
        if field is not None:
            field.hand_on()
        return result

    def analyze_many(self, sources: Iterable[Input]) -> Iterator[FieldResult]:
        """Analyse many fields, in order. Takes what ``analyze`` takes; see ``analyze_fields``."""
        for _, result in self.analyze_fields(sources):
            yield result

    def analyze_fields(self, sources: Iterable[Input]) -> Iterator[Done]:
        """Analyse many fields, in order, and hand each back with its pixels (None on failure).

        Each processor core works on a field of its own, from decoding to naming, and they are
        handed back in order; however many fields there are, only two more than there are cores
        (8 at most) are in memory. A large TIFF comes back as a field whose ``pixels`` are a
        reduced overview; boxes are always in pixels of the whole field.
        """
        run = object()
        pending = ((Place(run, number), source) for number, source in enumerate(sources))
        batches = iter(lambda: list(islice(pending, self.settings.fields_per_batch)), [])
        ahead = self._at_once + 2
        for batch in work_ahead(self._analyze_batch, batches, self._at_once, ahead):
            batch.reverse()
            while batch:
                done = self._finish(batch.pop())
                if done[0] is not None:
                    done[0].hand_on()
                yield done
                del done  # its pixels are the caller's now

    def info(self) -> dict[str, Any]:
        """What made the results: models with their sha256, settings with their fingerprint."""
        return {
            "detector": {"name": self.detector.name, "sha256": self.detector.sha256},
            "classifier": {"name": self.classifier.name, "sha256": self.classifier.sha256},
            "settings": {
                **self.settings.to_dict(),
                "fingerprint": self.settings.fingerprint(),
            },
        }

    def _load(self, source: Input, place: Place) -> Field | FieldResult:
        if isinstance(source, Field):
            return source
        if isinstance(source, np.ndarray):
            return Field(f"array-{place.number}", None, _as_pixels(source))
        item = source if isinstance(source, Source) else as_source(str(source))
        try:
            return read_field(item, self.settings, place)
        except FieldError as error:
            return FieldResult.failed(item.name, str(error))

    def _analyze_batch(self, sources: list[tuple[Place, Input]]) -> list[Done | Field]:
        """Fields with their records; the largest as they are, for :meth:`_finish`."""
        batch = [self._load(source, place) for place, source in sources]
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
        named: dict[int, list[tuple[Box, float, Classification]]] = {}
        whole: dict[int, list[tuple[Box, float]]] = {}
        failed: dict[int, FieldResult] = {}
        crops: list[np.ndarray] = []
        for number, field in enumerate(fields):
            try:
                in_tiles = self._in_tiles(field)
                if in_tiles is not None:
                    named[number] = in_tiles
                    continue
                found = find_whole(field, self.detector, self.settings)
                own = [crop(field, box, self.classifier) for box, _ in found]
            except FieldError as error:
                failed[number] = FieldResult.failed(field.name, str(error))
            else:
                whole[number] = found
                crops += own
            finally:
                field.release()
        verdicts = iter(self._classify(crops))
        for number, found in whole.items():
            named[number] = [(box, score, next(verdicts)) for box, score in found]
        return [
            (None, failed[number]) if number in failed else (field, _record(field, named[number]))
            for number, field in enumerate(fields)
        ]

    def _in_tiles(self, field: Field) -> list[tuple[Box, float, Classification]] | None:
        """The cells of a field that is looked at in tiles; None for one looked at as a whole."""
        detector, settings = self.detector, self.settings
        view = choose_view(field, detector.detect, detector.card["input_size"], settings)
        if view is None:
            return None
        return find_in_tiles(field, view, detector, self.classifier, settings, self._at_once)

    def _classify(self, crops: list[np.ndarray]) -> list[Classification]:
        size = self.settings.crops_per_batch
        verdicts: list[Classification] = []
        for start in range(0, len(crops), size):
            part = crops[start : start + size]
            verdicts += self.classifier.classify(part, min_score=self.settings.min_score)
        return verdicts


def _as_pixels(array: np.ndarray) -> np.ndarray:
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (colour or array.ndim == 2) or array.size == 0:
        raise ValueError(
            "pixels must be uint8 of shape (height, width, 3) in BGR or (height, width), "
            f"not {array.dtype} of shape {array.shape}"
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    return np.ascontiguousarray(array)


def _record(field: Field, named: list[tuple[Box, float, Classification]]) -> FieldResult:
    size = field.width, field.height
    cells = tuple(_cell(i, *found, *size) for i, found in enumerate(named))
    return FieldResult(field.name, *size, cells, remarks=field.remarks)


def _cell(
    number: int, box: Box, score: float, verdict: Classification, width: int, height: int
) -> Cell:
    x_min, y_min, x_max, y_max = box
    scores = {str(name): value for name, value in verdict.scores.items()}
    return Cell(
        id=number,
        box=box,
        detection_score=_rounded(score),
        label=verdict.label,
        label_score=_rounded(verdict.label_score),
        scores={str(label): _rounded(scores[str(label)]) for label in LABELS},
        reason=verdict.reason,
        touches_edge=min(x_min, y_min, width - x_max, height - y_max) < 1.0,
    )


def _rounded(score: float) -> float:
    return min(1.0, max(0.0, round(float(score), 4)))
