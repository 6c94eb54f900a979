"""Two plots a cell type: ours against manual, and the differences."""

from __future__ import annotations

import io

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wbcdet.evaluation.agreement.compare import ClassAgreement
from wbcdet.evaluation.agreement.method_comparison import binomial_limit

#: Okabe and Ito's palette, as in ``results.palette``: told apart with every form of colour
#: blindness.
_POINT, _LINE, _BAND, _GREY = "#0072B2", "#D55E00", "#E69F00", "#555555"


def plot_class(compared: ClassAgreement) -> bytes:
    """Plot one cell type as SVG: scatter with the Passing-Bablok line, and Bland-Altman plot."""
    # Names of parts are drawn from a fixed salt: the same data give the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "wbcdet", "font.size": 9}):
        figure = Figure(figsize=(7.2, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2)
        _scatter(left, compared)
        _bland_altman(right, compared)
        data = io.BytesIO()
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return data.getvalue()


def _scatter(axes: Axes, compared: ClassAgreement) -> None:
    manual, ours = _arrays(compared)
    most = max(5.0, 1.08 * float(max(manual.max(), ours.max())))
    ends = np.array([0.0, most])
    axes.plot(ends, ends, color=_GREY, lw=1, ls=":", label="equal")
    if compared.line is not None:
        slope, intercept = compared.line.slope, compared.line.intercept
        axes.plot(ends, intercept + slope * ends, color=_LINE, lw=1.4, label="Passing-Bablok")
    _points(axes, manual, ours)
    axes.set(xlim=(0, most), ylim=(0, most), xlabel="manual, %", ylabel="wbcdet, %")
    axes.set_aspect("equal")
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    _clean(axes)


def _bland_altman(axes: Axes, compared: ClassAgreement) -> None:
    manual, ours = _arrays(compared)
    mean, difference = (manual + ours) / 2, ours - manual
    most = max(5.0, 1.08 * float(mean.max()))
    if compared.limited:
        # One band for all groups, at their median numbers of cells.
        shares = np.linspace(0.0, min(100.0, most), 200)
        cells = [
            np.full_like(shares, np.median([getattr(pair, side) for pair in compared.pairs]))
            for side in ("manual_cells", "our_cells")
        ]
        limit = binomial_limit(shares, shares, *cells)
        axes.fill_between(
            shares, -limit, limit, color=_BAND, alpha=0.25, lw=0, label="binomial 95 %"
        )
    axes.axhline(0, color=_GREY, lw=1, ls=":")
    found = compared.differences
    axes.axhline(found.bias, color=_LINE, lw=1.4, label=f"mean {found.bias:+.1f}")
    if found.limit_low is not None and found.limit_high is not None:
        name = f"limits {found.limit_low:+.1f} to {found.limit_high:+.1f}"
        axes.axhline(found.limit_low, color=_LINE, lw=1.1, ls="--", label=name)
        axes.axhline(found.limit_high, color=_LINE, lw=1.1, ls="--")
    _points(axes, mean, difference)
    axes.set(xlim=(0, most), xlabel="mean of both, %", ylabel="wbcdet - manual, points")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.32 * (high - low))  # room for the legend
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    _clean(axes)


def _points(axes: Axes, across: np.ndarray, up: np.ndarray) -> None:
    # Not clipped: a share of 0 % sits on the axis and is seen whole.
    axes.plot(across, up, "o", color=_POINT, ms=4, alpha=0.75, mec="white", mew=0.4, clip_on=False)


def _arrays(compared: ClassAgreement) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.array([pair.manual for pair in compared.pairs]),
        np.array([pair.ours for pair in compared.pairs]),
    )


def _clean(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", lw=0.5)
    axes.set_axisbelow(True)
