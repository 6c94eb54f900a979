"""95 % intervals: Wilson's for independent cells, with a bootstrap over groups for others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wbcdet.utils.beta_quantile import beta_quantile

#: Resamples of the bootstrap; its seed is fixed, so that a figure can be repeated.
RESAMPLES = 2000
#: Half the width of the middle 95 % of the normal distribution.
_NORMAL = 1.959963984540054


def wilson(hits: float, total: float) -> tuple[float, float]:
    """Return 95 % Wilson interval of a proportion; (0, 1) for no trials.

    Neither number need be whole: cells that have much in common are worth fewer trials.
    """
    if total <= 0:
        return 0.0, 1.0
    share, spread = hits / total, _NORMAL**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _NORMAL * ((share * (1 - share) + spread / 4) / total) ** 0.5 / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


class Groups:
    """Cells in groups that share a field, a slide or an original.

    Args:
        groups: the group of each cell.
    """

    def __init__(self, groups: Sequence[str]) -> None:
        names, index = np.unique(np.array(groups, dtype=str), return_inverse=True)
        self.index = index.reshape(-1)
        self.count = len(names)
        self.single = self.count == len(self.index)

    @property
    def method(self) -> str:
        """Describe how the interval of a proportion is computed."""
        return "Wilson" + (
            "" if self.single else f", widened by a bootstrap over {self.count} groups"
        )

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of the values (N, ...) of each group, (groups, ...)."""
        out = np.zeros((self.count, *values.shape[1:]))
        np.add.at(out, self.index, values)
        return out

    def bootstrap_sums(self, values: np.ndarray) -> np.ndarray:
        """Return sums over all cells in each resample of whole groups, (RESAMPLES, ...)."""
        by_group = self.sums(values)
        rng = np.random.default_rng(0)
        parts = []
        # In parts: thousands of groups by thousands of resamples fill the memory.
        for start in range(0, RESAMPLES, 200):
            size = min(200, RESAMPLES - start)
            times = rng.multinomial(self.count, np.full(self.count, 1 / self.count), size)
            parts.append(np.tensordot(times, by_group, 1))
        return np.concatenate(parts)

    def spread(
        self, values: np.ndarray, figure: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[float, float] | None:
        """Return 95 % bootstrap interval of a figure; None where it has no width or no resample a
        figure.

        Args:
            values: (N, ...) counts of each cell.
            figure: from summed counts (RESAMPLES, ...) to figures (RESAMPLES,), NaN where a
                resample has none.
        """
        if not self.count:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            figures = figure(self.bootstrap_sums(values))
        if np.isnan(figures).all():
            return None
        low, high = np.nanpercentile(figures, (2.5, 97.5))
        # Where all groups are alike a bootstrap has no width: that is no knowledge.
        return (float(low), float(high)) if high > low else None

    def share(self, hits: np.ndarray, of: np.ndarray) -> tuple[float, float]:
        """Return 95 % interval of a proportion: Wilson's, widened to that of a bootstrap over the
        groups.

        With few errors a bootstrap alone is too narrow. Where all cells of the proportion are hits,
        or none are, or all belong to one group, it has no width: nothing says then how much the
        cells of a group have in common, and Wilson's interval is for as many trials as there are
        groups.

        Args:
            hits: (N,) which cells count as hits.
            of: (N,) which cells the proportion is of.
        """
        good, total = int((hits & of).sum()), int(of.sum())
        groups = len(np.unique(self.index[of]))
        if groups == total:
            return wilson(good, total)
        if good in (0, total) or groups == 1:
            return wilson(groups * good / total, groups)
        low, high = wilson(good, total)
        counts = np.stack([hits & of, of], 1).astype(float)
        spread = self.spread(counts, lambda drawn: drawn[:, 0] / drawn[:, 1])
        return (low, high) if spread is None else (min(low, spread[0]), max(high, spread[1]))


_LEVEL = 0.95


def clopper_pearson(count: int, total: int, level: float = _LEVEL) -> tuple[float, float]:
    """Return the exact interval of a binomial share (Clopper and Pearson 1934), as fractions 0..1.

    Args:
        count: cells of the type, 0..total.
        total: cells counted, at least 1.
        level: confidence, 0..1.

    Raises:
        ValueError: the counts are no counts.
    """
    if not 0 <= count <= total or total < 1:
        raise ValueError(f"{count} of {total} is no share of counted cells")
    tail = (1 - level) / 2
    low = beta_quantile(count, total - count + 1, tail) if count else 0.0
    high = beta_quantile(count + 1, total - count, 1 - tail) if count < total else 1.0
    return low, high
