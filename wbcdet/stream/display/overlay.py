"""The live picture with its cells boxed and named, drawn once for all that show it."""

from __future__ import annotations

from dataclasses import replace

import cv2

from wbcdet.io.colour import Pixels
from wbcdet.results.annotate import annotate
from wbcdet.stream.cell_counter import BLURRED, FrameResult

_GREY = (150, 150, 150)


class Overlay:
    """Draws a frame when it is first asked for, and keeps it until the next."""

    def __init__(self) -> None:
        self._result: FrameResult | None = None
        self._picture: Pixels | None = None

    def of(self, result: FrameResult) -> Pixels:
        """Return a frame with its cells: those that count by the name that their views voted for.

        Returns:
            (height, width, 3) uint8 BGR, as ``results.annotate`` makes it; a blurred frame, which
            is not counted, has a grey rim.
        """
        if self._picture is None or self._result is not result:
            self._result, self._picture = result, _draw(result)
        return self._picture


def _draw(result: FrameResult) -> Pixels:
    cells = [
        replace(seen.track.verdict(seen.track.number), box=seen.cell.box)
        for seen in result.seen
        if seen.track.real
    ]
    picture = annotate(result.frame.pixels, cells)
    if result.became == BLURRED:
        height, width = picture.shape[:2]
        line = max(4, width // 80)
        cv2.rectangle(picture, (0, 0), (width - 1, height - 1), _GREY, line)
    return picture
