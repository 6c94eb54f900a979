"""Statistics of a method comparison; arrays in, plain numbers out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wbcdet.utils.beta_quantile import t_limit
from wbcdet.utils.kappa import Z

Floats = npt.NDArray[np.float64]

#: A spread or difference below this, in the unit of the data, comes from rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Differences:
    """Bland and Altman's description of ours minus manual, in the unit of the data.

    Attributes:
        bias: mean difference.
        bias_low, bias_high: its 95 % interval; None with fewer than two pairs, or where all differ
            by the same.
        limit_low, limit_high: 95 % limits of agreement, bias -+ 1.96 standard deviations; None
            there too.
    """

    bias: float
    bias_low: float | None
    bias_high: float | None
    limit_low: float | None
    limit_high: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """A Passing-Bablok line, ours = intercept + slope x manual, with 95 % intervals."""

    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    intercept_low: float
    intercept_high: float


def bland_altman(manual: Floats, ours: Floats) -> Differences:
    """Compute bias and limits of agreement (Bland and Altman 1986).

    Args:
        manual, ours: (N,) pairs, N at least 1.
    """
    difference = ours - manual
    bias = float(difference.mean())
    count = len(difference)
    if count < 2:
        return Differences(bias, None, None, None, None)
    spread = float(difference.std(ddof=1))
    if spread < _ROUNDING:  # as of a type that is on no slide: such an interval tells nothing
        return Differences(bias, None, None, None, None)
    half = t_limit(count - 1) * spread / math.sqrt(count)
    return Differences(bias, bias - half, bias + half, bias - Z * spread, bias + Z * spread)


def binomial_limit(manual: Floats, ours: Floats, manual_cells: Floats, our_cells: Floats) -> Floats:
    """Compute how far two counts of one smear may lie apart by chance, 95 %.

    The standard error of a difference of two binomial shares with the pooled share of both.

    Args:
        manual, ours: (N,) shares in percent.
        manual_cells, our_cells: (N,) cells that they are of, more than 0.

    Returns:
        (N,) percentage points; the difference may be as much to either side.
    """
    pooled = (manual * manual_cells + ours * our_cells) / (manual_cells + our_cells) / 100
    variance = pooled * (1 - pooled) * (1 / manual_cells + 1 / our_cells)
    return 100 * Z * np.sqrt(np.clip(variance, 0, None))


def passing_bablok(manual: Floats, ours: Floats) -> Line | None:
    """Return the line of Passing and Bablok (1983), made for errors in both methods and for
    outliers.

    Args:
        manual, ours: (N,) pairs.

    Returns:
        None where there are too few different pairs for an interval, or the line is upright.
    """
    count = len(manual)
    first, second = np.triu_indices(count, 1)
    run, rise = manual[first] - manual[second], ours[first] - ours[second]
    # Equal shares of unequal numbers of cells differ in their last digit: ranks would follow it.
    run[np.abs(run) < _ROUNDING], rise[np.abs(rise) < _ROUNDING] = 0, 0
    differ = (run != 0) | (rise != 0)
    run, rise = run[differ], rise[differ]
    slopes = np.copysign(np.inf, rise)
    np.divide(rise, run, out=slopes, where=run != 0)
    slopes = np.sort(slopes[np.abs(run + rise) >= _ROUNDING])  # a slope of -1 is on neither side
    total = len(slopes)
    # Slopes below -1 are taken to belong to the other end: then the two methods may change places.
    offset = int((slopes < -1).sum())
    reach = Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    lower = round((total - reach) / 2)
    upper = total - lower + 1
    if lower < 1 or upper + offset > total:
        return None
    middle = (total - 1) / 2 + offset
    pair = slopes[[math.floor(middle), math.ceil(middle)]]
    low, high = slopes[lower + offset - 1], slopes[upper + offset - 1]
    if not np.isfinite([*pair, low, high]).all():
        return None
    slope = float(pair.mean())
    return Line(
        slope,
        float(low),
        float(high),
        float(np.median(ours - slope * manual)),
        float(np.median(ours - high * manual)),
        float(np.median(ours - low * manual)),
    )
