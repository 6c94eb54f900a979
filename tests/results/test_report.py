"""The files of a run and the printed table."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import INFO, cells, make_cell
from rich.console import Console

from wbcdet.batch.summary import print_summary
from wbcdet.differential.slide_summary import summarise
from wbcdet.records import ALL_LABELS, CELL_COLUMNS, CellType, FieldResult, as_label
from wbcdet.results.document import build_document
from wbcdet.results.writer import FIELD_COLUMNS, Report, picture_name

PIXELS = np.full((60, 80, 3), 200, np.uint8)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_files_of_a_run(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    report = Report(out)
    report.add(FieldResult("a/x.jpg", 80, 60, cells()), PIXELS)
    report.add(FieldResult("empty.png", 80, 60), PIXELS)
    report.add(FieldResult.failed("bad.jpg", "file is empty"))
    info = report.write(INFO)
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert document == {**build_document(INFO, report.results), "info": info}
    cell_rows = rows(out / "cells.csv")
    assert tuple(cell_rows[0]) == CELL_COLUMNS and len(cell_rows) == 3
    field_rows = rows(out / "fields.csv")
    assert tuple(field_rows[0]) == FIELD_COLUMNS
    assert [row["cells"] for row in field_rows] == ["3", "0", ""]  # not read is not empty
    assert [row["unclassified"] for row in field_rows] == ["1", "0", ""]
    assert field_rows[2]["failure"] == "file is empty" and field_rows[2]["annotated"] == ""
    for row in field_rows[:2]:
        assert cv2.imread(str(out / row["annotated"])) is not None
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_labels_of_ones_own_are_in_the_row_of_their_field(tmp_path: Path) -> None:
    own = [replace(cell, label=as_label("band")) for cell in cells()[:2]]
    report = Report(tmp_path, annotate=False)
    report.add(FieldResult("a.jpg", 80, 60, (*own, *cells()[2:])), PIXELS)
    report.write(INFO)
    (row,) = rows(tmp_path / "fields.csv")
    assert row["other_labels"] == "2"
    assert sum(int(row[name]) for name in (*map(str, ALL_LABELS), "other_labels")) == 3


def test_a_run_without_cells_has_headers(tmp_path: Path) -> None:
    report = Report(tmp_path, annotate=False)
    report.add(FieldResult("a.jpg", 80, 60), PIXELS)
    report.write(INFO)
    assert (tmp_path / "cells.csv").read_text().strip() == ",".join(CELL_COLUMNS)
    assert not report.annotated.exists()


def test_pictures_keep_apart_whatever_the_names(tmp_path: Path) -> None:
    names = [
        "a/x.jpg",
        "b/x.jpg",
        "b/X.JPG",
        "b/x.png",
        "b/x.png.jpg",
        'it\'s "x".jpg',
        "line\nbreak.jpg",
        "мазок крови.jpg",
        "я" * 200 + ".jpg",
        "я" * 201 + ".jpg",
        "../up.jpg",
        "....jpg",
        "%d.jpg",
        "NUL?.jpg",
    ]
    report = Report(tmp_path / "out")
    for name in names:
        report.add(FieldResult(name, 80, 60), PIXELS)
    report.write(INFO)
    listed = [row["annotated"] for row in rows(tmp_path / "out" / "fields.csv")]
    assert [row["file"] for row in rows(tmp_path / "out" / "fields.csv")] == names
    written = [path for path in (tmp_path / "out" / "annotated").rglob("*") if path.is_file()]
    assert len(written) == len(names) == len({name.casefold() for name in listed})
    assert sorted(written) == sorted(tmp_path / "out" / name for name in listed)
    assert not (tmp_path / "out" / "up.jpg").exists()
    assert picture_name("мазок.jpg") == "мазок.jpg"


def test_out_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        Report(tmp_path / "file")


def printed(results: list[FieldResult]) -> str:
    text = io.StringIO()
    print_summary(Console(file=text, width=120), results, Path("out"), annotated=True)
    return text.getvalue()


def test_table_counts_unclassified_apart() -> None:
    four = tuple(make_cell(number) for number in range(3))
    cell = make_cell(3, label=CellType.EOSINOPHIL)
    other = make_cell(4, label=CellType.UNCLASSIFIED, reason="low-score")
    text = printed(
        [
            FieldResult("a[red].jpg", 9, 9, (*four, cell, other)),
            FieldResult("line\nbreak.jpg", 9, 9),
            FieldResult.failed("bad.jpg", "file is empty (0 bytes)"),
        ]
    )
    total = next(line for line in text.splitlines() if line.startswith("in all"))
    assert total.split() == [
        "in",
        "all",
        "5",
        "1",
        "(25%)",
        "0",
        "(0%)",
        "0",
        "(0%)",
        "3",
        "(75%)",
        "1",
    ]
    assert "a[red].jpg" in text and "line\\nbreak.jpg" in text
    assert "not read: bad.jpg: file is empty (0 bytes)" in text
    assert "2 fields analysed, 1 not read. Research use only. Not a medical device." in text
    assert "Files in out: results.json, cells.csv, fields.csv, annotated/" in text


def test_a_long_table_is_cut_and_its_sum_is_not() -> None:
    text = printed([FieldResult(f"{n}.jpg", 9, 9, (make_cell(),)) for n in range(50)])
    assert "… and 20 more" in text and "50 (100%)" in text


def test_reasons_and_empty_fields_stand_below_the_table() -> None:
    names = (*["basophil-like"] * 2, "blast-like", "artefact")
    declined = tuple(
        make_cell(9 + n, label=CellType.UNCLASSIFIED, reason=reason)
        for n, reason in enumerate(names)
    )
    named = tuple(make_cell(number) for number in range(7))
    text = printed(
        [
            FieldResult("a.jpg", 9, 9, (*named, *declined)),
            FieldResult("empty\n1.jpg", 9, 9),
            *(FieldResult(f"empty {n}.jpg", 9, 9) for n in range(2, 6)),
            FieldResult.failed("bad.jpg", "file is empty"),
        ]
    )
    lines = text.splitlines()
    # Of 10 white cells: the artefact is not one.
    assert "  unclassified, blast-like: 1 (10.0 %) ◄ look at each" in lines
    assert "  unclassified, basophil-like: 2 (20.0 %)" in lines
    assert "  unclassified, artefact: 1 (no white cells)" in lines
    assert lines.index("  unclassified, blast-like: 1 (10.0 %) ◄ look at each") < lines.index(
        "  unclassified, basophil-like: 2 (20.0 %)"
    )
    assert "5 of 6 fields hold no cell that was found (empty\\n1.jpg, empty 2.jpg" in text
    assert "and 2 more" in text


def test_a_run_says_which_folder_is_on_unknown_ground(tmp_path: Path) -> None:
    reference = {"detection_score": {"median": 0.95, "limit": 0.85}}
    strange = [FieldResult(f"far/{n}.jpg", 9, 9, weak_scores=(0.3, 0.2)) for n in range(9)]
    usual = [FieldResult(f"near/{n}.jpg", 9, 9, (make_cell(),)) for n in range(12)]
    slides = summarise([*strange, *usual], reference)
    assert [(s.differential.group, s.ground.verdict) for s in slides] == [
        ("far", "unlike-training"),
        ("near", "like-training"),
    ]
    text = io.StringIO()
    print_summary(
        Console(file=text, width=120), [*strange, *usual], tmp_path, annotated=False, slides=slides
    )
    assert "far: unlike what the models were trained on" in text.getvalue()
    assert "near: unlike" not in text.getvalue()
    summaries = build_document({**INFO, "ground": reference}, strange)["slides"]
    assert [(s["group"], len(s["without_cell"])) for s in summaries] == [("all", 9)]
