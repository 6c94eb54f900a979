"""Interlaced pictures: two fields, taken one after the other, woven into one picture.

Where the slide moves, the fields show it at two places: a cell has a comb for a border, and gets
the wrong name or none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from wbcdet.io.colour import Pixels

if TYPE_CHECKING:
    import av

#: Every so many columns are looked at for combs.
_COLUMNS = 4
#: Neighbouring rows differ by this factor more than rows of one field do only where two fields are
#: woven together; a picture without any detail but noise has 1.
_COMBED = 1.2
#: Mean difference of rows (0..255) below which there is nothing to tell combs by.
_MIN_DETAIL = 0.5


def is_combed(pixels: Pixels) -> bool:
    """Say whether a picture shows two fields of a moving slide.

    Args:
        pixels: (H, W, 3) uint8.
    """
    green = pixels[:, ::_COLUMNS, 1].astype(np.float32)
    if green.shape[0] < 8:
        return False
    inner = 2 * green[2:-2]
    rows = float(np.abs(inner - green[1:-3] - green[3:-1]).mean())
    fields = float(np.abs(inner - green[:-4] - green[4:]).mean())
    return rows > _MIN_DETAIL and rows > _COMBED * fields


class Deinterlacer:
    """Makes whole pictures of interlaced ones (FFmpeg's bwdif), one of each.

    Pictures come out one later than they go in, as the next one is needed for it. From the first
    picture on that says it is interlaced, or that shows combs, all pass through it; those before
    are given as they are.
    """

    def __init__(self) -> None:
        self._graph: av.filter.Graph | None = None
        self._size: tuple[int, int, str] | None = None
        self._waiting: deque[av.VideoFrame] = deque()
        self._all = False

    @property
    def active(self) -> bool:
        """An interlaced picture was met."""
        return self._graph is not None

    def push(self, frame: av.VideoFrame) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        """Take a picture.

        Yields:
            pictures that are ready, each with the one that it was made of.
        """
        if self._graph is None and not frame.interlaced_frame:
            if not is_combed(frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)):
                yield frame, frame
                return
            self._all = True  # nothing in the stream says which pictures are interlaced
        size = (frame.width, frame.height, frame.format.name)
        if size != self._size:
            yield from self.flush()
            self._begin(frame)
            self._size = size
        assert self._graph is not None
        self._waiting.append(frame)
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        """Give what is still waiting: the stream ends, or its pictures change."""
        if self._graph is not None and self._waiting:
            self._graph.push(None)
            yield from self._ready()
        self._waiting.clear()
        self._size = None

    def _begin(self, frame: av.VideoFrame) -> None:
        from fractions import Fraction

        import av

        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=frame.time_base or Fraction(1, 1000),
        )
        which = "all" if self._all else "interlaced"
        # Without a word on which field comes first, the upper one does.
        order = "tff" if self._all else "auto"
        filter_ = graph.add("bwdif", f"mode=send_frame:parity={order}:deint={which}")
        source.link_to(filter_)
        filter_.link_to(graph.add("buffersink"))
        graph.configure()
        self._graph = graph

    def _ready(self) -> Iterator[tuple[av.VideoFrame, av.VideoFrame]]:
        import av

        assert self._graph is not None
        while self._waiting:
            try:
                made = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            assert isinstance(made, av.VideoFrame)
            yield made, self._waiting.popleft()
