"""Where a picture is black around its field: outside an eyepiece's disc, or beside a stitched
slide. What that border cuts is cut as by the border of the picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.io.colour import Pixels
from wbcdet.utils.boxes import Box

#: Longest side at which the border is looked for, px; a pixel of it is a few of the picture.
_SIDE = 320
#: A pixel is black below this share of the brightness of the field, in its lightest colour. Nuclei
#: are not: their blue is a third of it at least.
_BLACK = 0.25
#: Least share of the picture that such a border takes.
_LEAST = 0.01


class DarkBorder:
    """The black border of a picture.

    Args:
        pixels: (height, width, 3) uint8 BGR.
        size: width and height of the field in which boxes are, px, where ``pixels`` are smaller.
    """

    def __init__(self, pixels: Pixels, size: tuple[int, int]) -> None:
        self._black: npt.NDArray[np.bool_] | None = None
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].max(axis=1)
        # Most pictures have none, and need no further look.
        if corners.min() >= _BLACK * 255:
            return
        height, width = pixels.shape[:2]
        scale = min(1.0, _SIDE / max(width, height))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        lightest = cv2.resize(pixels, small, interpolation=cv2.INTER_AREA).max(axis=2)
        black = lightest < _BLACK * np.percentile(lightest, 95)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(black.astype(np.uint8))
        at_corners = set(parts[[0, 0, -1, -1], [0, -1, 0, -1]].tolist()) - {0}
        large = [n for n in at_corners if stats[n, cv2.CC_STAT_AREA] >= _LEAST * parts.size]
        if large:
            self._black = np.isin(parts, large)
            self._scale = small[0] / size[0], small[1] / size[1]

    def cuts(self, box: Box) -> bool:
        """Say whether the border reaches into a box, or rather into the ellipse that fits in it:
        what is round has nothing in the corners of its box."""
        if self._black is None:
            return False
        across, down = self._scale
        # A pixel more to each side: boxes end where a cell is no longer seen in the dusk.
        x0, x1 = box[0] * across - 1, box[2] * across + 1
        y0, y1 = box[1] * down - 1, box[3] * down + 1
        left, top = max(0, int(x0)), max(0, int(y0))
        rows, columns = np.nonzero(self._black[top : int(y1) + 1, left : int(x1) + 1])
        x = (columns + left + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
        y = (rows + top + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
        return bool(np.any(x * x + y * y <= 1))
