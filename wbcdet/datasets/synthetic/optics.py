"""Turn optical density into a photograph: lamp, lens, sensor."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from wbcdet.datasets.synthetic.shapes import noise
from wbcdet.datasets.synthetic.stain import Stain

# Rows photographed at once: a large smear's working memory stays bounded.
_ROWS = 512


def eyepiece_radius(width: int, height: int) -> float:
    """Return radius in px of the lit disc that a phone sees through an eyepiece."""
    return 0.47 * min(width, height)


def photograph(
    rng: np.random.Generator,
    density: npt.NDArray[np.float32],
    scale: float,
    stain: Stain,
    eyepiece: bool,
) -> npt.NDArray[np.uint8]:
    """Photograph a slide.

    Args:
        rng: source of chance.
        density: optical density (H, W, 3), B, G, R.
        scale: pixels per µm.
        stain: gives the colour of the light through clear glass.
        eyepiece: black outside a round disc.

    Returns:
        BGR picture (H, W, 3).
    """
    height, width = density.shape[:2]
    # Blur: the objective's limit (about 0.1 µm), focus, and the sensor's own mosaic.
    blur = float(np.hypot(0.5, scale * rng.uniform(0.09, 0.17)))
    per_channel = blur * np.array([1.12, 1.0, 1.06])  # a lens focuses one colour best
    tilt = rng.normal(0, 0.03, 2)
    vignette = rng.uniform(0.02, 0.1)
    cloud = cv2.resize(noise(rng, (12, 16), 5), (width, height), interpolation=cv2.INTER_CUBIC)
    tint = rng.normal(0, 0.012, 3)
    read, shot = rng.uniform(0.6, 1.6), rng.uniform(0.03, 0.12)
    sharpen = rng.uniform(0.0, 0.5)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    margin = int(np.ceil(4 * blur)) + 8
    picture = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        low, high = max(0, top - margin), min(height, bottom + margin)
        y = np.linspace(-1, 1, height, dtype=np.float32)[low:high, None]
        lamp = 1 + tilt[0] * x + tilt[1] * y - vignette * (x * x + y * y) / 2
        pass_disc = _disc(width, height, low, high, blur) if eyepiece else None
        for channel in range(3):
            ground = stain.ground[channel] * (lamp + (0.012 + tint[channel]) * cloud[low:high])
            light = np.exp(-density[low:high, :, channel]) * ground
            if pass_disc is not None:
                light = light * pass_disc + 4
            sigma = float(per_channel[channel])
            light = cv2.GaussianBlur(light.astype(np.float32), (0, 0), sigma)
            # Cameras sharpen what they took; it is also what makes nuclear rims so crisp.
            light += sharpen * (light - cv2.GaussianBlur(light, (0, 0), 1.5 + 0.5 * blur))
            light = light[top - low : light.shape[0] - (high - bottom)]
            grain = cv2.GaussianBlur(rng.standard_normal(light.shape, np.float32), (0, 0), 0.55)
            light += grain * np.sqrt(read**2 + shot * np.maximum(light, 0))
            picture[top:bottom, :, channel] = np.clip(np.round(light), 0, 255)
    return picture


def _disc(width: int, height: int, low: int, high: int, blur: float) -> npt.NDArray[np.float32]:
    """Return rows ``low`` to ``high`` of the eyepiece's lit disc, 0..1."""
    x = np.arange(width, dtype=np.float32)[None] - (width - 1) / 2
    y = np.arange(low, high, dtype=np.float32)[:, None] - (height - 1) / 2
    radius = eyepiece_radius(width, height)
    out = np.hypot(x, y)
    falloff = 1 - 0.18 * np.clip(out / radius, 0, 1) ** 4
    edge = np.clip((radius - out) / (2 + 2 * blur) + 0.5, 0, 1)
    return np.asarray(falloff * edge, np.float32)
