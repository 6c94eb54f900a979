"""Labels and manual counts as other programs and people write them, of synthetic fields."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from command_cases import case

from wbcdet.datasets.synthetic import render_field


@functools.cache
def field(seed: int) -> tuple[np.ndarray, list[tuple[float, ...]]]:
    made = render_field(seed)
    return made.pixels, [tuple(float(v) for v in cell.box) for cell in made.cells]


def pictures(folder: Path, count: int = 4) -> list[tuple[str, np.ndarray, list[Any]]]:
    found = []
    for seed in range(count):
        pixels, boxes = field(seed)
        cv2.imwrite(str(folder / f"{seed}.png"), pixels)
        found.append((f"{seed}.png", pixels, boxes))
    return found


def coco(folder: Path, change: Callable[[dict[str, Any]], None] = lambda _: None) -> Sequence[str]:
    document: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "WBC"}],
    }
    for number, (name, _, boxes) in enumerate(pictures(folder)):
        document["images"].append({"id": number, "file_name": name})
        for x0, y0, x1, y1 in boxes:
            box = [x0, y0, x1 - x0, y1 - y0]
            entry = {"id": len(document["annotations"]), "image_id": number, "category_id": 1}
            document["annotations"].append({**entry, "bbox": box})
    change(document)
    (folder / "labels.json").write_text(json.dumps(document), encoding="utf-8")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


def _boxes(change: Callable[..., Sequence[float]]) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        for annotation in document["annotations"]:
            annotation["bbox"] = list(change(*annotation["bbox"]))

    return apply


#: Said of boxes that all lie beside their cells in one way.
_BESIDE = ("exit 1", "all in the same way")


def _shared(document: dict[str, Any]) -> None:
    document["images"][1]["id"] = 0
    for annotation in document["annotations"]:
        annotation["image_id"] = 0 if annotation["image_id"] == 1 else annotation["image_id"]


def _windows(document: dict[str, Any]) -> None:
    for image in document["images"]:
        image["file_name"] = f"C:\\data\\images\\{image['file_name']}"


def _texts(document: dict[str, Any]) -> None:
    for annotation in document["annotations"]:
        annotation["image_id"], annotation["category_id"] = (
            str(annotation["image_id"]),
            str(annotation["category_id"]),
        )


def _outlines(document: dict[str, Any]) -> None:
    for annotation in document["annotations"]:
        x, y, w, h = annotation.pop("bbox")
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]


def _others(document: dict[str, Any]) -> None:
    for annotation in document["annotations"]:
        annotation["image_id"] += 70


for _title, _change, *_expected in (
    ("COCO, ids as texts", _texts, "exit 0", "found 9"),
    ("COCO, outlines without boxes", _outlines, "exit 0", "found 9"),
    ("COCO, annotations of other pictures", _others, "exit 2", "nothing to evaluate"),
    ("COCO as it should be", lambda _: None, "exit 0", "found 9"),
    ("COCO, two pictures of one id", _shared, "exit 1", "pictures left out"),
    ("COCO, paths of Windows", _windows, "exit 0", "found 9"),
    ("COCO, boxes x, y, x, y", _boxes(lambda x, y, w, h: (x, y, x + w, y + h)), *_BESIDE),
    ("COCO, boxes in percent", _boxes(lambda x, y, w, h: (x / 6.4, y / 4.8, w / 6.4, h / 4.8)),
     *_BESIDE),
    ("COCO, boxes of half scale", _boxes(lambda x, y, w, h: (x / 2, y / 2, w / 2, h / 2)),
     *_BESIDE),
    ("COCO, swapped axes", _boxes(lambda x, y, w, h: (y, x, h, w)), *_BESIDE),
    ("COCO, before the turn", _boxes(lambda x, y, w, h: (y, 640 - x - w, h, w)), *_BESIDE),
):  # fmt: skip

    @case("10", _title, *_expected)
    def _(folder: Path, change: Callable[[dict[str, Any]], None] = _change) -> Sequence[str]:
        return coco(folder, change)


def _shifted(document: dict[str, Any]) -> None:
    for one in document["annotations"]:
        one["image_id"] += 1


def _crowds(document: dict[str, Any]) -> None:
    for one in document["annotations"]:
        one["iscrowd"] = 1


@case("10", "COCO, annotations counted from 1 and pictures from 0", "exit 2", "nothing to evaluate")
def _(folder: Path) -> Sequence[str]:
    return coco(folder, _shifted)


@case("10", "COCO, every cell called a crowd", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    return coco(folder, _crowds)


@case("10", "COCO, two versions of the file in one folder", "exit 0", "cells 9", "found 9")
def _(folder: Path) -> Sequence[str]:
    coco(folder, _boxes(lambda x, y, w, h: (x + 2, y, w, h)))
    (folder / "labels.json").rename(folder / "labels-2.json")
    return coco(folder)


@case("10", "COCO in UTF-16 without a mark", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    arguments = coco(folder)
    text = (folder / "labels.json").read_text(encoding="utf-8")
    (folder / "labels.json").write_bytes(text.encode("utf-16-le"))
    return arguments


@case("10", "YOLO of TIFFs with a thumbnail before the picture", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        path = folder / name
        path.unlink()
        with tifffile.TiffWriter(path.with_suffix(".tif")) as file:
            rgb = np.ascontiguousarray(pixels[:, :, ::-1])
            file.write(np.ascontiguousarray(rgb[::6, ::6]), photometric="rgb", subfiletype=1)
            file.write(rgb, photometric="rgb")
        path.with_suffix(".txt").write_text(yolo_lines(pixels, boxes))
    (folder / "classes.txt").write_text("WBC")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


def yolo_lines(pixels: np.ndarray, boxes: Iterable[Sequence[float]]) -> str:
    """Return the labels of a picture whose cells are all of the first class."""
    h, w = pixels.shape[:2]
    return "\n".join(
        f"0 {(x0 + x1) / 2 / w} {(y0 + y1) / 2 / h} {(x1 - x0) / w} {(y1 - y0) / h}"
        for x0, y0, x1, y1 in boxes
    )


@case("10", "YOLO, data.yaml against classes.txt", "exit 2", "differently")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        (folder / name).with_suffix(".txt").write_text(yolo_lines(pixels, boxes))
    (folder / "data.yaml").write_text("names: [neutrophil, lymphocyte]")
    (folder / "classes.txt").write_text("lymphocyte\nneutrophil\n")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "YOLO with byte order marks", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        path = (folder / name).with_suffix(".txt")
        path.write_text(yolo_lines(pixels, boxes), encoding="utf-8-sig")
    (folder / "data.yaml").write_text("names: [WBC]", encoding="utf-8-sig")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "Pascal VOC with a namespace", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    for name, _, boxes in pictures(folder):
        items = "".join(
            f"<object><name>WBC</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for x0, y0, x1, y1 in boxes
        )
        text = f'<annotation xmlns="urn:labels">{items}</annotation>'
        (folder / name).with_suffix(".xml").write_text(text)
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "YOLO poses", "exit 0", "found 9")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        lines = [f"{line} 0.1 0.1 2 0.2 0.2 1" for line in yolo_lines(pixels, boxes).splitlines()]
        (folder / name).with_suffix(".txt").write_text("\n".join(lines))
    (folder / "wbc.names").write_text("WBC")
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "a project of Label Studio", "exit 2", "Label Studio")
def _(folder: Path) -> Sequence[str]:
    pictures(folder)
    (folder / "project.json").write_text('[{"data": {"image": "0.png"}, "annotations": []}]')
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


for _names in (("eosi", "NEU", "BNE"), ("Eosinófilos", "Linfocitos", "segmentados"),
               ("эозинофилы", "лимфоциты", "нейтрофилы"),
               ("嗜酸性粒细胞", "淋巴细胞", "中性粒细胞"),
               ("Eosinophile", "Lymphozyten", "Segmentkernige"),
               ("kwasochłonne", "limfocyty", "pałeczkowate"),
               ("eozinofiller", "lenfositler", "parçalı")):  # fmt: skip

    @case("10", f"class folders {', '.join(_names)}", "exit 0", "cells 3")
    def _(folder: Path, names: tuple[str, ...] = _names) -> Sequence[str]:
        for seed, name in enumerate(names):
            pixels, boxes = field(seed)
            x0, y0, x1, y1 = (round(v) for v in boxes[0])
            (folder / name).mkdir()
            crop = pixels[max(0, y0 - 40) : y1 + 40, max(0, x0 - 40) : x1 + 40]
            cv2.imencode(".png", crop)[1].tofile(folder / name / "1.png")
        return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "COCO of a million cells", "exit 2", "larger than 64 MB")
def _(folder: Path) -> Sequence[str]:
    def repeat(document: dict[str, Any]) -> None:
        document["annotations"] *= 1_000_000 // len(document["annotations"])

    return coco(folder, repeat)


@case("10", "YOLO whose names are a list of a thousand million (YAML aliases)", "exit 2")
def _(folder: Path) -> Sequence[str]:
    for name, pixels, boxes in pictures(folder):
        (folder / name).with_suffix(".txt").write_text(yolo_lines(pixels, boxes))
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (folder / "data.yaml").write_text("\n".join([*lines, "names: [*a9]"]))
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


@case("10", "Pascal VOC whose entities multiply", "exit 2", "defines entities")
def _(folder: Path) -> Sequence[str]:
    more = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<!DOCTYPE a [<!ENTITY e0 "x">{more}]><annotation>&e9;</annotation>'
    for name, _, _ in pictures(folder):
        (folder / name).with_suffix(".xml").write_text(text)
    return ["evaluate", str(folder), "--out", "out", "--errors", "0"]


_SHARES = "slide,neut,lymph,mono,eos,n\ns1,0.60,0.30,0.08,0.02,2000\n"
for _title, _data, *_expected in (
    ("sep=; and 1.200",
     b"sep=;\nslide;neut;lymph;mono;eos;n\ns1;1.200;600;160;40;2.000\n", "exit 0",
     "neutrophil 60.0"),
    ("decimal commas",
     b"slide;neut %;lymph %;mono %;eos %;n\ns1;60,0;30,0;8,0;2,0;2.000\n", "exit 0",
     "neutrophil 60.0"),
    ("shares of 1", _SHARES.encode(), "exit 0", "neutrophil 60.0"),
    ("shares of 1, in UTF-16 without a mark", _SHARES.encode("utf-16-le"), "exit 0",
     "neutrophil 60.0"),
    ("cells in a volume", b"slide,neut,lymph,mono,eos\ns1,3.6,1.8,0.48,0.12\n", "exit 2",
     "neither cells nor percentages"),
):  # fmt: skip

    @case("10", f"CSV of a manual count with {_title}", *_expected)
    def _(folder: Path, data: bytes = _data) -> Sequence[str]:
        (folder / "manual.csv").write_bytes(data)
        rows = "s1,neutrophil,60\ns1,lymphocyte,30\ns1,monocyte,8\ns1,eosinophil,2\n"
        (folder / "differential.csv").write_text("group,label,count\n" + rows)
        left, right = str(folder / "differential.csv"), str(folder / "manual.csv")
        return ["agree", left, right, "--out", "out"]
