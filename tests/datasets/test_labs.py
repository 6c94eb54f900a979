"""The readers of the laboratories' archives, and the training folder made by them."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import grain

from wbcdet.datasets.archives import DataError, open_archive
from wbcdet.datasets.lab_fields import KINDS
from wbcdet.datasets.laboratories import place_sub_image, read_bccd, read_split_list
from wbcdet.datasets.prepare import BOX_COLUMNS, CUTOUT_COLUMNS, FIELD_COLUMNS, _cutout, prepare
from wbcdet.utils.boxes import part_of_smaller

Rows = list[dict[str, str]]


def read(path: Path) -> Rows:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def fields(prepared: Path) -> dict[str, Rows]:
    """Rows of ``fields.csv`` by laboratory."""
    found: dict[str, Rows] = defaultdict(list)
    for row in read(prepared / "fields.csv"):
        found[row["laboratory"]].append(row)
    return found


@pytest.fixture(scope="module")
def boxes(prepared: Path) -> dict[str, Rows]:
    """Rows of ``boxes.csv`` by field."""
    found: dict[str, Rows] = defaultdict(list)
    for row in read(prepared / "boxes.csv"):
        found[row["field"]].append(row)
    return found


def kinds(fields: Rows, boxes: dict[str, Rows]) -> Counter[str]:
    return Counter(box["kind"] for row in fields for box in boxes[row["field"]])


def sides(box: dict[str, str]) -> tuple[float, float]:
    return float(box["x_max"]) - float(box["x_min"]), float(box["y_max"]) - float(box["y_min"])


def test_every_listed_field_is_there(prepared: Path, fields: dict[str, Rows]) -> None:
    listed = {lab: len(rows) for lab, rows in read_split_list().items() if lab in fields}
    assert len(listed) >= 7
    listed["bccd"] -= 3  # only the class list knows them; they have no boxes
    assert {lab: len(rows) for lab, rows in fields.items()} == listed
    for row in (row for rows in fields.values() for row in rows):
        assert tuple(row) == FIELD_COLUMNS
        assert (prepared / "fields" / row["field"]).stat().st_size > 1000
    assert not list(prepared.rglob("*.part"))


def test_boxes_lie_inside_their_fields(fields: dict[str, Rows], boxes: dict[str, Rows]) -> None:
    size = {
        row["field"]: (float(row["width"]), float(row["height"]))
        for rows in fields.values()
        for row in rows
    }
    assert set(boxes) <= set(size)
    for name, found in boxes.items():
        for box in found:
            assert tuple(box) == BOX_COLUMNS and box["kind"] in KINDS
            assert float(box["x_min"]) >= 0 and float(box["y_min"]) >= 0
            assert float(box["x_max"]) <= size[name][0] and float(box["y_max"]) <= size[name][1]
            assert min(sides(box)) > 0, (name, box)


@pytest.mark.parametrize("column", ["detect", "classify"])
def test_no_group_is_on_both_sides(fields: dict[str, Rows], column: str) -> None:
    for rows in fields.values():
        train = {row["group"] for row in rows if row[column] == "train"}
        judged = {row["group"] for row in rows if row[column] in ("test", "val", "crosslab")}
        assert not train & judged


def test_cutouts_come_from_training_fields_alone(prepared: Path, fields: dict[str, Rows]) -> None:
    rows = {row["field"]: row for found in fields.values() for row in found}
    cutouts = read(prepared / "cutouts.csv")
    assert Counter(c["laboratory"] for c in cutouts).keys() == {"bcisc", "tecom"}
    assert len(cutouts) > 350
    for cutout in cutouts:
        assert tuple(cutout) == CUTOUT_COLUMNS
        source = rows[cutout["source"]]
        assert source["classify"] == "train" and source["detect"] in ("train", "")
    assert len(cutouts) == len(list((prepared / "cutouts").rglob("*.png")))


def test_bcisc(fields: dict[str, Rows], boxes: dict[str, Rows]) -> None:
    assert len(fields["bcisc"]) == 247
    assert all(boxes[row["field"]] for row in fields["bcisc"])
    assert kinds(fields["bcisc"], boxes) == {"wbc": 279, "ignore": 1}
    for row in fields["bcisc"]:
        found = [box for box in boxes[row["field"]] if box["kind"] == "wbc"]
        assert all(20 <= min(sides(box)) <= max(sides(box)) < 600 for box in found)
        # A cell has masks in its field and in its sub-image, but one box.
        corners = [tuple(float(box[k]) for k in BOX_COLUMNS[1:5]) for box in found]
        assert all(part_of_smaller(a, b) <= 0.5 for n, a in enumerate(corners) for b in corners[:n])


def test_sub_images_are_found_in_their_fields(data_dir: Path) -> None:
    with open_archive("bcisc", data_dir) as archive:
        names = [n for n in archive.names() if n.startswith("sub-images/images/")]
        assert len(names) == 268
        for name in names[::40]:
            folder, stem, _ = Path(name).stem.split("_")[:3]
            field = archive.read_image(f"original-images/{folder}/{stem}.jpg")
            sub = archive.read_image(name)
            x, y, score = place_sub_image(field, sub)
            assert score > 0.97, name
            window = cv2.resize(field[y : y + 512, x : x + 512], (256, 256))
            assert np.abs(window.astype(int) - sub).mean() < 12


def test_a_sub_image_is_placed_where_it_was_cut() -> None:
    field = grain(1024, 1536)
    sub = cv2.resize(field[256:768, 400:912], (256, 256), interpolation=cv2.INTER_AREA)
    x, y, score = place_sub_image(field, sub)
    assert abs(x - 400) <= 4 and abs(y - 256) <= 4 and score > 0.99


def test_txl(data_dir: Path, fields: dict[str, Rows], boxes: dict[str, Rows]) -> None:
    mistaken = {"txl-pbc": 3, "txl-raabin": 18}
    repeated = 0
    with open_archive("txl-pbc", data_dir) as archive:
        for lab, number in mistaken.items():
            assert kinds(fields[lab], boxes)["not_wbc"] == number
            for row in fields[lab]:
                label = row["file"].replace("/images/", "/labels/")[:-4] + ".txt"
                lines = archive.read(label).decode().split("\n")
                lines = [line.strip() for line in lines if line.strip()]
                repeated += len(lines) - len(set(lines))
                labelled = [b for b in boxes[row["field"]] if b["kind"] != "unboxed"]
                assert len(labelled) == len(set(lines))
    assert repeated > 0  # the defect is still in the source
    white = [b for lab in mistaken for r in fields[lab] for b in boxes[r["field"]]]
    assert all(b["silver"] == "1" for b in white if b["kind"] in ("wbc", "not_wbc"))
    assert not any(b["cell_type"] for b in white if b["kind"] != "wbc")


def test_bccd(fields: dict[str, Rows], boxes: dict[str, Rows]) -> None:
    found = [box for row in fields["bccd"] for box in boxes[row["field"]]]
    assert len(fields["bccd"]) == 364
    assert Counter(b["kind"] for b in found) == {
        "wbc": 372, "rbc": 4153, "platelet": 361, "unboxed": 3, "unboxed_part": 3,
    }  # fmt: skip
    assert min(min(sides(box)) for box in found) >= 4
    corrected = [b for b in found if b["silver"] == "1" and b["kind"] == "wbc"]
    assert all(b["published_type"] in ("eosinophil", "monocyte") for b in corrected)
    types = Counter(b["cell_type"] for b in corrected)
    assert types == {"neutrophil": 29, "unsure": 10}
    assert not any(b["published_type"] for b in found if b["silver"] == "0")


VOC = """<annotation>
<object><name>{}</name><bndbox><xmin>10</xmin><ymin>10</ymin><xmax>60</xmax><ymax>70</ymax>
</bndbox></object>
<object><name>RBC</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax>
</bndbox></object></annotation>"""


class Memory:
    """An archive of texts in memory."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def names(self) -> tuple[str, ...]:
        return tuple(self.files)

    def read(self, path: str) -> bytes:
        return self.files[path].encode()


@pytest.mark.parametrize(
    ("cell_types", "name", "expected"),
    [
        ("neutrophil", "WBC", [("wbc", "neutrophil")]),
        ("neutrophil+neutrophil", "WBC", [("wbc", "")]),  # one box for two cells: which?
        ("neutrophil+monocyte", "WBC", [("wbc", "")]),
        ("", "WBC", [("wbc", "")]),
        ("neutrophil", "Platelets", [("platelet", "")]),
    ],
)
def test_bccd_class_of_a_box(cell_types: str, name: str, expected: list[tuple[str, str]]) -> None:
    row = {"laboratory": "bccd", "file": "BCCD/JPEGImages/a.jpg", "cell_types": cell_types}
    row |= {"group": "g", "detect": "train", "classify": "train"}
    archive = Memory({"BCCD/Annotations/a.xml": VOC.format(name)})
    (record,) = read_bccd(archive, [row])  # type: ignore[arg-type]
    # The one-pixel box is dropped.
    assert [(box.kind, box.cell_type) for box in record.boxes] == expected
    assert list(read_bccd(Memory({}), [row])) == []  # type: ignore[arg-type]


def test_aslan(fields: dict[str, Rows], boxes: dict[str, Rows]) -> None:
    found = [box for row in fields["aslan"] for box in boxes[row["field"]]]
    assert kinds(fields["aslan"], boxes) == {"wbc": 100, "not_wbc": 3, "rbc": 2236}
    assert all(b["cell_type"] for b in found if b["kind"] == "wbc")
    assert not any(b["cell_type"] for b in found if b["kind"] != "wbc")


@pytest.mark.parametrize(("lab", "number"), [("tecom", 300), ("cellavision", 100)])
def test_segmented_crops_hold_one_cell(
    lab: str, number: int, fields: dict[str, Rows], boxes: dict[str, Rows]
) -> None:
    assert len(fields[lab]) == number
    for row in fields[lab]:
        (box,) = boxes[row["field"]]
        assert box["kind"] == "wbc" and box["cell_type"]
        assert min(sides(box)) > 0.15 * min(float(row["width"]), float(row["height"]))


def disc(x: int, y: int, radius: int) -> np.ndarray:
    mask = np.zeros((80, 100), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask.astype(bool)


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (disc(50, 40, 20), (41, 41, 4)),
        (np.zeros((80, 100), bool), None),
        (disc(50, 40, 5), None),  # too small to be a cell
        (disc(10, 40, 20), None),  # cut by the border
        (disc(50, 65, 20), None),
    ],
)
def test_cutout(mask: np.ndarray, shape: tuple[int, ...] | None) -> None:
    cell = _cutout(grain(80, 100), mask)
    if cell is None or shape is None:
        assert cell is None and shape is None
        return
    assert cell.shape == shape and cell.dtype == np.uint8
    assert np.array_equal(cell[..., :3], grain(80, 100)[20:61, 30:71])
    assert cell[20, 20, 3] >= 254 and cell[0, 0, 3] == 0  # soft between


def test_missing_archives_are_one_line_and_leave_no_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wbcdet data fetch") as caught:
        prepare(tmp_path / "none", tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "out").rglob("*.csv"))


@pytest.mark.parametrize(
    ("field", "types"),
    [
        ("baso_3-4", ["basophil", "neutrophil"]),  # corrected by eye
        ("baso_3-1", ["", "", "basophil"]),  # neighbours of the middle cell
        ("eosi_6-1", ["eosinophil", "eosinophil"]),  # one added by eye
        ("mono_1-1", ["monocyte"]),  # a field's only cell
    ],
)
def test_which_bcisc_cells_take_the_class_of_their_folder(
    boxes: dict[str, Rows], field: str, types: list[str]
) -> None:
    assert sorted(b["cell_type"] for b in boxes[f"bcisc/{field}.jpg"]) == types
