"""Two plots a cell type: ours against manual, and the differences."""

from __future__ import annotations

import numpy as np

from wbcdet.evaluation.agreement.compare import ClassAgreement
from wbcdet.evaluation.agreement.method_comparison import binomial_limit
from wbcdet.evaluation.svg_plot import BLUE, GREY, ORANGE, YELLOW, Plot, svg
from wbcdet.utils.text import signed


def plot_class(compared: ClassAgreement) -> bytes:
    """Plot one cell type as SVG: scatter with the Passing-Bablok line, and Bland-Altman plot."""
    plots = [_scatter(compared), _bland_altman(compared)]
    return svg(plots, f"{compared.label}: wbcdet against manual").encode()


def _scatter(compared: ClassAgreement) -> Plot:
    manual, ours = _arrays(compared)
    most = max(5.0, 1.08 * float(max(manual.max(), ours.max())))
    ends = np.array([0.0, most])
    # As wide as high within its axes, so that equal counts lie on the diagonal.
    plot = Plot((0, most), (0, most), xlabel="manual, %", ylabel="wbcdet, %", size=(304, 310))
    plot.line(ends, ends, GREY, dash="2 3", width=1, label="equal")
    if compared.line is not None:
        fitted = compared.line.intercept + compared.line.slope * ends
        plot.line(ends, fitted, ORANGE, label="Passing-Bablok")
    plot.points(manual, ours, BLUE)
    plot.legend()
    return plot


def _bland_altman(compared: ClassAgreement) -> Plot:
    manual, ours = _arrays(compared)
    mean, difference = (manual + ours) / 2, ours - manual
    most = max(5.0, 1.08 * float(mean.max()))
    shares = np.linspace(0.0, min(100.0, most), 200)
    limit = np.zeros_like(shares)
    if compared.limited:
        # One band for all groups, at their median numbers of cells.
        cells = [
            np.full_like(shares, np.median([getattr(pair, side) for pair in compared.pairs]))
            for side in ("manual_cells", "our_cells")
        ]
        limit = binomial_limit(shares, shares, *cells)
    differences = compared.differences
    levels = [
        value for value in (differences.limit_low, differences.limit_high) if value is not None
    ]
    values = np.concatenate([difference, limit, -limit, levels, [differences.bias, -1.0, 1.0]])
    low, high = float(values.min()), float(values.max())
    room = high - low
    plot = Plot(
        (0, most),
        (low - 0.05 * room, high + 0.37 * room),  # the legend lies above the data
        xlabel="mean of both, %",
        ylabel="wbcdet − manual, points",
        size=(400, 310),
    )
    if compared.limited:
        plot.band(shares, -limit, limit, YELLOW, label="binomial 95 %")
    plot.level(0, GREY, dash="2 3")
    plot.level(differences.bias, ORANGE, label=f"mean {signed(differences.bias)}")
    for number, level in enumerate(levels):
        name = f"limits {signed(levels[0])} to {signed(levels[1])}"
        plot.level(level, ORANGE, dash="5 4", label="" if number else name)
    plot.points(mean, difference, BLUE)
    plot.legend()
    return plot


def _arrays(compared: ClassAgreement) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([pair.manual for pair in compared.pairs]),
        np.array([pair.ours for pair in compared.pairs]),
    )
