"""White blood cells, drawn as a haematologist tells them apart."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.datasets.synthetic.shapes import (
    Grid,
    Map,
    band,
    cover,
    ellipse,
    joined,
    packed,
    rod,
    wavy_disc,
)
from wbcdet.datasets.synthetic.stain import Stain

#: The labels that a smear can show. A basophil is not one of the product's four, on purpose.
SMEAR_LABELS = ("eosinophil", "lymphocyte", "monocyte", "neutrophil", "basophil")

#: Reach of a cell beyond its mean radius, as a factor.
MAX_REACH = 1.18

# A cell is never drawn coarser than this (pixels per µm): smaller ones are drawn so and shrunk,
# or their granules would fall between the pixels.
_FINEST_GRAIN = 7.0


def draw_radius(rng: np.random.Generator, label: str) -> float:
    """Draw the mean radius of a cell of this label, µm."""
    if label == "lymphocyte" and rng.random() < 0.3:
        return float(rng.uniform(5.6, 6.6))  # a large lymphocyte
    low, high = {
        "neutrophil": (6.2, 7.2),
        "eosinophil": (6.3, 7.4),
        "lymphocyte": (4.4, 5.3),
        "monocyte": (7.5, 8.9),
        "basophil": (5.6, 6.7),
    }[label]
    return float(rng.uniform(low, high))


def paint(
    rng: np.random.Generator, label: str, radius: float, scale: float, stain: Stain
) -> tuple[npt.NDArray[np.float32], Map]:
    """Draw one white blood cell.

    Args:
        rng: source of chance.
        label: one of ``SMEAR_LABELS``.
        radius: mean radius in µm.
        scale: pixels per µm.
        stain: the slide's colours.

    Returns:
        Optical density (n, n, 3; B, G, R) and coverage (n, n; 0..1), n odd, the cell's middle
        in the middle.
    """
    fine = max(scale, _FINEST_GRAIN)
    grid = Grid.around(radius * MAX_REACH + 1.0, fine)
    density, body = _PAINTERS[label](rng, grid, radius, stain)
    density *= np.float32(rng.uniform(0.9, 1.1))
    if fine > scale:
        n = 2 * int(np.ceil((radius * MAX_REACH + 1.0) * scale)) + 1
        density = cv2.resize(density, (n, n), interpolation=cv2.INTER_AREA)
        body = cv2.resize(body, (n, n), interpolation=cv2.INTER_AREA)
    return density, body


def _layer(
    amount: npt.NDArray[np.floating], colour: tuple[float, float, float]
) -> npt.NDArray[np.float32]:
    return amount.astype(np.float32)[..., None] * np.asarray(colour, np.float32)


def _chromatin(rng: np.random.Generator, grid: Grid, depth: Map, clump: float) -> Map:
    """Return the density of a dark clumped nucleus: clumps, pale channels between them, a dark
    rim."""
    coarse, fine = grid.noise(rng, 1.1), grid.noise(rng, 0.5)
    texture = 1 + clump * np.tanh(1.4 * coarse) + 0.09 * fine
    texture -= 1.6 * clump * np.maximum(0, -coarse - 1.1)
    thick = 0.82 + 0.18 * np.clip(depth / 1.2, 0, 1)
    amount = cover(depth, 0.32) * (thick * texture + 0.2 * band(depth, 0.25, 0.25))
    return np.asarray(np.clip(amount, 0, 1.5), np.float32)


def _monocyte_chromatin(rng: np.random.Generator, grid: Grid, depth: Map) -> Map:
    """Return the density of a monocyte's nucleus: paler, fine strands and folds, a thin rim."""
    strands = np.exp(-((grid.noise(rng, 1.0) / 0.55) ** 2))
    folds = np.exp(-((grid.noise(rng, 4.5) / 0.16) ** 2))
    texture = 0.68 + 0.2 * strands + 0.13 * folds + 0.09 * grid.noise(rng, 0.55)
    amount = cover(depth, 0.35) * (texture + 0.14 * band(depth, 0.2, 0.25))
    return np.asarray(np.clip(amount, 0, 1.3), np.float32)


def _lobes(
    rng: np.random.Generator,
    grid: Grid,
    middles: list[tuple[float, float]],
    axes: tuple[float, float],
    bridge: float,
) -> Map:
    """Return oval lobes strung along ``middles``, each lying along the string, joined by
    bridges."""
    parts: list[Map] = []
    for i, (cx, cy) in enumerate(middles):
        before, after = middles[max(0, i - 1)], middles[min(len(middles) - 1, i + 1)]
        along = np.arctan2(after[1] - before[1], after[0] - before[0]) + rng.normal(0, 0.35)
        a, b = (axis * rng.uniform(0.87, 1.13) for axis in axes)
        parts.append(ellipse(grid, cx, cy, a, b, along))
        if i:
            parts.append(rod(grid, middles[i - 1], (cx, cy), bridge * rng.uniform(0.7, 1.3)))
    return joined(parts, 0.18)


def _arc(
    rng: np.random.Generator, count: int, radius: float, step: float, wander: float
) -> list[tuple[float, float]]:
    """Return ``count`` points on an arc, ``step`` radians apart, each straying by ``wander`` µm."""
    start = rng.uniform(0, 2 * np.pi)
    points = []
    for i in range(count):
        angle = start + i * step * rng.uniform(0.88, 1.12)
        reach = radius + rng.normal(0, wander)
        points.append((float(reach * np.cos(angle)), float(reach * np.sin(angle))))
    return points


def _neutrophil(
    rng: np.random.Generator, grid: Grid, radius: float, stain: Stain
) -> tuple[npt.NDArray[np.float32], Map]:
    depth = wavy_disc(grid, rng, radius, [0.055, 0.03, 0.018, 0.012])
    body = cover(depth, 0.35)
    size = radius / 6.7
    count = int(rng.choice([2, 3, 4, 5], p=[0.12, 0.42, 0.34, 0.12]))
    step = {2: 2.1, 3: 1.75, 4: 1.35, 5: 1.12}[count]
    axes = {2: (3.3, 2.05), 3: (2.7, 1.95), 4: (2.3, 1.8), 5: (2.05, 1.6)}[count]
    middles = _arc(rng, count, 3.0 * size, step, 0.35)
    bent = grid.warped(rng, 1.6, 0.16)
    core = _lobes(rng, bent, middles, (axes[0] * size, axes[1] * size), rng.uniform(0.35, 0.75))
    core = np.minimum(core, depth - 0.5)
    nucleus = _chromatin(rng, grid, core, 0.16)
    veil = 0.82 + 0.13 * grid.noise(rng, 1.1) + 0.11 * grid.noise(rng, 0.5)
    veil = body * (veil + 0.12 * band(depth, 0.3, 0.35))
    # Fine pink-lilac granules, many and faint, a few a little darker.
    points = rng.uniform(-radius, radius, (int(11 * radius * radius), 2))
    grains = grid.dots(points, rng.gamma(1.0, 0.26, len(points)), 0.14)
    density = _layer(np.maximum(veil, 0) * (1 - 0.6 * cover(core, 0.3)), stain.pink)
    density += _layer(np.minimum(grains, 1.2) * body * (1 - cover(core, 0.3)) * 0.8, stain.azure)
    return density + _layer(nucleus, stain.nucleus), body


def _eosinophil(
    rng: np.random.Generator, grid: Grid, radius: float, stain: Stain
) -> tuple[npt.NDArray[np.float32], Map]:
    depth = wavy_disc(grid, rng, radius, [0.06, 0.035, 0.025, 0.015, 0.01])
    size = radius / 6.8
    turn, aside = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.9) * size
    apart = rng.uniform(2.45, 2.85) * size
    count = 3 if rng.random() < 0.15 else 2
    spots = [-1.0, 1.0] if count == 2 else [-1.25, 0.0, 1.25]
    middles = []
    for spot in spots:
        u, v = spot * apart, aside * (1.0 if spot else 1.9)
        middles.append(
            (
                float(u * np.cos(turn) - v * np.sin(turn)),
                float(u * np.sin(turn) + v * np.cos(turn)),
            )
        )
    axes = (2.8 * size, 2.45 * size) if count == 2 else (2.1 * size, 1.9 * size)
    bent = grid.warped(rng, 1.8, 0.14)
    core = np.minimum(_lobes(rng, bent, middles, axes, 0.45), depth - 0.35)
    nucleus = 0.92 * _chromatin(rng, grid, core, 0.15)
    # Coarse round granules, all of one size, packed to the rim and over the nucleus's edge.
    points = packed(rng, radius + 0.5, 0.72)
    heights = rng.uniform(0.35, 1.0, len(points)) * (rng.random(len(points)) < 0.95)
    grains = np.minimum(grid.dots(points, heights, 0.37), 1.3)
    body = cover(depth + 0.12 * (grains - 0.5), 0.3)
    # Granules above and below the focus fill the gaps with a soft glow of the same colour.
    glow = cv2.GaussianBlur(grains, (0, 0), 0.45 * grid.scale)
    patches = np.clip(1 + 0.13 * grid.noise(rng, 3.0), 0.6, 1.4)
    filled = body * (0.2 + 0.5 * grains + 0.65 * glow) * patches
    density = _layer(filled * (1 - 0.85 * cover(core - 0.25, 0.4)), stain.eosin)
    return density + _layer(nucleus, stain.nucleus), body


def _lymphocyte(
    rng: np.random.Generator, grid: Grid, radius: float, stain: Stain
) -> tuple[npt.NDArray[np.float32], Map]:
    large = radius > 5.4
    depth = wavy_disc(grid, rng, radius, [0.06, 0.035, 0.02, 0.012])
    depth = np.asarray(depth + 0.08 * grid.noise(rng, 1.3), np.float32)
    body = cover(depth, 0.3)
    share = rng.uniform(0.74, 0.82) if large else rng.uniform(0.82, 0.92)
    turn, off = rng.uniform(0, 2 * np.pi), (1 - share) * radius * rng.uniform(0.3, 0.85)
    shifted = Grid(
        np.asarray(grid.x - off * np.cos(turn), np.float32),
        np.asarray(grid.y - off * np.sin(turn), np.float32),
        grid.scale,
    )
    core = wavy_disc(shifted.warped(rng, 2.0, 0.12), rng, share * radius, [0.04, 0.02, 0.012])
    if rng.random() < 0.3:  # a shallow dent, never a monocyte's bay
        side, reach = rng.uniform(0, 2 * np.pi), share * radius * 1.12
        dx, dy = reach * np.cos(side), reach * np.sin(side)
        core = np.minimum(core, -ellipse(shifted, dx, dy, 0.9, 0.9, 0.0) + 0.1)
    core = np.minimum(core, depth - 0.18)
    nucleus = (0.88 if large else 1.02) * _chromatin(rng, grid, core, 0.13)
    rim = body * (0.95 + 0.09 * grid.noise(rng, 0.9) + 0.3 * band(depth, 0.3, 0.4))
    rim *= (0.75 if large else 1.1) * (1 - 0.35 * band(core, -0.25, 0.3))
    density = _layer(np.maximum(rim, 0) * (1 - 0.8 * cover(core, 0.3)), stain.blue)
    return density + _layer(nucleus, stain.nucleus), body


def _monocyte(
    rng: np.random.Generator, grid: Grid, radius: float, stain: Stain
) -> tuple[npt.NDArray[np.float32], Map]:
    depth = wavy_disc(grid.warped(rng, 3.0, 0.22), rng, radius * 0.97, [0.08, 0.055, 0.035, 0.025])
    body = cover(depth, 0.4)
    size, turn = radius / 8.0, rng.uniform(0, 2 * np.pi)
    bent = grid.warped(rng, 2.4, 0.38)
    c, s = float(np.cos(turn)), float(np.sin(turn))
    if rng.random() < 0.45:  # horseshoe
        span = rng.uniform(2.4, 3.6)
        thick = rng.uniform(2.5, 3.0) * size
        ends = [turn + span * (t - 0.5) for t in np.linspace(0, 1, 7)]
        reach = 3.3 * size
        path = [
            (float(reach * np.cos(a)) - 0.8 * c, float(reach * np.sin(a)) - 0.8 * s) for a in ends
        ]
        parts = [rod(bent, p, q, thick * rng.uniform(0.9, 1.1)) for p, q in pairwise(path)]
        core = joined(parts, 0.15)
    else:  # kidney: an oval with a bay
        core = ellipse(bent, -0.5 * c, -0.5 * s, 4.8 * size, 6.1 * size, turn)
        deep = rng.uniform(3.4, 4.8) * size
        bay = ellipse(bent, deep * c, deep * s, 2.2 * size, rng.uniform(1.1, 1.9) * size, turn)
        core = -joined([-core, bay + 0.1], 0.5)
        if rng.random() < 0.5:  # and a second, shallow one on the far side
            side = turn + rng.uniform(1.8, 4.5)
            far = 6.0 * size
            dent = ellipse(bent, far * np.cos(side), far * np.sin(side), 2.2, 1.0, side)
            core = -joined([-core, dent], 0.4)
    core = np.minimum(np.asarray(core, np.float32), depth - 0.45)
    nucleus = _monocyte_chromatin(rng, grid, core)
    veil = 0.8 + 0.1 * grid.noise(rng, 1.0) + 0.1 * grid.noise(rng, 0.5)
    veil += 0.1 * grid.noise(rng, 4.0)
    points = rng.uniform(-radius, radius, (int(7 * radius * radius), 2))
    dust = grid.dots(points, rng.gamma(1.0, 0.16, len(points)), 0.13)
    if rng.random() < 0.55:
        count = int(rng.integers(2, 12))
        holes = rng.normal(0, 0.55 * radius, (count, 2))
        veil *= 1 - 0.8 * np.minimum(grid.dots(holes, 1.0, float(rng.uniform(0.3, 0.6))), 1)
    outside = 1 - 0.7 * cover(core, 0.35)
    density = _layer(np.maximum(veil, 0) * body * outside, stain.blue)
    density += _layer(np.minimum(dust, 1) * body * outside * 0.6, stain.azure)
    return density + _layer(nucleus, stain.nucleus), body


def _basophil(
    rng: np.random.Generator, grid: Grid, radius: float, stain: Stain
) -> tuple[npt.NDArray[np.float32], Map]:
    depth = wavy_disc(grid, rng, radius, [0.055, 0.035, 0.025, 0.02])
    middles = _arc(rng, 2, 2.0, 2.4, 0.3)
    core = _lobes(rng, grid.warped(rng, 2.0, 0.3), middles, (3.2, 2.6), 1.5)
    core = np.minimum(core, depth - 0.4)
    points = packed(rng, radius + 0.4, 0.82)
    crowded = rng.uniform(0.78, 0.98)
    heights = rng.uniform(0.3, 1.1, len(points)) * (rng.random(len(points)) < crowded)
    grains = np.minimum(grid.dots(points, heights, 0.4), 1.2)
    body = cover(depth + 0.2 * (grains - 0.4), 0.3)
    glow = cv2.GaussianBlur(grains, (0, 0), 0.6 * grid.scale)
    nucleus = 0.5 * _chromatin(rng, grid, core, 0.12)
    filled = (0.5 * grains + 0.55 * glow) * body
    density = _layer(0.6 * body * (1 - 0.5 * cover(core, 0.4)), stain.pink)
    density += _layer(filled, stain.nucleus)
    return density + _layer(nucleus, stain.nucleus), body


_Painter = Callable[[np.random.Generator, Grid, float, Stain], tuple[npt.NDArray[np.float32], Map]]
_PAINTERS: dict[str, _Painter] = {
    "neutrophil": _neutrophil,
    "eosinophil": _eosinophil,
    "lymphocyte": _lymphocyte,
    "monocyte": _monocyte,
    "basophil": _basophil,
}
