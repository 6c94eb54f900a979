"""What shows a stream while it runs, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from wbcdet.differential.differential import Differential
from wbcdet.stream.cell_counter import FrameResult

Command = Literal["start", "pause", "new-slide", "undo", "stop"]


@dataclass(slots=True)
class Status:
    """What can be said at any moment; one object, changed in place.

    Attributes:
        slide: number of the slide.
        differential: its count so far.
        state: what became of the last frame, or ``paused``, ``no signal``, ``waiting``.
        fps: frames worked off a second.
        lag_s: seconds from a frame's arrival to its result.
        processing_s: seconds that working off a frame takes.
        message: what happened last, in a line.
        ground: warning that the slide is unlike what the models were trained on; None without.
    """

    slide: int
    differential: Differential
    state: str = "waiting"
    fps: float = 0.0
    lag_s: float = 0.0
    processing_s: float = 0.0
    message: str = ""
    ground: str | None = None


class Display(Protocol):
    """Something that shows a stream while it runs."""

    def show(self, look: FrameResult | None, status: Status) -> None:
        """Show a frame with its cells; None where there is no new one."""
        ...

    def close(self) -> None:
        """The stream has ended."""
        ...
