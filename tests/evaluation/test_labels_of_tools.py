"""Labels as the exports of labelling tools have them, and what is no export that is read."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from conftest import grain

from wbcdet.evaluation.formats.masks import mask_bounds
from wbcdet.evaluation.label_reader import LabelledError
from wbcdet.evaluation.labelled_folder import read_labelled
from wbcdet.results.class_names import standard_type

WIDTH, HEIGHT = 64, 48
BOX = [8.0, 6.0, 40.0, 30.0]
SIDES = [8.0, 6.0, 32.0, 24.0]
OUTLINE = [[8, 6, 40, 6, 40, 30, 8, 30]]


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are paths below the working folder."""
    monkeypatch.chdir(tmp_path)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), grain(HEIGHT, WIDTH, 0))


def coco(folder: Path, annotation: dict[str, Any], file: str = "0.png", **more: Any) -> None:
    document = {
        "images": [{"id": 1, "file_name": file, "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, **annotation}],
        "categories": [{"id": 7, "name": "neutrophil"}],
        **more,
    }
    (folder / "labels.json").write_text(json.dumps(document))


def boxes(folder: Path) -> list[list[float]]:
    [field] = read_labelled(folder).fields
    return [[round(value, 1) for value in box] for box in field.boxes.tolist()]


def runs() -> list[int]:
    """Return the mask of the box in run lengths, down the columns."""
    flat = np.zeros((HEIGHT, WIDTH), bool)
    flat[6:30, 8:40] = True
    ends = np.flatnonzero(np.diff(flat.ravel(order="F"), prepend=False)).tolist()
    return np.diff([0, *ends, flat.size]).tolist()


def packed(lengths: list[int]) -> str:
    """Pack run lengths to text, as the COCO programs do."""
    text = ""
    for at, length in enumerate(lengths):
        value = length - (lengths[at - 2] if at > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + bits + 32 * more)
            if not more:
                break
    return text


@pytest.mark.parametrize(
    "annotation",
    [
        {"bbox": SIDES},
        {"bbox": SIDES, "image_id": "1", "category_id": "7"},
        {"bbox": SIDES, "image_id": 1.0, "category_id": 7.0},
        {"segmentation": OUTLINE},
        {"segmentation": OUTLINE, "bbox": []},
        {"segmentation": OUTLINE, "bbox": [0, 0, 0, 0]},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": runs()}},
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": packed(runs())}},
    ],
)
def test_coco_of_other_tools(tmp_path: Path, annotation: dict[str, Any]) -> None:
    picture(tmp_path / "0.png")
    coco(tmp_path, annotation)
    assert boxes(tmp_path) == [BOX]


@pytest.mark.parametrize(
    "file", ["https://host/data/0.png?raw=1", "0.jpg", "0", "3f2a9c01-0.png", "upload/%30.png"]
)
def test_names_that_tools_give_to_pictures(tmp_path: Path, file: str) -> None:
    picture(tmp_path / "0.png")
    coco(tmp_path, {"bbox": SIDES}, file if "%" not in file else f"file://{file}")
    assert boxes(tmp_path) == [BOX]


@pytest.mark.parametrize(("on_disk", "in_labels"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_as_a_mac_writes_them(
    tmp_path: Path, on_disk: Literal["NFC", "NFD"], in_labels: Literal["NFC", "NFD"]
) -> None:
    """Pictures of a Mac that were labelled elsewhere, or the other way round."""
    name = unicodedata.normalize(on_disk, "F\u00e9 \u0419.png")
    labelled = unicodedata.normalize(in_labels, name)
    picture(tmp_path / "coco" / name)
    coco(tmp_path / "coco", {"bbox": SIDES}, f"somewhere/{labelled}")
    picture(tmp_path / "yolo" / "images" / name)
    (tmp_path / "yolo" / "labels").mkdir()
    text = tmp_path / "yolo" / "labels" / Path(labelled).with_suffix(".txt")
    text.write_text("0 0.375 0.375 0.5 0.5")
    (tmp_path / "yolo" / "classes.txt").write_text("neutrophil")
    assert boxes(tmp_path / "coco") == boxes(tmp_path / "yolo") == [BOX]


def test_masks_that_hold_nothing() -> None:
    assert mask_bounds({"size": [4, 4], "counts": [5, 6, 5]}) == (1.0, 0.0, 3.0, 4.0)
    for wrong in (
        [],
        [[]],
        {"size": [4, 4], "counts": [16]},
        {"size": [4, 4], "counts": [5, 60]},
        {"size": [4, 4], "counts": "\x01"},
        {"counts": [1]},
    ):
        with pytest.raises((ValueError, KeyError, TypeError)):
            mask_bounds(wrong)


def test_annotations_of_other_pictures_are_no_empty_fields(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    coco(tmp_path, {"bbox": SIDES, "image_id": 70})
    with pytest.raises(LabelledError, match="no annotation of the file has the id of a picture"):
        read_labelled(tmp_path)


CORNERS = "".join(
    f"<{name}>{value}</{name}>"
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), BOX, strict=True)
)
OBJECT = f"<object><name>neutrophil</name><bndbox>{CORNERS}</bndbox></object>"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("0.xml", f'<annotation xmlns="urn:x">{OBJECT}</annotation>'),
        ("0.xml", f"<Annotation>{OBJECT.replace('object', 'Object')}</Annotation>"),
        ("9.xml", f"<annotation><filename>0.png</filename>{OBJECT}</annotation>"),
        ("9.xml", f"<annotation><path>C:\\x\\0.png</path>{OBJECT}</annotation>"),
        ("3f2a9c01-0.xml", f"<annotation><filename>0</filename>{OBJECT}</annotation>"),
        (
            "0.xml",
            "<annotation><object><name>neutrophil</name><robndbox><cx>24</cx><cy>18</cy><w>24</w>"
            "<h>32</h><angle>1.5708</angle></robndbox></object></annotation>",
        ),
    ],
)
def test_voc_of_other_tools(tmp_path: Path, name: str, text: str) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / name).write_text(text)
    assert boxes(tmp_path) == [BOX]


LINE = "0 0.375 0.375 0.5 0.5"


@pytest.mark.parametrize(
    "corners",
    [
        "0.5 1 0.75 0.5 1 0.5 1 1 0.75 1",
        "0.5 0 1 0 1 0.25 1 0.5 0.5 1",
        "0.5 1 0.4 0.8 0.5 0.5 1 0.5 0.9 1 0.8 0.9 1 0.7 0.6 1",
    ],
)
def test_corners_at_the_border_are_no_points_of_a_pose(tmp_path: Path, corners: str) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / "classes.txt").write_text("wbc\n")
    (tmp_path / "0.txt").write_text(f"0 {corners}")
    across, down = ([float(side) for side in corners.split()[start::2]] for start in (0, 1))
    box = [WIDTH * min(across), HEIGHT * min(down), WIDTH * max(across), HEIGHT * max(down)]
    assert boxes(tmp_path) == [pytest.approx(box, abs=0.06)]


@pytest.mark.parametrize(
    ("label", "text", "names"),
    [
        ("0.txt", LINE, "classes.txt"),
        ("0.txt", f"# made by hand\n\n{LINE}\r\n", "wbc.names"),
        ("0.txt", f"{LINE} 0.4 0.3 2 0.5 0.3 1", "names.txt"),  # a pose with its points
        ("0.txt", f"{LINE} 0.4 0.3 1 0.5 0.3 1", "names.txt"),
        ("0.txt", f"{LINE} 0.4 0.3 1 0 0 0", "names.txt"),
        ("0.txt", "0 0.125 0.125 0.625 0.125 0.625 0.625 0.125 0.625", "obj.names"),
        ("3f2a9c01-0.txt", LINE, "classes.txt"),
    ],
)
def test_yolo_of_other_tools(tmp_path: Path, label: str, text: str, names: str) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / label).write_text(text)
    (tmp_path / names).write_text("neutrophil\n")
    assert boxes(tmp_path) == [BOX]


def test_a_broken_line_is_shown(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / "classes.txt").write_text("neutrophil\n")
    for text in ("0,0.3,0.3,0.5,0.5", "neutrophil 0.3 0.3 0.5 0.5", "\0"):
        (tmp_path / "0.txt").write_text(text)
        with pytest.raises(LabelledError, match="line 1 is no YOLO label"):
            read_labelled(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '[{"image_id": 1, "category_id": 1, "bbox": []}]', "COCO results"),
        ("a.json", '{"images": [], "annotations": [{"id"', "no whole JSON"),
        ("a.json", '{"images": [{}], "annotations": [{}]}', "without its list of classes"),
        ("a.json", '[{"data": {}, "annotations": []}]', "Label Studio"),
        ("0.json", '{"shapes": [], "imagePath": "0.png"}', "Labelme"),
        ("via.json", '{"0.png9": {"filename": "0.png", "regions": []}}', "VGG"),
        ("0.geojson", '{"type": "FeatureCollection", "features": []}', "QuPath"),
        ("annotations.xml", "<annotations><image/></annotations>", "CVAT"),
        ("labels.csv", "filename,class,xmin,ymin,xmax,ymax\n", "a table of boxes"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, name: str, text: str, said: str) -> None:
    picture(tmp_path / "0.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(LabelledError, match=said) as caught:
        read_labelled(tmp_path)
    assert f"{name} is " in str(caught.value) and "export them again as" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("kwasochłonne", "eosinophil"),
        ("PNE", "eosinophil"),
        ("lymfocyten", "lymphocyte"),
        ("lenfositler", "lymphocyte"),
        ("bastões", "neutrophil"),
        ("pałeczkowate", "neutrophil"),
        ("parçalı", "neutrophil"),
        ("호중구", "neutrophil"),
        ("zasadochłonne", "basophil"),
        ("glóbulos brancos", "white-cell"),
        ("białe krwinki", "white-cell"),
        ("hemácias", "not-white"),
        ("płytki krwi", "not-white"),
        ("arka plan", "not-white"),
        ("neutrophil?", None),
        ("metamielócito", None),
    ],
)
def test_class_names_in_more_languages(name: str, standard: str | None) -> None:
    assert standard_type(name) == standard
