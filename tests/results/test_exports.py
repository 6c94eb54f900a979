"""Exports, each read back by a reader of its format that somebody else wrote."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import INFO, grain, make_cell
from PIL import Image

from wbcdet.cli.app import app
from wbcdet.records import NOTICE, Cell, CellType, FieldResult, SlideRegion
from wbcdet.results.document import build_document, dump
from wbcdet.results.export import qupath
from wbcdet.results.export.base import CLASSES, Pictures, find_picture, make_items
from wbcdet.utils.boxes import Box, iou
from wbcdet.utils.safe_files import read_own

FORMATS = ("coco", "yolo", "voc", "qupath", "labelstudio", "cvat")

#: Names that are hard on file systems, on XML and on flat folders.
NAMES = (
    "x.jpg",
    "a/x.jpg",
    "b/x.jpg",
    "b/x.png",
    "b__x.jpg",
    "B/X.JPG",
    "мазок крови/б.jpg",
    'it\'s <b>&"q".png',
    "line\nbreak.jpg",
    "я" * 100 + "/" + "я" * 60 + ".jpg",
)
WIDTH, HEIGHT = 128, 96


def cells_of(number: int) -> tuple[Cell, ...]:
    """Two cells, other ones in every field, one of them at the border, one unclassified."""
    named = Cell(
        0,
        (0.0, 10.0 + number, 30.5, 40.0 + number),
        0.9,
        CellType.MONOCYTE,
        0.8,
        {"eosinophil": 0.05, "lymphocyte": 0.1, "monocyte": 0.8, "neutrophil": 0.05},
        touches_edge=True,
    )
    other = make_cell(1, (50.2, 20.0, 90.0, 70.1), CellType.UNCLASSIFIED, "basophil-like")
    return named, other


def records() -> list[FieldResult]:
    found = [FieldResult(name, WIDTH, HEIGHT, cells_of(n)) for n, name in enumerate(NAMES)]
    return [
        *found,
        FieldResult("empty.jpg", WIDTH, HEIGHT),
        FieldResult.failed("bad.jpg", "file is empty"),
    ]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed, result in enumerate(records()[:-1]):
        path = folder / result.file
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = "PNG" if path.suffix == ".png" else "JPEG"
        Image.fromarray(grain(HEIGHT, WIDTH, seed)).save(path, kind)
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    text = dump(build_document(INFO, records()))
    (folder / "results.json").write_text(text, encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    """Return the command in this process; its exit code."""
    with pytest.raises(SystemExit) as ended:
        app([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def exported(
    report: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """``exported(format)``: the folder of that format, with copied pictures."""
    folder = tmp_path_factory.mktemp("exported")

    def make(kind: str) -> Path:
        out = folder / kind
        if not out.exists():
            assert run("export", report, "--to", kind, "--out", out, "--pictures", pictures) == 0
        return out

    return make


def listed(out: Path) -> list[dict[str, str]]:
    with (out / "fields.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_picture(out: Path, folder: str) -> dict[str, FieldResult]:
    """Return the record of every picture in an export, by the picture's name."""
    read = {result.file: result for result in records()}
    paths = {path.stem: path.name for path in (out / folder).iterdir()}
    found = {paths[row["name"]]: read[row["file"]] for row in listed(out)}
    assert len(found) == len(records()) - 1
    return found


def boxes(result: FieldResult) -> np.ndarray:
    return np.array([cell.box for cell in result.cells]).reshape(-1, 4)


def labels(result: FieldResult) -> list[str]:
    return [str(cell.label) for cell in result.cells]


@pytest.mark.parametrize("kind", FORMATS)
def test_no_field_is_lost_and_no_name_collides(
    kind: str, exported: Callable[[str], Path], pictures: Path
) -> None:
    out = exported(kind)
    rows = listed(out)
    assert [row["file"] for row in rows] == [result.file for result in records()[:-1]]
    assert len({row["name"].casefold() for row in rows}) == len(rows)
    assert {row["picture"] for row in rows} == {"copied"}
    folder = out / ("JPEGImages" if kind == "voc" else "images")
    copies = {path.stem: path.read_bytes() for path in folder.iterdir()}
    for row in rows:
        assert copies[row["name"]] == (pictures / row["file"]).read_bytes()
    every = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in every if path.name.startswith(".")]
    assert all(out.resolve() in path.resolve().parents for path in every)


def test_coco_by_pycocotools(exported: Callable[[str], Path]) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    out = exported("coco")
    path = out / "annotations" / "instances_default.json"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO(str(path))
        found = by_picture(out, "images")
        assert len(coco.imgs) == len(found)
        for number, image in coco.imgs.items():
            result = found[image["file_name"]]
            ours = coco.loadAnns(coco.getAnnIds(imgIds=[number]))
            corners = [
                [x, y, x + w, y + h] for x, y, w, h in (annotation["bbox"] for annotation in ours)
            ]
            assert np.allclose(np.array(corners).reshape(-1, 4), boxes(result))
            names = [coco.cats[annotation["category_id"]]["name"] for annotation in ours]
            assert names == labels(result)
        # The same boxes as detections find all of themselves.
        detections = coco.loadRes(json.loads(path.read_text(encoding="utf-8"))["annotations"])
        judge = evaluation.COCOeval(coco, detections, "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    assert judge.stats[0] == pytest.approx(1.0)
    reason = json.loads(path.read_text(encoding="utf-8"))["annotations"][1]["attributes"]
    assert reason == {
        "cell": 1,
        "label_score": 0.01,
        "touches_edge": False,
        "reason": "basophil-like",
    }


def test_coco_by_supervision(exported: Callable[[str], Path]) -> None:
    import supervision as sv

    out = exported("coco")
    path = out / "annotations" / "instances_default.json"
    data = sv.DetectionDataset.from_coco(str(out / "images"), str(path))
    assert data.classes == list(CLASSES)
    check_supervision(data, by_picture(out, "images"), 1e-3)


def test_yolo_by_supervision(exported: Callable[[str], Path]) -> None:
    import supervision as sv

    out = exported("yolo")
    paths = (out / "images", out / "labels", out / "data.yaml")
    data = sv.DetectionDataset.from_yolo(*map(str, paths))
    assert data.classes == list(CLASSES)
    check_supervision(data, by_picture(out, "images"), 0.01)


def test_yolo_by_the_trainer_that_reads_it(exported: Callable[[str], Path]) -> None:
    from ultralytics.data.utils import check_det_dataset, verify_image_label

    out = exported("yolo")
    data = check_det_dataset(str(out / "data.yaml"), autodownload=False)
    assert list(data["names"].values()) == list(CLASSES)
    assert Path(data["train"]) == out / "images"
    for name, result in by_picture(out, "images").items():
        label = out / "labels" / f"{Path(name).stem}.txt"
        read = verify_image_label(
            (str(out / "images" / name), str(label), "", False, len(CLASSES), 0, 0, False)
        )
        lines, shape, missing, corrupt = read[1], read[2], read[5], read[8]
        assert shape == (HEIGHT, WIDTH) and not missing and not corrupt
        assert [CLASSES[int(line[0])] for line in lines] == labels(result)


def test_voc_by_supervision_and_globox(exported: Callable[[str], Path]) -> None:
    import supervision as sv

    out = exported("voc")
    paths = (out / "JPEGImages", out / "Annotations")
    data = sv.DetectionDataset.from_pascal_voc(*map(str, paths))
    found = by_picture(out, "JPEGImages")
    check_supervision(data, found, 0.51)  # VOC has whole pixels
    globox = pytest.importorskip("globox")
    read = globox.AnnotationSet.from_pascal_voc(out / "Annotations")
    assert {item.image_id for item in read} == set(found)
    assert {item.image_size for item in read} == {(WIDTH, HEIGHT)}
    for node in ElementTree.parse(out / "Annotations" / "x.xml").getroot().iter("object"):
        unclassified = node.findtext("name") == "unclassified"
        assert node.findtext("difficult") == str(int(unclassified))
        assert node.findtext("truncated") == str(int(not unclassified))


def check_supervision(data: object, found: dict[str, FieldResult], limit: float) -> None:
    assert len(data) == len(found)  # type: ignore[arg-type]
    for path, pixels, read in data:  # type: ignore[attr-defined]
        result = found[Path(path).name]
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        assert np.allclose(read.xyxy, boxes(result), atol=limit)
        names = [data.classes[number] for number in read.class_id]  # type: ignore[attr-defined]
        assert names == labels(result)


def test_qupath_by_geojson_and_shapely(exported: Callable[[str], Path]) -> None:
    geojson = pytest.importorskip("geojson")
    geometry = pytest.importorskip("shapely.geometry")
    out = exported("qupath")
    ids = set()
    for row, result in zip(listed(out), records(), strict=False):
        text = (out / f"{row['name']}.geojson").read_text(encoding="utf-8")
        collection = geojson.loads(text)
        assert isinstance(collection, geojson.FeatureCollection) and collection.is_valid
        for feature, cell in zip(collection.features, result.cells, strict=True):
            shape = geometry.shape(feature.geometry)
            assert shape.is_valid and shape.bounds == cell.box
            assert shape.exterior.is_ring and shape.exterior.is_ccw
            assert feature.properties["objectType"] == "detection"
            assert feature.properties["classification"]["name"] == str(cell.label)
            assert len(feature.properties["classification"]["color"]) == 3
            assert feature.properties["measurements"]["monocyte score"] == cell.scores["monocyte"]
            ids.add(feature.id)
    assert len(ids) == sum(len(result.cells) for result in records())


def test_qupath_by_qubalab(exported: Callable[[str], Path]) -> None:
    """QuPath's own Python package; large, so only where it is installed."""
    features = pytest.importorskip("qubalab.objects.image_feature")
    geojson = pytest.importorskip("geojson")
    collection = geojson.loads((exported("qupath") / "x.geojson").read_text(encoding="utf-8"))
    read = [features.ImageFeature.create_from_feature(feature) for feature in collection.features]
    assert [item.classification.names for item in read] == [("monocyte",), ("unclassified",)]
    assert {item.object_type.name for item in read} == {"DETECTION"}
    assert read[0].measurements["detection score"] == 0.9


def test_label_studio_percent_coordinates(exported: Callable[[str], Path]) -> None:
    out = exported("labelstudio")
    tasks = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    view = ElementTree.parse(out / "labels.xml").getroot()
    assert [node.get("value") for node in view.iter("Label")] == list(CLASSES)
    image, control = view.find("Image"), view.find("RectangleLabels")
    assert image is not None and image.get("value") == "$image"
    assert control is not None and control.get("toName") == image.get("name")
    assert len(tasks) == len(records()) - 1
    for task, result in zip(tasks, records(), strict=False):
        assert task["data"]["file"] == result.file
        [prediction] = task["predictions"]
        for region, cell in zip(prediction["result"], result.cells, strict=True):
            value = region["value"]
            assert (region["from_name"], region["to_name"]) == ("label", "image")
            scale = np.array([WIDTH, HEIGHT]) / 100
            start = np.array([value["x"], value["y"]]) * scale
            size = np.array([value["width"], value["height"]]) * scale
            assert np.allclose([*start, *(start + size)], cell.box)
            assert value["rectanglelabels"] == [str(cell.label)]
            assert region["score"] == cell.label_score
    assert tasks[0]["predictions"][0]["score"] == 0.01  # the most doubtful cell
    assert "score" not in tasks[-1]["predictions"][0]


def test_label_studio_by_its_sdk(exported: Callable[[str], Path], tmp_path: Path) -> None:
    """Label Studio's own package; large, so only where it is installed."""
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    out = exported("labelstudio")
    labelling = interface.LabelInterface((out / "labels.xml").read_text(encoding="utf-8"))
    labelling.validate()
    for task in json.loads((out / "tasks.json").read_text(encoding="utf-8")):
        assert labelling.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_cvat_by_globox(exported: Callable[[str], Path]) -> None:
    globox = pytest.importorskip("globox")
    out = exported("cvat")
    found = by_picture(out, "images")
    read = globox.AnnotationSet.from_cvat(out / "annotations.xml")
    assert {item.image_id for item in read} == set(found)
    for item in read:
        result = found[item.image_id]
        assert item.image_size == (WIDTH, HEIGHT)
        corners = [[box.xmin, box.ymin, box.xmax, box.ymax] for box in item.boxes]
        assert np.allclose(np.array(corners).reshape(-1, 4), boxes(result), atol=0.01)
        assert [box.label for box in item.boxes] == labels(result)


def test_cvat_and_voc_by_datumaro(exported: Callable[[str], Path]) -> None:
    """CVAT's own data set library; large, so only where it is installed."""
    datumaro = pytest.importorskip("datumaro")
    for kind, name in (("cvat", "cvat"), ("voc", "voc_detection"), ("coco", "coco_instances")):
        data = datumaro.Dataset.import_from(str(exported(kind)), name)
        assert len(data) == len(records()) - 1
        count = sum(len(item.annotations) for item in data)
        assert count == sum(len(result.cells) for result in records())


@pytest.mark.parametrize("kind", FORMATS)
def test_without_the_pictures(kind: str, report: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("export", report / "results.json", "--to", kind, "--out", out) == 0
    assert not (out / "images").exists() and not (out / "JPEGImages").exists()
    assert {row["picture"] for row in listed(out)} == {""}
    if kind == "coco":
        document = json.loads((out / "annotations" / "instances_default.json").read_text("utf-8"))
        names = [image["file_name"] for image in document["images"]]
    elif kind == "cvat":
        names = [
            str(node.get("name"))
            for node in ElementTree.parse(out / "annotations.xml").iter("image")
        ]
    else:
        return
    # The field's own name, but where no XML could hold it.
    expected = [result.file for result in records()[:-1]]
    assert names == [name if name.isprintable() else "line_break.jpg" for name in expected]


def test_links_and_missing_pictures(
    report: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = tmp_path / "part"
    (part / "a").mkdir(parents=True)
    (part / "x.jpg").write_bytes((pictures / "x.jpg").read_bytes())
    Image.fromarray(grain(10, 20)).save(part / "a" / "x.jpg")
    options = ("--pictures", part, "--images", "link")
    assert run("export", report, "--to", "yolo", "--out", tmp_path / "out", *options) == 1
    printed = capsys.readouterr()
    assert "11 fields with 20 cells" in printed.out and NOTICE in printed.out
    assert "1 field that was not read left out" in printed.out
    lines = printed.err.splitlines()
    assert "a/x.jpg: has 20 x 10 pixels, not 128 x 96" in lines[0]
    assert "b/x.jpg: not found" in lines[1]
    assert lines[-1] == "wbcdet: and 7 more, see fields.csv"
    link = tmp_path / "out" / "images" / "x.jpg"
    assert link.readlink() == (part / "x.jpg").resolve()
    assert [row["picture"] for row in listed(tmp_path / "out")] == ["linked", *["left out"] * 10]
    # The labels are there all the same.
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 11


def test_a_report_is_read_once(
    report: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that goes on may write it again meanwhile: sums of another count were compared."""
    readings = []

    def read(folder: Path, name: str) -> bytes:
        readings.append(name)
        return read_own(folder, name)

    monkeypatch.setattr("wbcdet.results.document.read_own", read)
    options = ("--pictures", pictures, "--out", tmp_path / "out")
    assert run("export", report, "--to", "qupath", *options) == 0
    assert readings == ["results.json"]


def test_another_picture_of_the_same_name_is_left_out(tmp_path: Path) -> None:
    digests = {}
    for number in range(2):
        path = tmp_path / f"{number}.png"
        Image.fromarray(grain() + np.uint8(number)).save(path)
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes())
    height, width = grain().shape[:2]
    results = [FieldResult(name, width, height) for name in digests]
    pictures = Pictures(tmp_path, link=False, digests=digests)
    items, problems = make_items(results, tmp_path / "out", pictures)
    assert [item.placed for item in items] == [True, False]
    assert problems == ["1.png: has changed since it was analysed, or is another of this name"]


def test_names_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    Image.fromarray(grain()).save(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "a/../../secret.png"):
        found, why = find_picture(inside, FieldResult(name, 64, 48))
        assert found is None and "leads out" in why
    found, why = find_picture(tmp_path, FieldResult("secret.png#2", 64, 48))
    assert found is None and why == "is one of several in its file"
    items, _ = make_items([FieldResult("../up.jpg", 64, 48)], tmp_path, None)
    assert "/" not in items[0].stem and items[0].stem.strip("._")


def test_mistakes_give_one_line(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = tmp_path / "failed.json"
    failed.write_text(dump(build_document(INFO, records()[-1:])), encoding="utf-8")
    (tmp_path / "text.json").write_text("{")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    cases = {
        (tmp_path / "none", tmp_path / "out"): "none: cannot be read",
        (tmp_path, tmp_path / "out"): "results.json: cannot be read",
        (tmp_path / "text.json", tmp_path / "out"): "text.json: not JSON",
        (failed, tmp_path / "out"): "no field in it could be read",
        (report, tmp_path / "full"): "full is not empty; name a new folder",
        (report, tmp_path / "file"): "cannot write to",
        (report, tmp_path / "out", "--images", "copy"): "needs --pictures",
        (report, tmp_path / "out", "--pictures", tmp_path / "no"): "there is no such folder",
    }
    for (source, out, *more), expected in cases.items():
        assert run("export", source, "--to", "coco", "--out", out, *more) == 2
        printed = capsys.readouterr()
        assert expected in printed.err and len(printed.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_command(
    command: Callable[..., CompletedProcess[str]], report: Path, tmp_path: Path
) -> None:
    answer = command("export", report, "--to", "cvat", "--out", "out")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("\n") == 1 and NOTICE in answer.stdout
    assert command("export", report, "--to", "word", "--out", "x").returncode == 2


def test_accents_are_no_other_file(tmp_path: Path) -> None:
    """Some file systems take both ways to write an accent for the same name."""
    names = ("caf\u00e9.jpg", "cafe\u0301.jpg", "CAFE\u0301.jpg")
    items, _ = make_items([FieldResult(name, 9, 9) for name in names], tmp_path, None)
    assert len({unicodedata.normalize("NFC", item.stem).casefold() for item in items}) == 3


def part_of_slide(slide: str, number: int, cells: int) -> FieldResult:
    """Return a part of a slide that shares its last row of cells with the next one."""
    places = [(30.0 * (n % 30), 30.0 * (n // 30)) for n in range(cells)]
    return FieldResult(
        f"{slide}#{number}", 1000, 1000,
        tuple(make_cell(n, (x, y, x + 20, y + 20)) for n, (x, y) in enumerate(places)),
        region=SlideRegion(slide, 0, 60 * number, 1.0, 0.25),
    )  # fmt: skip


def test_qupath_has_a_file_a_slide_and_each_cell_once(tmp_path: Path) -> None:
    """Names of slides that differ in their folders alone, and neighbours that share cells."""
    results = [part_of_slide(slide, n, 90) for slide in ("a/s.svs", "a__s.svs") for n in range(2)]
    items, _ = make_items(results, tmp_path, None)
    qupath.write(items, tmp_path)
    found = [json.loads(path.read_text())["features"] for path in tmp_path.glob("*.geojson")]
    assert [len(features) for features in found] == [150, 150]


def test_qupath_of_many_cells_of_a_slide(tmp_path: Path) -> None:
    """Each is compared with its neighbours alone: with all before it they took minutes."""
    items, _ = make_items([part_of_slide("s.svs", n, 90) for n in range(60)], tmp_path, None)
    compared = 0

    def counted(first: Box, second: Box) -> float:
        nonlocal compared
        compared += 1
        return iou(first, second)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qupath, "iou", counted)
        qupath.write(items, tmp_path)
    [path] = tmp_path.glob("*.geojson")
    assert len(json.loads(path.read_text())["features"]) == 121 * 30
    assert compared < 100 * 60 * 90


def test_qupath_counts_a_cell_of_two_parts_as_the_report_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One part sees two cells where its neighbour sees the clump that they are: one cell."""
    apart, clump = (
        FieldResult(f"s.svs#{n}", 900, 900, cells, region=SlideRegion("s.svs", 0, 0, 1.0, 0.25))
        for n, cells in enumerate(
            (
                (make_cell(0, (0, 0, 20, 20)), make_cell(1, (30, 0, 50, 20))),
                (make_cell(0, (0, 0, 50, 30)), make_cell(1, (90, 90, 120, 120))),
            )
        )
    )
    document = build_document(INFO, [apart, clump])
    for cell in document["fields"][0]["cells"]:
        cell |= {"left_out": "duplicate", "duplicate_of": {"file": clump.file, "id": 0}}
    (tmp_path / "results.json").write_text(dump(document))
    assert run("export", tmp_path / "results.json", "--to", "qupath", "--out", tmp_path / "q") == 0
    assert "with 2 cells written" in capsys.readouterr().out
    [path] = (tmp_path / "q").glob("*.geojson")
    assert len(json.loads(path.read_text())["features"]) == 2
    # Where each part is a picture of its own, they are cells of both.
    assert run("export", tmp_path / "results.json", "--to", "coco", "--out", tmp_path / "c") == 0
    assert "with 4 cells written" in capsys.readouterr().out
