"""Records, their dict form, and the results document against its schema."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import INFO, cells, make_cell, schema

import wbcdet
from wbcdet.records import ALL_LABELS, CELL_COLUMNS, CellType, FieldResult, count_labels
from wbcdet.results.document import ResultsError, build_document, load_document, parse_document
from wbcdet.results.writer import cell_counts
from wbcdet.utils.errors import WbcdetError


def results() -> list[FieldResult]:
    return [
        FieldResult("a.jpg", 640, 480, cells()),
        FieldResult("мазок\n2.png", 100, 100),
        FieldResult.failed("c.jpg", "file is empty\n(0 bytes)"),
    ]


def test_detections() -> None:
    found = results()[0].detections
    assert found.xyxy.shape == (3, 4) and found.xyxy.dtype == np.float32
    assert [ALL_LABELS[index] for index in found.class_id] == [cell.label for cell in cells()]
    assert list(found.data["class_name"]) == ["neutrophil", "monocyte", "unclassified"]
    assert found.confidence.tolist() == pytest.approx([0.9] * 3)
    assert found[found.confidence > 0.95].is_empty()
    empty = results()[1].detections
    assert len(empty) == 0 and set(empty.data) == {"class_name", "label_score"}


def test_frame_has_one_header_with_and_without_cells() -> None:
    frame = results()[0].to_frame()
    assert tuple(frame.columns) == CELL_COLUMNS and len(frame) == 3
    assert frame.loc[2, "reason"] == "basophil-like"
    empty = results()[1].to_frame()
    assert tuple(empty.columns) == CELL_COLUMNS and empty.empty


def test_frames_have_the_same_types_with_and_without_cells() -> None:
    far = FieldResult("b.jpg", 640, 480, tuple(replace(cell, distance=1.5) for cell in cells()))
    frames = [result.to_frame() for result in (far, *results())]
    assert len({tuple(frame.dtypes) for frame in frames}) == 1
    kinds = [frames[2].dtypes[name].kind for name in ("touches_edge", "x_min", "id", "distance")]
    assert kinds == ["b", "f", "i", "f"]


def test_counts_name_every_label() -> None:
    counts = count_labels(results())
    assert list(counts) == [str(label) for label in ALL_LABELS]
    assert counts["neutrophil"] == counts["monocyte"] == counts["unclassified"] == 1


def test_document_survives_a_round_trip_and_fits_its_schema(tmp_path: Path) -> None:
    document = build_document(INFO, results())
    jsonschema.validate(document, schema())
    assert document["info"]["wbcdet"] == wbcdet.__version__
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    info, loaded = load_document(path)
    assert loaded == results() and info == document["info"]


def broken(change: str) -> Any:
    document = build_document(INFO, results())
    cell = document["fields"][0]["cells"][0]
    if change == "format":
        document["format"] = "wbcdet-results/9"
    elif change == "label":
        cell["label"] = ""
    elif change == "score":
        cell["detection_score"] = 1.2
    elif change == "box":
        cell["box"] = [1, 2, 3]
    elif change == "missing":
        del cell["label_score"]
    elif change == "reason":
        cell["reason"] = "low-score"
    elif change == "failure":
        document["fields"][0]["failure"] = "file is empty"
    elif change == "fields":
        document["fields"] = {}
    return document


@pytest.mark.parametrize(
    "change", ["format", "label", "score", "box", "missing", "reason", "failure", "fields"]
)
def test_loader_and_schema_refuse_the_same(change: str) -> None:
    document = broken(change)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())
    with pytest.raises(ResultsError) as caught:
        parse_document(document)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_results(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("b.json", "[]"), ("c.json", "{}"), ("d.json", "\0")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ResultsError, match=name):
            load_document(tmp_path / name)
    with pytest.raises(
        ResultsError, match=r"none\.json: cannot be read: .*; name the --out folder"
    ):
        load_document(tmp_path / "none.json")


def test_public_names() -> None:
    assert wbcdet.CellType is CellType and wbcdet.FieldResult is FieldResult
    assert {"Analyzer", "Cell", "CellType", "FieldResult"} <= set(dir(wbcdet))
    with pytest.raises(AttributeError):
        wbcdet.Nothing  # noqa: B018


def test_what_is_measured_of_a_field_survives_a_round_trip() -> None:
    far = replace(make_cell(), distance=12.5)
    field = FieldResult(
        "a.jpg", 640, 480, (far, make_cell(1)), weak_scores=(0.2, 0.1), stain=(0.1,) * 9
    )
    document = build_document(INFO, [field])
    jsonschema.validate(document, schema())
    assert parse_document(document)[1] == [field]
    assert [row["distance"] for row in (cell.to_row("a") for cell in field.cells)] == [12.5, None]
    for value in (-1.0, float("inf"), float("nan")):
        document["fields"][0]["cells"][0]["distance"] = value
        with pytest.raises(ResultsError):
            parse_document(document)
    # Documents of earlier versions know of none of it.
    old = build_document(INFO, results())
    del old["slides"]
    jsonschema.validate(old, schema())
    assert parse_document(old)[1] == results()


def test_a_label_that_a_person_gave() -> None:
    document = build_document(INFO, results())
    document["fields"][0]["cells"][0]["label"] = "blast"
    document["fields"][0]["cells"][0]["reason"] = None
    jsonschema.validate(document, schema())
    _, loaded = parse_document(document)
    assert loaded[0].cells[0].label == "blast"
    assert loaded[0].detections.class_id[0] == len(ALL_LABELS)
    assert loaded[0].detections.data["class_name"][0] == "blast"
    assert loaded[0].to_dict() == document["fields"][0]
    # Each cell is in one count: a sum of the counts is the number of cells.
    counts = loaded[0].counts()
    assert list(counts)[-1] == "blast" and counts["blast"] == 1
    assert sum(counts.values()) == len(loaded[0].cells) == cell_counts(loaded[0])["cells"]
    assert cell_counts(loaded[0])["other_labels"] == 1 and "blast" not in cell_counts(loaded[0])


@pytest.mark.parametrize(
    ("module", "use", "extra"),
    [("supervision", "detections", "train"), ("pandas", "to_frame", "pandas")],
)
def test_what_is_not_installed_is_said_with_the_command(
    monkeypatch: pytest.MonkeyPatch, module: str, use: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(WbcdetError, match=rf"^{use}.* needs {module}.*: pip install .*{extra}"):
        asked = getattr(results()[0], use)
        asked()
