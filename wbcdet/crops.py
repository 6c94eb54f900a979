"""The one crop-and-normalise step that training and inference share."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def crop_cell(
    pixels: np.ndarray,
    box: Sequence[float] | np.ndarray,
    size: int,
    padding: float,
    angle: float = 0.0,
) -> np.ndarray:
    """Cut the square around a cell.

    The square is centred on the box and ``padding`` times its longer side wide, so that a box
    around a cell leaves the same rim for every shape. Beyond the field its border is repeated.

    Args:
        pixels: (H, W, 3) uint8 BGR, the field.
        box: ``x_min, y_min, x_max, y_max`` in pixels.
        size: side of the crop in pixels.
        padding: side of the square over the longer side of the box.
        angle: rotation about the box's centre in degrees (training only).

    Returns:
        (size, size, 3) uint8 BGR.
    """
    x0, y0, x1, y1 = (float(v) for v in box)
    side = max(x1 - x0, y1 - y0, 1.0) * padding
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    scale = size / side
    if scale < 0.5:
        # Straight sampling at less than half the scale would skip pixels: shrink the part first.
        reach = side * 0.75
        height, width = pixels.shape[:2]
        a, c = (int(min(max(v, 0), width - 1)) for v in (cx - reach, cx + reach))
        b, d = (int(min(max(v, 0), height - 1)) for v in (cy - reach, cy + reach))
        part = pixels[b : d + 1, a : c + 1]
        factor = 1 / min(int(1 / scale), *part.shape[:2])  # a strip keeps at least one row
        small = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        fx, fy = small.shape[1] / part.shape[1], small.shape[0] / part.shape[0]
        cx, cy, scale, pixels = (cx - a) * fx, (cy - b) * fy, scale / factor, small
    turn = cv2.getRotationMatrix2D((cx - 0.5, cy - 0.5), angle, scale)
    turn[:, 2] += size / 2 - 0.5 - np.array([cx - 0.5, cy - 0.5])
    return cv2.warpAffine(
        pixels, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def normalise(
    crops: Sequence[np.ndarray], mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """Crops as the network's input.

    Args:
        crops: N pictures (S, S, 3) uint8 BGR.
        mean, std: of the red, green and blue channel in 0..1.

    Returns:
        (N, 3, S, S) float32 RGB.
    """
    batch = np.stack(crops)[..., ::-1].astype(np.float32) / 255
    batch = (batch - np.array(mean, np.float32)) / np.array(std, np.float32)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
