"""Load the labelled cells of the classifier, with patches around them."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wbcdet.inference.surroundings import REACH, Surroundings, measure_surroundings
from wbcdet.utils.boxes import Box

# OpenCV's threads do not survive the fork of a data loader: its workers would wait forever.
cv2.setNumThreads(0)

#: Class order of the network: the four labels, then what is taught so that it can be declined.
CLASSES = (
    "eosinophil",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "basophil",
    "immature granulocyte",
    "promyelocyte",
    "erythroblast",
    "platelet",
    "artefact",
)
#: Reason for which a cell of one of the other classes is left unclassified.
REASONS = {
    "basophil": "basophil-like",
    "immature granulocyte": "immature-like",
    # Promyelocytes are the nearest to blasts that licensed pictures show.
    "promyelocyte": "blast-like",
    "erythroblast": "erythroblast-like",
    "platelet": "artefact",
    "artefact": "artefact",
}
#: ImageNet weights of EfficientNet-Lite0 expect pixels in -1..1.
MEAN = (0.498, 0.498, 0.498)
STD = (0.502, 0.502, 0.502)
#: Longer side at which a cell is kept in memory, px: what it has in a crop at most, so that crops
#: of the training are as sharp as those at work.
LARGEST_CELL = 96


@dataclass(slots=True)
class LabelledCell:
    """A cell with its surroundings.

    Attributes:
        patch: (H, W, 3) uint8 BGR, the part of the field around the cell.
        box: of the cell within the patch, px.
        label: index into ``CLASSES``.
        around: what stands around the cell in the patch.
    """

    laboratory: str
    field: str
    group: str
    split: str
    patch: np.ndarray
    box: tuple[float, float, float, float]
    label: int
    silver: bool
    around: Surroundings = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.around = measure_surroundings(self.patch, self.box)


def cut_patch(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, Box]:
    """Return the part of a field that a crop can depend on, and the box in it.

    Args:
        image: (H, W, 3) uint8 BGR, the field or a part of it.
        box: (4,) pixels of the image.
    """
    height, width = image.shape[:2]
    centre, side = (box[:2] + box[2:]) / 2, float(max(box[2:] - box[:2]))
    reach = side * REACH
    x0, y0 = np.maximum(centre - reach, 0).astype(int)
    x1, y1 = np.minimum(centre + reach, (width, height)).astype(int)
    patch = image[y0:y1, x0:x1]
    factor = min(1.0, LARGEST_CELL / side)
    if factor < 1:
        patch = cv2.resize(patch, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    left, top, right, bottom = ((box - np.array([x0, y0, x0, y0])) * factor).tolist()
    return np.ascontiguousarray(patch), (left, top, right, bottom)


def load_cells(
    prepared: Path,
    splits: tuple[str, ...],
    laboratories: tuple[str, ...] | None = None,
    leave_out: tuple[str, ...] = (),
    artefacts: int = 3,
    published: bool = False,
    most: int | None = None,
) -> list[LabelledCell]:
    """Load the cells of the given classifier splits.

    Args:
        prepared: folder written by :func:`wbcdet.datasets.prepare.prepare`.
        splits: values of the ``classify`` column to take.
        laboratories: take these only.
        leave_out: leave these out.
        artefacts: how many red cells, platelets and bare spots at most to take from a field.
        published: take the class that the data set gives even where this project corrects it.
        most: cells of one laboratory and class at most, taken at even steps.
    """
    with (prepared / "boxes.csv").open(encoding="utf-8", newline="") as stream:
        boxes: dict[str, list[dict[str, str]]] = {}
        for row in csv.DictReader(stream):
            if published and row.get("published_type"):
                row["cell_type"] = row["published_type"]
            boxes.setdefault(row["field"], []).append(row)
    cells: list[LabelledCell] = []
    steps = _steps(prepared, boxes, splits, most) if most else {}
    met: Counter[tuple[str, int]] = Counter()
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream)):
            lab = row["laboratory"]
            if row["classify"] not in splits or lab in leave_out:
                continue
            if laboratories is not None and lab not in laboratories:
                continue
            rng = np.random.default_rng(number)
            chosen = []
            for cell in _choose(boxes.get(row["field"], []), row, artefacts, rng):
                if met[lab, cell[1]] % steps.get((lab, cell[1]), 1) == 0:
                    chosen.append(cell)
                met[lab, cell[1]] += 1
            if not chosen:
                continue
            image = cv2.imread(str(prepared / "fields" / row["field"]))
            assert image is not None, row["field"]
            for box, label, silver in chosen:
                patch, inside = cut_patch(image, box)
                cells.append(
                    LabelledCell(
                        lab, row["field"], row["group"], row["classify"],
                        patch, inside, label, silver,
                    )
                )  # fmt: skip
    return cells


def _steps(
    prepared: Path, boxes: dict[str, list[dict[str, str]]], splits: tuple[str, ...], most: int
) -> dict[tuple[str, int], int]:
    """Compute by laboratory and class the sampling step that leaves about ``most`` cells."""
    numbers: Counter[tuple[str, int]] = Counter()
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["classify"] in splits:
                for b in boxes.get(row["field"], []):
                    if b["cell_type"] in CLASSES:
                        numbers[row["laboratory"], CLASSES.index(b["cell_type"])] += 1
    return {key: max(1, -(-number // most)) for key, number in numbers.items()}


def _choose(
    boxes: list[dict[str, str]], row: dict[str, str], artefacts: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, int, bool]]:
    """Return the labelled cells of a field, and some of what is not a white cell."""
    chosen, red, white = [], [], []
    for b in boxes:
        box = np.array([float(b[k]) for k in ("x_min", "y_min", "x_max", "y_max")])
        if min(box[2:] - box[:2]) < 6:
            continue
        if b["kind"] == "wbc":
            white.append(box)
            if b["cell_type"] in CLASSES:
                chosen.append((box, CLASSES.index(b["cell_type"]), b["silver"] == "1"))
        elif b["kind"] == "not_wbc":
            chosen.append((box, CLASSES.index("artefact"), True))
        elif b["kind"] == "platelet" and b["cell_type"] == "platelet":
            chosen.append((box, CLASSES.index("platelet"), False))
        elif b["kind"] in ("rbc", "platelet"):
            red.append(box)
    width, height = float(row["width"]), float(row["height"])
    if white and red:
        for _ in range(artefacts):
            box = red[rng.integers(len(red))]
            if rng.random() < 0.3:  # a window of a white cell's size anywhere in the field
                side = max(white[0][2:] - white[0][:2])
                corner = rng.uniform(0, 1, 2) * np.maximum((width - side, height - side), 1)
                box = np.concatenate([corner, corner + side])
            if all(_apart(box, other) for other in white):
                chosen.append((box, CLASSES.index("artefact"), False))
    return chosen


def _apart(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.any(np.minimum(a[2:], b[2:]) <= np.maximum(a[:2], b[:2])))
