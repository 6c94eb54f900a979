"""Draw what lies between the white cells: red cells, platelets, a little dirt."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.datasets.synthetic.shapes import Grid, Map, band, cover, wavy_disc
from wbcdet.datasets.synthetic.stain import Stain

RED_RADIUS = 3.75  # µm

# Many thousand red cells are stamped from this many drawings, each turned and mirrored by chance.
_DRAWINGS = 72


class Crowd:
    """Discs on a field, indexed by place, so that neighbours are found without asking all."""

    def __init__(self, bucket: float) -> None:
        """``bucket``: side of a square of the index, px; at least the widest disc's radius."""
        self._bucket = bucket
        self._discs: dict[tuple[int, int], list[tuple[float, float, float]]] = {}

    def add(self, x: float, y: float, radius: float) -> None:
        """Put a disc down, px."""
        key = int(x // self._bucket), int(y // self._bucket)
        self._discs.setdefault(key, []).append((x, y, radius))

    def near(self, x: float, y: float) -> list[tuple[float, float, float]]:
        """Return all discs that a disc of up to the bucket's size at (x, y) could touch, and some
        more."""
        i, j = int(x // self._bucket), int(y // self._bucket)
        discs: list[tuple[float, float, float]] = []
        for column in range(i - 2, i + 3):
            for row in range(j - 2, j + 3):
                discs += self._discs.get((column, row), ())
        return discs


def stamp(target: Map, sprite: Map, x: float, y: float) -> None:
    """Add ``sprite`` (n, n) to ``target`` (H, W), its middle at (x, y) px, cut at the border."""
    half = sprite.shape[0] // 2
    left, top = round(x) - half, round(y) - half
    x0, y0 = max(left, 0), max(top, 0)
    x1 = min(left + sprite.shape[1], target.shape[1])
    y1 = min(top + sprite.shape[0], target.shape[0])
    if x0 < x1 and y0 < y1:
        target[y0:y1, x0:x1] += sprite[y0 - top : y1 - top, x0 - left : x1 - left]


def _red_drawing(rng: np.random.Generator, scale: float, pallor: float, spread: float) -> Map:
    """Return thickness of one red cell, 1 at its usual rim."""
    radius = RED_RADIUS * float(np.exp(rng.normal(0, spread)))
    grid = Grid.around(radius * 1.25 + 0.8, scale)
    turn, oval = rng.uniform(0, np.pi), 1 - abs(rng.normal(0, 0.09))
    u = (grid.x * np.cos(turn) + grid.y * np.sin(turn)) / max(0.68, oval)
    v = grid.y * np.cos(turn) - grid.x * np.sin(turn)
    lying = Grid(np.asarray(u * np.sqrt(oval), np.float32), np.asarray(v, np.float32), scale)
    depth = wavy_disc(lying, rng, radius, [0.025, 0.02, 0.01])
    ax, ay = rng.normal(0, 0.3, 2)
    out = np.hypot(lying.x - ax, lying.y - ay) / radius
    pale = float(np.clip(pallor + rng.normal(0, 0.16), 0, 0.92))
    dish = 1 - pale * np.exp(-((out / rng.uniform(0.4, 0.64)) ** rng.uniform(2.4, 5.0)))
    thick = dish * (0.88 + 0.16 * band(depth, 0.75, 0.6)) * (1 + 0.025 * grid.noise(rng, 1.2))
    # Out of the best focus a cell wears a dark thin rim inside and a bright one outside.
    rims = 0.14 * band(depth, 0.1, 0.2) - 0.13 * band(depth, -0.38, 0.22)
    return np.asarray(rng.uniform(0.88, 1.1) * cover(depth, 0.28) * thick + rims, np.float32)


def red_cells(
    rng: np.random.Generator,
    size: tuple[int, int],
    scale: float,
    pallor: float,
    share: float,
    white: Crowd,
) -> Map:
    """Return thickness of all red cells of a field, (H, W); 1 is one cell's rim, overlaps add up.

    Args:
        rng: source of chance.
        size: (width, height) in px.
        scale: pixels per µm.
        pallor: depth of the pale centres, 0..1.
        share: red cells' area over the field's area, 0..0.8.
        white: the white cells (px); red cells are pushed aside to their rim.
    """
    width, height = size
    thickness = np.zeros((height, width), np.float32)
    spread = rng.uniform(0.04, 0.09)
    radius = RED_RADIUS * scale
    wanted = int(share * (width + 2 * radius) * (height + 2 * radius) / (np.pi * radius**2))
    drawings = [_red_drawing(rng, scale, pallor, spread) for _ in range(min(_DRAWINGS, wanted))]
    lie_over = rng.uniform(0.15, 0.45)  # share of cells that may lie over another
    red = Crowd(radius)
    placed, tries = 0, 0
    while placed < wanted and tries < 8 * wanted:
        tries += 1
        x = rng.uniform(-radius, width + radius)
        y = rng.uniform(-radius, height + radius)
        closest = rng.uniform(0.8, 1.75) if rng.random() < lie_over else 1.98
        for wx, wy, reach in white.near(x, y):
            gap = float(np.hypot(x - wx, y - wy))
            need = reach + 0.93 * radius
            if 0.5 * reach < gap < need:
                x, y = wx + (x - wx) * need / gap, wy + (y - wy) * need / gap
                closest = 1.9
            elif gap <= 0.5 * reach:
                closest = np.inf
        if any(
            np.hypot(x - wx, y - wy) < reach + 0.9 * radius for wx, wy, reach in white.near(x, y)
        ) or any(
            (x - ox) ** 2 + (y - oy) ** 2 < (closest * radius) ** 2 for ox, oy, _ in red.near(x, y)
        ):
            continue
        red.add(x, y, radius)
        drawing = np.rot90(drawings[placed % len(drawings)], int(rng.integers(4)))
        stamp(thickness, drawing.T if rng.random() < 0.5 else drawing, x, y)
        placed += 1
    return thickness


def platelets(
    rng: np.random.Generator, size: tuple[int, int], scale: float, count: int, white: Crowd
) -> tuple[Map, Map]:
    """Return pale bodies and dark grains of all platelets, each (H, W): shares of nucleus stain."""
    width, height = size
    body = np.zeros((height, width), np.float32)
    grain = np.zeros((height, width), np.float32)
    fine = max(scale, 5.0)
    drawings = []
    for _ in range(min(count, 32)):
        radius = float(np.clip(rng.normal(1.25, 0.3), 0.7, 2.2))
        grid = Grid.around(radius * 1.3 + 0.6, fine)
        depth = wavy_disc(grid.warped(rng, 1.0, 0.15), rng, radius, [0.12, 0.08, 0.05])
        points = rng.normal(0, 0.45 * radius, (int(12 * radius), 2))
        grains = np.minimum(grid.dots(points, rng.uniform(0.3, 1, len(points)), 0.2), 1)
        pair = [0.3 * cover(depth, 0.4), 0.42 * grains * cover(depth, 0.3)]
        if fine > scale:
            n = 2 * int(np.ceil((radius * 1.3 + 0.6) * scale)) + 1
            pair = [cv2.resize(part, (n, n), interpolation=cv2.INTER_AREA) for part in pair]
        drawings.append(pair)
    placed = 0
    while placed < count:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        members = int(rng.integers(2, 6)) if rng.random() < 0.12 else 1
        members = min(members, count - placed)
        placed += members
        for _ in range(members):
            dx, dy = rng.normal(0, 1.5 * scale, 2) if members > 1 else (0.0, 0.0)
            px, py = x + dx, y + dy
            pick = int(rng.integers(len(drawings)))
            # A platelet that would fall on a white cell is left out.
            if all(
                np.hypot(px - wx, py - wy) > reach + 2 * scale
                for wx, wy, reach in white.near(px, py)
            ):
                stamp(body, drawings[pick][0], px, py)
                stamp(grain, drawings[pick][1], px, py)
    return body, grain


def density(thickness: Map, body: Map, grain: Map, stain: Stain) -> npt.NDArray[np.float32]:
    """Return the optical density of the ground, (H, W, 3; B, G, R)."""
    total = np.empty((*thickness.shape, 3), np.float32)
    for channel in range(3):
        total[..., channel] = thickness * np.float32(stain.red[channel])
        total[..., channel] += body * np.float32(0.5 * stain.nucleus[channel] + 0.05)
        total[..., channel] += grain * np.float32(stain.nucleus[channel])
    return total
