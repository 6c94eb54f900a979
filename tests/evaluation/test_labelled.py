"""Labelled folders as people have them: four layouts, and what is wrong with them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import grain

from wbcdet.evaluation.detection import FoundField
from wbcdet.evaluation.disagreement import diagnose
from wbcdet.evaluation.label_issues import KINDS, left_out, summarise
from wbcdet.evaluation.label_reader import LabelledError
from wbcdet.evaluation.labelled_folder import LabelledFolder, read_labelled
from wbcdet.evaluation.near_duplicates import find_copies, fingerprint, judge_copies, trained_on
from wbcdet.results.class_names import parse_mapping, standard_type, suggestion

WIDTH, HEIGHT = 64, 48
BOX = (8.0, 6.0, 40.0, 30.0)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are paths below the working folder."""
    monkeypatch.chdir(tmp_path)


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), grain(HEIGHT, WIDTH, seed))
    return path


def yolo_line(kind: int = 0, box: Sequence[float] = BOX) -> str:
    x0, y0, x1, y1 = box
    middle = ((x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT)
    return f"{kind} {middle[0]} {middle[1]} {(x1 - x0) / WIDTH} {(y1 - y0) / HEIGHT}\n"


def voc(name: str = "neutrophil", box: Sequence[float] = BOX, size: str = "64 48") -> str:
    width, height = size.split()
    corners = "".join(
        f"<{tag}>{v}</{tag}>" for tag, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return (
        f"<annotation><size><width>{width}</width><height>{height}</height></size><object>"
        f"<name>{name}</name><bndbox>{corners}</bndbox></object></annotation>"
    )


def kinds(folder: LabelledFolder) -> dict[str, int]:
    return dict(Counter(problem.kind for problem in folder.problems))


def error_of(root: Path, *args: object) -> str:
    with pytest.raises(LabelledError) as error:
        read_labelled(root, *args)  # type: ignore[arg-type]
    text = str(error.value)
    assert "\n" not in text and str(root) in text
    return text


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("EOSINOPHIL", "eosinophil"),
        ("eosinophils", "eosinophil"),
        ("EO", "eosinophil"),
        ("Lymphocyte", "lymphocyte"),
        ("03_Monocytes", "monocyte"),
        ("neutrophil_segmented", "neutrophil"),
        ("Segmented Neutrophils", "neutrophil"),
        ("band neutrophil", "neutrophil"),
        ("BNE", "neutrophil"),
        ("Basophil", "basophil"),
        ("WBC", "white-cell"),
        ("White blood cells", "white-cell"),
        ("leukocytes", "white-cell"),
        ("Platelets", "not-white"),
        ("red blood cell", "not-white"),
        ("debris", "artefact"),
        ("artifacts", "artefact"),
        ("éosinophile", "eosinophil"),
        ("ig", None),
        ("0", None),
        ("", None),
    ],
)
def test_class_names(name: str, standard: str | None) -> None:
    assert standard_type(name) == standard


def test_own_class_names() -> None:
    own = parse_mapping(["poly=neutrophil", "1=WBC", "blast=other", "a=b=ignore", "eo=ignore"])
    assert own == {
        "poly": "neutrophil",
        "1": "white-cell",
        "blast": "other",
        "a=b": "ignore",
        "eo": "ignore",
    }
    assert standard_type("Polys", own) == "neutrophil"
    assert standard_type("1", own) == "white-cell" and standard_type("2", own) is None
    assert standard_type("EO", own) == "ignore"  # the user's word comes first
    for wrong in ("poly", "poly=", "=neutrophil", "poly=polynuclear"):
        with pytest.raises(ValueError, match="OWN=STANDARD"):
            parse_mapping([wrong])


def test_class_folders(tmp_path: Path) -> None:
    for n, name in enumerate(("NEUTROPHIL/1.png", "NEUTROPHIL/slide 2/1.png", "Eos/1.png")):
        picture(tmp_path / "TEST" / name, n)
    picture(tmp_path / "TEST/blasts/1.png", 5)
    picture(tmp_path / "TEST/platelet/1.png", 6)
    picture(tmp_path / "lost.png", 7)
    (tmp_path / "TEST/basophil").mkdir()
    folder = read_labelled(tmp_path)
    assert folder.layout == "classes"
    found = {f.name: (f.picture_type, f.split, len(f.boxes)) for f in folder.fields}
    assert found == {
        "TEST/Eos/1.png": ("eosinophil", "test", 0),
        "TEST/NEUTROPHIL/1.png": ("neutrophil", "test", 0),
        "TEST/NEUTROPHIL/slide 2/1.png": ("neutrophil", "test", 0),
    }
    assert kinds(folder) == {
        "picture-without-label": 1,
        "unknown-class": 1,
        "empty-class": 1,
    }
    assert {(p.where, p.what) for p in folder.problems} >= {
        ("blasts", "1 picture; if it is other: --map 'blasts=other'"),
        ("basophil", "no picture"),
    }
    mapped = read_labelled(tmp_path, "auto", {"blasts": "other"})
    assert [f.picture_type for f in mapped.fields].count("other") == 1
    assert "unknown-class" not in kinds(mapped)
    untyped = picture(tmp_path / "TEST/WBC/1.png", 8)
    assert kinds(read_labelled(tmp_path))["untyped-class"] == 1
    assert folder.fields[0].read().shape == (HEIGHT, WIDTH, 3) and untyped.exists()


NAMES = "names: [RBC, WBC, Neutrophils, ghost]\n"


@pytest.mark.parametrize(
    ("picture_at", "label_at", "names_at"),
    [
        ("images/train/a.png", "labels/train/a.txt", "data.yaml"),
        ("train/images/a.png", "train/labels/a.txt", "data.yaml"),
        ("train/a.png", "train/a.txt", "data.yml"),
        ("train/images/a.png", "train/labels/a.txt", "train/labels/classes.txt"),
    ],
)
def test_yolo(tmp_path: Path, picture_at: str, label_at: str, names_at: str) -> None:
    picture(tmp_path / picture_at)
    label = tmp_path / label_at
    label.parent.mkdir(parents=True, exist_ok=True)
    polygon = "1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"
    label.write_text(yolo_line(2) + yolo_line(0, (0, 0, 9, 9)) + "\n" + polygon)
    text = NAMES if names_at.startswith("data") else "RBC\nWBC\nNeutrophils\nghost\n"
    (tmp_path / names_at).write_text(text)
    folder = read_labelled(tmp_path)
    [field] = folder.fields
    assert folder.layout == "yolo" and field.split == "train" and field.size == (WIDTH, HEIGHT)
    expected = [BOX, (0.1 * WIDTH, 0.1 * HEIGHT, 0.5 * WIDTH, 0.5 * HEIGHT)]
    assert field.boxes == pytest.approx(np.array(expected)) and field.types == ("neutrophil", "")
    assert kinds(folder) == {"empty-class": 1}


def test_yolo_gone_wrong(tmp_path: Path) -> None:
    lines = {
        "good": yolo_line(1),
        "none": "",
        "short": "1 0.5 0.5 0.1\n",
        "words": "wbc 0.5 0.5 0.1 0.1\n",
        "pixels": "1 30 20 10 10\n",
        "nan": "1 nan 0.5 0.1 0.1\n",
        "half": yolo_line(1) + "1.5 0.5 0.5 0.1 0.1\n",
        "dot": "1 0.5 0.5 0.001 0.001\n",
        "away": "1 1.5 0.5 0.1 0.1\n",
        "red dot": "0 0.5 0.5 0.001 0.001\n" + yolo_line(1),
        "over": yolo_line(1, (50, 10, 80, 40)),
        "twice": yolo_line(1) * 3,
        "stranger": yolo_line(7),
        "ghost": yolo_line(3),
    }
    for n, (name, text) in enumerate(lines.items()):
        picture(tmp_path / "images" / f"{name}.png", n)
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{name}.txt").write_text(text)
    picture(tmp_path / "images/bare.png", 99)
    picture(tmp_path / "images/good.jpg", 98)
    (tmp_path / "images/cut.png").write_bytes((tmp_path / "images/bare.png").read_bytes()[:60])
    (tmp_path / "labels/cut.txt").write_text(yolo_line(1))
    (tmp_path / "labels/orphan.txt").write_text(yolo_line(1))
    (tmp_path / "data.yaml").write_text(NAMES)
    folder = read_labelled(tmp_path)
    assert kinds(folder) == {
        "broken-label": 7,
        "box-outside": 1,
        "repeated-label": 1,
        "picture-without-label": 2,
        "label-without-picture": 1,
        "unreadable-picture": 1,
        "unknown-class": 2,
        "empty-class": 1,
    }
    used = {f.name.split("/")[1]: f for f in folder.fields}
    # The first picture of a name has its label; which one that is must not be left to chance.
    names = ("good.jpg", "none.png", "red dot.png", "over.png", "twice.png", "stranger.png")
    assert sorted(used) == sorted([*names, "ghost.png"])
    assert used["over.png"].boxes == pytest.approx(np.array([[50, 10, WIDTH, 40]]))
    assert len(used["twice.png"].boxes) == 1 and len(used["none.png"].boxes) == 0
    # What may be a white cell or not is no reason to call a box there false.
    assert len(used["stranger.png"].boxes) == 0 and len(used["stranger.png"].ignored) == 1
    assert left_out(folder.problems)
    lines_ = summarise(folder.problems)
    assert len(lines_) == 8 and all("\n" not in line for line in lines_)
    assert any(line.startswith("pictures left out for a broken label: 7 (") for line in lines_)


def coco(path: Path, images: list[dict], annotations: list[dict]) -> None:
    categories = [{"id": 0, "name": "cells"}, {"id": 1, "name": "EOSINOPHIL"}]
    categories += [{"id": 2, "name": "RBC"}, {"id": 3, "name": "odd"}]
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(document))


def entry(number: int, category: int = 1, **more: object) -> dict:
    x0, y0, x1, y1 = BOX
    box = [x0, y0, x1 - x0, y1 - y0]
    return {"id": number, "image_id": number, "category_id": category, "bbox": box, **more}


@pytest.mark.parametrize(
    ("picture_at", "json_at"),
    [
        ("test/a.png", "test/_annotations.coco.json"),
        ("images/test/a.png", "annotations/instances_test.json"),
        ("test/a.png", "labels.json"),
    ],
)
def test_coco(tmp_path: Path, picture_at: str, json_at: str) -> None:
    picture(tmp_path / picture_at)
    coco(tmp_path / json_at, [{"id": 1, "file_name": "a.png", "width": 64}], [entry(1)])
    folder = read_labelled(tmp_path)
    [field] = folder.fields
    assert folder.layout == "coco" and field.split == "test" and field.types == ("eosinophil",)
    assert field.boxes.tolist() == [list(BOX)] and folder.problems == []


def test_coco_gone_wrong(tmp_path: Path) -> None:
    for n in range(1, 8):
        picture(tmp_path / f"{n}.png", n)
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(1, 7)]
    images[2] |= {"width": 48, "height": 64}
    images.append({"id": 9, "file_name": "gone.png"})
    annotations = [
        entry(1),
        entry(2, iscrowd=1),
        entry(3),
        entry(4, category=8),
        entry(5, category=3),
        entry(9),
        entry(77),
    ]
    coco(tmp_path / "x.json", images, annotations)
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    folder = read_labelled(tmp_path)
    assert kinds(folder) == {
        "broken-label": 2,  # turned picture, unknown category
        "label-without-picture": 2,
        "picture-without-label": 1,
        "unknown-class": 1,
    }
    used = {f.name: (len(f.boxes), len(f.ignored)) for f in folder.fields}
    assert used == {"1.png": (1, 0), "2.png": (0, 1), "5.png": (0, 1), "6.png": (0, 0)}


def test_voc(tmp_path: Path) -> None:
    texts = {
        "good": voc(),
        "white": voc("WBC"),
        "red": voc("RBC"),
        "hard": voc().replace("<bndbox>", "<difficult>1</difficult><bndbox>"),
        "cut": voc()[:90],
        "turned": voc(size="48 64"),
        "unsized": voc(size="0 0"),
        "nobox": voc().replace("xmax", "x"),
        "empty": "<annotation></annotation>",
    }
    for n, (name, text) in enumerate(texts.items()):
        picture(tmp_path / "JPEGImages" / f"{name}.png", n)
        (tmp_path / "Annotations").mkdir(exist_ok=True)
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text)
    (tmp_path / "Annotations/gone.xml").write_text(voc())
    (tmp_path / "notes.xml").write_text("<notes/>")
    folder = read_labelled(tmp_path)
    assert folder.layout == "voc"
    assert kinds(folder) == {"broken-label": 3, "label-without-picture": 1}
    used = {Path(f.name).stem: (f.types, len(f.ignored)) for f in folder.fields}
    assert used == {
        "good": (("neutrophil",), 0),
        "white": (("",), 0),
        "red": ((), 0),
        "hard": ((), 1),
        "unsized": (("neutrophil",), 0),
        "empty": ((), 0),
    }


def test_nothing_to_evaluate(tmp_path: Path) -> None:
    assert "is no folder" in error_of(tmp_path / "missing")
    assert "holds no picture" in error_of(tmp_path)
    picture(tmp_path / "x/1.png")
    assert "no labels found" in error_of(tmp_path)
    assert "nothing to evaluate" in error_of(tmp_path, "yolo")
    (tmp_path / "x/1.txt").write_text(yolo_line(0))
    message = error_of(tmp_path)
    assert "classes of unknown meaning: 1 (0: 1 box)" in message and "--map" in message
    assert read_labelled(tmp_path, "auto", {"0": "white-cell"}).fields
    (tmp_path / "x/1.xml").write_text(voc())
    assert "several formats (voc, yolo)" in error_of(tmp_path)
    assert read_labelled(tmp_path, "voc").layout == "voc"
    # Pictures that all are without cells do tell how many false boxes there are.
    (tmp_path / "x/1.xml").unlink()
    (tmp_path / "x/1.txt").write_text("")
    assert len(read_labelled(tmp_path).fields) == 1


Change = Callable[[np.ndarray], np.ndarray]
CHANGES: dict[str, Change] = {
    "same": lambda p: p,
    "half": lambda p: cv2.resize(p, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "bright": lambda p: cv2.convertScaleAbs(p, alpha=1.1, beta=5),
    "mirrored": lambda p: p[:, ::-1],
    "turned": lambda p: np.rot90(p),
}


def test_copies(tmp_path: Path, data_dir: Path, real_field: Callable) -> None:
    """Copies of real fields are found, other fields of the same slide set are not called copies."""
    original = real_field("bccd.zip", "BloodImage_00001.jpg")
    others = [real_field("bccd.zip", f"BloodImage_000{n:02}.jpg") for n in (2, 3, 4, 10, 11, 12)]
    for name, change in CHANGES.items():
        target = tmp_path / "train/NEUTROPHIL" / f"{name}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(target), change(original), [cv2.IMWRITE_JPEG_QUALITY, 60])
    for n, pixels in enumerate(others):
        cv2.imwrite(str(tmp_path / "train/NEUTROPHIL" / f"other-{n}.png"), pixels)
    (tmp_path / "test/MONOCYTE").mkdir(parents=True)
    shutil.copy(tmp_path / "train/NEUTROPHIL/same.jpg", tmp_path / "test/MONOCYTE/a.jpg")
    shutil.copy(tmp_path / "train/NEUTROPHIL/other-0.png", tmp_path / "test/MONOCYTE/b.png")
    (tmp_path / "train/MONOCYTE").mkdir()
    shutil.copy(tmp_path / "train/NEUTROPHIL/other-1.png", tmp_path / "train/MONOCYTE/c.png")
    fields = read_labelled(tmp_path).fields
    prints = [fingerprint(Path(str(f.path)), f.read()) for f in fields]
    problems = judge_copies(fields, find_copies(prints))
    seen = {(p.kind, Path(p.where).name, Path(p.what.split(" ")[-1]).name) for p in problems}
    assert {s for s in seen if s[0] == "class-copy"} == {("class-copy", "c.png", "other-1.png")}
    across = {frozenset(s[1:]) for s in seen if s[0] == "split-copy"}
    assert across == {frozenset({"a.jpg", f"{n}.jpg"}) for n in CHANGES} | {
        frozenset({"b.png", "other-0.png"})
    }
    assert len([s for s in seen if s[0] == "copy"]) == 10  # all pairs of the five
    assert all(problem.kind in KINDS for problem in problems)
    assert any("same file" in p.what for p in problems) and any("like" in p.what for p in problems)
    groups = {f.name: f.group for f in fields}
    assert len({groups[f"train/NEUTROPHIL/{n}.jpg"] for n in CHANGES}) == 1
    assert len(set(groups.values())) == 1 + len(others)
    assert find_copies([]) == [] and find_copies(prints[:1]) == []


def test_pictures_that_wbcdet_was_trained_on(
    tmp_path: Path, data_dir: Path, real_field: Callable
) -> None:
    import zipfile

    with zipfile.ZipFile(data_dir / "bccd.zip") as packed:
        for ending in ("00002.jpg", "00001.jpg"):  # to train, and to test
            name = next(n for n in packed.namelist() if n.endswith(f"BloodImage_{ending}"))
            (tmp_path / ending).write_bytes(packed.read(name))
    paths = [tmp_path / "00002.jpg", tmp_path / "00001.jpg"]
    prints = [fingerprint(path, cv2.imread(str(path))) for path in paths]
    [problem] = trained_on(prints, ["two", "one"])
    assert (problem.kind, problem.where, problem.what) == ("trained-on", "two", "bccd")


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("eosi", "eosinophil"),
        ("Eosinófilos", "eosinophil"),
        ("Polynucléaires éosinophiles", "eosinophil"),
        ("Lymphozyten", "lymphocyte"),
        ("linfocitos", "lymphocyte"),
        ("Segmentkernige", "neutrophil"),
        ("BandNeutrophils", "neutrophil"),
        ("granulocytus neutrophilus segmentonuclearis", "neutrophil"),
        ("палочкоядерные нейтрофилы", "neutrophil"),
        ("Моноциты", "monocyte"),
        ("嗜酸性粒细胞", "eosinophil"),
        ("中性粒细胞", "neutrophil"),
        ("单核细胞", "monocyte"),
        ("リンパ球", "lymphocyte"),
        ("Лейкоциты", "white-cell"),
        ("Weiße Blutkörperchen", "white-cell"),
        ("Thrombozyten", "not-white"),
        ("Eosinophils (n=20)", "eosinophil"),
        # Never mapped unasked: one word changes what it is.
        ("lymphoblast", None),
        ("atypical lymphocytes", None),
        ("immature neutrophils", None),
        ("promyelocyte", None),
        ("basophilic erythroblast", None),
        ("中性晚幼粒细胞", None),
        ("mononuclear cells", None),
        ("neutrophil or eosinophil", None),
        ("eosinphil", None),
    ],
)
def test_class_names_of_other_laboratories(name: str, standard: str | None) -> None:
    assert standard_type(name) == standard


def test_names_that_are_not_sure_come_with_a_guess(tmp_path: Path) -> None:
    assert (suggestion("eosinphil"), suggestion("myeloblasts")) == ("eosinophil", "other")
    assert suggestion("x1") is None
    picture(tmp_path / "eosinphil/1.png")
    text = error_of(tmp_path)
    assert "eosinphil (1 pictures)" in text and "--map 'eosinphil=eosinophil'" in text


def test_byte_order_marks_and_windows_paths(tmp_path: Path) -> None:
    root = tmp_path / "yolo"
    picture(root / "images/A.PNG")
    (root / "labels").mkdir()
    (root / "labels/a.txt").write_text(yolo_line(1), encoding="utf-8-sig")
    yaml = 'path: "C:\\data\\wbc"\nnames: [RBC, Eosinófilo]\n'
    (root / "data.yaml").write_text(yaml, encoding="utf-8-sig")
    assert [f.types for f in read_labelled(root).fields] == [("eosinophil",)]
    root = tmp_path / "coco"
    picture(root / "images/train/1.png")
    document = coco_of([("C:\\data\\train\\1.png", 1)], [(1, BOX)])
    (root / "labels.json").write_text(json.dumps(document), encoding="utf-16")
    assert [len(f.boxes) for f in read_labelled(root).fields] == [1]
    root = tmp_path / "voc"
    picture(root / "1.png")
    (root / "1.xml").write_text(
        '<?xml version="1.0" encoding="utf-16"?>' + voc(), encoding="utf-16"
    )
    assert [len(f.boxes) for f in read_labelled(root).fields] == [1]


def coco_of(
    images: Sequence[tuple[str, int]], boxes: Sequence[tuple[int, Sequence[float]]]
) -> dict[str, object]:
    return {
        "images": [{"id": n, "file_name": name} for name, n in images],
        "annotations": [
            {"id": i, "image_id": n, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
            for i, (n, (x0, y0, x1, y1)) in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "neutrophil"}],
    }


def test_pictures_that_share_an_id_are_left_out(tmp_path: Path) -> None:
    for n in range(3):
        picture(tmp_path / f"{n}.png", n)
    document = coco_of([("0.png", 1), ("1.png", 1), ("2.png", 2)], [(1, BOX), (2, BOX)])
    (tmp_path / "labels.json").write_text(json.dumps(document))
    folder = read_labelled(tmp_path)
    assert [f.name for f in folder.fields] == ["2.png"]
    assert kinds(folder) == {"shared-id": 2} and left_out(folder.problems)
    # The same picture twice is one picture with all its boxes.
    other = (2.0, 30.0, 20.0, 46.0)
    twice = coco_of([("0.png", 1), ("0.png", 2), ("1.png", 3)], [(1, BOX), (2, other), (3, BOX)])
    (tmp_path / "labels.json").write_text(json.dumps(twice))
    found = {f.name: len(f.boxes) for f in read_labelled(tmp_path).fields}
    assert found == {"0.png": 2, "1.png": 1}


def test_lists_of_classes_that_contradict_each_other(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(yolo_line(1))
    (tmp_path / "data.yaml").write_text("names: [neutrophil, lymphocyte]\n")
    (tmp_path / "classes.txt").write_text("lymphocyte\nneutrophil\n")
    text = error_of(tmp_path)
    assert "data.yaml" in text and "classes.txt" in text and "differently" in text
    (tmp_path / "classes.txt").write_text("NEU\nLY\nother\n")  # the same in other words
    assert [f.types for f in read_labelled(tmp_path).fields] == [("lymphocyte",)]


def columns(*parts: np.ndarray) -> np.ndarray:
    return np.column_stack(parts)


CELL_BOXES = np.array([(100, 60, 180, 150), (400, 300, 470, 380), (250, 200, 330, 270)], float)


@pytest.mark.parametrize(
    ("words", "write"),
    [
        ("left, top, right, bottom", lambda b: columns(b[:, :2], b[:, :2] + b[:, 2:])),
        ("half as large", lambda b: b * 2),
        ("percent", lambda b: b / [6.4, 4.8, 6.4, 4.8]),
        ("swapped axes", lambda b: b[:, [1, 0, 3, 2]]),
        # Shown upright it was turned to the right: the boxes are of the picture before that.
        ("turned to the right", lambda b: columns(b[:, 1], 640 - b[:, 2], b[:, 3], 640 - b[:, 0])),
        ("from the bottom", lambda b: columns(b[:, 0], 480 - b[:, 3], b[:, 2], 480 - b[:, 1])),
        ("640 x 640", lambda b: b * [1, 640 / 480, 1, 640 / 480]),
    ],
)  # fmt: skip
def test_boxes_that_are_read_otherwise_are_diagnosed(words: str, write: Callable) -> None:
    given = write(CELL_BOXES)
    field = FoundField(given, CELL_BOXES, np.full(3, 0.9), (640, 480), "a", given)
    [problem] = diagnose([field], 0.5)
    assert words in problem.what and problem.kind in KINDS
    right = FoundField(CELL_BOXES, CELL_BOXES, np.full(3, 0.9), (640, 480), "a", CELL_BOXES)
    assert diagnose([right], 0.5) == [] and diagnose([], 0.5) == []
    # Cells that the detector misses are no reason to doubt the boxes.
    missed = FoundField(CELL_BOXES, CELL_BOXES[:1], np.full(1, 0.9), (640, 480), "a", CELL_BOXES)
    assert diagnose([missed], 0.5) == []


def test_boxes_that_cannot_be_say_what_they_may_be(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(voc(box=(30, 20, 16, 10)))
    assert "width and height" in error_of(tmp_path)
    (tmp_path / "a.xml").write_text(voc(size="48 64"))
    assert "before the picture was turned" in error_of(tmp_path)
    (tmp_path / "a.xml").unlink()
    (tmp_path / "a.txt").write_text("0 30 40 10 20\n")
    assert "percent" in error_of(tmp_path)
