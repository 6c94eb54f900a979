"""Soft shapes and textures on a grid measured in micrometres.

A shape is a map of depth: micrometres inside its outline, negative outside.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Grid:
    """A square of pixels around one cell; ``x`` and ``y`` are µm from its middle, (n, n)."""

    x: Map
    y: Map
    scale: float  # pixels per µm

    @classmethod
    def around(cls, reach: float, scale: float) -> Grid:
        """Return the grid that shows ``reach`` µm to each side at ``scale`` pixels per µm."""
        n = 2 * int(np.ceil(reach * scale)) + 1
        line = ((np.arange(n) - n // 2) / scale).astype(np.float32)
        x, y = np.meshgrid(line, line)
        return cls(x, y, scale)

    def noise(self, rng: np.random.Generator, grain: float) -> Map:
        """Return smooth noise of mean about 0 and deviation 1 whose blobs are about ``grain``
        µm wide."""
        return noise(rng, self.x.shape, grain * self.scale)

    def warped(self, rng: np.random.Generator, grain: float, amount: float) -> Grid:
        """Return the same grid bent by about ``amount`` µm, so that drawn outlines lose their
        ruler."""
        dx, dy = self.noise(rng, grain), self.noise(rng, grain)
        return Grid(self.x + amount * dx, self.y + amount * dy, self.scale)

    def dots(
        self, points: npt.NDArray[np.float64], size: npt.NDArray[np.floating] | float, radius: float
    ) -> Map:
        """Round soft grains of ``radius`` µm at ``points`` (k, 2) µm, as high as ``size`` (k,)."""
        n = self.x.shape[0]
        place = np.round(points * self.scale).astype(int) + n // 2
        kept = ((place >= 0) & (place < n)).all(axis=1)
        hits = np.zeros((n, n), np.float32)
        height = np.broadcast_to(np.asarray(size, np.float32), (len(points),))
        np.add.at(hits, (place[kept, 1], place[kept, 0]), height[kept])
        reach = int(np.ceil((radius + 0.15) * self.scale))
        line = np.arange(-reach, reach + 1) / self.scale
        kernel = cover(radius - np.hypot(line[None], line[:, None]), 0.1)
        return np.asarray(cv2.filter2D(hits, -1, kernel), np.float32)


def noise(rng: np.random.Generator, shape: tuple[int, ...], grain: float) -> Map:
    """Return smooth noise of deviation about 1, blobs about ``grain`` pixels wide, (rows,
    columns)."""
    # Coarse noise is drawn small and enlarged: the time does not grow with the grain.
    step = max(1, int(grain / 4))
    rows, cols = shape[0] // step + 5, shape[1] // step + 5
    sigma = max(0.35, grain / step / 2.5)
    small = cv2.GaussianBlur(rng.standard_normal((rows, cols), np.float32), (0, 0), sigma)
    small /= small.std() + 1e-6
    if step > 1:
        small = cv2.resize(small, (cols * step, rows * step), interpolation=cv2.INTER_CUBIC)
    return np.asarray(small[: shape[0], : shape[1]], np.float32)


def cover(depth: npt.NDArray[np.floating], soft: float) -> Map:
    """Return how much of each pixel a shape covers, 0..1, its edge ``soft`` µm wide."""
    return np.asarray(1 / (1 + np.exp(np.clip(-4 / soft * depth, -30, 30))), np.float32)


def band(depth: npt.NDArray[np.floating], at: float, width: float) -> Map:
    """Return a soft line that follows an outline ``at`` µm inside it."""
    return np.asarray(np.exp(-(((depth - at) / width) ** 2)), np.float32)


def wavy_disc(grid: Grid, rng: np.random.Generator, radius: float, waves: list[float]) -> Map:
    """Return a disc whose outline swings by ``waves[i]`` (share of the radius) i + 2 times a
    turn."""
    angle = np.arctan2(grid.y, grid.x)
    reach = np.ones_like(angle)
    for turns, amount in enumerate(waves, 2):
        reach += amount * rng.normal() * np.cos(turns * angle + rng.uniform(0, 2 * np.pi))
    return np.asarray(radius * np.clip(reach, 0.78, 1.18) - np.hypot(grid.x, grid.y), np.float32)


def ellipse(grid: Grid, cx: float, cy: float, a: float, b: float, turn: float) -> Map:
    """Return an ellipse with half axes ``a`` and ``b`` µm, turned by ``turn`` radians."""
    dx, dy = grid.x - cx, grid.y - cy
    u = dx * np.cos(turn) + dy * np.sin(turn)
    v = dy * np.cos(turn) - dx * np.sin(turn)
    return np.asarray((1 - np.hypot(u / a, v / b)) * min(a, b), np.float32)


def rod(grid: Grid, start: tuple[float, float], end: tuple[float, float], radius: float) -> Map:
    """Return a line from ``start`` to ``end``, ``radius`` µm thick to each side, with round
    ends."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = grid.x - start[0], grid.y - start[1]
    along = np.clip((px * dx + py * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
    return np.asarray(radius - np.hypot(px - along * dx, py - along * dy), np.float32)


def joined(parts: list[Map], soft: float) -> Map:
    """Return the union of shapes, its inner corners rounded over about ``soft`` µm."""
    top = np.max(parts, axis=0)
    total = np.sum([np.exp((part - top) / soft) for part in parts], axis=0)
    return np.asarray(top + soft * np.log(total), np.float32)


def packed(rng: np.random.Generator, reach: float, spacing: float) -> npt.NDArray[np.float64]:
    """Return points (k, 2) that fill a square of ``reach`` µm to each side, about ``spacing``
    apart."""
    line = np.arange(-reach, reach, spacing)
    x, y = np.meshgrid(line, line)
    x[1::2] += spacing / 2
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    return points + rng.normal(0, 0.2 * spacing, points.shape)
