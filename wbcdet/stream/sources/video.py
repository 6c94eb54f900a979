"""Video files and network streams, read with PyAV (FFmpeg)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.stream.sources.base import Frame, SourceError

if TYPE_CHECKING:
    import av

#: Seconds without an answer, or without a frame, after which a network stream counts as lost.
_OPEN_S, _READ_S = 10.0, 5.0
#: The name of a secret in an address, and all that follows: values hold any character.
_SECRET = re.compile(r"([^&/=]*(?:pass|pwd|pw|token|key|secret|auth)[^&/=]*)=.*", re.IGNORECASE)


class VideoFile:
    """Every frame of a video file, with the times that stand in it (they need not be even)."""

    live = False

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._closed = False

    def frames(self) -> Iterator[Frame | str | None]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`.

        Damage is told where it is met first, and how much there was at the end.

        Raises:
            SourceError: the file is no video, or holds no frame.
        """
        import av

        number, first = 0, 0.0
        try:
            with av.open(str(self._path)) as container:
                stream = _video(container, self.name)
                stream.thread_type = "AUTO"
                damaged = 0
                for frame in _decode(container, stream):
                    if self._closed:
                        return
                    if frame is None:
                        damaged += 1
                        if damaged == 1:
                            yield f"{self.name}: is damaged; what cannot be read is passed over"
                        continue
                    seconds = _time(frame, number, stream)
                    first = first if number else seconds
                    yield Frame(_upright(frame), number, seconds - first)
                    number += 1
        except (av.error.FFmpegError, OSError) as error:
            raise SourceError(
                f"{self.name}: is no video that can be read ({_why(error)})"
            ) from error
        if not number:
            raise SourceError(f"{self.name}: holds no frame that can be read")
        if damaged:
            yield f"{self.name}: {damaged} damaged pieces of the video were passed over"

    def close(self) -> None:
        """Stop after the current frame."""
        self._closed = True


class NetworkStream:
    """A camera or server behind an address: RTSP, HTTP (MJPEG, MPEG-TS, HLS) and others."""

    live = True

    def __init__(self, url: str) -> None:
        self.name = _without_password(url)
        self._url = url
        self._closed = False

    def frames(self) -> Iterator[Frame | None]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`."""
        import av

        options = {"fflags": "nobuffer", "flags": "low_delay"}
        if self._url.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"  # over UDP lost packets smear the picture
        number, first = 0, 0.0
        try:
            with av.open(self._url, timeout=(_OPEN_S, _READ_S), options=options) as container:
                stream = _video(container, self.name)
                finite = bool(container.duration and container.duration > 0)
                for frame in _decode(container, stream):
                    if self._closed:
                        return
                    if frame is not None:
                        seconds = _time(frame, number, stream)
                        first = first if number else seconds
                        yield Frame(_upright(frame), number, seconds - first)
                        number += 1
        except (av.error.FFmpegError, OSError, ValueError) as error:
            remedy = "" if number else "; is the camera on, and the address right?"
            why = _why(error).replace(self._url, self.name)
            raise SourceError(f"{self.name}: {why}{remedy}") from error
        if not (finite and number):
            raise SourceError(f"{self.name}: the stream ended")

    def close(self) -> None:
        """Stop at the next frame or time-out."""
        self._closed = True


def _video(container: Any, name: str) -> av.VideoStream:
    if not container.streams.video:
        raise SourceError(f"{name}: holds no picture")
    stream: av.VideoStream = container.streams.video[0]
    return stream


def _decode(container: Any, stream: Any) -> Iterator[av.VideoFrame | None]:
    """The frames; None for every piece that is damaged."""
    import av

    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            yield None


def _time(frame: av.VideoFrame, number: int, stream: Any) -> float:
    """When a frame is shown, s; from the rate where the stream has no times."""
    return number / float(stream.average_rate or 25) if frame.time is None else float(frame.time)


def _upright(frame: av.VideoFrame) -> Pixels:
    pixels = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    # Phones store the turn beside the picture.
    turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _without_password(url: str) -> str:
    """The address as it may be printed and written down.

    Not by a parser of addresses: passwords hold what should be escaped (``#``, ``/``, ``?``), and
    cameras also take them in the path.
    """
    scheme, _, rest = url.partition("://")
    before, _, place = rest.rpartition("@")
    if _SECRET.search(before):  # the "@" may be of a password in the path
        place = "***"
    place = re.split(r"[?#]", place)[0]
    return f"{scheme}://" + _SECRET.sub(r"\1=***", place)
