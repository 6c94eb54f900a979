"""Measure the sharpness of frames, compared with the best of their stream."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from wbcdet.io.colour import Pixels

#: Longer side that frames are reduced to before they are measured, px.
_SIDE = 640
#: Sizes (sigma, px) of the detail that blur takes away, and of the structure that it leaves.
_DETAIL, _STRUCTURE = (0.8, 1.6), (3.0, 9.0)
#: Frames that the best is taken of, and the percentile that stands for it: single frames of high
#: noise must not raise it.
_WINDOW, _PERCENTILE = 600, 90
#: A frame is compared with those that have at least this share of its structure.
_AS_MUCH = 0.5
#: Share of the best below which a frame is blurred, and below which it is of no use at all.
_LEAST, _HOPELESS = 0.62, 0.45


def sharpness(pixels: Pixels) -> tuple[float, float]:
    """Return the detail of a picture over its coarse structure, and that structure (grey values).

    Light and contrast do not change the first, blur lowers it.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    scale = _SIDE / max(grey.shape)
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    floats = grey.astype(np.float32)
    detail = cv2.GaussianBlur(floats, (0, 0), _DETAIL[0]) - cv2.GaussianBlur(
        floats, (0, 0), _DETAIL[1]
    )
    # The coarse band at a quarter of the size: the same at a tenth of the time.
    small = cv2.resize(floats, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    structure = cv2.GaussianBlur(small, (0, 0), _STRUCTURE[0] / 4) - cv2.GaussianBlur(
        small, (0, 0), _STRUCTURE[1] / 4
    )
    coarse = float(structure.std())
    return float(detail.std()) / max(coarse, 1.0), coarse


class Focus:
    """The running best of a stream."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=_WINDOW)

    def share(self, value: float, structure: float) -> float:
        """Return sharpness of the next frame over the best so far; about 1 for a sharp frame.

        It is not compared with frames that show far less than it: where nothing is but the noise of
        the camera, as on empty glass, detail is no sign of focus.

        Args:
            value, structure: of the frame, as of ``sharpness``.
        """
        self._recent.append((value, structure))
        recent = np.array(self._recent)
        shown = recent[recent[:, 1] >= _AS_MUCH * structure, 0]
        best = float(np.percentile(shown, _PERCENTILE))
        return value / best if best > 1e-6 else 1.0

    @staticmethod
    def is_hopeless(share: float) -> bool:
        """Say whether a frame of that share is worth nothing, even of a place of which there is no
        better."""
        return share < _HOPELESS

    @staticmethod
    def is_sharp(share: float) -> bool:
        """Say whether a frame of that share is sharp enough to be analysed."""
        return share >= _LEAST
