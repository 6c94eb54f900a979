"""The protocol of frame sources, and what they give."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from wbcdet.io.colour import Pixels
from wbcdet.utils.errors import WbcdetError


class SourceError(WbcdetError, RuntimeError):
    """A source cannot be opened, or gives no more frames though it should; one line."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        pixels: (height, width, 3) uint8 BGR.
        index: number in the source since it was opened, from 0; dropped frames count.
        seconds: time in the source since its first frame, by the source's own clock.
        arrived: ``time.monotonic()`` when it was at hand.
        file: of a picture that somebody took, its file; empty for one of many of a camera or film.
    """

    pixels: Pixels
    index: int
    seconds: float
    arrived: float = field(default_factory=time.monotonic)
    file: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know about a source that is not a failure: one line."""

    text: str


@dataclass(frozen=True, slots=True)
class Damaged:
    """A picture of a live source that came, but cannot be decoded whole."""


#: Items of a source; a text says that a part of it cannot be read, None that it waits.
Item = Frame | Note | Damaged | str | None


class FrameSource(Protocol):
    """Protocol of a source of frames.

    Attributes:
        name: what the user calls it.
        live: frames come whether or not they are wanted: only the newest counts, and a source
            that fails is opened again. Of all others every frame is looked at.
    """

    name: str

    @property
    def live(self) -> bool: ...

    def frames(self) -> Iterator[Item]:
        """Open the source and give its frames; called again to open it again.

        A source that waits for its next frame gives None every now and then; one that passes over
        a part which cannot be read gives a line that says so (``Damaged`` for every picture of a
        live one). It ends where a source that is not live has no more.

        Raises:
            SourceError: it cannot be opened, or the signal is lost.
        """
        ...

    def close(self) -> None:
        """Let go of the device; ``frames`` ends soon after. May be called from any thread."""
        ...


@dataclass(frozen=True, slots=True)
class AvailableSource:
    """A source that can be opened here; ``problem`` says what stands in the way, if anything."""

    source: str
    what: str
    problem: str | None = None
