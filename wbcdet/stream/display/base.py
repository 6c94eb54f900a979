"""The protocol of displays, and the commands and status that they share with a stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from wbcdet.differential.differential import Differential
from wbcdet.stream.cell_counter import FrameResult

Steer = Literal["start", "pause", "new-slide", "undo", "stop"]


@dataclass(frozen=True, slots=True)
class Relabel:
    """A person names a cell: one of the four types, ``no cell``, or None for wbcdet's own name."""

    cell: int
    label: str | None


Command = Steer | Relabel


@dataclass(frozen=True, slots=True)
class RecentCell:
    """A cell that was counted lately: its number, name, why it has none, thumbnail (JPEG), named
    by a person."""

    number: int
    label: str
    reason: str | None
    picture: bytes
    by_person: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The slide so far.

    Attributes:
        recent: the cells counted last, the newest first.
        scanned: what was seen of the map that the frame lies on: corners of rectangles.
        cells: centre and label of its cells.
        here: where the frame lies; None where that is not known.
        maps: how many maps of the slide there are.
    """

    recent: tuple[RecentCell, ...]
    scanned: tuple[tuple[float, float, float, float], ...]
    cells: tuple[tuple[float, float, str], ...]
    here: tuple[float, float, float, float] | None
    maps: int


@dataclass(slots=True)
class Status:
    """Status of the stream; one object, changed in place.

    Attributes:
        slide: number of the slide.
        differential: its count so far.
        state: what became of the last frame, or ``damaged`` (it came, but cannot be decoded),
            ``paused``, ``no signal``, ``waiting``.
        fps: frames worked off a second.
        lag_s: seconds from a frame's arrival to its result.
        processing_s: seconds that working off a frame takes.
        message: what happened last, in a line.
        thresholds: those in force, in words.
        taught: types that the classifier was taught beside the four.
        ground: warning that the slide is unlike what the models were trained on; None without.
        warning: what is wrong with the pictures, as long as it is.
        overview: the slide so far, made when it is asked for, in the thread of the run.
        report: where the report will be.
    """

    slide: int
    differential: Differential
    state: str = "waiting"
    fps: float = 0.0
    lag_s: float = 0.0
    processing_s: float = 0.0
    message: str = ""
    ground: str | None = None
    thresholds: str = ""
    taught: tuple[str, ...] = ()
    warning: str = ""
    overview: Callable[[], Overview] | None = None
    report: str = ""


class Display(Protocol):
    """Protocol of what shows a stream while it runs."""

    def show(self, result: FrameResult | None, status: Status) -> None:
        """Show a frame with its cells; None where there is no new one."""
        ...

    def close(self) -> None:
        """Close, as the stream has ended."""
        ...
