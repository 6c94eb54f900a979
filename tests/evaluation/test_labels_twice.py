"""Labels that stand twice, of other pictures, or in encodings that editors made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from conftest import grain
from PIL import Image

from wbcdet.differential.csv_table import TableError
from wbcdet.evaluation.agreement.manual import read_manual
from wbcdet.evaluation.label_reader import LabelledError
from wbcdet.evaluation.labelled_folder import LabelledFolder, read_labelled

WIDTH, HEIGHT = 64, 48
SIDES = [8.0, 6.0, 32.0, 24.0]
NAMES = ("neutrophil", "lymphocyte", "WBC")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are paths below the working folder."""
    monkeypatch.chdir(tmp_path)


def coco(path: Path, *boxes: tuple[int, str, list[float]], first: int = 0, **more: Any) -> None:
    """Write two pictures, numbered from ``first``, and annotations: picture, class and sides."""
    for number in (0, 1):
        cv2.imwrite(str(path.parent / f"{number}.png"), grain(HEIGHT, WIDTH, number))
    document = {
        "images": [{"id": first + number, "file_name": f"{number}.png"} for number in (0, 1)],
        "annotations": [
            {"id": at, "image_id": image, "category_id": NAMES.index(name), "bbox": box, **more}
            for at, (image, name, box) in enumerate(boxes)
        ],
        "categories": [{"id": at, "name": name} for at, name in enumerate(NAMES)],
    }
    path.write_text(json.dumps(document))


def kinds(folder: LabelledFolder) -> set[str]:
    return {problem.kind for problem in folder.problems} - {"empty-class"}


def test_two_versions_of_a_file_count_a_cell_once(tmp_path: Path) -> None:
    coco(tmp_path / "a.json", (0, "neutrophil", SIDES), (1, "neutrophil", SIDES))
    moved = [SIDES[0] + 1, *SIDES[1:]]
    coco(tmp_path / "b.json", (0, "neutrophil", moved), (1, "neutrophil", moved))
    found = read_labelled(tmp_path)
    assert [len(field.boxes) for field in found.fields] == [1, 1]
    assert kinds(found) == {"repeated-label"}


def test_a_box_for_the_name_and_one_for_the_cell_are_one(tmp_path: Path) -> None:
    coco(tmp_path / "a.json", (0, "WBC", SIDES), (0, "lymphocyte", SIDES), (1, "WBC", SIDES))
    assert [field.types for field in read_labelled(tmp_path).fields] == [("lymphocyte",), ("",)]


def test_two_names_of_one_cell_are_a_broken_label(tmp_path: Path) -> None:
    both = (0, "neutrophil", SIDES), (0, "lymphocyte", SIDES), (1, "neutrophil", SIDES)
    coco(tmp_path / "a.json", *both)
    found = read_labelled(tmp_path)
    assert len(found.fields) == 1
    assert [p.what for p in found.problems if p.kind == "broken-label"] == [
        "one cell is both neutrophil and lymphocyte"
    ]


def test_neighbours_are_two_cells(tmp_path: Path) -> None:
    near = [SIDES[0] + 10, *SIDES[1:]]
    coco(tmp_path / "a.json", (0, "neutrophil", SIDES), (0, "lymphocyte", near))
    assert len(read_labelled(tmp_path).fields[0].boxes) == 2


def test_boxes_of_another_size_are_not_added_to_those_of_the_picture(tmp_path: Path) -> None:
    for name, width, height in (("a", 2 * WIDTH, 2 * HEIGHT), ("b", WIDTH, HEIGHT)):
        coco(tmp_path / f"{name}.json", (0, "neutrophil", SIDES))
        document = json.loads((tmp_path / f"{name}.json").read_text())
        document["images"][0] |= {"width": str(width), "height": str(height)}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    found = read_labelled(tmp_path)
    assert [len(field.boxes) for field in found.fields] == [0]  # of the other picture
    [said] = [p.what for p in found.problems if p.kind == "broken-label"]
    assert said == f"made on {2 * WIDTH} x {2 * HEIGHT} pixels, the picture has {WIDTH} x {HEIGHT}"


@pytest.mark.parametrize("side", [f'"{WIDTH}"', "[7]", '"wide"', "true", "NaN"])
def test_sides_are_read_however_a_tool_writes_them(tmp_path: Path, side: str) -> None:
    coco(tmp_path / "a.json", (0, "neutrophil", SIDES))
    text = (tmp_path / "a.json").read_text()
    sides = f'"width": {side}, "height": {HEIGHT}, "file_name"'
    (tmp_path / "a.json").write_text(text.replace('"file_name"', sides))
    assert [len(field.boxes) for field in read_labelled(tmp_path).fields] == [1, 0]


def test_two_label_files_of_a_picture_that_differ_are_a_broken_label(tmp_path: Path) -> None:
    for number, second in (("0", "0 0.5 0.5 0.5 0.5"), ("1", "0 0.2 0.2 0.2 0.2")):
        for folder, text in (("labels", "0 0.5 0.5 0.5 0.5"), ("annotations", second)):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / f"{number}.txt").write_text(text)
        cv2.imwrite(str(tmp_path / f"{number}.png"), grain(HEIGHT, WIDTH, int(number)))
    (tmp_path / "classes.txt").write_text("WBC")
    found = read_labelled(tmp_path)
    assert len(found.fields) == 1
    assert [p.what for p in found.problems if p.kind == "broken-label"] == [
        "annotations/1.txt and labels/1.txt are both its labels; keep one"
    ]


@pytest.mark.parametrize(("first", "images"), [(0, (1, 2)), (1, (0, 1))])
def test_annotations_counted_from_another_number(
    tmp_path: Path, first: int, images: tuple[int, int]
) -> None:
    boxes = [(image, "neutrophil", SIDES) for image in images]
    coco(tmp_path / "a.json", *boxes, first=first)
    with pytest.raises(LabelledError, match="count from 0 and its annotations from 1"):
        read_labelled(tmp_path)


def test_a_picture_without_cells_shifts_nothing(tmp_path: Path) -> None:
    coco(tmp_path / "a.json", (2, "neutrophil", SIDES), first=1)
    assert [len(field.boxes) for field in read_labelled(tmp_path).fields] == [0, 1]


def test_a_file_of_crowds_alone_holds_cells(tmp_path: Path) -> None:
    coco(tmp_path / "a.json", (0, "neutrophil", SIDES), (1, "neutrophil", SIDES), iscrowd=1)
    assert [len(field.boxes) for field in read_labelled(tmp_path).fields] == [1, 1]


def test_sizes_are_those_of_the_picture_and_not_of_its_thumbnail(tmp_path: Path) -> None:
    pixels = grain(HEIGHT, WIDTH, 0)
    with tifffile.TiffWriter(tmp_path / "0.tif") as file:
        file.write(np.ascontiguousarray(pixels[::4, ::4]), photometric="rgb", subfiletype=1)
        file.write(pixels, photometric="rgb")
    (tmp_path / "0.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("WBC")
    [field] = read_labelled(tmp_path).fields
    assert field.boxes.tolist() == [[16, 12, 48, 36]]


def test_boxes_of_a_turned_heic_lie_on_the_upright_picture(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()  # as a program that uses the package may have done
    tags = Image.Exif()
    tags[274] = 6
    Image.fromarray(grain(HEIGHT, WIDTH, 0)).save(tmp_path / "0.heic", format="HEIF", exif=tags)
    (tmp_path / "0.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("WBC")
    [field] = read_labelled(tmp_path).fields
    assert field.read().shape == (WIDTH, HEIGHT, 3)
    assert field.boxes.tolist() == [[12, 16, 36, 48]]


@pytest.mark.parametrize("name", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_unicode_is_read(tmp_path: Path, name: str) -> None:
    coco(tmp_path / "a.json", (0, "neutrophil", SIDES), (1, "WBC", SIDES))
    text = (tmp_path / "a.json").read_text()
    (tmp_path / "a.json").write_bytes(text.encode(name))
    assert len(read_labelled(tmp_path).fields) == 2
    table = "slide;neut;lymph;mono;eos\nPräparat 1;60;30;8;2\n"
    (tmp_path / "manual.csv").write_bytes(table.encode(name))
    assert list(read_manual(tmp_path / "manual.csv").groups) == ["Präparat 1"]


@pytest.mark.parametrize(
    "text",
    [
        "slide,neut,lymph,mono,eos\ns1,0.6,0.3,0.08,0.02\n",
        "slide;neut %;lymph %;mono %;eos %\ns1;0,6;0,3;0,08;0,02\n",
        "slide,type,percent\ns1,neut,0.6\ns1,lymph,0.3\ns1,mono,0.08\ns1,eos,0.02\n",
        "\nslide|neut|lymph|mono|eos\ns1|0.6|0.3|0.08|0.02\n",
    ],
)
def test_shares_of_one_are_percentages(tmp_path: Path, text: str) -> None:
    (tmp_path / "manual.csv").write_text(text)
    side = read_manual(tmp_path / "manual.csv")
    assert side.groups["s1"].percent["neutrophil"] == pytest.approx(60)
    assert side.groups["s1"].cells is None


def test_cells_in_a_volume_are_no_percentages(tmp_path: Path) -> None:
    (tmp_path / "manual.csv").write_text("slide,neut,lymph,mono,eos\ns1,3.6,1.8,0.48,0.12\n")
    with pytest.raises(TableError, match="neither cells nor percentages"):
        read_manual(tmp_path / "manual.csv")
    # So it may be where most cells are of other types, if the columns say that it is percent.
    (tmp_path / "manual.csv").write_text("slide,neut%,lymph%,mono%,eos%\ns1,3.6,1.8,0.48,0.12\n")
    assert read_manual(tmp_path / "manual.csv").groups["s1"].percent["neutrophil"] == 3.6
