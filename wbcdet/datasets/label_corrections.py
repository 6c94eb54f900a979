"""What was read by eye for this project: types, wrong labels and cells without one.

The lists are in ``datasets/*.csv``; which laboratory they are of and how they were made stands with
its reader and in docs/data.md.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator

from wbcdet.datasets.archives import datasets_folder
from wbcdet.datasets.lab_fields import LabBox
from wbcdet.utils.boxes import Box


def types_read(name: str, number: str) -> dict[tuple[str, int], str]:
    """Return the types of a list by file and the column ``number``, which tells boxes apart."""
    return {(row["file"], int(row[number])): row["cell_type"] for row in _rows(name)}


def types_corrected(name: str) -> dict[tuple[str, int | None], str]:
    """Return corrected types by file and left edge of the box (None where a file has one white
    cell)."""
    return {
        (row["file"], int(row["x_min"]) if "x_min" in row else None): row["cell_type"]
        for row in _rows(name)
    }


def typed(box: Box, said: str, verdict: str | None) -> LabBox:
    """Return a white cell with its published type, or with the type that corrects it."""
    if verdict is None:
        return LabBox(box, "wbc", said)
    return LabBox(box, "wbc", verdict, silver=True, published_type=said)


def redrawing(laboratory: str) -> Callable[[str, LabBox], list[LabBox]]:
    """Return what gives the boxes of a label of a file: itself, or those that correct it.

    Labels with which a detector disagreed were looked at by eye; those that are plainly drawn wrong
    (far wider than the cell, a sliver of it, one box over two cells) are in
    ``datasets/redrawn.csv``, by file and left edge.
    """
    redrawn: dict[tuple[str, int], list[LabBox]] = defaultdict(list)
    for row in _rows("redrawn.csv"):
        if row["laboratory"] == laboratory:
            box = LabBox(_corners(row), "wbc", row["cell_type"])
            redrawn[row["file"], int(row["label_x_min"])].append(box)
    return lambda file, label: redrawn.get((file, round(label.box[0])), [label])


def boxes_added(name: str, laboratory: str | None = None) -> dict[str, list[LabBox]]:
    """Return boxes that a data set lacks, by file; no box for a file that is not in the list.

    A row says the kind of its box or the type of its cell; where a list has neither column, its
    boxes count neither way.

    Args:
        name: the list.
        laboratory: its rows alone, of a list of several.
    """
    boxes: dict[str, list[LabBox]] = defaultdict(list)
    for row in _rows(name):
        if laboratory in (None, row.get("laboratory")):
            said = row.get("kind") or row.get("cell_type", "ignore")
            kind, cell_type = (said, "") if "kind" in row or said == "ignore" else ("wbc", said)
            boxes[row["file"]].append(LabBox(_corners(row), kind, cell_type, silver=True))
    return boxes


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (datasets_folder() / name).open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def _corners(row: dict[str, str]) -> Box:
    return float(row["x_min"]), float(row["y_min"]), float(row["x_max"]), float(row["y_max"])
