"""Diagnose boxes that all lie beside their cells in the same way: another format or rotation.

The boxes of each picture are read in other ways, such as corners for sides, or turned. Where many
more of them then lie on what the detector found, that way is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from wbcdet.evaluation.dataset import LabelIssue
from wbcdet.evaluation.detection import FoundField, match

#: Boxes that must fit better, and their share of those that fit on no cell.
_MIN_BOXES, _MIN_SHARE = 2, 0.5
#: Sides that pictures are often brought to before they are labelled, px.
_SIDES = (320, 416, 512, 640, 800, 1024, 1280)
#: Scales that are tried, with the words for them.
_SCALES = (
    (0.5, "half as large as they are written (the picture was labelled at twice its size)"),
    (2.0, "twice as large as they are written (the picture was labelled at half its size)"),
    (0.25, "a quarter as large as they are written"),
    (4.0, "four times as large as they are written"),
)

Way = Callable[[np.ndarray, int, int], np.ndarray]


def diagnose(fields: Sequence[FoundField], confidence: float) -> list[LabelIssue]:
    """Tell how the boxes would have to be read to lie on the cells; [] where most of them do.

    Args:
        fields: boxes of the labels and of the detector.
        confidence: the detector's boxes of this score count.
    """
    shown = [(f, f.boxes[f.scores >= confidence]) for f in fields if len(f.given)]
    now = [len(match(f.truth, boxes)) for f, boxes in shown]
    total, fit = sum(len(f.truth) for f, _ in shown), sum(now)
    best: tuple[int, int, str] | None = None
    for words, way in _box_readings(shown):
        hits = [len(match(_in_order(way(f.given, *f.size)), boxes)) for f, boxes in shown]
        gain = sum(max(0, after - before) for after, before in zip(hits, now, strict=True))
        if best is None or gain > best[0]:
            pictures = sum(after > before for after, before in zip(hits, now, strict=True))
            best = gain, pictures, words
    if best is None or best[0] < max(_MIN_BOXES, _MIN_SHARE * (total - fit)):
        return []
    gain, pictures, words = best
    what = (
        f"{total - fit} of {total} lie on no cell; {gain} of them do, in {pictures} of "
        f"{len(shown)} pictures, when they are taken as {words}"
    )
    return [LabelIssue("boxes-elsewhere", "boxes", what)]


def _box_readings(shown: Sequence[tuple[FoundField, np.ndarray]]) -> Iterator[tuple[str, Way]]:
    yield "left, top, right, bottom where left, top, width, height is the rule", _sides_are_corners
    yield "left, top, width, height where left, top, right, bottom is the rule", _corners_are_sides
    yield "left, top, right, bottom where centre, width, height is the rule", _centre_are_corners
    yield "left, top, width, height where centre, width, height is the rule", _centre_is_corner
    yield "centre, width, height where left, top, width, height is the rule", _corner_is_centre
    yield "percent of the picture's sides", lambda b, w, h: b * ([w / 100, h / 100] * 2)
    yield "y before x (swapped axes)", lambda b, w, h: b[:, [1, 0, 3, 2]]
    for factor, words in _SCALES:
        yield words, _scaled(factor)
    for side in _SIDES:
        yield (
            f"drawn on the picture brought to {side} x {side} pixels",
            _brought_to(side),
        )
    if (scale := _likely_scale(shown)) is not None:
        yield f"{scale:.2f} times as large as they are written", _scaled(scale)
    before = "drawn on the picture before it was turned"
    # In parts of its sides, a box was brought to the pixels of the turned picture when it was read.
    for unit, raw in (("", False), (" (in parts of its sides)", True)):
        yield f"{before} to the right{unit}", _turned_right(raw)
        yield f"{before} to the left{unit}", _turned_left(raw)
    yield f"{before} upside down", lambda b, w, h: np.array([w, h, w, h]) - b[:, [2, 3, 0, 1]]
    yield "drawn on the mirror image (left and right)", _mirrored
    yield "counted from the bottom, not from the top", _from_bottom


def _scaled(factor: float) -> Way:
    return lambda b, w, h: b * factor


def _brought_to(side: int) -> Way:
    return lambda b, w, h: b * np.array([w / side, h / side] * 2)


def _turned_right(in_parts: bool) -> Way:
    return lambda b, w, h: _right(_raw(b, w, h, in_parts), w)


def _turned_left(in_parts: bool) -> Way:
    return lambda b, w, h: _left(_raw(b, w, h, in_parts), h)


def _sides_are_corners(b: np.ndarray, w: int, h: int) -> np.ndarray:
    return np.column_stack([b[:, :2], b[:, 2:] - b[:, :2]])


def _corners_are_sides(b: np.ndarray, w: int, h: int) -> np.ndarray:
    return np.column_stack([b[:, :2], b[:, 2:] + b[:, :2]])


def _middle(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]


def _centre_are_corners(b: np.ndarray, w: int, h: int) -> np.ndarray:
    return np.column_stack(_middle(b))


def _centre_is_corner(b: np.ndarray, w: int, h: int) -> np.ndarray:
    centre, sides = _middle(b)
    return np.column_stack([centre, centre + sides])


def _corner_is_centre(b: np.ndarray, w: int, h: int) -> np.ndarray:
    sides = b[:, 2:] - b[:, :2]
    return np.column_stack([b[:, :2] - sides / 2, b[:, :2] + sides / 2])


def _raw(b: np.ndarray, w: int, h: int, in_parts: bool) -> np.ndarray:
    """Return boxes on the picture before it was turned by a right angle, which is h wide and w
    high."""
    return b * np.array([h / w, w / h] * 2) if in_parts else b


def _right(b: np.ndarray, w: int) -> np.ndarray:
    """Return a quarter to the right; the turned picture is ``w`` wide."""
    return np.column_stack([w - b[:, 3], b[:, 0], w - b[:, 1], b[:, 2]])


def _left(b: np.ndarray, h: int) -> np.ndarray:
    """Return a quarter to the left; the turned picture is ``h`` high."""
    return np.column_stack([b[:, 1], h - b[:, 2], b[:, 3], h - b[:, 0]])


def _mirrored(b: np.ndarray, w: int, h: int) -> np.ndarray:
    return np.column_stack([w - b[:, 2], b[:, 1], w - b[:, 0], b[:, 3]])


def _from_bottom(b: np.ndarray, w: int, h: int) -> np.ndarray:
    return np.column_stack([b[:, 0], h - b[:, 3], b[:, 2], h - b[:, 1]])


def _in_order(b: np.ndarray) -> np.ndarray:
    """Replace boxes with negative sides by -1."""
    possible = np.all(b[:, 2:] > b[:, :2], axis=1)
    return np.where(possible.reshape(-1, 1), b, -1.0)


def _likely_scale(shown: Sequence[tuple[FoundField, np.ndarray]]) -> float | None:
    """Return the side of a cell that was found over that of a labelled one; None where they are
    alike."""
    sides = [
        [np.sqrt((b[:, 2:] - b[:, :2]).clip(0).prod(1)) for b in boxes]
        for boxes in ([f.given for f, _ in shown], [found for _, found in shown])
    ]
    labelled, detected = (np.concatenate(side) if side else np.zeros(0) for side in sides)
    if not len(labelled) or not len(detected) or not np.median(labelled):
        return None
    scale = float(np.median(detected) / np.median(labelled))
    return scale if not 0.8 < scale < 1.25 else None
