"""USB cameras and microscope cameras with a driver of the system, through OpenCV."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from wbcdet.stream.sources.base import AvailableSource, Frame, SourceError

#: Camera numbers that are tried where the system does not list them.
_MAX_TRIED = 8


class Camera:
    """A camera by its number, as ``wbcdet cameras`` lists them."""

    live = True

    def __init__(self, number: int) -> None:
        self.name = f"camera {number}"
        self._number = number
        self._closed = False

    def frames(self) -> Iterator[Frame | None]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`."""
        import cv2

        _silence_opencv()
        closed = SourceError(
            f"{self.name}: cannot be opened; `wbcdet cameras` lists those that can"
        )
        try:
            capture = cv2.VideoCapture(self._number)
        except cv2.error as error:  # larger than any number of a camera
            raise closed from error
        try:
            if not capture.isOpened():
                raise closed
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
            start = time.monotonic()
            number = 0
            while not self._closed:
                read, pixels = capture.read()
                if not read or pixels is None:
                    raise SourceError(f"{self.name}: gives no picture any more; is it plugged in?")
                if pixels.ndim == 2:
                    pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
                yield Frame(pixels, number, time.monotonic() - start)
                number += 1
        finally:
            capture.release()

    def close(self) -> None:
        """Stop after the current frame."""
        self._closed = True


def camera_numbers() -> list[int]:
    if sys.platform.startswith("linux"):
        devices = (re.fullmatch(r"video(\d+)", path.name) for path in Path("/dev").glob("video*"))
        return sorted(int(match[1]) for match in devices if match)
    return list(range(_MAX_TRIED))


def probe(number: int) -> AvailableSource | None:
    import cv2

    _silence_opencv()
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            if not sys.platform.startswith("linux"):
                return None
            return AvailableSource(
                str(number), "camera", "cannot be opened; another program may hold it"
            )
        read, pixels = capture.read()
        if not read or pixels is None:
            return AvailableSource(str(number), "camera", "opens, but gives no picture")
        return AvailableSource(str(number), f"camera, {pixels.shape[1]} x {pixels.shape[0]}")
    finally:
        capture.release()


def _silence_opencv() -> None:
    """Silence OpenCV, which prints a warning for every number without a camera."""
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
