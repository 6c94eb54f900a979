"""Boxes of a data set that are plainly drawn wrong are replaced, and no others."""

from __future__ import annotations

import csv

from wbcdet.datasets.archives import datasets_folder
from wbcdet.datasets.lab_fields import LabBox
from wbcdet.datasets.label_corrections import redrawing


def test_a_label_is_replaced_by_its_redrawn_boxes_and_others_stay() -> None:
    redraw = redrawing("bcisc")
    union = LabBox((1016.0, 1162.0, 1424.0, 1534.0), "wbc", "eosinophil")
    cells = redraw("original-images/eosi/10-2.jpg", union)
    assert [cell.cell_type for cell in cells] == ["eosinophil", ""]
    assert all(cell.kind == "wbc" and cell.published_type == "" for cell in cells)
    other = LabBox((10.0, 10.0, 90.0, 90.0), "wbc", "eosinophil")
    assert redraw("original-images/eosi/10-2.jpg", other) == [other]
    assert redraw("original-images/eosi/1-1.jpg", union) == [union]
    assert redrawing("chula-ee")("original-images/eosi/10-2.jpg", union) == [union]


def test_redrawn_boxes_are_of_listed_fields_and_have_an_extent() -> None:
    with (datasets_folder() / "splits.csv").open(encoding="utf-8", newline="") as stream:
        listed = {(row["laboratory"], row["file"]) for row in csv.DictReader(stream)}
    with (datasets_folder() / "redrawn.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    for row in rows:
        assert (row["laboratory"], row["file"]) in listed and row["note"]
        assert float(row["x_min"]) < float(row["x_max"])
        assert float(row["y_min"]) < float(row["y_max"])
