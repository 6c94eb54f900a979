"""Draw what is no white cell: odd red cells, parasites, platelets, dirt, pointers, scale bars.

Drawn into training scenes so that the detector learns to leave them alone.
"""

from __future__ import annotations

import cv2
import numpy as np

from wbcdet.datasets.scene_sources import shared
from wbcdet.training.augment_stain import density, from_density

#: Diameter of a red cell over that of a white one.
_RED_CELL = (0.42, 0.7)


def draw_odd_red_cells(
    image: np.ndarray, boxes: np.ndarray, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw polychromatic red cells, basophilic stippling, rings and gametocytes of malaria.

    Args:
        image: (S, S, 3) uint8 BGR.
        boxes: (N, 4) white cells to stay away from, px.
        diameter: of a white cell at this magnification, px.
        rng: source of chance.

    Returns:
        (S, S, 3) uint8 BGR.
    """
    size = image.shape[0]
    layer = np.zeros((size, size), np.float32)
    kind = rng.choice(["polychromatic", "ring", "gametocyte", "stippled"])
    for _ in range(int(rng.integers(1, 9))):
        side = diameter * rng.uniform(*_RED_CELL)
        x, y = rng.uniform(0, size, 2)
        radius = side / 2
        reach = np.array([x - radius, y - radius, x + radius, y + radius])
        if side < 5 or any(shared(reach, b) > 0 or shared(b, reach) > 0 for b in boxes):
            continue
        centre, around = (round(x), round(y)), max(1, round(radius))
        if kind == "polychromatic":
            axes = (around, max(1, round(radius * rng.uniform(0.75, 1))))
            cv2.ellipse(
                layer, centre, axes, rng.uniform(0, 180), 0, 360, rng.uniform(0.15, 0.5), -1
            )
        elif kind == "ring":
            inner = max(1, round(radius * rng.uniform(0.2, 0.5)))
            cv2.circle(layer, centre, inner, rng.uniform(0.3, 0.8), max(1, round(inner / 3)))
            dot = (centre[0] + inner, centre[1])
            cv2.circle(layer, dot, max(1, round(inner / 2.5)), rng.uniform(0.8, 1.5), -1)
        elif kind == "gametocyte":
            axes = (around, max(1, round(radius * rng.uniform(0.25, 0.5))))
            angle = rng.uniform(0, 180)
            cv2.ellipse(layer, centre, axes, angle, 0, 360, rng.uniform(0.3, 0.8), -1)
            core = (max(1, axes[0] // 3), max(1, axes[1] // 2))
            cv2.ellipse(layer, centre, core, angle, 0, 360, rng.uniform(0.7, 1.3), -1)
        else:
            for _ in range(int(rng.integers(5, 20))):
                offset = rng.normal(0, radius / 2.5, 2)
                grain = (round(x + offset[0]), round(y + offset[1]))
                cv2.circle(layer, grain, max(1, round(radius / 9)), rng.uniform(0.3, 1), -1)
    layer = cv2.GaussianBlur(layer, (0, 0), max(0.6, diameter / 45))
    tint = np.array([0.35, 1.0, 0.8], np.float32) * rng.uniform(0.6, 1.3, 3).astype(np.float32)
    return from_density(density(image) + layer[..., None] * tint * rng.uniform(0.5, 1.0))


def draw_dirt(
    image: np.ndarray, boxes: np.ndarray, diameter: float, rng: np.random.Generator
) -> np.ndarray:
    """Strew platelets and their clumps, stain dirt, dust and scratches, away from white cells.

    Args and returns as for :func:`draw_odd_red_cells`.
    """
    size = image.shape[0]
    od = density(image)
    layer = np.zeros((size, size), np.float32)
    purple = np.array([0.35, 1.0, 0.75], np.float32) * rng.uniform(0.5, 1.5)
    black = np.array([1.4, 1.6, 1.6], np.float32) * rng.uniform(0.5, 1.5)
    tint = purple if rng.random() < 0.7 else black
    if rng.random() < 0.2:
        tint = rng.uniform(0.1, 1.2, 3).astype(np.float32)
    grain = float(np.clip(diameter * rng.uniform(0.05, 0.2), 1.5, size / 14))
    for _ in range(int(rng.integers(1, 7))):
        x, y = rng.uniform(0, size, 2)
        clump = int(rng.integers(1, 14)) if rng.random() < 0.4 else 1
        for _ in range(clump):
            r = grain * rng.uniform(0.4, 1.2)
            px, py = np.array([x, y]) + rng.normal(0, grain * clump**0.5 * 0.9, 2)
            reach = np.array([px - r, py - r, px + r, py + r])
            if any(shared(reach, b) > 0 for b in boxes):
                continue
            angles = np.linspace(0, 2 * np.pi, 10, endpoint=False)
            radii = r * rng.uniform(0.5, 1.1, 10)
            outline = np.stack([px + radii * np.cos(angles), py + radii * np.sin(angles)], 1)
            corners = np.round(outline).astype(np.int32)
            cv2.fillPoly(layer, [corners], float(rng.uniform(0.3, 1)))
    if rng.random() < 0.15 and not len(boxes):
        start, end = rng.uniform(0, size, (2, 2)).astype(int).tolist()
        cv2.line(layer, start, end, 0.6, int(rng.integers(1, 4)))
    texture = rng.uniform(0.3, 1.4, (max(2, int(size / max(grain / 2, 1))),) * 2)
    layer *= cv2.resize(texture.astype(np.float32), (size, size))
    layer = cv2.GaussianBlur(layer, (0, 0), max(0.6, grain / 12))
    return from_density(od + layer[..., None] * tint)


def draw_marks(image: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a scale bar with its text, a pointer, or a dark frame, where they hide no white cell.

    Args and result as in :func:`draw_odd_red_cells`.
    """
    out = image.copy()
    size = image.shape[0]
    ink = tuple(
        int(v)
        for v in rng.choice(np.array([0, 255, rng.integers(256)]), 3 if rng.random() < 0.3 else 1)
    )
    colour = ink * 3 if len(ink) == 1 else ink
    thick = int(rng.integers(1, max(2, size // 80)))
    kind = rng.choice(["bar", "pointer", "frame"])
    if kind == "bar":
        length, x, y = rng.integers(size // 12, size // 3), *rng.integers(4, size - 8, 2)
        corner = (int(min(x + length, size - 2)), int(min(y + thick + 1, size - 2)))
        cv2.rectangle(out, (int(x), int(y)), corner, colour, -1)
        text = f"{rng.integers(1, 100)} um"
        cv2.putText(out, text, (int(x), int(y) - 3), 0, size / rng.uniform(700, 1200), colour, 1)
    elif kind == "pointer":
        tip = rng.uniform(0, size, 2)
        start = tip + rng.normal(0, size / 3, 2)
        begin, end = (tuple(int(v) for v in p) for p in (start, tip))
        if rng.random() < 0.5:
            cv2.arrowedLine(out, begin, end, colour, thick + 1, cv2.LINE_AA)
        else:
            cv2.line(out, begin, end, colour, thick + 1, cv2.LINE_AA)
    else:
        rim = [int(v) for v in rng.uniform(0, size / 12, 4)]
        dark = int(rng.integers(0, 40))
        out[: rim[0]] = out[size - rim[1] :] = dark
        out[:, : rim[2]] = out[:, size - rim[3] :] = dark
    for x0, y0, x1, y1 in boxes.astype(int):
        # A mark over a cell would ask for what cannot be seen.
        out[y0:y1, x0:x1] = image[y0:y1, x0:x1]
    return out
