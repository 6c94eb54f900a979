"""Labels read by eye for this project: what is replaced, corrected and added, and nothing else."""

from __future__ import annotations

import csv

from wbcdet.datasets.archives import datasets_folder
from wbcdet.datasets.lab_fields import LabBox
from wbcdet.datasets.label_corrections import (
    boxes_added,
    redrawing,
    typed,
    types_corrected,
    types_read,
)


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


def test_a_list_says_the_kind_of_its_boxes_or_the_type_of_their_cells() -> None:
    bcisc = boxes_added("bcisc_added.csv")
    (cell,) = bcisc["original-images/baso/3-1.jpg"]
    assert cell == LabBox((5.0, 1395.0, 190.0, 1536.0), "wbc", "", silver=True)
    assert {box.kind for boxes in bcisc.values() for box in boxes} == {"wbc", "ignore"}
    assert all(not box.cell_type for boxes in bcisc.values() for box in boxes if box.kind != "wbc")
    chula = [box for boxes in boxes_added("chula_added.csv").values() for box in boxes]
    assert {box.kind for box in chula} == {"wbc", "ignore"}
    assert not any(box.cell_type for box in chula)
    neighbours = boxes_added("pbc_neighbours.csv")
    assert {box.kind for boxes in neighbours.values() for box in boxes} == {"ignore"}
    assert neighbours["no such field.jpg"] == []


def test_of_a_list_of_several_laboratories_one_gets_its_own() -> None:
    with (datasets_folder() / "test_unboxed.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for laboratory in ("bccd", "txl-raabin"):
        own = boxes_added("test_unboxed.csv", laboratory)
        assert set(own) == {row["file"] for row in rows if row["laboratory"] == laboratory}
    assert sum(map(len, boxes_added("test_unboxed.csv").values())) == len(rows)


def test_a_corrected_type_keeps_the_published_one() -> None:
    by_field, by_box = types_corrected("bccd_retyped.csv"), types_corrected("bcisc_retyped.csv")
    verdict = by_field["BCCD/JPEGImages/BloodImage_00023.jpg", None]
    box = (1.0, 2.0, 30.0, 40.0)
    corrected = typed(box, "eosinophil", verdict)
    assert corrected == LabBox(box, "wbc", "neutrophil", True, "eosinophil")
    assert typed(box, "eosinophil", None) == LabBox(box, "wbc", "eosinophil")
    assert by_box["original-images/eosi/7-2.jpg", 1470] == "unsure"


def test_types_are_told_apart_by_the_number_of_their_box() -> None:
    types = types_read("aslan_cells.csv", "wbc_number")
    assert types["images/image-1.png", 0] == "neutrophil"
    assert types["images/image-100.png", 0] == "not_wbc"
