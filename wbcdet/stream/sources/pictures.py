"""Decode the pictures of a film or video stream: whole, one moment each, square pixels, upright."""

from __future__ import annotations

import statistics
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from wbcdet.io.colour import HIGH_CONTRAST, HIGH_CONTRAST_CURVES, Pixels
from wbcdet.stream.sources.base import Damaged, Frame, Note, SourceError
from wbcdet.stream.sources.interlace import Deinterlacer

if TYPE_CHECKING:
    import av

#: Pixels are at most so many times as wide as high, or the reverse; beyond, the file is mistaken.
_MAX_STRETCHED = 4
#: Containers whose header says how long the film is; elsewhere FFmpeg guesses it.
_TELL_DURATION = frozenset(("matroska", "webm", "mov", "mp4", "avi", "hls", "dash"))
#: Less than this at the end (s; pictures) is not missed: headers round.
_END_S, _END_PICTURES = 0.3, 2.5
#: A hole between two packets, bytes, in which there was something that is gone, where the time of
#: the film leaps as well, s.
_HOLE, _LEAP_S = 8192, 0.2
#: The largest picture, pixels: films of 8K have 33 million. One of more takes gigabytes to decode,
#: however few bytes it has in the file.
MAX_PIXELS = 40_000_000
#: Threads decode a picture each: of larger pictures than this, pixels, so few are at work.
_LARGE, _FEW_THREADS = 4_000_000, 4
#: Times without a packet that a demultiplexer may ask to be asked again.
_MAX_RETRIES = 1000


@dataclass(slots=True)
class Extent:
    """Extent of a film, and how much of it was read.

    Attributes:
        expected_s: duration by the header, s; None where it does not say.
        end_s: end of the last packet, s.
        lost_s: seconds that were found to be gone in between.
        damaged: pieces that could not be decoded.
        error: what ended it before its time, in words.
    """

    expected_s: float | None = None
    end_s: float = 0.0
    lost_s: float = 0.0
    damaged: int = 0
    error: str | None = None
    _steps: deque[float] = field(default_factory=lambda: deque(maxlen=50))

    @property
    def step_s(self) -> float:
        """Usual time between two pictures, s."""
        return statistics.median(self._steps) if self._steps else 0.0

    @property
    def missing_s(self) -> float:
        """Seconds of the film that could not be read."""
        missing = self.lost_s + self.damaged * self.step_s
        tail = (self.expected_s or 0.0) - self.end_s
        if tail > max(_END_S, _END_PICTURES * self.step_s):
            missing += tail
        return missing

    @property
    def total_s(self) -> float:
        """Duration of the whole film, s."""
        return max(self.expected_s or 0.0, self.end_s)

    def passed(self, step: float, hole: int) -> None:
        """Note a packet ``step`` seconds after the last, with ``hole`` bytes in between."""
        if hole > _HOLE and step > max(_LEAP_S, 3 * self.step_s):
            self.lost_s += step - self.step_s
        elif step > 0:
            self._steps.append(step)


class Pictures:
    """Reads the main video of an open container: no cover picture, and of several the largest.

    Args:
        container: opened by PyAV.
        name: how the source is called.
        live: nothing may wait for a later picture, and there is no end to be missed.
        begun: packets that were taken from it before.
    """

    def __init__(
        self,
        container: av.container.InputContainer,
        name: str,
        *,
        live: bool,
        begun: Sequence[av.Packet[Any]] = (),
    ) -> None:
        if not container.streams.video:
            what = "sound but no picture" if container.streams.audio else "no picture"
            raise SourceError(f"{name}: holds {what}")
        videos = [video for video in container.streams.video if not _is_cover(video)]
        self._videos = len(videos)
        self.extent = Extent()
        self._container: Any = container
        self._begun = begun
        self._stream: av.VideoStream = max(
            videos or container.streams.video, key=lambda video: video.width * video.height
        )
        self._name = name
        self._live = live
        pixels = self._stream.width * self._stream.height
        if pixels > MAX_PIXELS:
            raise SourceError(
                f"{name}: its pictures have {self._stream.width} x {self._stream.height} pixels, "
                f"more than the {MAX_PIXELS // 1_000_000} million of one view; scale the film down"
            )
        # A picture of which a part is missing is an error, not a picture with something made up.
        # Its size may change midway.
        self._stream.codec_context.options = {
            "err_detect": "explode",
            "max_pixels": str(MAX_PIXELS),
        }
        if not live:
            self._stream.thread_type = "AUTO"
            if pixels > _LARGE:
                self._stream.codec_context.thread_count = _FEW_THREADS
            self.extent.expected_s = self._duration()
        self._fields = Deinterlacer()
        self._said: set[str] = set()
        self._number, self._first = 0, 0.0
        self._position: int | None = None

    def items(self) -> Iterator[Frame | Note | Damaged]:
        """Yield the frames in their order; ``Damaged`` for every piece that cannot be decoded.

        Raises:
            av.error.FFmpegError, OSError: it cannot be read on.
        """
        import av

        if self._videos > 1:
            size = f"{self._stream.width} x {self._stream.height}"
            yield Note(f"{self._name}: holds {self._videos} videos; that of {size} is looked at")
        pending = 0
        for packet in self._packets():
            if packet.stream is not self._stream:
                continue
            # The last picture of a camera before the signal is lost is half a picture.
            if not self._live or packet.size:
                for _ in range(pending):
                    self.extent.damaged += 1
                    yield Damaged()
            pending = 0
            try:
                decoded = packet.decode()
            except av.error.InvalidDataError:
                pending = 1
                continue
            for frame in decoded:
                if frame.is_corrupt:
                    pending += 1
                    continue
                for made, source in self._fields.push(frame):
                    yield from self._finished(made, source)
        for made, source in self._fields.flush():
            yield from self._finished(made, source)
        if not self._live:
            for _ in range(pending):
                self.extent.damaged += 1
                yield Damaged()

    def _packets(self) -> Iterator[av.Packet[Any]]:
        """Yield all packets; how much of the film they cover is measured on the way."""
        import av

        retries, last = 0, None
        for packet in self._begun:
            last = self._measure(packet, last)
            yield packet
        while True:
            try:
                for packet in self._container.demux():
                    retries = 0
                    if not self._live:
                        last = self._measure(packet, last)
                    yield packet
                return
            except av.error.BlockingIOError:
                # FFmpeg says so where it seeks the next packet across damage.
                retries += 1
                if retries > _MAX_RETRIES:
                    return
            except (av.error.FFmpegError, OSError):
                # The decoder's threads still hold the last pictures.
                if not self._live:
                    yield self._end()
                raise

    def _end(self) -> av.Packet[Any]:
        """Return the packet without data at which the decoder gives all that it still holds."""
        import av

        packet: av.Packet[Any] = av.Packet()
        packet.stream = self._stream
        return packet

    def _measure(self, packet: av.Packet[Any], last: float | None) -> float | None:
        extent = self.extent
        hole = 0
        if packet.pos is not None and packet.pos >= 0 and packet.size:
            if self._position is not None:
                hole = packet.pos - self._position
            self._position = max(self._position or 0, packet.pos + packet.size)
        base = packet.time_base
        start = packet.pts if packet.pts is not None else packet.dts
        if base is None or start is None:
            return last
        length = packet.duration or 0
        own = packet.stream is self._stream
        if own and not length:
            length = round(extent.step_s / base)
        extent.end_s = max(extent.end_s, float((start + length) * base))
        if not own or packet.dts is None:
            return last
        now = float(packet.dts * base)
        if last is not None:
            extent.passed(now - last, hole)
        return now

    def _duration(self) -> float | None:
        """Return seconds that the header promises, on the clock of the packets."""
        if not _TELL_DURATION & set(self._container.format.name.split(",")):
            return None
        stream = self._stream
        known = [0.0]
        if self._container.duration:
            known.append(self._container.duration / 1e6)
        if stream.duration is not None and stream.time_base is not None:
            begins = (stream.start_time or 0) * stream.time_base
            known.append(float(stream.duration * stream.time_base + begins))
        # Of an AVI that was cut, FFmpeg says what is left; the header knows the pictures.
        if self._container.format.name == "avi" and stream.frames and stream.average_rate:
            known.append(stream.frames / float(stream.average_rate))
        return max(known) or None

    def _finished(self, frame: av.VideoFrame, source: av.VideoFrame) -> Iterator[Frame | Note]:
        if self._fields.active:
            yield from self._once(
                "is interlaced: of every two fields one picture is made (deinterlaced)"
            )
        if int(source.color_trc or 0) in HIGH_CONTRAST_CURVES:
            yield from self._once(HIGH_CONTRAST)
        pixels = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        ratio = self._pixel_shape()
        if ratio != 1:
            yield from self._once(
                f"has pixels that are not square ({ratio.numerator}:{ratio.denominator}): "
                "pictures are stretched to their true shape"
            )
            pixels = _square(pixels, ratio)
        pixels = _upright(pixels, source)
        seconds = self._time(source)
        self._first = self._first if self._number else seconds
        yield Frame(pixels, self._number, seconds - self._first)
        self._number += 1

    def _once(self, text: str) -> Iterator[Note]:
        if text not in self._said:
            self._said.add(text)
            yield Note(f"{self._name}: {text}")

    def _pixel_shape(self) -> Fraction:
        """Return the width of a pixel over its height."""
        stream = self._stream
        ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        if not ratio or not Fraction(1, _MAX_STRETCHED) <= ratio <= _MAX_STRETCHED:
            return Fraction(1)
        return Fraction(ratio)

    def _time(self, frame: av.VideoFrame) -> float:
        """Return when a frame is shown, s; from the rate where the stream has no times."""
        if frame.time is None:
            return self._number / float(self._stream.average_rate or 25)
        return float(frame.time)


def _is_cover(stream: av.VideoStream) -> bool:
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _upright(pixels: Pixels, frame: av.VideoFrame) -> Pixels:
    """Return the picture as it is to be shown: phones store turn and mirroring beside it."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return pixels
    # Where a point to the right and one below come to lie: (a, b) and (c, d).
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])
    if a * d == b * c:  # nothing would be left of the picture: an empty field of the header
        return pixels
    if abs(b) > abs(a):
        pixels, right, down = pixels.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    pixels = pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
    return np.ascontiguousarray(pixels)


def _square(pixels: Pixels, ratio: Fraction) -> Pixels:
    """Return the picture with square pixels; the shorter side of a pixel is stretched."""
    height, width = pixels.shape[:2]
    if ratio > 1:
        width = round(width * ratio)
    else:
        height = round(height / ratio)
    result: Pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC).astype(
        np.uint8, copy=False
    )
    return result
