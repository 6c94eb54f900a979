"""The annotated stream as a video file."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2

from wbcdet.stream.cell_counter import FrameResult
from wbcdet.stream.display.base import Status
from wbcdet.stream.display.overlay import Overlay

_MILLI = Fraction(1, 1000)


class VideoWriter:
    """Writes every frame with the time that it has in the stream.

    The file is written in pieces that play by themselves, so that what a killed run leaves can be
    watched.

    Args:
        folder: where it is put: ``video.mp4``, or the next free number of a run that goes on.
        overlay: draws the frames.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, folder: Path, overlay: Overlay) -> None:
        import av

        path, number = folder / "video.mp4", 1
        while os.path.lexists(path):  # a link to nothing would be written through
            number += 1
            path = folder / f"video-{number}.mp4"
        self._overlay = overlay
        self._container = av.open(
            str(path), "w", options={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
        )
        self._stream = self._container.add_stream("libx264", rate=1000)
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = _MILLI
        self._stream.options = {"crf": "23", "preset": "veryfast", "g": "30"}
        self._size: tuple[int, int] | None = None
        self._last = -1

    def show(self, result: FrameResult | None, status: Status) -> None:
        """See :class:`~wbcdet.stream.display.base.Display`."""
        if result is None:
            return
        import av

        picture = self._overlay.of(result)
        if self._size is None:
            height, width = picture.shape[:2]
            self._size = width - width % 2, height - height % 2
            self._stream.width, self._stream.height = self._size
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        # Times must rise, whatever the clock of the source does.
        self._last = max(self._last + 1, round(result.frame.seconds * 1000))
        frame.pts, frame.time_base = self._last, _MILLI
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        if self._size is not None:
            self._container.mux(self._stream.encode())
        self._container.close()
