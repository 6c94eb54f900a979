"""Cohen's kappa: how far two that name the same things agree beyond chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Standard normal quantile of a 95 % interval.
Z = 1.959963984540054
#: What is said where there is no interval.
NO_INTERVAL = "too few or too even for an interval"
#: A variance below this is none.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa with its large-sample 95 % interval; None where that has no width, as of a
    single cell or full agreement: it says nothing then."""

    value: float
    interval: tuple[float, float] | None


def cohen_kappa(table: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Kappa | None:
    """Compute Cohen's kappa of a confusion table (Cohen 1960, 1968).

    The standard error is the one of Fleiss, Cohen and Everitt (1969).

    Args:
        table: (K, K) counts, one side down, the other across.
        weights: (K, K) agreement of each pair of categories, 1 on the diagonal; None gives plain
            kappa.

    Returns:
        None where it is not defined: no counts, or both sides always say the same one thing.
    """
    counts = np.asarray(table, dtype=np.float64)
    agree = np.eye(len(counts)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = counts.sum()
    if not total:
        return None
    share = counts / total
    down, across = share.sum(axis=1), share.sum(axis=0)
    observed, expected = float((agree * share).sum()), float(down @ agree @ across)
    if math.isclose(expected, 1.0):
        return None
    kappa = (observed - expected) / (1 - expected)
    mean = (agree @ across)[:, None] + (down @ agree)[None, :]
    inner = float((share * (agree - mean * (1 - kappa)) ** 2).sum())
    variance = (inner - (kappa - expected * (1 - kappa)) ** 2) / (total * (1 - expected) ** 2)
    if variance < _ROUNDING:
        return Kappa(kappa, None)
    half = Z * math.sqrt(variance)
    return Kappa(kappa, (max(-1.0, kappa - half), min(1.0, kappa + half)))


def confusion(pairs: Sequence[tuple[str, str]], categories: Sequence[str]) -> npt.NDArray[np.int64]:
    """(K, K) counts of ``(down, across)`` pairs, in the order of the categories."""
    place = {name: number for number, name in enumerate(categories)}
    table = np.zeros((len(categories), len(categories)), dtype=np.int64)
    for down, across in pairs:
        table[place[down], place[across]] += 1
    return table
