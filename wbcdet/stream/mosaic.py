"""The scanned area as one picture, with every cell marked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from math import ceil

import cv2
import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.report.thumbnails import from_jpeg, to_jpeg
from wbcdet.results.palette import rgb_of
from wbcdet.stream.slide_map import Keyframe
from wbcdet.stream.track import Track

#: Longest side of a mosaic, px; larger areas are shown smaller.
_MAX_SIDE = 8000
_QUALITY = 88
_PAPER = (245, 245, 245)


def mosaics(
    keyframes: Iterable[tuple[int, Keyframe]], tracks: Sequence[Track]
) -> Iterator[tuple[str, bytes]]:
    """Yield a JPEG picture of every island, ``slide-S-map-I.jpg``.

    Args:
        keyframes: slide and keyframe.
        tracks: the cells of all slides.
    """
    by_map: dict[tuple[int, int], list[Keyframe]] = defaultdict(list)
    for slide, keyframe in keyframes:
        by_map[slide, keyframe.position.island].append(keyframe)
    for (slide, island), parts in sorted(by_map.items()):
        own = [track for track in tracks if (track.slide, track.island) == (slide, island)]
        yield f"slide-{slide}-map-{island}.jpg", to_jpeg(compose(parts, own), _QUALITY)


def compose(keyframes: Sequence[Keyframe], tracks: Sequence[Track]) -> Pixels:
    """Draw one island: its keyframes where they lie, its cells circled in the colour of their
    label.

    Args:
        keyframes: at least one, of one island.
        tracks: its cells; those that are in no count are marked with a thin circle.
    """
    left = min(keyframe.position.x for keyframe in keyframes)
    top = min(keyframe.position.y for keyframe in keyframes)
    right = max(keyframe.position.x + keyframe.size[0] for keyframe in keyframes)
    bottom = max(keyframe.position.y + keyframe.size[1] for keyframe in keyframes)
    first = from_jpeg(keyframes[0].picture)
    scale = min(first.shape[1] / keyframes[0].size[0], _MAX_SIDE / max(right - left, bottom - top))
    size = ceil((bottom - top) * scale), ceil((right - left) * scale)
    canvas = np.full((*size, 3), _PAPER, np.uint8)
    for keyframe in keyframes:
        wide, high = (max(1, round(side * scale)) for side in keyframe.size)
        part = cv2.resize(from_jpeg(keyframe.picture), (wide, high), interpolation=cv2.INTER_AREA)
        x, y = (
            round((keyframe.position.x - left) * scale),
            round((keyframe.position.y - top) * scale),
        )
        room = canvas[y : y + high, x : x + wide]
        room[:] = part[: room.shape[0], : room.shape[1]]
    for track in tracks:
        x0, y0, x1, y1 = track.box
        centre = (
            round(((x0 + x1) / 2 - left) * scale),
            round(((y0 + y1) / 2 - top) * scale),
        )
        radius = max(4, round(0.6 * max(x1 - x0, y1 - y0) * scale))
        red, green, blue = rgb_of(track.verdict(0).label)
        cv2.circle(canvas, centre, radius, (30, 30, 30), 4 if track.counts else 2, cv2.LINE_AA)
        cv2.circle(
            canvas, centre, radius, (blue, green, red), 2 if track.counts else 1, cv2.LINE_AA
        )
    return canvas
