"""Cut out a cell for the classifier, sized and coloured by the red cells beside it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from wbcdet.inference.cards import CropCard
from wbcdet.inference.preprocess import DENSITY, crop_cell, normalise_stain
from wbcdet.inference.surroundings import Surroundings, measure_surroundings

#: A cell that is small beside its red cells is shown at most this much smaller than the others.
LARGEST_ZOOM_OUT = 1.45
#: How much more the colour of the red cells counts than that of the nucleus, which differs between
#: cells of one slide; and how strongly colours that lie close together are kept from being torn
#: apart.
_WEIGHTS, _RIDGE = np.diag([1.0, 4.0]), 0.03 * np.eye(3)


def cell_crop(pixels: np.ndarray, box: Sequence[float] | np.ndarray, card: CropCard) -> np.ndarray:
    """Cut out a cell as the network of a card wants it.

    Args:
        pixels: (H, W, 3) uint8 BGR, the field or the part of it within
            :data:`wbcdet.inference.surroundings.REACH`.
        box: ``x_min, y_min, x_max, y_max`` in pixels.
        card: of the network.

    Returns:
        (S, S, 3) uint8 BGR.
    """
    size, padding, stain = card["input_size"], card["crop_padding"], card.get("stain")
    if stain is not None and "red_cell" in stain:
        around = measure_surroundings(pixels, box)
        crop = crop_cell(pixels, box, size, padding * zoom_out(around, card["least_red_cells"]))
        return match_stain(
            crop, around, stain["nucleus"], stain["red_cell"], stain["ground"], stain["limits"]
        )
    # The networks before version 5, of which a laboratory may have trained its own.
    crop = crop_cell(pixels, box, size, padding)
    if stain is None:
        return crop
    return normalise_stain(crop, stain["nucleus"], stain["ground"], stain["limits"])


def zoom_out(around: Surroundings, least_red_cells: float) -> float:
    """Return how much wider the square is than for a cell whose surroundings are unknown.

    Args:
        around: of the cell.
        least_red_cells: a cell with fewer diameters of red cells is shown as if it had so many: it
            looks as small as it is.

    Returns:
        1 to :data:`LARGEST_ZOOM_OUT`.
    """
    if around.diameter is None:
        return 1.0
    return min(max(least_red_cells * around.diameter, 1.0), LARGEST_ZOOM_OUT)


def match_stain(
    crop: np.ndarray,
    around: Surroundings,
    nucleus: Sequence[float],
    red_cell: Sequence[float],
    ground: float,
    limits: Sequence[float],
) -> np.ndarray:
    """Change a crop as if its slide had been stained and lit like all others.

    In optical density (Beer-Lambert) the ground becomes neutral, and one linear map brings the
    nucleus and the red cells, the pure colours of the two dyes, to those asked for: eosin is the
    colour of red cells on every slide, so granules that take it up come out in it. Without red
    cells the nucleus alone decides, and its hue goes half of the way: the whole way would turn the
    red granules of a cell with a red nucleus grey.

    Args:
        crop: (S, S, 3) uint8 BGR.
        around: of the cell.
        nucleus, red_cell: densities wanted above the ground, of red, green and blue.
        ground: density of the ground that is wanted, for all colours.
        limits: least and greatest factor by which a density is stretched for the nucleus.

    Returns:
        (S, S, 3) uint8 BGR.
    """
    wanted = np.array(nucleus[::-1], np.float32)
    factor = np.clip(wanted / np.maximum(around.nucleus, 1e-3), limits[0], limits[1])
    amount = np.exp(np.log(factor).mean())
    factor = amount * (factor / amount) ** 0.5
    change = np.diag(factor)
    if around.red_cell is not None:
        change = (
            _towards(
                np.stack([around.nucleus * factor, around.red_cell * factor], 1),
                np.stack([wanted, np.array(red_cell[::-1], np.float32)], 1),
            )
            @ change
        )
    # The map of densities, its offset and the sign of the exponent in one step.
    offset = change @ around.ground - ground
    exponents = cv2.transform(cv2.LUT(crop, DENSITY), np.column_stack([-change, offset]))
    result: np.ndarray = cv2.convertScaleAbs(np.maximum(cv2.exp(exponents) * 256 - 1.5, 0))
    return result


def _towards(colours: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the (3, 3) map of two colours to two others that changes all else least (ridge)."""
    left = wanted @ _WEIGHTS @ colours.T + _RIDGE
    right = colours @ _WEIGHTS @ colours.T + _RIDGE
    result: np.ndarray = np.linalg.solve(right.T, left.T).T
    return result
