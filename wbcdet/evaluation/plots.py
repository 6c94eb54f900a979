"""Plots of an evaluation as SVG text, to be set into a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from wbcdet.evaluation.figures import Calibration, FindingFigures, RiskCoverage, SizeFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, as in annotated pictures.
_BLUE, _ORANGE, _GREY, _LIGHT = "#0072B2", "#D55E00", "#57606a", "#d0d7de"
_INK = "#1b1f24"
_STYLE: Any = {
    "font.size": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "wbcdet",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


def reliability(calibration: Calibration) -> str:
    """Plot how often a label is right, by the classifier's score."""

    def draw(axes: Axes) -> None:
        bins = calibration["bins"]
        score, right = ([b[key] for b in bins] for key in ("score", "right"))
        low = [max(0.0, b["right"] - b["right_ci"][0]) for b in bins]
        high = [max(0.0, b["right_ci"][1] - b["right"]) for b in bins]
        axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1)
        axes.errorbar(
            score, right, [low, high], fmt="o", markersize=4, color=_BLUE, elinewidth=1, capsize=2
        )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="mean score", ylabel="share right")

    return _svg("Reliability", draw)


def risk_coverage(figures: RiskCoverage) -> str:
    """Plot the share of wrong names against the share of cells named, with the threshold in use."""

    def draw(axes: Axes) -> None:
        points, used = figures["points"], figures["at_threshold"]
        risk = [100 * p["risk"] for p in points]
        axes.plot([100 * p["coverage"] for p in points], risk, color=_BLUE, linewidth=1.6)
        if used["risk"] is not None:
            axes.plot(100 * used["coverage"], 100 * used["risk"], "o", color=_ORANGE, markersize=6)
        top = max(5.0, 1.15 * max(risk))
        axes.set(xlim=(0, 102), ylim=(-top / 40, top))
        axes.set(xlabel="cells named, %", ylabel="of these wrong, %")

    return _svg("Risk against coverage", draw)


def precision_recall(finding: FindingFigures) -> str:
    """Plot precision against recall of the detector, with the threshold in use."""

    def draw(axes: Axes) -> None:
        curve = finding["curve"]
        recall, precision = ([p[key] for p in curve] for key in ("recall", "precision"))
        axes.plot(recall, precision, color=_BLUE, linewidth=1.6)
        axes.plot(finding["recall"], finding["precision"], "o", color=_ORANGE, markersize=6)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="recall", ylabel="precision")

    return _svg("Precision against recall", draw)


def recall_by_size(rows: Sequence[SizeFigures]) -> str:
    """Plot the recall of the detector by the cell's size in its picture."""

    def draw(axes: Axes) -> None:
        names = [size_name(row) for row in rows]
        recall = [100 * row["recall"] for row in rows]
        low = [max(0.0, r - 100 * row["recall_ci"][0]) for r, row in zip(recall, rows, strict=True)]
        high = [
            max(0.0, 100 * row["recall_ci"][1] - r) for r, row in zip(recall, rows, strict=True)
        ]
        axes.bar(names, recall, color=_BLUE, width=0.6)
        axes.errorbar(
            names, recall, [low, high], fmt="none", color="#1b1f24", elinewidth=1, capsize=3
        )
        for place, row in enumerate(rows):
            axes.text(place, 3, str(row["cells"]), ha="center", color="white", fontsize=8)
        axes.set(ylim=(0, 103), xlabel="cell's part of the picture's longer side, %")
        axes.set(ylabel="found, %", xlim=(-0.7, max(2, len(rows)) - 0.3))

    return _svg("Found, by size", draw)


def size_name(row: SizeFigures) -> str:
    """Return a range of sizes as text, in percent."""
    return f"{100 * row['from']:g}–{100 * row['to']:g}"


def _svg(title: str, draw: Any) -> str:
    # Figures of their own need no display and leave pyplot's settings alone.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure: Figure = Figure(figsize=(3.1, 2.5), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(color=_LIGHT, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        axes.set_title(title)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()[text.getvalue().index("<svg") :]
    # What is left of the metadata names addresses on the web.
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
