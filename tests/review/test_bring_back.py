"""Corrected labels come back: each format, what is in conflict, and files that are not labels."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from conftest import INFO, make_cell
from reviewing import make_report
from typer.testing import CliRunner, Result

from wbcdet.cli.app import app
from wbcdet.records import CellType, FieldResult
from wbcdet.results.corrected import CorrectedError, read_corrected
from wbcdet.results.document import build_document, dump
from wbcdet.review.decision_store import Store
from wbcdet.review.machine_report import load_report
from wbcdet.review.state import ReviewState

NEUTROPHIL = CellType.NEUTROPHIL
FILES = {
    "labelstudio": "tasks.json",
    "cvat": "annotations.xml",
    "coco": "annotations/instances_default.json",
    "qupath": "",
}


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("back"), 2, "--group-by", "folder")


@pytest.fixture
def report(counted: Path, tmp_path: Path) -> Path:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "results.json").write_bytes((counted / "results.json").read_bytes())
    return tmp_path / "report"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def bring(report: Path, file: Path, *options: object) -> Result:
    return run("review", report, "--import", file, "--reviewer", "Ann", *options)


def state(report: Path) -> ReviewState:
    store = Store(report)
    try:
        return ReviewState(load_report(report), store)
    finally:
        store.close()


def export(report: Path, kind: str, *options: object) -> Path:
    out = report.parent / kind
    done = run("export", report, "--to", kind, "--out", out, *options)
    assert done.exit_code == 0, done.output
    return out


def corrected(kind: str, out: Path) -> Path:
    """As a person corrects an export: the first cell renamed and the second one moved by 3 pixels
    to the right, the third deleted, and one added at 2, 2 with sides of 9 pixels."""
    if kind == "cvat":
        path = out / FILES[kind]
        boxes = re.findall(r"<box .*?</box>", path.read_text(), re.S)
        renamed = re.sub('label="[^"]*"', 'label="Blast"', boxes[0])
        moved = re.sub(
            '(xtl|xbr)="([0-9.]+)"', lambda m: f'{m[1]}="{float(m[2]) + 3:.2f}"', boxes[1]
        )
        new = '<box label="plasma cell" xtl="2.0" ytl="2.0" xbr="11.0" ybr="11.0" occluded="0"/>'
        text = path.read_text().replace(boxes[0], renamed + new, 1)
        path.write_text(text.replace(boxes[1], moved, 1).replace(boxes[2], "", 1))
        return path
    if kind == "qupath":
        path = sorted(out.glob("*.geojson"))[0]
        document = json.loads(path.read_text())
        cells = document["features"]
        cells[0]["properties"]["classification"]["name"] = "Blast"
        for point in cells[1]["geometry"]["coordinates"][0]:
            point[0] += 3
        del cells[2]
        ring = [[2, 2], [11, 2], [11, 11], [2, 11], [2, 2]]
        cells.append({
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {
                "objectType": "annotation", "classification": {"name": "plasma cell"},
            },
        })  # fmt: skip
        path.write_text(json.dumps(document))
        return out
    path = out / FILES[kind]
    document = json.loads(path.read_text())
    if kind == "coco":
        cells = document["annotations"]
        document["categories"] += [{"id": 90, "name": "Blast"}, {"id": 91, "name": "plasma cell"}]
        cells[0]["category_id"] = 90
        cells[1]["bbox"][0] += 3
        del cells[2]
        cells.append({"id": 9999, "image_id": 1, "category_id": 91, "bbox": [2, 2, 9, 9]})
    else:
        for task in document:
            task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
        cells = document[0]["annotations"][0]["result"]
        width, height = (cells[0][f"original_{side}"] for side in ("width", "height"))
        cells[0]["value"]["rectanglelabels"] = ["Blast"]
        cells[1]["value"]["x"] += 100 * 3 / width
        del cells[2]
        value = {
            "x": 200 / width, "y": 200 / height, "width": 900 / width, "height": 900 / height,
            "rectanglelabels": ["plasma cell"],
        }  # fmt: skip
        cells.append({**cells[0], "id": "new", "value": value})
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("kind", FILES)
def test_a_round_trip(report: Path, kind: str) -> None:
    before = state(report)
    (report / "review.sqlite").unlink()
    path = corrected(kind, export(report, kind))
    done = bring(report, path)
    assert done.exit_code == 0, done.output
    assert "cells 1 renamed, 1 with another box, 1 added, 0 deleted" in done.output
    assert "left as it is: 1 cell of these fields" in done.output
    after = state(report)
    assert after.cells[0, 0].label == "blast" and after.cells[0, 0].who == "Ann"
    was, now = before.cells[0, 1].box, after.cells[0, 1].box
    assert now[0] == pytest.approx(was[0] + 3, abs=0.11) and after.cells[0, 1].moved
    added = after.cells[0, len(before.report.fields[0].result.cells)]
    assert added.label == "plasma cell" and added.box == pytest.approx((2, 2, 11, 11), abs=0.11)
    # What came back as it was is nobody's decision.
    assert sum(cell.reviewed for cell in after.cells.values()) == 3
    last = after.last
    assert bring(report, path).exit_code == 0  # the same file again changes nothing
    assert state(report).last == last
    done = bring(report, path, "--delete-missing")
    assert "1 deleted" in done.output and state(report).cells[0, 2].label == "deleted"
    store = Store(report)
    again = ReviewState(load_report(report), store)
    again.undo("Ann")
    again.undo("Ann")
    store.close()
    assert [cell.label for cell in again.cells.values() if cell.label] == [
        cell.label for cell in before.cells.values()
    ]


def test_conflicts_stay_and_are_said(report: Path) -> None:
    path = corrected("coco", export(report, "coco"))
    document = json.loads(path.read_text())
    document["annotations"][0]["category_id"] = 91
    bring(report, path)
    path.write_text(json.dumps(document))  # a blast by now, a plasma cell in the file
    done = bring(report, path)
    assert done.exit_code == 1
    assert "cell 0 is blast by Ann here and plasma cell in the file; it stays" in done.output
    assert state(report).cells[0, 0].label == "blast"
    box = document["annotations"][1]["bbox"]
    document["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 90, "bbox": box},
        {"id": 2, "image_id": 1, "category_id": 91, "bbox": box},  # over the one before
        {"id": 3, "image_id": 1, "category_id": 90, "bbox": [9000, 9000, 30, 30]},
        {"id": 4, "image_id": 1, "category_id": 90, "bbox": [5, 5, -40, 2]},
    ]
    document["images"] += [
        {"id": 77, "file_name": "../../etc/passwd", "width": 1, "height": 1},
        {"id": 78, "file_name": "another\nfield.png", "width": 1, "height": 1},
    ]
    document["images"][1]["width"] += 1
    path.write_text(json.dumps(document))
    done = bring(report, path)
    assert done.exit_code == 1
    for text in (
        "lies over another cell", "too small", "passwd: is no field of this report",
        "another field.png: is no field", "this is another picture",
    ):  # fmt: skip
        assert text in done.output


def test_an_artefact_under_another_name(report: Path) -> None:
    path = export(report, "coco") / FILES["coco"]
    document = json.loads(path.read_text())
    document["categories"].append({"id": 90, "name": "Debris"})
    document["annotations"][0]["category_id"] = 90
    path.write_text(json.dumps(document))
    for said in ("1 renamed", "0 renamed"):  # it comes back as it stands the second time
        done = bring(report, path)
        assert done.exit_code == 0 and said in done.output, done.output
        assert state(report).cells[0, 0].label == "artefact"


def test_names_of_other_programs(report: Path) -> None:
    """A picture that was uploaded has another name; one that several fields have is not guessed."""
    path = export(report, "labelstudio") / "tasks.json"
    tasks = json.loads(path.read_text())
    for task in tasks:
        name = Path(task["data"].pop("file")).name
        task["data"]["image"] = f"/data/upload/7/0a1b2c3d-{name}"
        task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
    path.write_text(json.dumps(tasks))
    assert bring(report, path).exit_code == 0
    document = json.loads((report / "results.json").read_text())
    for number, field in enumerate(document["fields"]):
        field["file"] = f"{number}/same.png"
    (report / "results.json").write_text(json.dumps(document))
    for task in tasks:
        task["data"]["image"] = "same.png"
    path.write_text(json.dumps(tasks))
    done = bring(report, path)
    assert done.exit_code == 1 and "one of several fields" in done.output


def test_accents_as_a_mac_writes_them(report: Path) -> None:
    """A report of pictures from a Mac; the program that corrected them writes accents otherwise."""
    document = json.loads((report / "results.json").read_text())
    for number, field in enumerate(document["fields"]):
        field["file"] = unicodedata.normalize("NFD", f"M\u00fcller/\u0419{number}.png")
    (report / "results.json").write_text(json.dumps(document))
    path = export(report, "coco") / FILES["coco"]
    labels = json.loads(path.read_text())
    for image in labels["images"]:
        image["file_name"] = unicodedata.normalize("NFC", image["file_name"])
    path.write_text(json.dumps(labels))
    done = bring(report, path)
    assert done.exit_code == 0 and "no field of this report" not in done.output, done.output


def test_a_task_that_nobody_has_annotated(report: Path) -> None:
    path = export(report, "labelstudio") / "tasks.json"
    done = bring(report, path, "--delete-missing")
    assert done.exit_code == 1 and "no annotation yet" in done.output
    assert len(done.output.splitlines()) == 2  # all of them in one line


def test_a_folder_of_label_studio_with_its_setup(report: Path) -> None:
    """The labelling setup that lies beside the labels is passed over, and alone says what it is;
    the tasks as they went there are no news of what came back."""
    folder = export(report, "labelstudio")
    tasks = json.loads((folder / "tasks.json").read_text())
    for task in tasks:
        task["annotations"] = [{"result": task.pop("predictions")[0]["result"]}]
    (folder / "project-1-at-2026-11-26.json").write_text(json.dumps(tasks))
    done = bring(report, folder)
    assert done.exit_code == 0 and "as they were" in done.output
    done = bring(report, folder / "labels.xml")
    assert done.exit_code == 2 and "labelling setup of Label Studio" in done.output
    assert state(report).last == 0


@pytest.mark.parametrize(
    "content",
    [
        "", "{}", "[]", "[1]", "null", "[[[", "not json", "<a/>",
        "<annotations><image></annotations>", "<annotations><track/></annotations>", "[" * 100_000,
        '{"images": []}',
        '{"images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [{"image_id": 3}], "categories": []}',
        '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": 5}],'
        ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]}',
        '{"images": [{"id": 1, "file_name": "a"}], "categories": [{"id": 1, "name": "x"}],'
        ' "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 1e999]}]}',
        '[{"data": {"image": "a"}, "annotations": [{"result": [{"value":'
        ' {"rectanglelabels": ["x"], "x": "y"}}]}]}]',
        '{"type": "FeatureCollection", "features": [{"geometry": null, "properties":'
        ' {"classification": {"name": "x"}}}]}',
        '{"type": "Feature", "properties": {"classification": {"name": "x"}},'
        ' "geometry": {"coordinates": [[[[[[[1, 2]]]]]]]}}',
        '<!DOCTYPE a [<!ENTITY x "y">]><annotations><image name="&x;"/></annotations>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>',
        '<annotations><image name="a" width="w" height="1"/></annotations>',
    ],
)  # fmt: skip
def test_files_that_are_none(report: Path, tmp_path: Path, content: str) -> None:
    path = tmp_path / "back.json"
    path.write_text(content)
    with pytest.raises(CorrectedError) as caught:
        read_corrected(path)
    assert "back.json" in str(caught.value) and "\n" not in str(caught.value)
    done = bring(report, path)
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_what_goes_with_what(report: Path, tmp_path: Path) -> None:
    gone = bring(report, tmp_path / "gone.json")
    assert gone.exit_code == 2 and "check its name" in " ".join(gone.output.split())
    (tmp_path / "none").mkdir()
    assert bring(report, tmp_path / "none").exit_code == 2
    assert run("review", report, "--delete-missing").exit_code == 2
    assert run("review", report, "--second", "--agreement").exit_code == 2
    assert run("review", report, "--second", "--pdf").exit_code == 2
    assert run("review", report, "--check", "--agreement").exit_code == 2
    assert run("review", report, "--check", "--pdf").exit_code == 2
    assert not (report / "review.sqlite").exists()


@pytest.mark.parametrize("kind", ["cvat", "coco", "qupath"])
def test_names_that_are_alike_but_for_their_ending(tmp_path: Path, kind: str) -> None:
    """Each field is told by its own name, where another one's is the first part of it."""
    files = ["s1.png", "s1.v2.png", "s1", "s1-2.png", "a/s1.jpg", "s1.jpg", "s1.tif#1", "s1.tif#2"]
    results = [
        FieldResult(file, 90, 90, (make_cell(0, (9.0 + n, 9.0, 39.0 + n, 39.0), NEUTROPHIL),))
        for n, file in enumerate(files)
    ]
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "results.json").write_text(dump(build_document(INFO, results)))
    done = bring(tmp_path / "report", export(tmp_path / "report", kind) / FILES[kind])
    assert done.exit_code == 0, done.output
    assert "8 fields" in done.output and "8 as they were" in done.output


def test_a_field_that_the_report_does_not_have_is_no_other(report: Path, tmp_path: Path) -> None:
    """The end of a name behind a point is no ending of a picture."""
    file = export(report, "qupath") / "fields__anna__field 000.geojson"
    other = file.replace(tmp_path / "field 000.v2.geojson")
    done = bring(report, other)
    assert done.exit_code == 1 and "field 000.v2: is no field of this report" in done.output


def test_a_box_of_several_labels_is_said(report: Path) -> None:
    path = corrected("labelstudio", export(report, "labelstudio"))
    tasks = json.loads(path.read_text())
    tasks[0]["annotations"][0]["result"][0]["value"]["rectanglelabels"] = ["monocyte", "blast"]
    path.write_text(json.dumps(tasks))
    done = bring(report, path)
    assert done.exit_code == 1
    assert "a box has several labels (monocyte, blast); the first is taken" in done.output


def test_a_check_of_nothing_says_what_to_do(report: Path) -> None:
    done = run("review", report, "--check")
    said = " ".join(done.output.split())
    assert done.exit_code == 2 and "nothing is signed yet; sign on the review page first" in said


def test_a_report_without_a_cell(report: Path) -> None:
    path = corrected("coco", export(report, "coco"))
    document = json.loads((report / "results.json").read_text())
    for field in document["fields"]:
        field["cells"] = []
    (report / "results.json").write_text(json.dumps(document))
    done = bring(report, path)
    assert done.exit_code == 0 and "0 renamed" in done.output
    after = state(report)
    assert {cell.label for cell in after.cells.values()} >= {"blast", "plasma cell"}
    assert all(cell.reviewed for cell in after.cells.values())


def _labels(out: Path) -> list[str]:
    document: dict[str, Any] = json.loads(
        (out / "annotations" / "instances_default.json").read_text()
    )
    names = {category["id"]: category["name"] for category in document["categories"]}
    return [names[annotation["category_id"]] for annotation in document["annotations"]]


def test_exports_without(report: Path) -> None:
    document = json.loads((report / "results.json").read_text())
    for cell, reason in zip(
        document["fields"][0]["cells"], ("artefact", "low-score"), strict=False
    ):
        cell |= {"label": "unclassified", "reason": reason}
    document["fields"][0]["cells"][2] |= {"label": "artefact", "reason": None}
    (report / "results.json").write_text(json.dumps(document))
    cells = [cell for field in document["fields"] for cell in field["cells"]]
    open_ = sum(cell["label"] == "unclassified" for cell in cells)
    artefacts = sum("artefact" in (cell["label"], cell["reason"]) for cell in cells)
    assert artefacts >= 2
    for number, (kinds, expected) in enumerate((
        ((), len(cells)),
        (("artefacts",), len(cells) - artefacts),
        (("unclassified",), len(cells) - open_),
        (("unclassified", "artefacts"), len(cells) - open_ - 1),
    )):  # fmt: skip
        out = report.parent / f"out{number}"
        options = [text for kind in kinds for text in ("--without", kind)]
        done = run("export", report, "--to", "coco", "--out", out, *options)
        assert done.exit_code == 0, done.output
        labels = _labels(out)
        assert len(labels) == expected
        assert "unclassified" not in kinds or "unclassified" not in labels
        if kinds:
            assert f"{len(cells) - expected} cells left out" in done.output
    assert run("export", report, "--to", "coco", "--out", report.parent / "x", "--without",
               "nothing").exit_code == 2  # fmt: skip
