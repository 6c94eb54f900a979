"""Check the overlapping fields that `wbcdet count --dedupe` finds in one laboratory against the
groups of near-duplicate fields in the split list. Writes a picture of each pair to look at."""

from __future__ import annotations

import csv
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Annotated

import typer


def read_splits(prepared: Path, laboratory: str) -> dict[str, dict[str, str]]:
    """Return the rows of the laboratory's fields in the prepared folder, by file name."""
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["laboratory"] == laboratory]
    return {Path(row["field"]).name: row for row in rows}


def listed_pairs(splits: dict[str, dict[str, str]]) -> set[tuple[str, str]]:
    """Return pairs of fields that stand in one group."""
    groups = defaultdict(list)
    for name, row in splits.items():
        groups[row["group"]].append(name)
    return {pair for names in groups.values() for pair in combinations(sorted(names), 2)}


def main(
    laboratory: Annotated[str, typer.Argument(help="Folder below PREPARED/fields.")] = "bccd",
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    pictures: Annotated[Path | None, typer.Option(help="Folder for pictures of the pairs.")] = None,
) -> None:
    """Print the pairs, and how they agree with the list."""
    import cv2
    import numpy as np

    from wbcdet import Analyzer
    from wbcdet.io.discover import find_fields
    from wbcdet.report import duplicates as dedupe
    from wbcdet.report.registration import RegistrationImage, encode_registration_image

    dedupe.NEAR = 10_000  # the list knows nothing of an order
    views = []
    for field, result in Analyzer().analyze_fields(find_fields([prepared / "fields" / laboratory])):
        if field is not None and result.cells:
            boxes = [cell.box for cell in result.cells]
            ground = RegistrationImage(
                encode_registration_image(field.pixels), field.width, field.height, boxes
            )
            views.append(dedupe.View(result.file, result.cells, ground))
    found = dedupe.find_duplicates(views, near=len(views))  # the list knows nothing of an order
    splits = read_splits(prepared, laboratory)
    listed = listed_pairs(splits)
    for pair in found.pairs:
        parts = [f"{splits[name]['detect']}/{splits[name]['classify']}" for name in pair]
        print(*pair, "listed" if tuple(sorted(pair)) in listed else "new", *parts)
    known = listed & {tuple(sorted(pair)) for pair in found.pairs}
    print(
        f"{len(views)} fields with cells: {len(found.pairs)} overlapping pairs, "
        f"{len(found.duplicate_of)} cells seen again; {len(known)} of {len(listed)} listed pairs"
    )
    if pictures is None:
        return
    pictures.mkdir(parents=True, exist_ok=True)
    grounds = {view.file: view.ground for view in views}
    for first, other in found.pairs:
        shift = grounds[other].shift_to([grounds[first]])[0]
        parts = [
            cv2.imread(str(prepared / "fields" / laboratory / name)) for name in (first, other)
        ]
        height, width = parts[0].shape[:2]
        sheet = np.zeros((2 * height, 2 * width, 3), np.uint8)
        dx, dy = round(shift.dx), round(shift.dy)
        x0, y0, x1, y1 = max(0, dx), max(0, dy), min(width, width + dx), min(height, height + dy)
        sheet[:height, :width], sheet[:height, width:] = parts
        for left, part, x, y in ((0, parts[0], 0, 0), (width, parts[1], dx, dy)):
            shared = part[y0 - y : y1 - y, x0 - x : x1 - x]
            sheet[height : height + y1 - y0, left : left + x1 - x0] = shared
        cv2.imwrite(str(pictures / f"{Path(first).stem}-{Path(other).stem}.jpg"), sheet)


if __name__ == "__main__":
    typer.run(main)
