"""Quantiles of the beta distribution, which exact intervals of shares are made of.

``scipy.special.betaincinv`` says the same (tests compare them). SciPy would be a fifth of what an
installation brings, and its import takes longer than all else that a run over one picture loads.
"""

from __future__ import annotations

from functools import lru_cache
from math import exp, lgamma, log, log1p, sqrt

#: Relative change at which iterations end, and the most of them.
_EXACT, _MOST_STEPS, _MOST_TERMS = 1e-15, 200, 10_000


@lru_cache(maxsize=4096)
def beta_quantile(a: float, b: float, probability: float) -> float:
    """Return the x in 0..1 below which this part of the distribution lies.

    Args:
        a, b: shape, above 0.
        probability: between 0 and 1.
    """
    low, high, x = 0.0, 1.0, a / (a + b)
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    for _ in range(_MOST_STEPS):
        gap = _below(a, b, x, scale) - probability
        low, high = (low, x) if gap > 0 else (x, high)
        # Newton's step; halved where it leaves what is left.
        density = exp(scale + (a - 1) * log(x) + (b - 1) * log1p(-x))
        step = x - gap / density if density > 0 else low
        following = step if low < step < high else (low + high) / 2
        if abs(following - x) <= _EXACT * x:
            return following
        x = following
    return x


def t_limit(freedom: int, confidence: float = 0.95) -> float:
    """Return the t between whose two signs Student's distribution has this part.

    Args:
        freedom: degrees of freedom, at least 1.
        confidence: between 0 and 1.
    """
    x = beta_quantile(freedom / 2, 0.5, 1 - confidence)
    return sqrt(freedom * (1 - x) / x)


def _below(a: float, b: float, x: float, scale: float) -> float:
    """Return the part of the distribution below x (the regularised incomplete beta function)."""
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _below(b, a, 1 - x, scale)
    return exp(scale + a * log(x) + b * log1p(-x)) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, from its front (Lentz)."""
    value = numerator = 1.0
    denominator = 0.0
    for number in range(1, _MOST_TERMS):
        m, odd = divmod(number, 2)
        if odd:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        denominator = 1 / (1 + term * denominator)
        numerator = 1 + term / numerator
        change = numerator * denominator
        value *= change
        if abs(change - 1) < _EXACT:
            break
    return value
