"""Collect the worst errors as small pictures, for a person to judge who is right."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest

import cv2
import numpy as np

from wbcdet.evaluation.classification import FOUR, NOT_FOUND, UNCLASSIFIED, NamedCell, is_right
from wbcdet.evaluation.detection import match
from wbcdet.evaluation.infer import Observation
from wbcdet.inference.preprocess import crop_cell
from wbcdet.io.colour import Pixels
from wbcdet.io.ownership import signed
from wbcdet.records import Cell

#: Side of a picture, and of what it shows over the longer side of the cell's box.
_SIDE = 112
_AROUND = 1.5
_QUALITY = 80


@dataclass(frozen=True, slots=True)
class ErrorCase:
    """One error.

    Attributes:
        kind: ``wrong name``, ``no name``, ``missed`` or ``no cell here``.
        file: of the picture it is in.
        truth, said: the label and wbcdet's result.
        score: how sure wbcdet was, 0..1; the surer, the worse.
        jpeg: the cell with its surroundings, as a ``data:`` address.
    """

    kind: str
    file: str
    truth: str
    said: str
    score: float
    jpeg: str


class Gallery:
    """Keeps the worst errors of each kind.

    Args:
        most: pictures to keep in all; 0 keeps none.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[str, list[ErrorCase]] = {}

    def collect(self, observation: Observation, pixels: Pixels, confidence: float) -> None:
        """Take the errors of one picture; boxes below ``confidence`` are not shown to anybody."""
        if not self.most:
            return
        for cell, box in zip(observation.named, observation.boxes, strict=True):
            self.add_name(observation.labelled.name, pixels, cell, box)
        if observation.found is not None:
            shown = observation.found.scores >= confidence
            boxes, scores = observation.found.boxes[shown], observation.found.scores[shown]
            self._add_boxes(observation, pixels, boxes, scores)
        elif observation.analysed is not None:
            cells = observation.analysed.cells
            scores = np.array([cell.detection_score for cell in cells])
            self._add_boxes(observation, pixels, observation.analysed.boxes, scores)
            for t, c in observation.analysed.pairs():
                self._add_cell(observation, pixels, observation.labelled.types[t], cells[c])

    def add_name(self, file: str, pixels: Pixels, cell: NamedCell, box: np.ndarray | None) -> None:
        """Take one labelled cell, if its name is an error."""
        if not self.most or is_right(cell.truth, cell.named):
            return
        kind = "no name" if cell.named in (UNCLASSIFIED, NOT_FOUND) else "wrong name"
        score = float(cell.scores.max())
        self._add(kind, file, cell.truth, cell.named, score, pixels, box)

    def worst(self) -> list[ErrorCase]:
        """Return the worst errors, kinds in turn, wrong names first."""
        order = ("wrong name", "missed", "no cell here", "no name")
        kinds = [sorted(self._kept.get(k, []), key=_badness) for k in order]
        turns: Iterator[ErrorCase | None] = chain.from_iterable(zip_longest(*kinds))
        chosen = [mistake for mistake in turns if mistake is not None][: self.most]
        return sorted(chosen, key=lambda m: (order.index(m.kind), _badness(m)))

    def _add_cell(self, observation: Observation, pixels: Pixels, truth: str, cell: Cell) -> None:
        if truth:
            scores = np.array([cell.scores[name] for name in FOUR])
            named = NamedCell(truth, str(cell.label), scores, False, "")
            self.add_name(observation.labelled.name, pixels, named, np.array(cell.box))

    def _add_boxes(
        self, observation: Observation, pixels: Pixels, boxes: np.ndarray, scores: np.ndarray
    ) -> None:
        name, truth = observation.labelled.name, observation.labelled.boxes
        pairs = match(truth, boxes)
        met, used = {t for t, _ in pairs}, {b for _, b in pairs}
        for number, box in enumerate(truth):
            if number not in met:
                kind = observation.labelled.types[number] or "white cell"
                self._add("missed", name, kind, "not found", 0.0, pixels, box)
        for number, (box, score) in enumerate(zip(boxes, scores, strict=True)):
            if number not in used:
                said = "white cell"
                self._add("no cell here", name, "no label", said, float(score), pixels, box)

    def _add(
        self,
        kind: str,
        file: str,
        truth: str,
        said: str,
        score: float,
        pixels: Pixels,
        box: np.ndarray | None,
    ) -> None:
        kept = self._kept.setdefault(kind, [])
        kept.append(ErrorCase(kind, file, truth, said, score, _thumbnail(pixels, box)))
        if len(kept) > 4 * self.most:
            self._kept[kind] = sorted(kept, key=_badness)[: self.most]


def _badness(mistake: ErrorCase) -> tuple[float, str]:
    return (-mistake.score, mistake.file)


def _thumbnail(pixels: Pixels, box: np.ndarray | None) -> str:
    if box is None:
        height, width = pixels.shape[:2]
        picture = crop_cell(pixels, (0, 0, width, height), _SIDE, 1.0)
    else:
        picture = crop_cell(pixels, box, _SIDE, _AROUND)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise OSError("a thumbnail cannot be encoded")
    return f"data:image/jpeg;base64,{base64.b64encode(signed(data.tobytes())).decode()}"
