"""The statistics of the agreement against published figures and independent computation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
import pytest

from wbcdet.evaluation.agreement.method_comparison import (
    binomial_limit,
    bland_altman,
    passing_bablok,
)
from wbcdet.utils.kappa import cohen_kappa

#: Fifty pairs of the test case "TD15" of the R package mcr 1.3 (unit tests, runit.mcPaBa.R).
TD15 = np.fromstring(
    """
    18.654599109456 15.9116325401596 17.0610823229594 17.9423397346645 37.8076135618173
    58.1755698848695 51.1413961380522 49.0779434653576 103.985667589592 113.758268975683
    34.8605133072495 35.5525894416901 35.1146708951621 39.4088027819502 16.005996343635
    15.0167183931276 68.5890100912778 65.8450151148211 62.1699013684068 62.6667874119841
    18.1641040703209 15.8020862675435 94.2563842860796 83.9418317622942 31.67278631354
    33.5524291118479 18.8059773112482 18.5775089262923 67.9347403613216 73.872592767028
    18.260239156489 21.600509295785 87.1550332248675 93.4269960011703 98.5843421029197
    89.8278248717022 20.3747255514258 20.130360709819 4.20199417418543 4.94910345310486
    27.7662087802102 23.1566064984898 16.6797331091928 17.336339530418 52.3335230459024
    56.2280624424048 1.25970439645986 1.70969794990576 2.55285163008995 3.40128933880261
    71.1422300479687 87.5197563754811 99.3428902581639 67.3466761237754 40.6747911609727
    35.6882873995953 82.5924169862313 90.4041198524321 64.7062991090824 62.2603160684644
    1.46968233573658 1.52718831259026 83.5389530283147 84.5412183739216 19.8368624090347
    19.0003036715583 44.339918470983 51.0624306952549 19.2879672940529 12.0291575952956
    86.5484515948081 55.3970074896586 79.8461255550168 96.7628055558332 66.1164680506251
    69.6940969840453 32.8785828616434 29.1380990869214 85.634465208222 85.4597993067675
    15.772867025856 18.1508502210932 102.866851788539 92.1385811560549 16.4442973704484
    17.012175857013 23.0916021823352 23.0242126162252 83.3011761592876 95.7510267835212
    9.47357732139885 8.70125548126123 15.4574423263928 13.4955271740672 67.0394769874472
    45.8284262464427 32.7239965276836 31.1175741976669 71.7361088013058 69.5490311988868
    """,
    sep=" ",
).reshape(-1, 2)

#: Bland and Altman's peak flow meters, Lancet 1986: first reading of each, litres a minute.
WRIGHT = "494 395 516 434 476 557 413 442 650 433 417 656 267 478 178 423 427"
MINI = "512 430 520 428 500 600 364 380 658 445 432 626 260 477 259 350 451"


def test_passing_bablok_against_the_reference_program() -> None:
    line = passing_bablok(TD15[:, 0], TD15[:, 1])
    assert line is not None
    # Slope and intercept by the program Calanas, as listed in mcr's tests.
    assert line.slope == pytest.approx(1.02058852149448, abs=1e-12)
    assert line.intercept == pytest.approx(-0.639752984809869, abs=1e-11)
    # mcr takes limits between two ranks where the paper rounds to one: 0.9585 to 1.0923 there.
    assert (line.slope_low, line.slope_high) == pytest.approx((0.95849, 1.09232), abs=5e-4)
    assert (line.intercept_low, line.intercept_high) == pytest.approx((-2.333, 0.841), abs=0.02)


def brute_force(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Slope and limits written down from Passing and Bablok 1983, one pair at a time."""
    slopes, below = [], 0
    for i in range(len(x)):
        for j in range(i + 1, len(x)):
            run, rise = x[i] - x[j], y[i] - y[j]
            if run == 0 and rise == 0:
                continue
            slope = rise / run if run else float("inf")
            if slope != -1:
                slopes.append(slope)
                below += slope < -1
    slopes.sort()
    n, count = len(slopes), len(x)
    if n % 2:
        middle = slopes[(n + 1) // 2 + below - 1]
    else:
        middle = (slopes[n // 2 + below - 1] + slopes[n // 2 + below]) / 2
    reach = 1.96 * (count * (count - 1) * (2 * count + 5) / 18) ** 0.5
    first = round((n - reach) / 2)
    last = n - first + 1
    return middle, slopes[first + below - 1], slopes[last + below - 1]


@pytest.mark.parametrize("seed", range(8))
def test_passing_bablok_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, 25 + seed).astype(float)
    y = x + rng.integers(-3, 4, len(x))
    line = passing_bablok(x, y)
    assert line is not None
    assert (line.slope, line.slope_low, line.slope_high) == pytest.approx(brute_force(x, y))
    order = rng.permutation(len(x))
    assert passing_bablok(x[order], y[order]) == pytest.approx(line)


def test_passing_bablok_does_not_mind_which_method_comes_first() -> None:
    # An odd number of slopes, so that the median is one of them.
    x, y = TD15[:46].T
    line, turned = passing_bablok(x, y), passing_bablok(y, x)
    assert line is not None and turned is not None
    assert line.slope == pytest.approx(1 / turned.slope)
    assert line.slope_low == pytest.approx(1 / turned.slope_high)


@pytest.mark.parametrize("seed", range(5))
def test_passing_bablok_of_shares_that_are_rounded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.binomial(100, 0.3, (2, 30)).astype(float)
    # As 7 of 98 cells and 14 of 196 are, among the types that both sides count.
    noise = rng.uniform(-1e-13, 1e-13, counts.shape)
    exact, rounded = passing_bablok(*counts), passing_bablok(*(counts + noise))
    assert exact is not None and rounded is not None
    assert astuple(rounded) == pytest.approx(astuple(exact), abs=1e-9)


def test_passing_bablok_says_nothing_about_too_little() -> None:
    same = np.full(20, 3.0)
    for x, y in ((TD15[:4, 0], TD15[:4, 1]), (same, same), (same[:1], same[:1])):
        assert passing_bablok(x, y) is None
    exact = passing_bablok(np.arange(9.0), 2 * np.arange(9.0) + 1)
    assert exact is not None and (exact.slope, exact.intercept) == (2, 1)
    assert exact.slope_low == exact.slope_high == 2


def test_bland_altman_against_their_paper() -> None:
    wright, mini = (np.array(text.split(), dtype=float) for text in (WRIGHT, MINI))
    found = bland_altman(mini, wright)
    # Their paper: mean difference -2.1, SD 38.8, 95 % interval of the mean -22.0 to 17.8.
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert (found.bias_low, found.bias_high) == pytest.approx((-22.0, 17.8), abs=0.1)
    # 1.96 standard deviations; the paper rounds to 2 (-79.7 and 75.5).
    assert found.limit_high is not None and found.limit_low is not None
    assert (found.limit_high - found.bias) / 1.96 == pytest.approx(38.8, abs=0.05)
    single = bland_altman(np.array([3.0]), np.array([5.0]))
    assert single.bias == 2 and single.limit_low is None and single.bias_low is None
    # As of a type that is on no slide: 0.0 to 0.0 would say that it never differs.
    same = bland_altman(np.array([0.1, 0.3, 0.7]), np.array([0.3, 0.5, 0.9]))
    assert same.bias == pytest.approx(0.2) and same.limit_low is None and same.bias_low is None


def test_binomial_limit() -> None:
    # 95 % of chance differences of two counts of one smear lie within.
    rng = np.random.default_rng(1)
    for share in (0.05, 0.3, 0.6):
        manual, ours = (100 * rng.binomial(200, share, 20_000) / 200 for _ in range(2))
        cells = np.full(20_000, 200.0)
        inside = np.abs(ours - manual) <= binomial_limit(manual, ours, cells, cells) + 1e-9
        assert 0.93 < inside.mean() < 0.97
    zero = np.zeros(1)
    assert binomial_limit(zero, zero, zero + 100, zero + 100) == 0
    [by_hand] = binomial_limit(zero + 50, zero + 60, zero + 100, zero + 400)
    assert by_hand == pytest.approx(196 * (0.58 * 0.42 * (1 / 100 + 1 / 400)) ** 0.5, rel=1e-4)


def test_kappa_against_statsmodels() -> None:
    table = [
        [50, 2, 1, 0, 3],
        [3, 40, 6, 1, 2],
        [0, 5, 20, 2, 4],
        [1, 0, 2, 30, 3],
        [2, 1, 3, 1, 25],
    ]
    weights = np.eye(5)
    weights[4, :4] = weights[:4, 4] = 0.5
    # statsmodels 0.15.0, cohens_kappa(table) and with weights=1-weights: kappa and its interval.
    for kappa, expected in (
        (cohen_kappa(table), (0.7429103705237, 0.6741131829505, 0.8117075580969)),
        (cohen_kappa(table, weights), (0.7585204328864, 0.6893633948585, 0.8276774709144)),
    ):
        assert kappa is not None
        assert kappa.interval is not None
        assert (kappa.value, *kappa.interval) == pytest.approx(expected, abs=1e-10)
    assert cohen_kappa([[0, 0], [0, 0]]) is None and cohen_kappa([[9, 0], [0, 0]]) is None
    perfect = cohen_kappa([[4, 0], [0, 5]])
    assert perfect is not None and perfect.value == 1 and perfect.interval is None
    one = cohen_kappa([[0, 1], [0, 0]])
    assert one is not None and one.value == 0 and one.interval is None
