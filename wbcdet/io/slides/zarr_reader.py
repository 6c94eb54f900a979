"""OME-Zarr (0.4 and 0.5) through zarr."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.slides.base import (
    Level,
    check_colours,
    further_planes,
    further_scenes,
    one_scale,
    um_from,
)
from wbcdet.io.slides.blosc_guard import guard_blosc
from wbcdet.utils.schemas import JsonObject

_NO_PYRAMID = "folder is no OME-Zarr picture: it names no multiscales; export it again"
#: Files that describe an array, in the two formats of zarr.
_DESCRIPTIONS = (".zarray", "zarr.json")


class ZarrReader:
    """The first picture of an OME-Zarr folder; see ``SlideReader``."""

    def __init__(self, path: Path) -> None:
        import zarr

        guard_blosc()
        self._path = path
        group = zarr.open_group(str(path), mode="r")
        said = _attributes(group)
        whole = group
        if "bioformats2raw.layout" in said and not said.get("multiscales"):
            # The slide itself, before its label and overview.
            group = group["0"]
            said = _attributes(group)
        if not said.get("multiscales"):
            raise FieldError(_NO_PYRAMID)
        picture = said["multiscales"][0]
        axes = [axis if isinstance(axis, str) else axis["name"] for axis in picture["axes"]]
        if axes[-2:] != ["y", "x"] and axes[-3:] != ["y", "x", "c"]:
            raise FieldError(f"slide has the axes {', '.join(axes)}; export it as an RGB picture")
        self._axes = axes
        self._arrays: list[Any] = [group[dataset["path"]] for dataset in picture["datasets"]]
        sizes = [self._size(array) for array in self._arrays]
        first = self._arrays[0]
        channels = first.shape[axes.index("c")] if "c" in axes else 1
        check_colours(str(first.dtype), int(channels))
        self.levels = tuple(Level(width, height, sizes[0][0] / width) for width, height in sizes)
        self.um_per_px, self.remarks = one_scale(*(self._scale(picture, axis) for axis in "xy"))
        if group is not whole:
            self.remarks += further_scenes({"0": first.shape, **self._others(whole)})
        self.remarks += further_planes(axes, first.shape)
        # What was not scanned is often not written either; what was lost looks the same.
        self._missing = [array.nchunks - array.nchunks_initialized for array in self._arrays]
        if self._missing[0] > 0:
            self.remarks += (
                f"{self._missing[0]} of {first.nchunks} chunks are not there, and count as not "
                "scanned",
            )

    def _others(self, whole: Any) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the pictures beside the first, by name."""
        shapes = {}
        for name in sorted(path.name for path in self._path.iterdir() if path.name.isdecimal()):
            pictures = name != "0" and name in whole and _attributes(whole[name]).get("multiscales")
            if pictures:
                shapes[name] = whole[name][pictures[0]["datasets"][0]["path"]].shape
        return shapes

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of a level; see ``SlideReader.read``."""
        array = self._arrays[level]
        full = self._size(array)
        x0, y0, x1, y1 = max(0, x), max(0, y), min(x + width, full[0]), min(y + height, full[1])
        out = np.full((height, width, 3), 255, np.uint8)
        if x0 >= x1 or y0 >= y1:
            return out
        # Of several times the first, of several planes of depth the middle one.
        chosen = tuple(
            {"y": slice(y0, y1), "x": slice(x0, x1), "c": slice(None)}.get(
                axis, array.shape[number] // 2 if axis == "z" else 0
            )
            for number, axis in enumerate(self._axes)
        )
        part = np.asarray(array[chosen])
        part = self._without_missing(level, part, x0, y0)
        if "c" in self._axes and self._axes.index("c") < self._axes.index("y"):
            part = np.moveaxis(part, 0, -1)
        if part.ndim == 2 or part.shape[2] == 1:
            part = np.repeat(part.reshape(*part.shape[:2], 1), 3, axis=2)
        out[y0 - y : y1 - y, x0 - x : x1 - x] = part[:, :, 2::-1]
        return out

    def _without_missing(self, level: int, part: np.ndarray, x: int, y: int) -> np.ndarray:
        """Return a part, white where a chunk has nothing but the value of those that are missing.

        Args:
            level: its number.
            part: what was read, with its axes y, x and c.
            x, y: where it begins.

        Raises:
            FileNotFoundError: chunks are lost that were there when the slide was opened.
        """
        axes = [axis for axis in self._axes if axis in "yxc"]
        array, filled = self._arrays[level], part
        empty = array.fill_value or 0
        spans = []
        for axis, start in (("y", y), ("x", x)):
            side = array.chunks[self._axes.index(axis)]
            length = part.shape[axes.index(axis)]
            borders = [0, *range(side - start % side, length, side), length]
            spans.append(list(pairwise(borders)))
        for top, bottom in spans[0]:
            for left, right in spans[1]:
                place = tuple(
                    {"y": slice(top, bottom), "x": slice(left, right)}.get(axis, slice(None))
                    for axis in axes
                )
                if (part[place] == empty).all():
                    if filled is part:
                        self._check_there(level)
                        filled = np.array(part)
                    if self._missing[level] > 0:
                        filled[place] = 255
        return filled

    def _check_there(self, level: int) -> None:
        """Check that a level is still there: zarr takes a chunk that it cannot find for an empty
        one.

        Raises:
            FileNotFoundError: its description has gone, or chunks of a slide that had them all.
        """
        array = self._arrays[level]
        folder = self._path / array.path
        if not any((folder / name).is_file() for name in _DESCRIPTIONS):
            raise FileNotFoundError("its files are not there any more")
        if self._missing[level] == 0 and array.nchunks_initialized < array.nchunks:
            raise FileNotFoundError("chunks are lost that were there before")

    def _size(self, array: Any) -> tuple[int, int]:
        return int(array.shape[self._axes.index("x")]), int(array.shape[self._axes.index("y")])

    def _scale(self, picture: JsonObject, side: str) -> float | None:
        place = self._axes.index(side)
        factor, scaled = 1.0, False
        for step in (
            *picture["datasets"][0].get("coordinateTransformations", ()),
            *picture.get("coordinateTransformations", ()),
        ):
            if step.get("type") == "scale":
                factor *= float(step["scale"][place])
                scaled = True
        axis = picture["axes"][place]
        # Without a unit a scale of 1 is only what every writer puts there.
        unit = None if isinstance(axis, str) else axis.get("unit")
        return um_from(factor, unit) if scaled and (unit or factor != 1) else None


def _attributes(group: Any) -> JsonObject:
    """Return what OME-Zarr says of a group: 0.5 has it in a key of its own."""
    said: JsonObject = dict(group.attrs)
    own: JsonObject = said.get("ome", said)
    return own
