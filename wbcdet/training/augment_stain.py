"""Augment stain, light and optics, as they differ between laboratories.

Colour is changed in optical density (Beer-Lambert), where a stain's amount is a factor and the
ground's tint an offset, as on a real slide; light, focus, noise and JPEG follow as in a camera.
"""

from __future__ import annotations

import cv2
import numpy as np

from wbcdet.inference.preprocess import DENSITY

Image = np.ndarray  # (H, W, 3) uint8 BGR


def density(image: Image) -> np.ndarray:
    """Return the optical density, (H, W, 3) float32, 0 for white."""
    result: np.ndarray = DENSITY[image]
    return result


def from_density(value: np.ndarray) -> Image:
    """Return the picture of an optical density; the inverse of :func:`density`."""
    result: Image = np.clip(np.exp(-value) * 256 - 1, 0, 255).astype(np.uint8)
    return result


def change_stain(
    image: Image, rng: np.random.Generator, strength: float = 1.0, *, wide: bool = False
) -> Image:
    """Apply another laboratory's stain: amounts, hues and ground tint, drawn at random.

    Args:
        image: (H, W, 3) uint8 BGR.
        rng: source of chance.
        strength: 0 leaves the picture as it is, 1 spans the laboratories seen in published sets.
        wide: go beyond them, to washed-out slides and cameras that mix the colours: a cell is
            still a cell there, though its name could no longer be told.
    """
    od = density(image)
    ground = np.quantile(od[::4, ::4].reshape(-1, 3), 0.1, axis=0).astype(np.float32)
    overall = rng.uniform(-0.9, 0.6) if wide else rng.normal(0, 0.22)
    colours, mixed = (0.3, 0.14) if wide else (0.16, 0.09)
    amount = np.exp(overall * strength + rng.normal(0, colours * strength, 3))
    mix = np.diag(amount) + rng.normal(0, mixed * strength, (3, 3))
    stain = (od - ground) @ mix.astype(np.float32)
    # The ground keeps its tint half of the time, else it takes that of another lamp or mountant:
    # grey, yellow, pink, blue, green, from bright to dark.
    if rng.random() < 0.5 * strength:
        ground = rng.uniform(0, 0.35) + rng.uniform(0, 0.5, 3) * (rng.random(3) < 0.5)
    return from_density(stain + ground.astype(np.float32))


def change_light(image: Image, rng: np.random.Generator, *, wide: bool = False) -> Image:
    """Change light, exposure, contrast and saturation unevenly.

    Args:
        image: (H, W, 3) uint8 BGR.
        rng: source of chance.
        wide: also a lamp whose colour changes over the field, and a stronger vignette.
    """
    out = image.astype(np.float32)
    height, width = out.shape[:2]
    if rng.random() < 0.4:
        ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        xs = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        angle = rng.uniform(0, 2 * np.pi)
        slope = rng.uniform(0, 0.3) * (np.cos(angle) * xs + np.sin(angle) * ys)
        bowl = rng.uniform(-0.25, 0.1) * (xs**2 + ys**2)
        uneven = np.repeat((slope + bowl)[..., None], 3, 2)
        if wide:
            uneven *= rng.uniform(0.5, 1.6) * np.exp(rng.normal(0, 0.4, 3))
        out *= np.maximum(1 + uneven, 0.1).astype(np.float32)
    if rng.random() < 0.5:
        out = out * rng.uniform(0.65, 1.25) + rng.uniform(-20, 20)
    if rng.random() < 0.3:
        grey = out.mean(2, keepdims=True)
        out = grey + (out - grey) * rng.uniform(0.3, 1.6)
    if rng.random() < 0.3:
        out = 255 * (np.clip(out, 0, 255) / 255) ** np.exp(rng.normal(0, 0.25))
    return np.clip(out, 0, 255).astype(np.uint8)


def change_optics(image: Image, rng: np.random.Generator, largest_blur: float = 1.8) -> Image:
    """Apply defocus, movement, coarse sampling, sharpening, noise and JPEG damage.

    Args:
        image: (H, W, 3) uint8 BGR.
        rng: source of chance.
        largest_blur: greatest standard deviation of the defocus, in pixels.
    """
    out = image
    height, width = out.shape[:2]
    choice = rng.random()
    if choice < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.3, largest_blur))
    elif choice < 0.4:
        length = int(rng.integers(3, max(4, int(3 * largest_blur))))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
        kernel = cv2.warpAffine(kernel, turn, (length, length))
        out = cv2.filter2D(out, -1, kernel / max(float(kernel.sum()), 1e-3))
    elif choice < 0.55:
        factor = rng.uniform(0.4, 0.9)
        small = cv2.resize(out, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    elif choice < 0.7:
        soft = cv2.GaussianBlur(out, (0, 0), 1.5)
        out = cv2.addWeighted(out, 1 + (gain := rng.uniform(0.3, 1.5)), soft, -gain, 0)
    if rng.random() < 0.25:
        noise = rng.normal(0, rng.uniform(2, 12), (height, width, 1 if rng.random() < 0.5 else 3))
        out = np.clip(out + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        out = np.asarray(cv2.imdecode(cv2.imencode(".jpg", out, quality)[1], cv2.IMREAD_COLOR))
    return out


def through_eyepiece(
    image: Image, boxes: np.ndarray, rng: np.random.Generator
) -> tuple[Image, np.ndarray]:
    """Return a scene as a telephone's camera sees it through an eyepiece: a round field.

    Args:
        image: (S, S, 3) uint8 BGR.
        boxes: (N, 4) cells, px.
        rng: source of chance.

    Returns:
        (S, S, 3) uint8 BGR, and (M, 4) float32 boxes of what is seen of the cells.
    """
    size = image.shape[0]
    radius = rng.uniform(0.36, 0.68) * size
    cx, cy = rng.uniform(0.4, 0.6, 2) * size
    ys, xs = np.mgrid[:size, :size].astype(np.float32)
    distance = np.hypot(xs - cx, ys - cy)
    light = np.clip((radius - distance) / rng.uniform(1, 0.08 * size), 0, 1)
    dark = rng.uniform(0, 30)
    out = image * light[..., None] + dark * (1 - light[..., None])
    kept = []
    for b in boxes:
        x0, y0, x1, y1 = b.astype(int)
        lit = light[y0:y1, x0:x1] > 0.35
        if lit.size and lit.mean() > 0.35:
            rows, columns = np.nonzero(lit.any(1))[0], np.nonzero(lit.any(0))[0]
            kept.append([x0 + columns[0], y0 + rows[0], x0 + columns[-1] + 1, y0 + rows[-1] + 1])
    return out.astype(np.uint8), np.array(kept, np.float32).reshape(-1, 4)
