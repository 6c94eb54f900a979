"""Recall against the size of a white cell in pixels: the table of docs/first-slide.md.

Test fields of every laboratory are scaled so that their white cells measure so many pixels across,
laid beside each other on pictures of 1280x960 px, as a camera behind a weaker or stronger objective
takes them, and analysed as `wbcdet predict` does. A cell is found where a box overlaps its own with
an IoU of 0.5. An enlarged field holds no more detail than before: above its own size the table says
what a camera with more pixels changes, not what a better objective does.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

#: Size of the pictures, px.
WIDTH, HEIGHT = 1280, 960
SIZES = (10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 400)


@dataclass(frozen=True, slots=True)
class TestField:
    """A field that the detector was not trained on, with the cells that are known in it."""

    laboratory: str
    path: Path
    boxes: np.ndarray  # (N, 4) white cells, px
    types: tuple[str, ...]
    ignored: np.ndarray  # (M, 4) regions that nobody labelled, px

    @property
    def cell_size(self) -> float:
        """Median of the longer sides of its white cells, px."""
        return float(np.median((self.boxes[:, 2:] - self.boxes[:, :2]).max(1)))


def read_fields(prepared: Path, each: int) -> list[TestField]:
    """Test fields with a white cell, at most so many of a laboratory, spread over its list."""
    cells: dict[str, list[tuple[list[float], str, str]]] = defaultdict(list)
    with (prepared / "boxes.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            box = [float(row[side]) for side in ("x_min", "y_min", "x_max", "y_max")]
            cells[row["field"]].append((box, row["kind"], row["cell_type"]))
    by: dict[str, list[TestField]] = defaultdict(list)
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            white = [(box, name) for box, kind, name in cells[row["field"]] if kind == "wbc"]
            if row["detect"] != "test" or not white:
                continue
            ignored = [box for box, kind, _ in cells[row["field"]] if kind == "ignore"]
            by[row["laboratory"]].append(
                TestField(
                    row["laboratory"],
                    prepared / "fields" / row["field"],
                    np.array([box for box, _ in white]),
                    tuple(name for _, name in white),
                    np.array(ignored).reshape(-1, 4),
                )
            )
    chosen: list[TestField] = []
    for fields in by.values():
        places = np.linspace(0, len(fields) - 1, min(each, len(fields))).round().astype(int)
        chosen += [fields[place] for place in places]
    return chosen


@dataclass(frozen=True, slots=True)
class Photograph:
    """Scaled fields on one picture, with what is known of them."""

    pixels: np.ndarray  # (height, width, 3) BGR
    boxes: np.ndarray  # (N, 4) px
    types: tuple[str, ...]
    ignored: np.ndarray  # (M, 4) px


def photographs(fields: list[TestField], size: float) -> Iterator[Photograph]:
    """Fields scaled to one size of their cells, laid in rows on pictures as a camera takes them."""
    row: list[tuple[int, int, TestField, np.ndarray, float]] = []
    x = y = height = 0
    for field in fields:
        scale = size / field.cell_size
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        pixels = cv2.resize(
            cv2.imread(str(field.path)), None, fx=scale, fy=scale, interpolation=how
        )
        if x and x + pixels.shape[1] > WIDTH:
            x, y, height = 0, y + height, 0
        if row and y + pixels.shape[0] > HEIGHT:
            yield _joined(row)
            row, x, y, height = [], 0, 0, 0
        row.append((x, y, field, pixels, scale))
        x, height = x + pixels.shape[1], max(height, pixels.shape[0])
    if row:
        yield _joined(row)


def _joined(row: list[tuple[int, int, TestField, np.ndarray, float]]) -> Photograph:
    width = max(WIDTH, *(x + pixels.shape[1] for x, _, _, pixels, _ in row))
    height = max(HEIGHT, *(y + pixels.shape[0] for _, y, _, pixels, _ in row))
    # What no field covers has the colour of their ground.
    ground = np.median(np.concatenate([tile[3].reshape(-1, 3)[::97] for tile in row]), axis=0)
    canvas = np.full((height, width, 3), ground, np.uint8)
    boxes, ignored, types = [], [], []
    for x, y, field, pixels, scale in row:
        canvas[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
        shift = np.array([x, y, x, y])
        boxes.append(field.boxes * scale + shift)
        ignored.append(field.ignored * scale + shift)
        types += field.types
    return Photograph(canvas, np.concatenate(boxes), tuple(types), np.concatenate(ignored))


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    each: Annotated[int, typer.Option(help="Fields of a laboratory, at most.")] = 12,
) -> None:
    """Scale test fields and count the cells that are found and named right."""
    from wbcdet import Analyzer
    from wbcdet.evaluation.detection import match, outside_ignored
    from wbcdet.records import LABELS
    from wbcdet.utils.intervals import wilson

    cv2.setNumThreads(1)
    fields = read_fields(prepared, each)
    analyzer = Analyzer(device="cpu")
    names = {str(label) for label in LABELS}
    print(
        f"{len(fields)} test fields of {len({field.laboratory for field in fields})} laboratories\n"
    )
    print("| cell, px | found % (95 %) | false boxes in all | named right % of found |")
    print("|---:|---:|---:|---:|")
    for size in SIZES:
        cells = found = false = named = right = 0
        for photograph in photographs(fields, size):
            result = analyzer.analyze(photograph.pixels)
            boxes = np.array([cell.box for cell in result.cells]).reshape(-1, 4)
            pairs = match(photograph.boxes, boxes)
            cells += len(photograph.boxes)
            found += len(pairs)
            taken = {box for _, box in pairs}
            false += sum(
                bool(counts) and box not in taken
                for box, counts in enumerate(outside_ignored(boxes, photograph.ignored))
            )
            typed = [(cell, box) for cell, box in pairs if photograph.types[cell] in names]
            named += len(typed)
            right += sum(
                str(result.cells[box].label) == photograph.types[cell] for cell, box in typed
            )
        low, high = wilson(found, cells)
        print(
            f"| {size} | {100 * found / cells:.1f} ({100 * low:.1f} to {100 * high:.1f}) "
            f"| {false} | {100 * right / named if named else 0:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
