"""Plots as SVG: axes with points, lines, bands and bars, small enough to be read whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

#: Okabe and Ito's palette, as in ``results.palette``: told apart with every form of colour
#: blindness.
BLUE, ORANGE, YELLOW, GREY = "#0072B2", "#D55E00", "#E69F00", "#57606a"
INK = "#1b1f24"

_GRID = "#d8dee4"
_FONT = 11
#: Room for the numbers and names of the axes, px.
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 26, 40

Range = tuple[float, float]


class Plot:
    """One pair of axes.

    Args:
        x, y: the values at both ends of each axis.
        xlabel, ylabel: names of the axes.
        title: above them.
        size: width and height, px.
        names: of the places 0, 1, ... of the horizontal axis, in place of its numbers.
    """

    def __init__(
        self,
        x: Range,
        y: Range,
        *,
        xlabel: str,
        ylabel: str,
        title: str = "",
        size: tuple[int, int] = (300, 240),
        names: Sequence[str] = (),
    ) -> None:
        self.x, self.y, self.size = x, y, size
        self.group = ElementTree.Element("g")
        self._legend: list[tuple[str, dict[str, str]]] = []
        left, right, top, bottom = _LEFT, size[0] - _RIGHT, _TOP, size[1] - _BOTTOM
        numbers = {value: _number(value) for value in _ticks(*x)}
        for place, label in enumerate(names) if names else numbers.items():
            if not names:
                self._add("line", x1=self._x(place), x2=self._x(place), y1=top, y2=bottom,
                          stroke=_GRID)  # fmt: skip
            self.text(label, self._x(place), bottom + 15)
        for value in _ticks(*y):
            self._add("line", x1=left, x2=right, y1=self._y(value), y2=self._y(value), stroke=_GRID)
            self.text(_number(value), left - 5, self._y(value) + 4, anchor="end")
        axes = f"M{left} {top}V{bottom}H{right}"
        self._add("path", d=axes, fill="none", stroke=GREY)
        self.text(xlabel, (left + right) / 2, size[1] - 8, colour=INK)
        middle = (top + bottom) / 2
        self.text(ylabel, 12, middle, colour=INK, transform=f"rotate(-90 12 {_px(middle)})")
        if title:
            self.text(title, left, 15, anchor="start", colour=INK, font_weight="bold")

    def line(
        self, x: Iterable[float], y: Iterable[float], colour: str, *, dash: str = "",
        width: float = 1.6, label: str = "",
    ) -> None:  # fmt: skip
        """Draw a line through points; what reaches beyond the axes is cut off."""
        points = self._within([(self._x(a), self._y(b)) for a, b in zip(x, y, strict=True)])
        style = {"stroke": colour, "stroke-width": f"{width:g}"}
        if dash:
            style["stroke-dasharray"] = dash
        self._add("polyline", points=_points(points), fill="none", **style)
        self._name(label, style)

    def level(self, y: float, colour: str, *, dash: str = "", label: str = "") -> None:
        """Draw a level line across the axes."""
        self.line(self.x, (y, y), colour, dash=dash, width=1.3, label=label)

    def points(
        self, x: Iterable[float], y: Iterable[float], colour: str, radius: float = 3
    ) -> None:
        """Draw points; one that sits on an axis is seen whole."""
        for across, up in zip(x, y, strict=True):
            self._add("circle", cx=self._x(across), cy=self._y(up), r=radius, fill=colour,
                      fill_opacity=0.8, stroke="white", stroke_width=0.5)  # fmt: skip

    def band(
        self, x: Iterable[float], low: Iterable[float], high: Iterable[float], colour: str,
        label: str = "",
    ) -> None:  # fmt: skip
        """Fill the room between two lines."""
        ends = [(self._x(a), self._y(b), self._y(c)) for a, b, c in zip(x, low, high, strict=True)]
        there, back = [(a, c) for a, _, c in ends], [(a, b) for a, b, _ in ends]
        style = {"fill": colour, "fill-opacity": "0.25"}
        self._add("polygon", points=_points(self._within(there + back[::-1])), **style)
        self._name(label, style)

    def errors(self, x: Sequence[float], low: Sequence[float], high: Sequence[float],
               colour: str) -> None:  # fmt: skip
        """Draw an interval at each point."""
        for across, bottom, top in zip(x, low, high, strict=True):
            at, ends = self._x(across), (self._y(bottom), self._y(top))
            path = "".join(f"M{_px(at - 3)} {_px(end)}h6" for end in ends)
            path += f"M{_px(at)} {_px(ends[0])}V{_px(ends[1])}"
            self._add("path", d=path, fill="none", stroke=colour)

    def bars(self, heights: Sequence[float], colour: str, width: float = 0.6) -> None:
        """Draw a bar at each of the places 0, 1, ..."""
        for place, height in enumerate(heights):
            left, right = self._x(place - width / 2), self._x(place + width / 2)
            top, bottom = self._y(height), self._y(max(0.0, self.y[0]))
            self._add("rect", x=left, y=top, width=right - left, height=bottom - top, fill=colour)

    def note(self, text: str, x: float, y: float, colour: str = INK) -> None:
        """Write at a place given in values of the axes."""
        self.text(text, self._x(x), self._y(y), colour=colour)

    def text(
        self, text: str, x: float, y: float, *, anchor: str = "middle", colour: str = GREY,
        **style: str,
    ) -> None:  # fmt: skip
        """Write at a place in pixels."""
        self._add("text", x=x, y=y, text_anchor=anchor, fill=colour, **style).text = text

    def legend(self) -> None:
        """Name lines and bands, from the top left corner down."""
        for row, (label, style) in enumerate(self._legend):
            y = _TOP + 9 + 14 * row
            if "fill" in style:
                self._add("rect", x=_LEFT + 8, y=y - 5, width=18, height=9, **style)
            else:
                self._add("line", x1=_LEFT + 8, x2=_LEFT + 26, y1=y, y2=y, **style)
            self.text(label, _LEFT + 31, y + 4, anchor="start", colour=INK, font_size="10")

    def _name(self, label: str, style: dict[str, str]) -> None:
        if label:
            self._legend.append((label, style))

    def _x(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return _LEFT + share * (self.size[0] - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return self.size[1] - _BOTTOM - share * (self.size[1] - _TOP - _BOTTOM)

    def _within(self, points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
        """Return a line or outline with the parts that lie above or below the axes flattened."""
        top, bottom = _TOP, self.size[1] - _BOTTOM
        cut: list[tuple[float, float]] = []
        for number, (x, y) in enumerate(points):
            if number:
                x0, y0 = points[number - 1]
                # Where the line crosses an edge, so that its slope stays what it is.
                crossed = [(edge - y0) / (y - y0) for edge in (top, bottom) if y != y0]
                cut += [
                    (x0 + t * (x - x0), y0 + t * (y - y0)) for t in sorted(crossed) if 0 < t < 1
                ]
            cut.append((x, y))
        return [(x, min(max(y, top), bottom)) for x, y in cut]

    def _add(self, kind: str, **values: object) -> ElementTree.Element:
        names = {name.replace("_", "-"): _px(value) for name, value in values.items()}
        return ElementTree.SubElement(self.group, kind, names)


def svg(plots: Sequence[Plot], label: str) -> str:
    """Return plots side by side as one SVG picture.

    Args:
        plots: from left to right.
        label: what is shown, for those who hear the page.
    """
    width, height = sum(plot.size[0] for plot in plots), max(plot.size[1] for plot in plots)
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-label": label,
            "viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height),
            "font-family": "system-ui, sans-serif", "font-size": str(_FONT),
        },
    )  # fmt: skip
    left = 0
    for plot in plots:
        plot.group.set("transform", f"translate({left} 0)")
        root.append(plot.group)
        left += plot.size[0]
    return ElementTree.tostring(root, encoding="unicode")


def _ticks(low: float, high: float) -> list[float]:
    """Return three to seven round numbers from low to high."""
    step = 10 ** math.floor(math.log10(high - low))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if (high - low) / s <= 6)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{_px(x)},{_px(y)}" for x, y in points)


def _px(value: object) -> str:
    """Return a number as short as a pixel needs it; the same data give the same bytes."""
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)
