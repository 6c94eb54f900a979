"""Detector: from a field to the boxes of its white cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from wbcdet.inference.backends import check_output
from wbcdet.inference.cards import DetectorCard, FieldStainCard
from wbcdet.inference.field_stain import FieldStain, match_field_stain
from wbcdet.inference.first_look import first_look
from wbcdet.inference.flipped_views import MIRRORINGS, Found, fuse, mirrored, mirrored_boxes
from wbcdet.inference.loaded_model import LoadedModel
from wbcdet.inference.preprocess import halved
from wbcdet.inference.second_look import LEAST_SEEN, is_doubtful, settle_doubts
from wbcdet.inference.weights import WeightsError
from wbcdet.utils.boxes import ious

#: Boxes whose score is at least this fraction of the card's threshold are "nearly cells".
_WEAK = 0.4


class Detector(LoadedModel):
    """Finds white blood cells in full fields.

    Everything about its input is read from the model's card.

    Args:
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.
        weights: folder of the models; None takes those in use (``load_model``).
        careful: look at every field as it is, mirrored and turned by half, and fuse the boxes: the
            same cells for a field and the field turned, in four times the time.

    Raises:
        WeightsError: the model is missing, damaged or cannot run on the device.
    """

    careful = False

    def __init__(
        self,
        device: str = "auto",
        threads: int = 1,
        weights: str | Path | None = None,
        *,
        careful: bool = False,
    ) -> None:
        super().__init__("detector", device, threads, weights)
        self.card = cast("DetectorCard", self.model.card)
        self.careful = careful
        side = 4 * self.card["stride"]
        output = self._backend.run(np.zeros((1, 3, side, side), np.float32))
        check_output(self.model, output, (1, 5, None))

    def threshold(self, confidence: float | None = None) -> float:
        """Return the least score of a cell: the one asked for, else the card's."""
        return float(self.card["confidence"] if confidence is None else confidence)

    def weakest(self, threshold: float) -> float:
        """Return the least score of a box that is nearly a cell, the same whatever threshold was
        asked for."""
        return min(threshold, _WEAK * self.threshold())

    def detect(
        self, pixels: np.ndarray, confidence: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the white blood cells of one field.

        Args:
            pixels: (H, W, 3) uint8 BGR.
            confidence: least score, 0..1; None takes the card's threshold.

        Returns:
            boxes (N, 4) float32 ``x_min, y_min, x_max, y_max`` in field pixels, and scores (N,)
            float32, best first.
        """
        least = self.threshold(confidence)
        if not self.careful:
            return self._detect_settled(pixels, least)
        height, width = pixels.shape[:2]
        # A view whose score is lower cannot make the mean of all of them reach the threshold.
        weakest = least / len(MIRRORINGS)
        views = []
        for view in MIRRORINGS:
            boxes, scores = self._detect_settled(mirrored(pixels, *view), weakest)
            views.append((mirrored_boxes(boxes, *view, width, height), scores))
        boxes, scores = fuse(views, least, self.card["nms_iou"])
        kept = nms(boxes, self.card["nms_iou"])
        return boxes[kept], scores[kept]

    def detect_whole(
        self,
        pixels: np.ndarray,
        confidence: float | None = None,
        colours: FieldStain | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the cells of a field that is seen as a whole: a first look often is enough.

        Args and returns as for :meth:`detect`; ``colours`` are those of the field, where they are
        measured already. Tiles of a large field are better seen by that at once: most of them are
        empty, or hold small cells.
        """
        if self.careful:
            return self.detect(pixels, confidence)

        seen: dict[int, Found] = {}

        def look(size: int) -> Found:
            seen[size] = self._detect_view(pixels, LEAST_SEEN, size, colours, quick=True)
            return seen[size]

        found = first_look(max(pixels.shape[:2]), self.card["input_size"], look)
        if found is None:
            return self._detect_settled(pixels, self.threshold(confidence), colours, seen)
        boxes, scores = found
        kept = scores >= self.threshold(confidence)
        return boxes[kept], scores[kept]

    def _detect_settled(
        self,
        pixels: np.ndarray,
        least: float,
        colours: FieldStain | None = None,
        earlier: Mapping[int, Found] | None = None,
    ) -> Found:
        """Return boxes and scores of one view, looked at again at other sizes where it is doubtful.

        ``earlier`` are first looks at it by their size, from ``LEAST_SEEN`` on.
        """
        earlier = earlier or {}
        size, stride = self.card["input_size"], self.card["stride"]

        def look(part: float, mirror: bool) -> Found:
            other = max(stride, round(part * size / stride) * stride)
            if not mirror and other in earlier:
                return earlier[other]
            return self._detect_view(pixels, LEAST_SEEN, other, colours, mirror=mirror)

        boxes, scores = self._detect_view(pixels, min(least, LEAST_SEEN), size, colours)
        if is_doubtful((boxes, scores), earlier.values()):
            found, side = (boxes, scores), max(pixels.shape[:2])
            boxes, scores = settle_doubts(found, side, least, look, earlier.values())
            kept = np.array(nms(boxes, self.card["nms_iou"]), int)
        else:
            kept = scores >= least
        return boxes[kept], scores[kept]

    def _detect_view(
        self,
        pixels: np.ndarray,
        least: float,
        size: int,
        colours: FieldStain | None = None,
        *,
        quick: bool = False,
        mirror: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes and scores of one view at a size, as :meth:`detect` gives them.

        ``mirror`` shows it to the network left to right.
        """
        tensor, scale, left, top = letterbox(
            pixels,
            size,
            self.card["stride"],
            self.card["letterbox_grey"],
            self.card.get("stain"),
            colours,
            quick=quick,
        )
        if mirror:
            tensor = np.ascontiguousarray(tensor[..., ::-1])
        # (N, 5): centre, width and height in input pixels, score.
        rows = self._backend.run(tensor)[0].T
        if mirror:
            rows = np.concatenate([tensor.shape[3] - rows[:, :1], rows[:, 1:]], 1)
        if not np.isfinite(rows).all():
            raise WeightsError(f"{self.name}: gives no numbers for a field; reinstall wbcdet")
        rows = rows[rows[:, 4] >= least]
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        half = rows[:, 2:4] / 2
        boxes = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], 1)
        kept = nms(boxes, self.card["nms_iou"])
        boxes, scores = boxes[kept], rows[kept, 4]
        boxes = (boxes - np.array([left, top, left, top], np.float32)) / scale
        height, width = pixels.shape[:2]
        boxes[:, [0, 2]] = boxes[:, [0, 2]].clip(0, width)
        boxes[:, [1, 3]] = boxes[:, [1, 3]].clip(0, height)
        # What lies in the padding alone has no pixel left.
        inside = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf) >= 1
        return boxes[inside].astype(np.float32), scores[inside].astype(np.float32)


def letterbox(
    pixels: np.ndarray,
    size: int,
    stride: int,
    grey: int,
    stain: FieldStainCard | None = None,
    colours: FieldStain | None = None,
    *,
    quick: bool = False,
) -> tuple[np.ndarray, float, int, int]:
    """Scale a field so that its longer side is ``size`` and pad the shorter one to the stride.

    Args:
        pixels: (H, W, 3) uint8 BGR.
        size: longer side of the network's input in pixels, a multiple of ``stride``.
        stride: the network's coarsest step in pixels.
        grey: value of the padding.
        stain: colours that ground and red cells are brought to; None leaves them as they are.
        colours: of the field; None measures them on the scaled pixels.
        quick: halve as often as goes first, which rounds more than once.

    Returns:
        tensor (1, 3, h, w) float32 RGB in 0..1, the scale, and the left and top padding.
    """
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    new = (max(1, round(width * scale)), max(1, round(height * scale)))
    while quick and max(width, height) >= 2 * size and not (width % 2 or height % 2):
        pixels = halved(pixels)
        height, width = pixels.shape[:2]
    if new != (width, height):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, new, interpolation=method)
    if stain is not None:
        pixels = match_field_stain(pixels, **stain, colours=colours)
    padded_w, padded_h = (-(-side // stride) * stride for side in new)
    left, top = (padded_w - new[0]) // 2, (padded_h - new[1]) // 2
    canvas = cv2.copyMakeBorder(
        pixels, top, padded_h - new[1] - top, left, padded_w - new[0] - left,
        cv2.BORDER_CONSTANT, value=(grey, grey, grey),
    )  # fmt: skip
    return cv2.dnn.blobFromImage(canvas, 1 / 255, swapRB=True), scale, left, top


def nms(boxes: np.ndarray, most_shared: float) -> list[int]:
    """Suppress non-maximum boxes: those that a better one overlaps by more than this IoU.

    Args:
        boxes: (N, 4) corners, best first.
        most_shared: greatest IoU that two kept boxes may have.

    Returns:
        indices of the kept boxes, in order.
    """
    kept: list[int] = []
    left = np.arange(len(boxes))
    while left.size:
        first, rest = left[0], left[1:]
        kept.append(int(first))
        left = rest[ious(boxes[first], boxes[rest]) <= most_shared]
    return kept
