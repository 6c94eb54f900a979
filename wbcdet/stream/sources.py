"""Where frames come from: the one interface of all sources, and how one is chosen.

A third party adds a source without touching this package: a function that takes the address
(what stands behind ``NAME:``) and returns a :class:`FrameSource`, under the entry point group
``wbcdet.sources``, or given to :func:`register`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from wbcdet.decode import Pixels

#: Addresses that are opened as network streams.
URLS = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "srt")
ENTRY_POINTS = "wbcdet.sources"


class SourceError(RuntimeError):
    """A source cannot be opened, or gives no more frames though it should; one line."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        pixels: (height, width, 3) uint8 BGR.
        index: number in the source since it was opened, from 0; dropped frames count.
        seconds: time in the source since its first frame, by the source's own clock.
        arrived: ``time.monotonic()`` when it was at hand.
    """

    pixels: Pixels
    index: int
    seconds: float
    arrived: float = field(default_factory=time.monotonic)


class FrameSource(Protocol):
    """What gives frames.

    Attributes:
        name: what the user calls it.
        live: frames come whether or not they are wanted: only the newest counts, and a source
            that fails is opened again. Of all others every frame is looked at.
    """

    name: str
    live: bool

    def frames(self) -> Iterator[Frame | str | None]:
        """Open the source and give its frames; called again to open it again.

        A source that waits for its next frame gives None every now and then; one that passes over
        a part which cannot be read gives a line that says so. It ends where a source that is not
        live has no more.

        Raises:
            SourceError: it cannot be opened, or the signal is lost.
        """
        ...

    def close(self) -> None:
        """Let go of the device; ``frames`` ends soon after. May be called from any thread."""
        ...


Opener = Callable[[str], FrameSource]
_registered: dict[str, Opener] = {}


def register(scheme: str, opener: Opener) -> None:
    """Make ``SCHEME:ADDRESS`` open a source of your own."""
    _registered[scheme] = opener


def schemes() -> dict[str, Opener | None]:
    """Schemes that third parties have added; None where it is not loaded yet."""
    found: dict[str, Opener | None] = {one.name: None for one in entry_points(group=ENTRY_POINTS)}
    return {**found, **_registered}


def open_source(text: str, *, idle_stop: float | None = None) -> FrameSource:
    """The source that a user names.

    Args:
        text: a camera number, ``mm:demo``, ``mm:FILE.cfg``, an address, a folder, a video file, or
            the scheme of a third party.
        idle_stop: a watched folder ends after so many seconds without a new picture.

    Raises:
        SourceError: there is no such source.
    """
    scheme, _, rest = text.partition(":")
    if text.isdecimal():
        from wbcdet.stream.cameras import Camera

        return Camera(int(text))
    if scheme == "mm":
        from wbcdet.stream.micromanager import MicroManager

        return MicroManager(rest)
    if scheme.lower() in URLS and rest.startswith("//"):
        from wbcdet.stream.video import NetworkStream

        return NetworkStream(text)
    if scheme in schemes():
        opener = _registered.get(scheme) or _load(scheme)
        return opener(rest)
    path = Path(text)
    if path.is_dir():
        from wbcdet.stream.folder import Folder

        return Folder(path, idle_stop)
    if path.is_file():
        from wbcdet.stream.video import VideoFile

        return VideoFile(path)
    raise SourceError(
        f"{text}: no such file or folder; a source is a video file, a folder, a camera number, an "
        "rtsp:// or http:// address, or mm:demo (see wbcdet cameras)"
    )


def _load(scheme: str) -> Opener:
    (point,) = list(entry_points(group=ENTRY_POINTS, name=scheme))[:1]
    try:
        opener: Opener = point.load()
    except Exception as error:  # a third party's package may raise anything
        raise SourceError(f"{scheme}: {point.value} cannot be loaded: {error}") from error
    return opener
