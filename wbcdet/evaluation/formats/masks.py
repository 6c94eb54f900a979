"""Bound the outlines and masks by which COCO files may give a cell instead of a box."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]


def mask_bounds(segmentation: Any) -> Box:
    """Return left, top, right and bottom of what a COCO annotation outlines.

    Args:
        segmentation: polygons (lists of x, y, x, y...), or a mask in run lengths: its size and
            ``counts``, as a list or as text.

    Raises:
        ValueError, TypeError, KeyError: it outlines nothing, or is damaged.
    """
    if isinstance(segmentation, dict):
        height, width = (int(side) for side in segmentation["size"])
        counts = segmentation["counts"]
        runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
        return _run_bounds(runs, height, width)
    flat = [np.asarray(polygon, float).ravel() for polygon in segmentation]
    if flat and all(len(value) == 1 for value in flat):  # one polygon without the list around it
        flat = [np.concatenate(flat)]
    points = np.concatenate([polygon.reshape(-1, 2) for polygon in flat])
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return float(x0), float(y0), float(x1), float(y1)


def _run_bounds(runs: list[int], height: int, width: int) -> Box:
    """Return the bounds of runs of background and cell in turn, counted down the columns."""
    ends = list(accumulate(runs))
    if min(runs, default=-1) < 0 or ends[-1] > height * width:
        raise ValueError("run lengths that do not fit the size of the mask")
    first = [ends[at - 1] for at in range(1, len(ends), 2) if runs[at]]
    last = [ends[at] - 1 for at in range(1, len(ends), 2) if runs[at]]
    if not first:
        raise ValueError("an empty mask")
    # A run that goes on in the next column touches top and bottom.
    spans = [(a % height, b % height) if a // height == b // height else (0, height - 1)
             for a, b in zip(first, last, strict=True)]  # fmt: skip
    top, bottom = min(a for a, _ in spans), max(b for _, b in spans) + 1
    return float(first[0] // height), float(top), float(last[-1] // height + 1), float(bottom)


def _unpacked(text: str) -> list[int]:
    """Return the run lengths that a text packs: five bits a sign, as differences from the third
    on."""
    runs: list[int] = []
    value = shift = 0
    for sign in text.encode("ascii"):
        bits = sign - 48
        if not 0 <= bits < 64:
            raise ValueError("a mask in signs that are not among run lengths")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
