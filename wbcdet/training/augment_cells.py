"""Augment crops of labelled cells, as other slides, stains and cameras might give them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from wbcdet.datasets.cells import CLASSES, MEAN, STD, LabelledCell
from wbcdet.inference.cards import CropCard, StainCard
from wbcdet.inference.cell_crop import cell_crop, match_stain, zoom_out
from wbcdet.inference.preprocess import DENSITY, crop_cell, normalise
from wbcdet.inference.surroundings import Surroundings
from wbcdet.training.augment_stain import change_light, change_optics, change_stain, from_density

#: Side of a crop in pixels and of its square over the longer side of the box.
CROP_SIZE = 112
CROP_PADDING = 1.2
#: What every crop's stain is brought to, see :func:`wbcdet.inference.cell_crop.match_stain`; red,
#: green, blue.
STAIN: StainCard = {
    "nucleus": (0.85, 1.25, 0.55),
    "red_cell": (0.10, 0.34, 0.30),
    "ground": 0.08,
    "limits": (0.5, 2.2),
}
#: A cell of fewer diameters of red cells is shown as small as it is: lymphocytes have about 1.7,
#: neutrophils 2.4, monocytes 2.8 as :mod:`wbcdet.inference.surroundings` measures them.
LEAST_RED_CELLS = 2.4
#: What of a card decides how a crop is cut.
CROP: CropCard = {
    "input_size": CROP_SIZE,
    "crop_padding": CROP_PADDING,
    "least_red_cells": LEAST_RED_CELLS,
    "stain": STAIN,
}

#: Shares of the four types in the blood of healthy adults, from the middle of common reference
#: ranges, rounded.
BLOOD_SHARES = {"eosinophil": 0.03, "lymphocyte": 0.30, "monocyte": 0.06, "neutrophil": 0.60}
#: Sampling weights of the classes that are declined, beside the roots of these shares (together
#: 1.7): less than the four, which would lose cells to them.
DECLINED_WEIGHTS = {
    "basophil": 0.25,
    "immature granulocyte": 0.35,
    "promyelocyte": 0.25,
    "erythroblast": 0.25,
    "platelet": 0.08,
    "artefact": 0.12,
}
#: Within a class a laboratory counts by its cells to this power: PBC has a hundred times as many as
#: others, and what is learned should be what laboratories have in common.
_BY_LABORATORY = 0.2


def plain_crop(cell: LabelledCell) -> np.ndarray:
    """Return the crop as at inference, (S, S, 3) uint8 BGR."""
    return cell_crop(cell.patch, cell.box, CROP)


def varied_crop(cell: LabelledCell, rng: np.random.Generator) -> np.ndarray:
    """Return the crop as another slide, stain, camera and detector might give it."""
    around = _measured_otherwise(cell.around, rng)
    patch, box = cell.patch, np.array(cell.box)
    side = max(box[2:] - box[:2])
    box += np.tile(rng.normal(0, 0.04, 2), 2) * side
    if rng.random() < 0.2:
        patch, box = _cut_by_border(patch, box, rng)
    # A detector's box may leave a rim or hug the nucleus.
    padding = CROP_PADDING * float(np.exp(rng.normal(-0.05, 0.14)))
    padding *= zoom_out(around, LEAST_RED_CELLS)
    crop = crop_cell(patch, box, CROP_SIZE, padding, angle=float(rng.uniform(0, 360)))
    if rng.random() < 0.5:
        crop = np.ascontiguousarray(crop[:, ::-1])
    if rng.random() < 0.3:  # a cell that is small in its field
        small_side = int(np.exp(rng.uniform(np.log(20), np.log(80))))
        small = cv2.resize(crop, (small_side, small_side), interpolation=cv2.INTER_AREA)
        crop = cv2.resize(small, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)
    # Some stay as they are: what matching hides or spoils in one crop must not be all there is.
    if rng.random() < 0.9:
        crop = match_stain(crop, around, **STAIN)
    if rng.random() < 0.8:
        crop = change_stain(crop, rng, strength=float(rng.uniform(0.1, 0.6)))
    if rng.random() < 0.5:
        crop = change_light(crop, rng)
    if rng.random() < 0.6:
        crop = change_optics(crop, rng, largest_blur=2.4)
    return _change_cytoplasm(crop, rng) if rng.random() < 0.6 else crop


def _measured_otherwise(around: Surroundings, rng: np.random.Generator) -> Surroundings:
    """As a slide might be measured that has a tinted ground, other or no red cells."""
    red_cell, diameter = around.red_cell, around.diameter
    if rng.random() < 0.15:
        red_cell = diameter = None
    if red_cell is not None:
        red_cell = red_cell * np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.10, 3))
    if diameter is not None:
        diameter *= float(np.exp(rng.normal(0, 0.12)))
    return Surroundings(
        around.ground + rng.normal(0, 0.03, 3).astype(np.float32),
        around.nucleus * np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.08, 3)),
        red_cell,
        diameter,
    )


def _cut_by_border(
    patch: np.ndarray, box: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patch and the box as if the field's border cut off up to half of the cell."""
    low, high = np.zeros(2), np.array([patch.shape[1], patch.shape[0]], float)
    axis = int(rng.integers(2))
    part = rng.uniform(0.1, 0.5) * (box[2 + axis] - box[axis])
    if rng.random() < 0.5:
        low[axis] = max(int(box[axis] + part), 0)
    else:
        high[axis] = int(box[2 + axis] - part)
    if min(high - low) < 8:
        return patch, box
    (x0, y0), (x1, y1) = low.astype(int), high.astype(int)
    cut = np.concatenate([np.maximum(box[:2], low), np.minimum(box[2:], high)])
    return np.ascontiguousarray(patch[y0:y1, x0:x1]), cut - np.tile(low, 2)


def _change_cytoplasm(crop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change density and hue of the cytoplasm, not of the ground and the nucleus."""
    densest, ground = max(STAIN["nucleus"]), STAIN["ground"]
    value = np.maximum(DENSITY[crop] - ground, 0) / densest
    bend = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.12, 3)).astype(np.float32)
    amount = float(np.exp(rng.normal(0, 0.15))) * densest
    return from_density(value**bend * np.float32(amount) + ground)


class CellDataset(Dataset[dict[str, object]]):
    """Varied crops, drawn with replacement, half way between even classes and those of blood.

    Within a class a laboratory counts by the fifth root of its cells. The four types are drawn by
    the root of their share in adult blood, so that the network is neither blind to rare types nor
    calls too many cells rare; the others by :data:`DECLINED_WEIGHTS`.

    Args:
        cells: what to draw from.
        length: crops in an epoch.
    """

    def __init__(self, cells: list[LabelledCell], length: int) -> None:
        self.cells, self.length, self.epoch = cells, length, 0
        count: dict[tuple[int, str], int] = {}
        for c in cells:
            count[c.label, c.laboratory] = count.get((c.label, c.laboratory), 0) + 1
        by_class: dict[int, float] = {}
        for (label, _), n in count.items():
            by_class[label] = by_class.get(label, 0.0) + n**_BY_LABORATORY
        drawn = {name: share**0.5 for name, share in BLOOD_SHARES.items()} | DECLINED_WEIGHTS
        weights = np.array(
            [
                drawn[CLASSES[c.label]]
                / by_class[c.label]
                * count[c.label, c.laboratory] ** (_BY_LABORATORY - 1)
                for c in cells
            ]
        )
        self.odds = weights / weights.sum()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, object]:
        crop, label = self.draw(index)
        return {"crop": torch.from_numpy(normalise([crop], MEAN, STD)[0]), "label": label}

    def draw(self, index: int) -> tuple[np.ndarray, int]:
        """Return a crop of the epoch, (S, S, 3) uint8 BGR, and its label."""
        rng = np.random.default_rng((self.epoch, index))
        cell = self.cells[rng.choice(len(self.cells), p=self.odds)]
        return varied_crop(cell, rng), cell.label
