"""Compare ways to look at large fields: as a whole, in tiles of one size, in tiles that suit."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

#: Fields side by side and below each other in a stitched field, by laboratory.
GRIDS = {
    "bccd": (12, 12),
    "bcisc": (6, 6),
    "txl-raabin": (12, 12),
    "txl-pbc": (12, 12),
    "aslan": (10, 10),
}
#: Fields that the detector was not trained on, where a laboratory has such.
UNSEEN = {"test", "heldout", "val"}
#: Drawn smears: width of a neutrophil in pixels, white cells a square millimetre.
DRAWN = ((30, 200), (60, 200), (110, 200), (110, 20), (250, 300), (500, 400), (900, 600))


@dataclass(frozen=True, slots=True)
class Case:
    """A large field: its cells (N, 4), and boxes (M, 4) that are neither right nor wrong."""

    name: str
    pixels: np.ndarray
    cells: np.ndarray
    ignored: np.ndarray


def stitched(prepared: Path, laboratory: str, columns: int, rows: int) -> Case:
    """Return fields of one laboratory in a grid. Cells cut by the seams between them are
    ignored."""
    boxes: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
    with (prepared / "boxes.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            box = np.array([float(row[k]) for k in ("x_min", "y_min", "x_max", "y_max")])
            boxes[row["field"]].append((row["kind"], box))
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        fields = [row for row in csv.DictReader(stream) if row["laboratory"] == laboratory]
    unseen = [row for row in fields if row["detect"] in UNSEEN] or fields
    size = Counter((int(row["width"]), int(row["height"])) for row in unseen).most_common(1)[0][0]
    names = [row["field"] for row in unseen if (int(row["width"]), int(row["height"])) == size]
    order = np.random.default_rng(0).permutation(len(names))[: columns * rows]
    rows = len(order) // columns
    width, height = size
    pixels = np.zeros((rows * height, columns * width, 3), np.uint8)
    cells, ignored = [], []
    for at, number in enumerate(order[: columns * rows]):
        y, x = at // columns * height, at % columns * width
        image = cv2.imread(str(prepared / "fields" / names[number]))
        assert image is not None, names[number]
        pixels[y : y + height, x : x + width] = image
        for kind, box in boxes[names[number]]:
            cut = min(box[0], box[1], width - box[2], height - box[3]) < 2
            if kind == "wbc" and not cut:
                cells.append(box + np.array([x, y, x, y]))
            elif kind in ("wbc", "ignore"):
                ignored.append(box + np.array([x, y, x, y]))
    return Case(laboratory, pixels, np.reshape(cells, (-1, 4)), np.reshape(ignored, (-1, 4)))


def cases(prepared: Path) -> Iterator[Case]:
    """Yield stitched fields as they are and reduced, then drawn smears."""
    from wbcdet.datasets.synthetic import render_smear

    for laboratory, grid in GRIDS.items():
        case = stitched(prepared, laboratory, *grid)
        yield case
        small = cv2.resize(case.pixels, None, fx=0.35, fy=0.35, interpolation=cv2.INTER_AREA)
        yield Case(f"{laboratory} x 0.35", small, case.cells * 0.35, case.ignored * 0.35)
    for seed, (cell_px, density) in enumerate(DRAWN, 1):
        smear = render_smear(seed, 4400, 3600, cell_px=cell_px, cells_per_mm2=density)
        cells = np.array([cell.box for cell in smear.cells]).reshape(-1, 4)
        yield Case(f"drawn, {density} cells/mm2", smear.pixels, cells, np.zeros((0, 4)))


def hits(case: Case, boxes: np.ndarray) -> tuple[int, int]:
    """Return cells found (IoU 0.4, one to one), and boxes on nothing."""
    low = np.maximum(case.cells[:, None, :2], boxes[None, :, :2])
    high = np.minimum(case.cells[:, None, 2:], boxes[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(2)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (case.cells, boxes)]
    iou = shared / (areas[0][:, None] + areas[1][None] - shared)
    used = set()
    while iou.size and iou.max() >= 0.4:
        cell, box = np.unravel_index(iou.argmax(), iou.shape)
        used.add(int(box))
        iou[cell, :] = iou[:, box] = -1
    middle = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    near = (middle > case.ignored[None, :, :2] - 5) & (middle < case.ignored[None, :, 2:] + 5)
    free = ~near.all(2).any(1)
    return len(used), sum(bool(free[i]) and i not in used for i in range(len(boxes)))


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
) -> None:
    """Print the table of docs/large-fields.md."""
    from wbcdet.inference.detector import Detector
    from wbcdet.inference.magnification import View, choose_view
    from wbcdet.inference.tiling import assign, merge, plan
    from wbcdet.io.field import Field
    from wbcdet.settings import Settings

    detector = Detector("cpu")
    ways = ("whole", "tiles of 1024", "tiles of 2048", "chosen")
    print("| field | pixels | width of a cell | cells |", *(f"{way} |" for way in ways), "view |")
    print("|---|---|---|---|" + "---|" * (len(ways) + 1))
    for case in cases(prepared):
        height, width = case.pixels.shape[:2]
        field = Field(case.name, None, case.pixels)
        size = detector.card["input_size"]
        chosen = choose_view(field, detector.detect, size, Settings())
        row = []
        for view in (None, View(1024, 256), View(2048, 512), chosen):
            tiles = plan(width, height, view.size, view.overlap) if view else []
            claims = []
            for tile in tiles:
                boxes, scores = detector.detect(field.read(*tile.box))
                corner = np.array([*tile.box[:2]] * 2)
                claims.append(assign(tile, boxes + corner, scores, width, height))
            boxes = np.array([box for _, _, box in merge(claims)]).reshape(-1, 4)
            if view is None:
                boxes = detector.detect(case.pixels)[0]
            found, false = hits(case, boxes)
            row.append(f"{100 * found / len(case.cells):.1f} % ({false})")
        cell = np.median((case.cells[:, 2:] - case.cells[:, :2]).max(1))
        view_text = f"{chosen.size} / {chosen.overlap}" if chosen else "whole"
        columns = (
            case.name,
            f"{width} x {height}",
            f"{cell:.0f}",
            len(case.cells),
            *row,
            view_text,
        )
        print("| " + " | ".join(map(str, columns)) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
