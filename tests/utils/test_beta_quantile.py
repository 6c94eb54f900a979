"""Quantiles of the beta distribution and limits of Student's, as SciPy computes them."""

from __future__ import annotations

import pytest
from scipy.special import betaincinv, stdtrit

from wbcdet.utils.beta_quantile import beta_quantile, t_limit


@pytest.mark.parametrize("total", [1, 2, 3, 10, 100, 1000, 100_000])
def test_they_are_those_of_scipy(total: int) -> None:
    for count in {0, 1, 2, total // 3, total // 2, total - 1, total}:
        for level in (0.5, 0.95, 0.99):
            tail = (1 - level) / 2
            if 0 < count <= total:
                expected = betaincinv(count, total - count + 1, tail)
                assert beta_quantile(count, total - count + 1, tail) == pytest.approx(expected)
            if 0 <= count < total:
                expected = betaincinv(count + 1, total - count, 1 - tail)
                assert beta_quantile(count + 1, total - count, 1 - tail) == pytest.approx(expected)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 30, 399, 100_000])
def test_limits_of_student_are_those_of_scipy(freedom: int, confidence: float) -> None:
    expected = stdtrit(freedom, (1 + confidence) / 2)
    assert t_limit(freedom, confidence) == pytest.approx(expected, rel=1e-9)
