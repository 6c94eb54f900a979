"""What a laboratory files away: the Excel file, the PDF, and its own identifiers."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest
from counting import Count, draw, folder_of, rows

from wbcdet.differential.csv_table import TableError
from wbcdet.differential.identifiers import Identifiers, read_identifiers
from wbcdet.report import pdf, workbook
from wbcdet.report.workbook import write_workbook

openpyxl = pytest.importorskip("openpyxl")
CREATED = "2026-01-02T03:04:05+00:00"
EVIL = ["=1+1", "+1", "-1", "@a", "{=1}", "https://a.example", "\t=1", "12", "a\x01b", "x" * 40_000]


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Count:
    return Count(monkeypatch, tmp_path)


def test_texts_stay_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    table = [{"name": text, "count": 3, "share": 1.5, "cut": True, "none": None} for text in EVIL]
    columns = ("name", "count", "share", "cut", "none")
    write_workbook(path, {"cells": (columns, table), "empty": (("a",), [])}, CREATED)
    first = path.read_bytes()
    write_workbook(path, {"cells": (columns, table), "empty": (("a",), [])}, CREATED)
    assert path.read_bytes() == first
    book = openpyxl.load_workbook(path)
    lines = list(book["cells"].iter_rows(min_row=2))
    for text, (name, number, share, cut, none) in zip(EVIL, lines, strict=True):
        assert name.data_type == "s" and name.hyperlink is None
        assert name.value == text[:32_767].replace("\x01", "_x0001_") or name.value == text
        assert name.quotePrefix and name.number_format == "@"
        assert (number.value, share.value, cut.value, none.value) == (3, 1.5, True, None)
    assert [cell.value for cell in book["empty"][1]] == ["a"]
    assert b"<f>" not in b"".join(_parts(path))


def _parts(path: Path) -> list[bytes]:
    from zipfile import ZipFile

    with ZipFile(path) as file:
        return [file.read(name) for name in file.namelist()]


def test_a_long_table_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "_MAX_ROWS", 4)
    for number, sheets in ((0, 1), (4, 1), (5, 2), (8, 2), (9, 3)):
        path = tmp_path / f"{number}.xlsx"
        write_workbook(path, {"cells": (("n",), [{"n": n} for n in range(number)])}, "yesterday")
        book = openpyxl.load_workbook(path)
        assert len(book.sheetnames) == sheets
        values = [row[0].value for sheet in book for row in sheet.iter_rows(min_row=2)]
        assert values == list(range(number))


def test_the_workbook_says_what_the_tables_say(count: Count) -> None:
    draw(Path("fields/=1+1.png"), 2)
    draw(Path("fields/b.png"), 3)
    assert count("fields", "--out", "report", "--quiet").exit_code == 0
    book = openpyxl.load_workbook("report/report.xlsx")
    for name in ("differential", "cells", "fields"):
        table = rows(Path(f"report/{name}.csv"))
        header, *lines = book[name].iter_rows(values_only=True)
        assert list(header) == list(table[0])
        assert len(lines) == len(table)
        for line, row in zip(lines, table, strict=True):
            for value, text in zip(line, row.values(), strict=True):
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    assert float(text) == value
                else:
                    assert str("" if value is None else value).replace("'", "") == (
                        text.replace("'", "")
                    )


def test_identifiers_of_one_slide(count: Count) -> None:
    draw(Path("fields/a.png"), 2)
    given = ("--patient", "<P-1>", "--order", "O-2", "--slide", "=S")
    assert count("fields", "--out", "report", "--quiet", *given).exit_code == 0
    page = Path("report/report.html").read_text()
    assert "Patient: <b>&lt;P-1&gt;</b>" in page and "Order: <b>O-2</b>" in page
    first = rows(Path("report/differential.csv"))[0]
    assert (first["patient"], first["order"], first["slide"]) == ("<P-1>", "O-2", "'=S")
    assert not [path for path in Path("report").rglob("*") if "P-1" in path.name]
    assert count("fields", "--out", "report", "--quiet").exit_code == 0  # never required
    assert "Patient" not in Path("report/report.html").read_text()
    assert "patient" not in rows(Path("report/differential.csv"))[0]


def test_identifiers_of_several_slides(count: Count) -> None:
    folder_of(Path("fields"), 4)
    Path("ids.csv").write_text("Group;Patient;other\nanna;P-1;x\nnobody;P-9;y\n")
    done = count("fields", "--out", "report", "--group-by", "folder", "--ids", "ids.csv")
    assert done.exit_code == 0 and "--ids: no slide is called nobody" in done.output
    patients = {row["group"]: row["patient"] for row in rows(Path("report/differential.csv"))}
    assert patients == {"anna": "P-1", "boris": ""}


def test_identifiers_find_a_slide_however_its_accents_are_written(count: Count) -> None:
    composed, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    draw(Path("fields") / apart / "1.png", 1, 2)
    draw(Path("fields") / "b" / "1.png", 2, 2)
    Path("ids.csv").write_text(f"group,patient\n{composed},P-1\nnobody,P-9\n", encoding="utf-8")
    done = count("fields", "--out", "report", "--group-by", "folder", "--ids", "ids.csv", "--quiet")
    assert done.exit_code == 0
    assert done.stderr == "wbcdet: --ids: no slide is called nobody\n" and not done.stdout
    patients = {row["group"]: row["patient"] for row in rows(Path("report/differential.csv"))}
    assert patients == {apart: "P-1", "b": ""}
    # Two folders that differ in nothing else: only the one that is named so.
    draw(Path("fields") / composed / "1.png", 1, 2)
    arguments = ("fields", "--out", "report", "--group-by", "folder", "--ids", "ids.csv")
    assert count(*arguments).exit_code == 0
    patients = {row["group"]: row["patient"] for row in rows(Path("report/differential.csv"))}
    assert patients == {apart: "", composed: "P-1", "b": ""}


def test_a_review_keeps_them(count: Count) -> None:
    from wbcdet.review.machine_report import load_report

    draw(Path("fields/a.png"), 2)
    assert count("fields", "--out", "report", "--quiet", "--patient", "P-1").exit_code == 0
    options = load_report(Path("report")).options
    assert options.identifiers == {"all": Identifiers("P-1")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--patient", "a\nb"), "one line"),
        (("--patient", "x" * 101), "at most 100 letters"),
        (("--patient", "P", "--group-by", "folder"), "--ids FILE"),
        (("--ids", "ids.csv"), "--group-by"),
        (("--ids", "none.csv", "--group-by", "folder"), "none.csv"),
    ],
)
def test_identifiers_that_are_none(options: tuple[str, ...], said: str, count: Count) -> None:
    draw(Path("fields/a.png"), 2)
    Path("ids.csv").write_text("group,patient\nanna,1\n")
    done = count("fields", "--out", "report", *options)
    assert done.exit_code == 2 and said in done.output and len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["slide,patient\na,b\n", "group,x\na,b\n", "group,order\na,1\na,2\n"]
)
def test_tables_of_identifiers_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text)
    with pytest.raises(TableError, match=r"ids\.csv"):
        read_identifiers(path)


def test_without_a_browser_nothing_is_begun(count: Count, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(Path("fields/a.png"), 2)
    monkeypatch.setattr(pdf, "_NAMES", ("no-such-browser",))
    monkeypatch.setattr(pdf, "_PLACES", {})
    done = count("fields", "--out", "report", "--pdf")
    assert done.exit_code == 2 and "apt-get install chromium" in done.output
    assert not Path("report").exists()


def test_a_browser_that_fails_leaves_the_report(
    count: Count, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draw(Path("fields/a.png"), 2)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho cannot open display >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(pdf, "_NAMES", (str(broken),))
    done = count("fields", "--out", "report", "--pdf")
    assert done.exit_code == 1 and "cannot open display" in done.output
    assert Path("report/report.html").is_file() and not Path("report/report.pdf").exists()
    assert not [path for path in Path("report").iterdir() if path.name.startswith(".wbcdet-")]


@pytest.mark.skipif(
    not any(map(shutil.which, ("chromium", "google-chrome"))), reason="needs Chromium"
)
def test_a_pdf_is_of_the_page_beside_it(count: Count) -> None:
    draw(Path("fields/a.png"), 2)
    assert count("fields", "--out", "a report", "--quiet", "--pdf").exit_code == 0
    assert Path("a report/report.pdf").read_bytes().startswith(b"%PDF")
    assert count("fields", "--out", "a report", "--quiet", "--pdf").exit_code == 0
    # Without it the page may say something else now.
    assert count("fields", "--out", "a report", "--quiet", "--target", "100").exit_code == 0
    assert not Path("a report/report.pdf").exists()
    Path("a report/report.pdf").write_text("mine")
    assert count("fields", "--out", "a report", "--quiet").exit_code == 2
    assert Path("a report/report.pdf").read_text() == "mine"
