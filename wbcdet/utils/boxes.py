"""Box arithmetic on ``x_min, y_min, x_max, y_max``: single boxes and arrays (N, 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

Box = tuple[float, float, float, float]


class AnyBox(Protocol):
    """One box: a tuple, a list or an array of four numbers."""

    def __getitem__(self, index: int, /) -> Any:
        """Give a corner's coordinate."""
        ...


def area(box: AnyBox) -> float:
    """Give the area of a box; 0 where a side is reversed."""
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def intersect(first: AnyBox, second: AnyBox) -> Box:
    """Give the intersection of two boxes; its sides are reversed where they do not overlap."""
    return (
        max(first[0], second[0]),
        max(first[1], second[1]),
        min(first[2], second[2]),
        min(first[3], second[3]),
    )


def shared_area(first: AnyBox, second: AnyBox) -> float:
    """Give the area that lies in both boxes."""
    return area(intersect(first, second))


def iou(first: AnyBox, second: AnyBox) -> float:
    """Give intersection over union, 0..1."""
    shared = shared_area(first, second)
    return shared / (area(first) + area(second) - shared) if shared else 0.0


def part_of_smaller(first: AnyBox, second: AnyBox) -> float:
    """Give what both share as a part of the smaller one, 0..1."""
    shared = shared_area(first, second)
    return shared / min(area(first), area(second)) if shared else 0.0


def areas(boxes: np.ndarray) -> np.ndarray:
    """Give the area of each box of (N, 4)."""
    sides: np.ndarray = boxes[:, 2:] - boxes[:, :2]
    result: np.ndarray = sides.prod(1)
    return result


def shared_areas(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give the area that a box (4,) shares with each of others (N, 4)."""
    import numpy as np

    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    result: np.ndarray = sides.clip(0, None).prod(1)
    return result


def ious(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give intersection over union of a box (4,) with each of others (N, 4)."""
    return shares(box, others)[0]


def shares(box: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give what a box (4,) shares with others (N, 4): IoU, part of the box, part of each other."""
    import numpy as np

    shared = shared_areas(box, others)
    own, each = (box[2:] - box[:2]).prod(), areas(others)
    least = 1e-9
    return (
        shared / np.maximum(own + each - shared, least),
        shared / np.maximum(own, least),
        shared / np.maximum(each, least),
    )


def iou_matrix(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give intersection over union of each pair, (N, M), of boxes (N, 4) and (M, 4)."""
    import numpy as np

    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def match_boxes(truth: np.ndarray, boxes: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Return pairs (truth, box) by falling overlap, each used once, of at least this IoU."""
    import numpy as np

    if not len(truth) or not len(boxes):
        return []
    overlap = iou_matrix(truth, boxes)
    pairs = []
    while overlap.max() >= least:
        t, b = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs.append((int(t), int(b)))
        overlap[t, :] = overlap[:, b] = -1
    return pairs
