"""Plots that are drawn without a library: where things lie, and that a browser can read them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from wbcdet.evaluation.svg_plot import BLUE, Plot, _ticks, svg

SVG = "{http://www.w3.org/2000/svg}"


def drawn(plot: Plot, kind: str, label: str = "a plot") -> list[dict[str, str]]:
    """Attributes of all parts of a kind that a plot has, as a reader of XML sees them."""
    root = ElementTree.fromstring(svg([plot], label))
    return [dict(node.attrib) for node in root.iter(f"{SVG}{kind}")]


def plot() -> Plot:
    """Return axes whose inside is 240 x 174 px, from (48, 26)."""
    return Plot((0, 10), (0, 100), xlabel="a < b", ylabel="c & d")


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1.03, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 5, [0, 1, 2, 3, 4, 5]),
        (0, 103, [0, 20, 40, 60, 80, 100]),
        (-12.5, 31, [-10, 0, 10, 20, 30]),
        (-0.003, 0.004, [-0.002, 0, 0.002, 0.004]),
        (99.9, 100.2, [99.9, 99.95, 100, 100.05, 100.1, 100.15, 100.2]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, ticks: list[float]) -> None:
    assert _ticks(low, high) == pytest.approx(ticks)


def test_points_lie_where_their_values_say() -> None:
    axes = plot()
    axes.points([0, 5, 10], [0, 50, 100], BLUE)
    circles = drawn(axes, "circle")
    assert [(float(c["cx"]), float(c["cy"])) for c in circles] == [(48, 200), (168, 113), (288, 26)]


def test_a_line_that_leaves_the_axes_is_cut_where_it_crosses_them() -> None:
    axes = plot()
    axes.line([0, 10], [-50, 150], BLUE)
    [line] = drawn(axes, "polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line["points"].split()]
    assert points == [(48, 200), (108, 200), (228, 26), (288, 26)]


def test_one_value_and_no_value() -> None:
    axes = plot()
    axes.line([], [], BLUE)
    axes.points([], [], BLUE)
    axes.bars([40], BLUE)
    axes.errors([0], [30], [50], BLUE)
    assert [line["points"] for line in drawn(axes, "polyline")] == [""]
    [bar] = drawn(axes, "rect")
    assert (float(bar["y"]), float(bar["height"])) == (pytest.approx(130.4), pytest.approx(69.6))


def test_words_are_escaped_and_the_whole_is_named() -> None:
    axes = plot()
    axes.level(50, BLUE, label="<script>")
    axes.legend()
    text = svg([axes, plot()], 'says "x" & <y>')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'says "x" & <y>' and root.get("width") == "600"
    words = [node.text for node in root.iter(f"{SVG}text")]
    assert {"a < b", "c & d", "<script>"} <= set(words) and "<script>" not in text
