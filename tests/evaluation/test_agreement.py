"""Agreement with a manual count: statistics against published figures, tables, page, command."""

from __future__ import annotations

import base64
import csv
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from conftest import INFO, make_cell
from counting import Count, folder_of

from wbcdet.cli.app import app
from wbcdet.differential.csv_table import TableError, number, read_table
from wbcdet.differential.differential import DIFFERENTIAL_COLUMNS, differentials
from wbcdet.evaluation.agreement.compare import compare, match_groups
from wbcdet.evaluation.agreement.counts import Counted, Side, read_machine_counts
from wbcdet.evaluation.agreement.headers import cell_type, heading
from wbcdet.evaluation.agreement.manual import read_manual
from wbcdet.evaluation.agreement.output import (
    CLASS_COLUMNS,
    GROUP_COLUMNS,
    cells_of,
    class_rows,
    sentences,
    to_json,
)
from wbcdet.evaluation.agreement.page import render
from wbcdet.evaluation.agreement.plots import plot_class
from wbcdet.records import CELL_COLUMNS, LABELS, NOTICE, CellType, FieldResult
from wbcdet.results.document import build_document, dump
from wbcdet.results.named_apart import named_apart
from wbcdet.review.cell_state import checked_label
from wbcdet.utils.files import csv_bytes

Run = Callable[..., "CompletedProcess[str]"]


@pytest.mark.parametrize(
    ("text", "role", "label"),
    [
        ("Neutrophils (%)", "label", "neutrophil"),
        ("neut", "label", "neutrophil"),
        ("LYMPH", "label", "lymphocyte"),
        ("Lymphozyten", "label", "lymphocyte"),
        ("lymphocytes_percent", "label", "lymphocyte"),
        ("Mono", "label", "monocyte"),
        ("Eos.", "label", "eosinophil"),
        ("BASO%", "label", "basophil"),
        ("Segs", "part", "neutrophil"),
        ("band neutrophils", "part", "neutrophil"),
        ("neutrophils, segmented", "part", "neutrophil"),
        ("Slide ID", "group", ""),
        ("n", "total", ""),
        ("Total cells", "total", ""),
        ("NEUT#", "", ""),
        ("neut 10^9/L", "", ""),
        ("month", "", ""),
        ("date", "", ""),
        ("baseline", "", ""),
    ],
)
def test_headings_are_matched_generously(text: str, role: str, label: str) -> None:
    found = heading(text)
    assert (found.role, found.label) == (role, label)
    assert found.percent == ("%" in text or "percent" in text)


def manual(tmp_path: Path, text: str) -> Side:
    path = tmp_path / "manual.csv"
    path.write_text(text, encoding="utf-8")
    return read_manual(path)


WIDE = "slide,neut,lymph,mono,eos,n\n"


def test_wide_counts_and_percentages_say_the_same(tmp_path: Path) -> None:
    shares = {"neutrophil": 60.0, "lymphocyte": 30.0, "monocyte": 8.0, "eosinophil": 2.0}
    texts = {
        WIDE + "s1,120,60,16,4,200\n": 200,
        WIDE + "s1,60,30,8,2,200\n": 200,  # percentages: they add up to 100, not to 200
        "slide;neut %;lymph %;mono %;eos %;n\ns1;60,0;30,0;8,0;2,0;200\n": 200,
        "slide,segs,bands,lymph,mono,eos\ns1,110,10,60,16,4\n": 200,
        "slide,neut,segs,bands,lymph,mono,eos\ns1,120,110,10,60,16,4\n": 200,
        "slide,label,count\ns1,neutrophils,120\ns1,lymph,60\ns1,mono,16\ns1,eos,4\n": 200,
        "slide,type,percent,n\ns1,segs,50,200\ns1,bands,10,200\ns1,lymph,30,200\n"
        "s1,mono,8,200\ns1,eos,2,200\n": 200,
        "slide,neut%,lymph%,mono%,eos%\ns1,60,30,8,2\n": None,
        "slide,neut,lymph,mono,eos\ns1,60,30,8,2\n": 100,
        # Two examiners, one row each.
        WIDE + "s1,50,40,8,2,100\ns1,70,20,8,2,100\n": 200,
    }
    for text, cells in texts.items():
        side = manual(tmp_path, text)
        assert side.groups["s1"].percent == pytest.approx(shares), text
        assert side.groups["s1"].cells == cells, text


@pytest.mark.parametrize(
    ("text", "neutrophils"),
    [
        ("slide,neut,band,lymph,mono,eos,n\ns1,100,20,60,16,4,200\n", 60.0),
        ("slide,neut,band,lymph,mono,eos\ns1,50,10,30,8,2\ns2,52,0,38,8,2\n", 60.0),
        ("slide,neut %,band %,lymph %,mono %,eos %,n\ns1,50,10,30,8,2,200\n", 60.0),
        # Bands are among the neutrophils, or nothing tells.
        ("slide,neut,band,lymph,mono,eos,n\ns1,120,20,60,16,4,200\n", 60.0),
        ("slide,neut,band,lymph,mono,eos\ns1,60,10,30,8,2\n", 60.0),
        ("slide,neut,band,lymph,mono,eos\ns1,60,,30,8,2\n", 60.0),
        # Blasts make the row whole, not bands; then both do.
        ("slide,neut,band,lymph,mono,eos,blast,n\ns1,60,20,30,7,3,20,120\n", 60.0),
        ("slide,neut,band,lymph,mono,eos,blast,n\ns1,40,20,30,7,3,20,120\n", 60.0),
    ],
)
def test_bands_beside_the_other_neutrophils(tmp_path: Path, text: str, neutrophils: float) -> None:
    assert manual(tmp_path, text).groups["s1"].percent["neutrophil"] == pytest.approx(neutrophils)


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nslide;neut;lymph;mono;eos;n\ns1;1.200;600;160;40;2.000\n",
        '"sep=;"\r\nslide;neut;lymph;mono;eos;n\r\ns1;1.200,0;600,0;160,0;40,0;2.000\r\n',
        'slide,neut,lymph,mono,eos,n\ns1,"1,200",600,160,40,"2,000"\n',
        "slide;neut;lymph;mono;eos;n\ns1;1 200;600;160;40;2\u00a0000\n",
        "slide\tneut\tlymph\tmono\teos\tn\ns1\t1'200\t600\t160\t40\t2\u2019000\n",
        "Präparat;Neutrophile;Lymphozyten;Monozyten;Eosinophile;Gesamt\ns1;1.200;600;160;40;2.000\n",
        "препарат;нейтрофилы;лимфоциты;моноциты;эозинофилы;всего\ns1;1200;600;160;40;2000\n",
    ],
)
def test_tables_of_spreadsheets_elsewhere(tmp_path: Path, text: str) -> None:
    side = manual(tmp_path, text)
    shares = {"neutrophil": 60.0, "lymphocyte": 30.0, "monocyte": 8.0, "eosinophil": 2.0}
    assert side.groups["s1"].percent == pytest.approx(shares)
    assert side.groups["s1"].cells == 2000


@pytest.mark.parametrize(
    ("text", "point", "value"),
    [
        ("1.000", ",", 1000.0),
        ("1.000", ".", 1.0),
        ("1.000", "", 1.0),
        ("1.234.567,5", "", 1234567.5),
        ("1,234,567.5", "", 1234567.5),
        ("12,5 %", ",", 12.5),
        ("12,5", ".", None),
        ("1,00", ".", None),
        ("1 000", "", 1000.0),
        ("1 00", "", None),
        ("", "", None),
    ],
)
def test_numbers(text: str, point: str, value: float | None) -> None:
    assert number(text, point) == value


@pytest.mark.parametrize(
    "row", ["62.500;27.500;6.250;3.750", "62.500;28.000;9.000;0.500", "62,500;27,500;6,250;3,750"]
)
def test_percentages_of_three_decimals_are_no_thousands(tmp_path: Path, row: str) -> None:
    side = manual(tmp_path, f"slide;neut;lymph;mono;eos\ns1;{row}\n")
    assert side.groups["s1"].percent["neutrophil"] == pytest.approx(62.5)
    assert side.groups["s1"].cells is None


@pytest.mark.parametrize(
    ("name", "role", "label"),
    [
        ("Lymphoblasts", "", ""),
        ("monoblast %", "", ""),
        ("neutrophilic metamyelocyte", "", ""),
        ("Atypical lymphocytes", "", ""),
        ("reactive lymphs", "", ""),
        ("Basophilic erythroblast", "", ""),
        ("neut or mono", "", ""),
        ("segmented eosinophil", "label", "eosinophil"),
        ("segs", "part", "neutrophil"),
        ("Neutrophils, band", "part", "neutrophil"),
        ("Neutrófilos bastonetes", "part", "neutrophil"),
        ("Neutrófilos cayados", "part", "neutrophil"),
        ("Neutrofile pałeczkowate", "part", "neutrophil"),
        ("中性杆状核粒细胞", "part", "neutrophil"),
        ("中性粒细胞", "label", "neutrophil"),
        ("polymorphonuclear neutrophils", "label", "neutrophil"),
        ("jugendliche Neutrophile", "", ""),
        ("Lymphozyten (Prozent)", "label", "lymphocyte"),
        ("Neutrophile Prozent", "label", "neutrophil"),
    ],
)
def test_a_name_of_another_kind_is_no_type(name: str, role: str, label: str) -> None:
    told = cell_type(name)
    assert (told.role, told.label) == (role, label)


@pytest.mark.parametrize(
    "header",
    [
        "slide;Neutrófilos segmentados;Neutrófilos bastonetes;Linfócitos;Monócitos;Eosinófilos",
        "slide;Neutrofile segmentowane;Neutrofile pałeczkowate;Limfocyty;Monocyty;Eozynofile",
        "玻片;中性分叶核粒细胞;中性杆状核粒细胞;淋巴细胞;单核细胞;嗜酸性粒细胞",
        "slide;分葉核球;桿状核球;リンパ球;単球;好酸球",
    ],
)
def test_bands_of_any_language_are_a_part_of_the_neutrophils(tmp_path: Path, header: str) -> None:
    side = manual(tmp_path, f"{header}\ns1;110;10;60;12;8\n")
    assert side.groups["s1"].percent["neutrophil"] == 60 and not side.notes
    for name in header.split(";")[1:3]:
        assert checked_label(name) == name.casefold()  # who tells them apart means to
        assert named_apart({"neutrophil": 9, name: 1}) == {"neutrophil": (name,)}


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("slide,neut,lymph,mono,eos,blast,n\ns1,40,30,5,5,120,200\n", 80),
        (
            "slide,label,count,n\ns1,neut,40,200\ns1,lymph,30,200\ns1,mono,5,200\n"
            "s1,eos,5,200\ns1,blast,120,200\n",
            80,
        ),
        ("slide,neut,lymph,mono,eos,blast,n\ns1,40,30,5,5,20,200\n", 200),
        # Segmented cells and bands are all of the neutrophils, and no type beside them.
        ("slide,neut,seg,band,lymph,mono,eos,n\ns1,50,40,10,35,10,5,150\n", 150),
    ],
)
def test_few_of_many_cells_are_no_percentages(tmp_path: Path, text: str, cells: int) -> None:
    side = manual(tmp_path, text)
    assert side.groups["s1"].cells == cells
    assert not [note for note in side.notes if "taken for" in note]


def test_notes_tell_what_was_assumed(tmp_path: Path) -> None:
    [note] = manual(tmp_path, "slide,neut,lymph,mono,eos\ns1,60,30,8,2\n").notes
    assert "taken for 100 cells each" in note
    [note] = manual(tmp_path, "slide,neut,lymph,mono,eos\ns1,60,30,7,2\ns2,61,30,8,2\n").notes
    assert "adds up to about 100" in note and "taken for so many cells each" in note
    assert not manual(tmp_path, "slide,neut,lymph,mono,eos\ns1,60,30,8,2\ns2,41,3,8,2\n").notes
    [note] = manual(tmp_path, "slide,neut%,lymph,mono,eos\ns1,60,30,8,2\n").notes
    assert "no binomial limits" in note
    [note] = manual(tmp_path, "slide,neut,lymph,mono,eos,n,by\ns1,6,3,0,1,10,AB\n").notes
    assert note == "not compared: by"
    [note] = manual(tmp_path, WIDE + "s1,40,30,5,5,200\n").notes
    assert "taken for percentages" in note


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("slide,neut,lymph,mono,n\ns1,60,30,10,100\n", "nothing is named eosinophil"),
        ("slide,label,count\ns1,neut,60\n", "nothing is named eosinophil or lymphocyte"),
        (WIDE + "s1,0,0,0,0,100\n", "line 2: no cell of any type is counted for 's1'"),
        (WIDE + "s1,60,30,8,,100\n", "line 2: eos is empty; write 0"),
        (WIDE + "s1,60,x,8,2,100\n", "line 2: lymph 'x' is no number"),
        (WIDE + "s1,60,-3,8,2,100\n", "lymph '-3' is no number"),
        (WIDE + ",60,30,8,2,100\n", "line 2: the slide has no name"),
        (
            "slide,toxic neutrophils,segs,bands,lymph,mono,eos\ns1,2,50,10,30,8,2\n",
            "'toxic neutrophils' holds fewer cells than segs, bands",
        ),
        (WIDE + "s1,160,30,8,2,150\n", "200 cells of 's1' are named, but only 150 counted"),
        (WIDE + "s1,60.5,30,8,12,200\n", "percentages of 's1' add up to 110.5"),
        (WIDE + "s1,60.5,30,7.5,2,0\n", "'s1' has 0 cells counted"),
        ("neut,lymph,mono,eos,n\n60,30,8,2,100\n", "no column names the slide"),
        ("slide,neut,neutrophils,lymph,mono,eos\ns1,1,1,1,1,1\n", "both give neutrophils"),
        ("slide,label,count\ns1,neut,60\ns1,neutrophil,6\n", "neutrophils of 's1' stand twice"),
    ],
)
def test_manual_mistakes_are_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(TableError) as error:
        manual(tmp_path, text)
    assert expected in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "manual.csv"))
    assert "\n" not in str(error.value)


def test_group_names_are_matched() -> None:
    ours = ["day1/S1", "day1/S2", "day2/S2", "S3"]
    assert match_groups(ours, ["s1", "DAY1/S2", "S2", "s3", "s4"]) == [
        ("day1/S1", "s1"),
        ("day1/S2", "DAY1/S2"),
        ("S3", "s3"),  # S2 could be either day's
    ]


def test_accents_of_a_mac_are_those_of_a_spreadsheet() -> None:
    for mac, table in (("Mu\u0308ller", "Müller"), ("tag/Mu\u0308ller", "müller")):
        assert match_groups([mac], [table]) == [(mac, table)]


def test_names_that_differ_in_capitals_alone_are_two_slides() -> None:
    assert match_groups(["S1", "s1"], ["s1", "S1"]) == [("S1", "S1"), ("s1", "s1")]
    assert match_groups(["S1", "s1"], ["S1"]) == [("S1", "S1")]
    assert match_groups(["A", "a"], ["S1", "s1", "á"]) == []
    assert match_groups(["S1"], ["S1", "s1"]) == [("S1", "S1")]
    assert match_groups(["day1/S1"], ["s1", "S1"]) == [("day1/S1", "S1")]
    assert match_groups(["day1/S1"], ["s1", "s1 "]) == [("day1/S1", "s1")]


def results(slides: int = 12, seed: int = 0) -> list[FieldResult]:
    """One field a slide, about 200 cells each."""
    rng = np.random.default_rng(seed)
    found = []
    for slide in range(slides):
        cells = []
        shares = rng.dirichlet([2, 12, 4, 22])
        for label, count in zip(LABELS, rng.multinomial(200, shares), strict=True):
            cells += [make_cell(len(cells) + n, label=label) for n in range(count)]
        cells.append(make_cell(len(cells), label=CellType.UNCLASSIFIED, reason="low-score"))
        found.append(FieldResult(f"day <1>/slide {slide}/a.jpg", 640, 480, tuple(cells)))
    return found


def write_report(folder: Path, records: list[FieldResult]) -> Path:
    folder.mkdir()
    rows = [cell.to_row(result.file) for result in records for cell in result.cells]
    lines = [
        row for differential in differentials(records, by="folder") for row in differential.rows()
    ]
    (folder / "cells.csv").write_bytes(csv_bytes(CELL_COLUMNS, rows))
    (folder / "differential.csv").write_bytes(csv_bytes(DIFFERENTIAL_COLUMNS, lines))
    (folder / "results.json").write_text(dump(build_document(INFO, records)), encoding="utf-8")
    return folder


def write_manual(path: Path, records: list[FieldResult], extra: int = 0) -> Path:
    """Return what a perfect examiner of the same cells would write, except for some basophils."""
    lines = ["Slide,Eos,Lymph,Mono,Neut,Baso,n"]
    for result in records:
        counts = [result.counts()[label] for label in LABELS]
        name = result.file.split("/")[1].upper()
        lines.append(",".join(map(str, [name, *counts, extra, sum(counts) + extra])))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_all_forms_of_a_report_say_the_same(tmp_path: Path) -> None:
    folder = write_report(tmp_path / "out", results())
    sides = [
        read_machine_counts(path, by)
        for path, by in (
            (folder, None),
            (folder, "folder"),
            (folder / "cells.csv", None),
            (folder / "differential.csv", None),
            (folder / "results.json", None),
        )
    ]
    assert len(sides[0].groups) == 12 and sides[0].groups["day <1>/slide 0"].cells == 200
    for side in sides[1:]:
        assert side.groups == sides[0].groups
    by_day = read_machine_counts(folder, r"day <(\d)>").groups
    assert list(by_day) == ["1"] and by_day["1"].cells == 2400


def test_groups_are_those_of_the_report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # The folder above says a patient, too: looked for in whole names, all are of patient 9.
    study = folder_of(tmp_path / "patient9 study", 8)
    (study / "anna").rename(study / "patient1")
    (study / "boris").rename(study / "patient2")
    pattern = "patient([0-9]+)"
    assert Count(monkeypatch, tmp_path)(study, "--group-by", pattern, "--out", "out").exit_code == 0
    told = read_machine_counts("out").groups
    assert list(told) == ["1", "2"]
    for path in (Path("out/cells.csv"), Path("out/results.json")):
        assert read_machine_counts(path).groups == told
        assert read_machine_counts(path, pattern).groups == told
    assert read_machine_counts("out", pattern).groups == told
    # Single cells that a person has named are put together in the same way.
    cells = read_table("out/cells.csv")
    file, number = cells.header.index("file"), cells.header.index("id")
    lines = [f"{row[file]},{row[number]},neutrophil" for _, row in cells.rows]
    Path("named.csv").write_text("\n".join(["file,id,manual", *lines]))
    for by in (None, pattern):
        found = compare(read_machine_counts("out", by), read_manual("named.csv", by))
        assert [pair.group for pair in found.classes[0].pairs] == ["1", "2"]


def test_bands_of_a_report_are_neutrophils_in_all_its_forms(tmp_path: Path) -> None:
    """A person, or a classifier that was taught them, names them apart; a manual count has both
    under neutrophils."""
    records = results(3)
    banded = [
        replace(
            record,
            cells=tuple(
                replace(cell, label="bands") if cell.label == "neutrophil" and cell.id % 2 else cell
                for cell in record.cells
            ),
        )
        for record in records
    ]
    whole = read_machine_counts(write_report(tmp_path / "whole", records)).groups
    folder = write_report(tmp_path / "out", banded)
    assert "bands" in (folder / "differential.csv").read_text()
    for name in ("", "cells.csv", "differential.csv", "results.json"):
        side = read_machine_counts(folder / name)
        assert side.groups == whole and side.notes == ["bands: counted with the neutrophils"]
    manual = read_manual(write_manual(tmp_path / "manual.csv", records))
    agreement = compare(read_machine_counts(folder), manual)
    assert all(pair.difference == 0 for table in agreement.classes for pair in table.pairs)
    assert "ours: bands: counted with the neutrophils" in agreement.notes


def test_cells_that_a_count_left_out_are_not_compared(tmp_path: Path) -> None:
    [record] = results(1)
    folder = write_report(tmp_path / "out", [record])
    rows = read_table(folder / "cells.csv").rows
    lines = [",".join([*CELL_COLUMNS, "left_out"])]
    lines += [",".join([*cells, "edge" if line <= 11 else ""]) for line, cells in rows]
    (folder / "cells.csv").write_text("\n".join(lines), encoding="utf-8")
    document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for place, cell in enumerate(document["fields"][0]["cells"]):
        cell["left_out"] = "edge" if place < 10 else None
    (folder / "results.json").write_text(json.dumps(document), encoding="utf-8")
    [table] = read_machine_counts(folder / "cells.csv").groups.values()
    [whole] = read_machine_counts(folder / "results.json").groups.values()
    assert table.cells == whole.cells == 190
    assert table.percent == pytest.approx(whole.percent)


def test_perfect_agreement(tmp_path: Path) -> None:
    records = results()
    ours = read_machine_counts(write_report(tmp_path / "out", records))
    found = compare(ours, read_manual(write_manual(tmp_path / "m.csv", records, extra=4)))
    for cell_class in found.classes:
        assert cell_class.differences.bias == pytest.approx(0, abs=1e-9)
        assert cell_class.inside == cell_class.limited == 12
        assert cell_class.line is not None and cell_class.line.slope == pytest.approx(1)
    # Basophils are the manual side's alone: they are taken out of its denominator.
    assert found.classes[0].pairs[0].manual_cells == pytest.approx(200)
    assert any("basophil" in note for note in found.notes)
    assert [tuple(row) for row in class_rows(found)] == [CLASS_COLUMNS] * 4


def test_a_shifted_count_is_noticed() -> None:
    base = {"eosinophil": 2.0, "lymphocyte": 30.0, "monocyte": 8.0, "neutrophil": 60.0}
    shifted = {**base, "monocyte": 28.0, "neutrophil": 40.0}
    ours = Side({f"s{n}": Counted(dict(shifted), 200.0) for n in range(6)})
    theirs = Side({f"s{n}": Counted(dict(base), 200.0) for n in range(6)})
    found = {cell_class.label: cell_class for cell_class in compare(ours, theirs).classes}
    assert found["monocyte"].differences.bias == pytest.approx(20)
    assert found["monocyte"].inside == 0 and found["lymphocyte"].inside == 6
    assert found["monocyte"].line is None  # all slides are the same
    assert "too few shares differ" in " ".join(found["monocyte"].missing)


def test_limits_that_round_to_nothing_have_no_minus() -> None:
    def side(shares: list[float]) -> Side:
        each = ({"monocyte": share, "neutrophil": 100 - share} for share in shares)
        return Side({f"s{n}": Counted(dict(one), 200.0) for n, one in enumerate(each)})

    found = compare(side([10.0, 10.0, 10.0]), side([10.0, 10.01, 10.0]))
    for cell_class in found.classes[2:]:
        assert cells_of(cell_class)[3].split("\n")[0] == "+0.0 to +0.0"
    assert "-0.0," not in to_json(found, "a", "b")


def test_one_group_says_what_is_missing(tmp_path: Path) -> None:
    records = results(1)
    ours = read_machine_counts(write_report(tmp_path / "out", records))
    found = compare(ours, read_manual(write_manual(tmp_path / "m.csv", records)))
    text = "\n".join(sentences(found))
    assert "1 group compared" in text
    assert "Not computed: limits of agreement: they need two groups." in text
    assert "Not computed: Passing-Bablok line: it needs five groups." in text
    page = render(replace(found, classes=found.classes[:1]), "a", "b")
    document = to_json(found, "a", "b")
    assert "nan" not in page.lower().replace("nance", "") and "NaN" not in document
    assert json.loads(document)["classes"][0]["slope"] is None


def test_groups_that_do_not_match(tmp_path: Path) -> None:
    records = results(3)
    ours = read_machine_counts(write_report(tmp_path / "out", records))
    text = write_manual(tmp_path / "m.csv", records).read_text().replace("SLIDE 2", "other")
    found = compare(ours, manual(tmp_path, text))
    assert found.groups == 2
    notes = " ".join(found.notes)
    assert "only in the report, not compared: day <1>/slide 2" in notes
    assert "only in the manual count, not compared: other" in notes
    with pytest.raises(TableError, match=r"no group has the same name .* ours are day <1>/slide 0"):
        compare(ours, manual(tmp_path, text.replace("SLIDE", "X")))


def named_cells(path: Path, records: list[FieldResult], names: Callable[[int, str], str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "id", "label", "manual"])
        for result in records:
            for cell in result.cells:
                table.writerow([result.file, cell.id, cell.label, names(cell.id, str(cell.label))])
    return path


def test_single_cells_give_kappa(tmp_path: Path) -> None:
    records = results(6)
    folder = write_report(tmp_path / "out", records)

    def examiner(number: int, label: str) -> str:
        if number % 20 == 0:
            return ""  # not looked at
        if number % 10 == 1:
            return "Baso"
        return {"neutrophil": "Segs", "lymphocyte": "Lymph"}.get(label, label)

    path = named_cells(tmp_path / "named.csv", records, examiner)
    found = compare(read_machine_counts(folder), read_manual(path))
    assert found.cells is not None
    looked_at = sum(cell.id % 20 != 0 for record in records for cell in record.cells)
    wrong = sum(cell.id % 10 == 1 for record in records for cell in record.cells[:-1])
    assert found.cells.cells == looked_at
    assert found.cells.same == looked_at - wrong
    assert found.cells.kappa is not None and 0.75 < found.cells.kappa.value < 0.95
    # Ours named what the examiner put among "none of the four": half an error each.
    assert found.cells.weighted is not None
    assert found.cells.weighted.value > found.cells.kappa.value
    assert all(cell_class.limited == 0 for cell_class in found.classes)
    assert "both sides named the same cells" in "\n".join(sentences(found))
    # The same names in a column of the report itself, beside manual counts of slides.
    own = compare(read_machine_counts(path), read_manual(write_manual(tmp_path / "m.csv", records)))
    assert own.cells == found.cells and own.classes[0].limited == 6


@pytest.mark.parametrize(
    ("table", "compared"),
    [
        ("slide,eos,lymph,mono,neut,Blasts %\na,0,10,5,75,10\nb,0,10,10,80,0\n", True),
        ("slide,type,percent\n" + "".join(
            f"{group},{name},{share}\n"
            for group, shares in (("a", (0, 10, 5, 75, 10)), ("b", (0, 10, 10, 80, 0)))
            for name, share in zip(("Eos", "Lymph", "Mono", "Neut", "blast"), shares, strict=True)
        ), True),
        # No numbers, or which is meant is not known: as a type that one side counts.
        ("slide,eos,lymph,mono,neut,blast\na,0,10,5,75,some\nb,0,10,10,80,\n", False),
        ("slide,eos,lymph,mono,neut,blast,blasts\na,0,10,5,75,10,9\nb,0,10,10,80,0,0\n", False),
    ],
)  # fmt: skip
def test_a_taught_type_is_compared(tmp_path: Path, table: str, compared: bool) -> None:
    """Blasts that both sides count were left out as counted by one side only."""
    names = ("eosinophil", "lymphocyte", "monocyte", "neutrophil", "blast")
    counted = {"a": (0, 5, 5, 70, 20), "b": (0, 10, 10, 80)}
    ours = Side(
        {
            group: Counted.of(dict(zip(names, cells, strict=False)))
            for group, cells in counted.items()
        }
    )
    path = tmp_path / "manual.csv"
    path.write_text(table)
    found = compare(ours, read_manual(path, None, ours.labels))
    classes = {one.label: one for one in found.classes}
    notes = " ".join(found.notes)
    assert ("blast" in classes) == compared != ("blast: counted by one side only" in notes)
    assert compared != ("not compared: blast" in notes)
    if compared:
        assert [(pair.manual, pair.ours) for pair in classes["blast"].pairs] == [(10, 20), (0, 0)]
        assert classes["neutrophil"].pairs[0].manual == 75


def test_cells_that_do_not_match(tmp_path: Path) -> None:
    records = results(2)
    folder = write_report(tmp_path / "out", records)
    path = named_cells(tmp_path / "named.csv", records, lambda _, label: label)
    path.write_text(path.read_text() + "day <1>/slide 0/a.jpg,999,monocyte,monocyte\n")
    found = compare(read_machine_counts(folder), read_manual(path))
    assert found.cells is not None and found.cells.unmatched == 1
    assert "manual names of cells that the report does not count: 1" in found.notes
    path.write_text(path.read_text() + "day <1>/slide 0/a.jpg,999,monocyte,monocyte\n")
    with pytest.raises(TableError, match=r"cell 999 of .* stands twice"):
        read_manual(path)


class _Tags(HTMLParser):
    """Everything a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_is_self_contained_and_escaped(tmp_path: Path) -> None:
    records = results()
    path = named_cells(tmp_path / "named.csv", records, lambda _, label: label)
    ours = read_machine_counts(write_report(tmp_path / "out", records))
    page = render(compare(ours, read_manual(path)), "<script>alert(1)</script>", "m & n")
    tags = _Tags()
    tags.feed(page)
    assert not {"script", "b", "link", "iframe"} & set(tags.tags)
    assert len(tags.loads) == 4
    assert all(address.startswith("data:image/svg+xml;base64,") for address in tags.loads)
    assert not re.search(r"url\(|@import|https?://", page)
    assert "<script>alert(1)</script>" in tags.text and "day <1>/slide 3" in tags.text
    assert NOTICE in tags.text and "@page { size: A4" in page
    # The same data give the same plot, byte for byte.
    first = compare(ours, read_manual(path)).classes[0]
    assert base64.b64encode(plot_class(first)).decode() in tags.loads[0]


def test_the_command(command: Run, tmp_path: Path) -> None:
    records = results(6)
    write_report(tmp_path / "out", records)
    write_manual(tmp_path / "manual.csv", records)
    answer = command("agree", "out", "manual.csv", "--out", "agreed")
    assert answer.returncode == 0, answer.stderr
    assert "neutrophil" in answer.stdout and NOTICE in answer.stdout
    with (tmp_path / "agreed" / "agreement_groups.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == GROUP_COLUMNS and len(rows) == 24
    assert json.loads((tmp_path / "agreed" / "agreement.json").read_text())["format"]
    assert (tmp_path / "agreed" / "agreement.html").is_file()
    assert not [path for path in (tmp_path / "agreed").iterdir() if path.name.startswith(".")]


def test_mistakes_in_the_command_give_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_report(tmp_path / "out", results(2))
    write_manual(tmp_path / "manual.csv", results(2))
    (tmp_path / "file").write_text("x")
    cases = {
        ("none", "manual.csv"): "cannot be read",
        ("out", "none.csv"): "none.csv: cannot be read",
        ("out", "manual.csv", "--group-by", "("): "neither 'folder' nor a valid pattern",
        ("out", "manual.csv", "--out", "file"): "cannot write to file",
        ("out/differential.csv", "manual.csv", "--group-by", "folder"): "its groups are fixed",
    }
    for arguments, expected in cases.items():
        with pytest.raises(SystemExit) as ended:
            app(["agree", *arguments])
        printed = capsys.readouterr()
        assert ended.value.code == 2 and printed.out == "", arguments
        assert expected in printed.err and len(printed.err.strip().splitlines()) == 1


def test_cell_types_of_long_tables() -> None:
    assert cell_type("Eosinophile Granulozyten").label == "eosinophil"
    assert cell_type("unclassified").role == cell_type("edge").role == ""


def test_a_type_without_a_row_is_said(tmp_path: Path) -> None:
    rows = ["s1,neut,60", "s1,lymph,30", "s1,mono,8", "s1,eos,2"]
    rows += ["s2,neut,70", "s2,lymph,25", "s2,eos,5"]
    side = manual(tmp_path, "\n".join(["slide,type,count", *rows, ""]))
    assert "no row of monocyte, which is taken for 0: s2" in side.notes


def test_a_column_of_cells_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="column label stands twice"):
        manual(tmp_path, "file,id,label,label\na.png,0,neutrophil,monocyte\n")
