"""See whether the maps of a slide were made with different objectives."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable

from wbcdet.stream.track import Track
from wbcdet.utils.words import N_, _

#: Cells of a map by which its scale is known, and the ratio of two medians that chance and other
#: types of cells do not explain: six cells of BCCD differ so from all in 0.06 % of draws.
#: Objectives of 60 and 100 differ by 1.67.
_LEAST, _RATIO = 6, 1.6


def of_two_scales(tracks: Iterable[Track], say: Callable[..., str] = _) -> str | None:
    """Warn that cells of one map of a slide are much larger than those of another.

    Such maps can never be joined: what both show counts twice.

    Args:
        tracks: cells of any slides.
        say: gives a text in the language of the reader, or in English for programs.
    """
    widths: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for track in tracks:
        if track.counts:
            x0, y0, x1, y1 = track.box
            widths[track.slide][track.island].append(max(x1 - x0, y1 - y0))
    for slide, maps in sorted(widths.items()):
        known = sorted((found for found in maps.values() if len(found) >= _LEAST), key=len)
        usual = [statistics.median(found) for found in known]
        # Of the largest map the most is known.
        other = next(
            (one for one in usual if not usual[-1] / _RATIO <= one <= _RATIO * usual[-1]), 0
        )
        if other:
            return say(
                N_(
                    "cells of slide {slide} are {small} px wide on one map and {large} px on "
                    "another: was the objective changed? What both show is counted twice; count "
                    "each objective as a slide of its own"
                ),
                slide=slide,
                small=f"{min(other, usual[-1]):.0f}",
                large=f"{max(other, usual[-1]):.0f}",
            )
    return None
