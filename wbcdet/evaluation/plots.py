"""Plots of an evaluation as SVG text, to be set into a page."""

from __future__ import annotations

from collections.abc import Sequence

from wbcdet.evaluation.figures import Calibration, FindingFigures, RiskCoverage, SizeFigures
from wbcdet.evaluation.svg_plot import BLUE, GREY, INK, ORANGE, Plot, svg


def reliability(calibration: Calibration) -> str:
    """Plot how often a label is right, by the classifier's score."""
    title, bins = "Reliability", calibration["bins"]
    plot = Plot((0, 1.02), (0, 1.03), xlabel="mean score", ylabel="share right", title=title)
    plot.line([0, 1], [0, 1], GREY, dash="2 3", width=1)
    score, right = [b["score"] for b in bins], [b["right"] for b in bins]
    low, high = ([b["right_ci"][end] for b in bins] for end in (0, 1))
    plot.errors(score, low, high, BLUE)
    plot.points(score, right, BLUE)
    return svg([plot], title)


def risk_coverage(figures: RiskCoverage) -> str:
    """Plot the share of wrong names against the share of cells named, with the threshold in use."""
    title, points, used = "Risk against coverage", figures["points"], figures["at_threshold"]
    risk = [100 * p["risk"] for p in points]
    top = max(5.0, 1.15 * max(risk))
    plot = Plot(
        (0, 102), (-top / 40, top), xlabel="cells named, %", ylabel="of these wrong, %", title=title
    )
    plot.line([100 * p["coverage"] for p in points], risk, BLUE)
    if used["risk"] is not None:
        plot.points([100 * used["coverage"]], [100 * used["risk"]], ORANGE, 4)
    return svg([plot], title)


def precision_recall(finding: FindingFigures) -> str:
    """Plot precision against recall of the detector, with the threshold in use."""
    title, curve = "Precision against recall", finding["curve"]
    plot = Plot((0, 1.02), (0, 1.03), xlabel="recall", ylabel="precision", title=title)
    plot.line([p["recall"] for p in curve], [p["precision"] for p in curve], BLUE)
    plot.points([finding["recall"]], [finding["precision"]], ORANGE, 4)
    return svg([plot], title)


def recall_by_size(rows: Sequence[SizeFigures]) -> str:
    """Plot the recall of the detector by the cell's size in its picture."""
    title = "Found, by size"
    plot = Plot(
        (-0.7, max(2, len(rows)) - 0.3),
        (0, 103),
        xlabel="cell's part of the picture's longer side, %",
        ylabel="found, %",
        title=title,
        names=[size_name(row) for row in rows],
    )
    plot.bars([100 * row["recall"] for row in rows], BLUE)
    low, high = ([100 * row["recall_ci"][end] for row in rows] for end in (0, 1))
    plot.errors(range(len(rows)), low, high, INK)
    for place, row in enumerate(rows):
        plot.note(str(row["cells"]), place, 3, "white")
    return svg([plot], title)


def size_name(row: SizeFigures) -> str:
    """Return a range of sizes as text, in percent."""
    return f"{100 * row['from']:g}–{100 * row['to']:g}"
