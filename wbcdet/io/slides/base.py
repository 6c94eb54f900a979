"""What every reader of slides gives, whatever its format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.utils.extras import EXTRAS
from wbcdet.utils.text import plural

#: What a person has to install before slides are read.
MISSING = f"slides are read by an extra: {EXTRAS['slides'].install}"
#: The longer side of a square pixel is at most so much of the shorter one, for roundings.
_SQUARE = 1.05
#: Part of the samples of the picture that is counted from which another one is a scene too.
_SCENE = 0.1


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a slide.

    Attributes:
        width, height: its pixels.
        downsample: pixels of the finest level to one of its own, along a side.
    """

    width: int
    height: int
    downsample: float


class SlideReader(Protocol):
    """A slide that is open.

    Attributes:
        levels: its resolutions, the finest first.
        um_per_px: µm to one pixel of the finest level; None where the file does not say.
        remarks: what to know of how it is read, a line each.
    """

    levels: tuple[Level, ...]
    um_per_px: float | None
    remarks: tuple[str, ...]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of a level, (height, width, 3) uint8 BGR; white where nothing was
        scanned.

        Args:
            level: which of ``levels``.
            x, y: its corner, in pixels of that level.
            width, height: its size, in pixels of that level.

        Raises:
            Exception: whatever the library raises where the file is damaged or has gone.
        """
        ...


def um_from(size: float | None, unit: str | None = "micrometer") -> float | None:
    """Return a length in µm; None where it is no usable one.

    Args:
        size: the number.
        unit: as OME names it; None is µm, which is OME's default.
    """
    factor = {
        "micrometer": 1.0, "µm": 1.0, "um": 1.0, "micron": 1.0, "nanometer": 1e-3, "nm": 1e-3,
        "millimeter": 1e3, "mm": 1e3, "centimeter": 1e4, "cm": 1e4, "meter": 1e6, "m": 1e6,
    }.get((unit or "µm").strip().replace("\u03bc", "µ"))  # fmt: skip
    if factor is None or size is None:
        return None
    um = size * factor
    # Nobody scans finer than a light microscope resolves or coarser than a flatbed does.
    return um if 0.005 < um < 100 else None


def one_scale(across: float | None, down: float | None) -> tuple[float | None, tuple[str, ...]]:
    """Return the µm per pixel that stands for both sides of a pixel, and what to know of it.

    Args:
        across, down: µm per pixel along each side, as the file says; None where it does not.
    """
    known = [side for side in (across, down) if side is not None]
    if not known:
        return None, ()
    um = sum(known) / len(known)
    if max(known) <= _SQUARE * min(known):
        return um, ()
    return um, (
        f"its pixels are {across:g} µm wide and {down:g} µm high, by the file, and {um:g} is taken "
        "for both: say the right scale with --um-per-px, or export it with square pixels",
    )


def check_colours(dtype: str, channels: int) -> None:
    """Check that the samples are those of a photograph.

    Raises:
        FieldError: they are not.
    """
    if dtype != "uint8" or channels not in (1, 3, 4):
        raise FieldError(
            f"slide has {channels} channels of {dtype}, not the 8-bit colours of a stained smear; "
            "export it as 8-bit RGB"
        )


def further_scenes(shapes: Mapping[str, Sequence[int]]) -> tuple[str, ...]:
    """Say that a slide holds scenes beside the one that is counted: pictures as large as slides; a
    label and an overview are far smaller.

    Args:
        shapes: of its pictures by name, that of the one that is counted first.
    """
    least = _SCENE * math.prod(next(iter(shapes.values())))
    scenes = [name for name, shape in list(shapes.items())[1:] if math.prod(shape) > least]
    if not scenes:
        return ()
    return (
        f"holds {plural(len(scenes), 'further scene')} ({', '.join(scenes)}), and only the first "
        "is counted; export each by itself",
    )


def further_planes(axes: Sequence[str], shape: Sequence[int]) -> tuple[str, ...]:
    """Say that a slide holds several pictures of each place, of which one is counted.

    Args:
        axes: of its finest level, as OME names them.
        shape: how long each is.
    """
    known = {"z": "planes of depth", "t": "times"}
    return tuple(
        f"holds {size} {known.get(axis.lower(), f'pictures along {axis}')} of each place, and only "
        "one is looked at; export the one that is meant by itself"
        for axis, size in zip(axes, shape, strict=True)
        if axis.lower() not in ("y", "x", "c", "s") and size > 1
    )
