"""Films: video files, and those that a server hands out whole."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wbcdet.stream.sources.base import Damaged, Frame, Item, SourceError
from wbcdet.stream.sources.pictures import Extent, Pictures

if TYPE_CHECKING:
    import av

#: Bytes of a file in which its first parts are looked for.
_HEAD = 1 << 16


class VideoFile:
    """Every frame of a video file, with the times that stand in it (they need not be even)."""

    live = False

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._closed = False

    def frames(self) -> Iterator[Item]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`.

        Damage is told where it is met first, and how much of the film was read at the end.

        Raises:
            SourceError: the file is not a video, or holds no frame.
        """
        import av

        try:
            with av.open(str(self._path)) as container:
                yield from film(container, self.name, lambda: self._closed)
        except (av.error.FFmpegError, OSError) as error:
            why = _unfinished(self._path) or f"is no video that can be read ({in_words(error)})"
            raise SourceError(f"{self.name}: {why}") from error

    def close(self) -> None:
        """Stop after the current frame."""
        self._closed = True


def film(
    container: av.container.InputContainer,
    name: str,
    closed: Callable[[], bool],
    begun: Sequence[av.Packet[Any]] = (),
) -> Iterator[Item]:
    """Yield the frames of a film, from its beginning to where it ends or cannot be read on.

    Args:
        container: opened by PyAV.
        name: how it is called.
        closed: it is to end.
        begun: packets that were taken from it before.

    Raises:
        SourceError: it holds no frame that can be read.
        av.error.FFmpegError, OSError: the same.
    """
    import av

    pictures = Pictures(container, name, live=False, begun=begun)
    extent = pictures.extent
    number = 0
    try:
        for item in pictures.items():
            if closed():
                return
            if not isinstance(item, Damaged):
                number += isinstance(item, Frame)
                yield item
            elif extent.damaged == 1:
                yield f"{name}: is damaged; what cannot be read is passed over"
    except (av.error.FFmpegError, OSError) as error:
        if not number:
            raise
        # Where a server does not say how long a film is, FFmpeg takes its end for an error.
        known = container.size is None or container.size > 0
        if known or error.errno != errno.EIO:
            extent.error = in_words(error)
    if not number:
        raise SourceError(f"{name}: holds no frame that can be read")
    if text := _not_read(extent, number):
        yield f"{name}: {text}"


def _not_read(extent: Extent, pictures: int) -> str | None:
    """Return what of a film could not be read, in words; None where nothing is missing."""
    missing = extent.missing_s
    parts = []
    if extent.error and missing <= 0:
        parts.append(f"{pictures} pictures could be read, then: {extent.error}")
    elif missing > 0:
        read = max(0.0, extent.total_s - missing)
        why = f" ({extent.error})" if extent.error else ""
        parts.append(
            f"only {read:.1f} s of {extent.total_s:.1f} s could be read{why}, {pictures} pictures: "
            "the film is damaged or cut short; get a whole copy, what was seen is counted"
        )
    if extent.damaged:
        parts.append(f"{extent.damaged} damaged pieces of the video were passed over")
    return "; ".join(parts) or None


def in_words(error: Exception) -> str:
    """Return what an error of FFmpeg says, without its number and the address."""
    import av

    if isinstance(error, av.error.ExitError):
        return "no answer in time"
    if isinstance(error, av.error.InvalidDataError):
        return "what it holds is no video, or is damaged"
    return str(getattr(error, "strerror", None) or error)


def _unfinished(path: Path) -> str | None:
    """Return what is wrong with an MP4 file that cannot be opened, where that can be told."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(_HEAD)[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
                return None
            at = 0
            while at < size:
                file.seek(at)
                head = file.read(16)
                length, kind = int.from_bytes(head[:4], "big"), head[4:8]
                if kind == b"moov":
                    return None
                if length == 1:
                    length = int.from_bytes(head[8:16], "big")
                if length < 8:
                    break
                at += length
    except OSError:
        return None
    return (
        "0 s of the film can be read: the list of its pictures, which stands at the end of an MP4 "
        "file, is missing, as the recording was not finished or the copy is cut short; copy it "
        "again, or record as MKV, which can be read up to where it ends"
    )
