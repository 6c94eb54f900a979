"""The parts of a slide that are counted as fields, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from wbcdet.io.errors import FieldError
from wbcdet.records import SlideRegion


class _Level(Protocol):
    @property
    def downsample(self) -> float: ...


class _Slide(Protocol):
    @property
    def levels(self) -> Sequence[_Level]: ...
    @property
    def um_per_px(self) -> float | None: ...


_NAME = re.compile(
    r"^(?P<slide>.+)#(?P<edge>edge-)?x(?P<x>\d{1,9})y(?P<y>\d{1,9})"
    r"w(?P<width>\d{1,5})h(?P<height>\d{1,5})l(?P<level>\d{1,2})$"
)
#: End of the name of a page of a file; with a blank before it, of a second file of one name.
_PAGE = re.compile(r"(?<! )#\d+$")
#: ``--group-by`` under which each slide is a group, and its edge and tail another one.
BY_SLIDE = r"^(.+#edge|.+(?=#x\d+y\d+w\d+h\d+l\d+$)|.+)"


@dataclass(frozen=True, slots=True)
class SlidePart:
    """A rectangle of a slide.

    Attributes:
        x, y: its corner, in pixels of the finest level.
        width, height: its size, in pixels of its level.
        level: which level it is read from.
        edge: it lies at the edge or tail of the smear.
        um_per_px: of the finest level, where a person says it; None asks the file.
    """

    x: int
    y: int
    width: int
    height: int
    level: int
    edge: bool = False
    um_per_px: float | None = None

    def name(self, slide: str) -> str:
        """Return the name of the part as a field: ``anna.svs#x12288y8192w2208h2208l0``."""
        edge = "edge-" * self.edge
        return f"{slide}#{edge}x{self.x}y{self.y}w{self.width}h{self.height}l{self.level}"

    def region(self, name: str, slide: _Slide) -> SlideRegion:
        """Where the part lies on an open slide.

        Raises:
            FieldError: the slide has no such level or no scale.
        """
        um = self.um_per_px or slide.um_per_px
        if self.level >= len(slide.levels):
            raise FieldError("slide has other levels than it had; start the run again")
        if um is None:
            raise FieldError(NO_SCALE)
        by = slide.levels[self.level].downsample
        return SlideRegion(slide_of(name), self.x, self.y, by, round(um * by, 6), self.edge)


#: What is said of a slide without a scale.
NO_SCALE = (
    "slide names no scale; say how many µm a pixel of it is: --um-per-px 0.25 for most scanners "
    "at 40x"
)


def part_of(name: str) -> tuple[str, SlidePart] | None:
    """Return the slide and the part that a field's name says; None for any other field."""
    match = _NAME.match(name)
    if match is None:
        return None
    x, y, width, height, level = (int(match[key]) for key in ("x", "y", "width", "height", "level"))
    return match["slide"], SlidePart(x, y, width, height, level, match["edge"] is not None)


def slide_of(name: str) -> str:
    """Return the slide of a field that is a part of one, else the field itself."""
    part = part_of(name)
    return name if part is None else part[0]


def bytes_of(file: str, sha256: str) -> tuple[object, ...]:
    """Tell the bytes of a field: equal ones have equal bytes.

    Args:
        file: name of the field.
        sha256: of the file that it is in.
    """
    # The parts of a slide and the pages of a file share its bytes.
    part, page = part_of(file), _PAGE.search(file)
    return sha256, part[1] if part else page and page[0]
