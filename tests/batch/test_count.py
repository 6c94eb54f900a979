"""``wbcdet count``: the files of the report, and what its options do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from conftest import make_corpus, one_line, schema
from count_worker import PlainAnalyzer
from counting import Count, draw, final_files, folder_of, rows

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import render_smear
from wbcdet.differential.differential import DIFFERENTIAL_COLUMNS
from wbcdet.io.discover import find_fields
from wbcdet.report import counts as counts_module
from wbcdet.report.duplicates import find_duplicates
from wbcdet.report.tables import COUNT_CELL_COLUMNS, COUNT_FIELD_COLUMNS
from wbcdet.settings import Settings
from wbcdet.utils.text import plural
from wbcdet.utils.words import speaking

FILES = ("report.html", "differential.csv", "cells.csv", "fields.csv", "results.json")


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Count:
    return Count(monkeypatch, tmp_path)


def test_the_terminal_is_english_in_every_language(count: Count, tmp_path: Path) -> None:
    fields = folder_of(tmp_path / "fields", 2)
    with speaking(None):  # the command chooses for its whole process
        said = count(fields, "--out", "es", "--target", "100", "--language", "es").output
    assert "are missing" in said and "counted." in said and "faltan" not in said
    assert "faltan" in Path("es", "report.html").read_text(encoding="utf-8")


def test_the_files_of_a_count(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in")
    (tmp_path / "in" / "anna" / "bad.jpg").write_text("no picture")
    answer = count("in", "--out", "out/new", "--group-by", "folder", "--target", 100)
    assert answer.exit_code == 1, answer.output
    out = tmp_path / "out" / "new"
    assert set(FILES) <= {path.name for path in out.iterdir()}
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    assert [entry["file"] for entry in document["fields"]] == [
        *(f"in/anna/{n}.png" for n in range(0, 12, 2)),
        "in/anna/bad.jpg",
        *(f"in/boris/{n}.png" for n in range(1, 12, 2)),
    ]
    assert {entry["group"] for entry in document["fields"]} == {"anna", "boris"}
    cells = rows(out / "cells.csv")
    assert tuple(cells[0]) == COUNT_CELL_COLUMNS
    assert len(cells) == sum(len(entry["cells"]) for entry in document["fields"]) > 10
    fields = rows(out / "fields.csv")
    assert tuple(fields[0]) == COUNT_FIELD_COLUMNS and len(fields) == 13
    bad = fields[6]
    assert bad["file"] == "in/anna/bad.jpg" and "not a JPEG" in bad["failure"] and not bad["cells"]
    assert all(
        len(row["sha256"]) == 64 and float(row["focus"]) > 0 for row in fields if row["cells"]
    )
    counted = rows(out / "differential.csv")
    assert tuple(counted[0]) == DIFFERENTIAL_COLUMNS
    for group in ("anna", "boris"):
        for label in ("neutrophil", "unclassified"):
            own = [row for row in cells if row["group"] == group and row["label"] == label]
            line = [row for row in counted if row["group"] == group and row["label"] == label]
            assert sum(int(row["count"]) for row in line) == len(own)
    for row in fields:
        assert not row["annotated"] or cv2.imread(str(out / row["annotated"])) is not None
    assert all(cv2.imread(str(path)) is not None for path in (out / "cells").rglob("*.jpg"))
    assert len(list((out / "cells").rglob("*.jpg"))) >= 4
    for part in ("anna", "cells classified, ", "12 fields counted, 1 not read.", "Research use"):
        assert part in answer.output
    # In the report's folder nothing is an input, though it may lie among the fields.
    shutil.move(out, tmp_path / "in" / "out")
    again = count("in", "--out", "in/out", "--group-by", "folder", "-q")
    assert again.exit_code == 1 and count.analysed == ["in/anna/bad.jpg"]


def test_a_folder_with_bad_files(count: Count, tmp_path: Path) -> None:
    """Odd names and formats are counted, what is no picture is said and hides nothing else."""
    good, bad = ([f"in/{name}" for name in names] for names in make_corpus(tmp_path / "in"))
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    answer = count("in", "--out", "out")
    assert answer.exit_code == 1, answer.output
    found = {row["file"]: row for row in rows(tmp_path / "out" / "fields.csv")}
    assert sorted(found) == sorted([*good, *bad])
    assert all(bool(row["failure"]) == (name in bad) for name, row in found.items())
    assert all("\n" not in row["failure"] for row in found.values())
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "fields not read" in page and "cut.jpg" in page
    again = count("in", "--out", "out")
    assert again.exit_code == 1 and sorted(count.analysed) == sorted(bad)  # tried again


def test_other_options_need_no_second_count(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in")
    count("in", "--out", "out")
    answer = count("in", "--out", "out", "--exclude-edge", "--group-by", "folder", "--skip-bad")
    assert answer.exit_code == 0 and count.analysed == []
    edge = [row for row in rows(tmp_path / "out" / "cells.csv") if row["touches_edge"] == "True"]
    assert edge and all(row["left_out"] == "edge" for row in edge)
    assert f"{plural(len(edge), 'cell')} cut by the border of a field, left out" in answer.output
    left = [r for r in rows(tmp_path / "out" / "differential.csv") if r["reason"] == "left out"]
    assert sum(int(row["count"]) for row in left) == len(edge)
    # What dedupe compares was not kept: the fields are read once more.
    assert count("in", "--out", "out", "--dedupe").exit_code == 0 and len(count.analysed) == 12
    assert count("in", "--out", "out", "--dedupe").exit_code == 0 and count.analysed == []


def test_mistakes_are_found_before_anything_is_done(count: Count, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder_of(tmp_path / "in", 1)
    (tmp_path / "ranges.csv").write_text("label,low\nneutrophil,1\n")
    cases = {
        ("missing",): "does not exist",
        ("empty",): "holds no JPEG",
        ("in", "--group-by", "("): "--group-by",
        ("in", "--group-by", "x"): "parentheses",
        ("in", "--target", "50"): "--target must be one of 100, 200, 400",
        ("in", "--ranges", "ranges.csv"): "ranges.csv",
        ("in", "--confidence", "2"): "confidence must lie",
    }
    for arguments, expected in cases.items():
        answer = count(*arguments)
        assert answer.exit_code == 2 and expected in one_line(answer.stderr), arguments
    assert not (tmp_path / "wbcdet-report").exists()


def test_one_field_and_one_without_cells(count: Count, tmp_path: Path) -> None:
    draw(tmp_path / "one.png", 7, 3)
    assert count("one.png", "--out", "one").exit_code == 0
    assert len(rows(tmp_path / "one" / "cells.csv")) == 3
    draw(tmp_path / "none.png", 7, 0)
    answer = count("none.png", "--out", "none", "--target", 100)
    assert answer.exit_code == 0 and "nothing can be said" in answer.output
    assert rows(tmp_path / "none" / "cells.csv") == []
    page = (tmp_path / "none" / "report.html").read_text(encoding="utf-8")
    assert "No cell was counted." in page and "nothing can be said" in page
    assert not list((tmp_path / "none" / "cells").rglob("*.jpg"))


def test_json_and_bad_fields(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 4)
    cv2.imwrite(str(tmp_path / "in" / "dark.png"), np.full((120, 160, 3), 40, np.uint8))
    answer = count("in", "--out", "out", "--json", "--skip-bad")
    assert answer.exit_code == 0
    document = json.loads(answer.stdout)
    assert answer.stdout_bytes == (tmp_path / "out" / "results.json").read_bytes()
    dark = next(entry for entry in document["fields"] if entry["file"] == "in/dark.png")
    assert "too dark" in dark["quality"]["problems"]
    assert [cell["left_out"] for cell in dark["cells"]] == ["bad-field"]
    fields = {row["file"]: row for row in rows(tmp_path / "out" / "fields.csv")}
    assert fields["in/dark.png"]["left_out"] == "bad-field"
    assert "too dark" in fields["in/dark.png"]["problems"]
    assert (
        "1 field with quality problems, left out with 1 cell"
        in count("in", "--out", "out", "--skip-bad").output
    )


def test_overlapping_fields(count: Count, tmp_path: Path) -> None:
    smear = render_smear(5, 900, 480, cell_px=60, cells_per_mm2=1500)
    folder = tmp_path / "in"
    for slide in ("s1", "s2"):
        (folder / slide).mkdir(parents=True)
    # Three views of one slide, each with 200 px of the one before; and the first on another slide.
    for number, left in enumerate((0, 200, 400)):
        cv2.imwrite(str(folder / "s1" / f"{number}.png"), smear.pixels[:, left : left + 400])
    shutil.copy(folder / "s1" / "0.png", folder / "s2" / "0.png")
    options = ("in", "--out", "out", "--dedupe", "--group-by", "folder")
    answer = count(*options)
    assert answer.exit_code == 0, answer.output
    found = rows(tmp_path / "out" / "cells.csv")
    twice = [row for row in found if row["left_out"] == "duplicate"]
    names = {f"{row['file']}#cell{row['id']}": row for row in found}
    assert len(twice) >= 2 and all(row["group"] == "s1" for row in twice)
    for row in twice:
        kept = names[row["duplicate_of"]]
        assert kept["file"] != row["file"] and kept["left_out"] == ""
        shift = 200 * (int(row["file"][6]) - int(kept["file"][6]))
        if row["touches_edge"] == kept["touches_edge"] == "False":
            assert float(row["x_min"]) + shift == pytest.approx(float(kept["x_min"]), abs=4)
    assert f"{len(twice)} cells seen again, counted once" in answer.output
    document = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    marked = [c for f in document["fields"] for c in f["cells"] if c["left_out"] == "duplicate"]
    assert len(marked) == len(twice) and all(cell["duplicate_of"]["file"] for cell in marked)


def test_neighbours_do_not_matter(tmp_path: Path) -> None:
    """With the models that ship: a field alone gives what it gives among others."""
    smear = render_smear(3, 1280, 480)
    for number, left in enumerate((0, 320, 640)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), smear.pixels[:, left : left + 640])
    analyzer = Analyzer(Settings(fields_per_batch=1), device="cpu")
    sources = find_fields([tmp_path])
    together = list(analyzer.analyze_many(sources))
    assert sum(len(result.cells) for result in together) > 2
    assert [analyzer.analyze(source) for source in reversed(sources)] == together[::-1]


def test_the_command_with_its_models(
    command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    smear = render_smear(3, 1280, 480)
    (tmp_path / "in").mkdir()
    for number, left in enumerate((0, 320, 640)):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), smear.pixels[:, left : left + 640])
    answer = command("count", "in", "--dedupe")
    assert answer.returncode == 0 and answer.stderr == "", answer.stderr
    assert "3 fields counted." in answer.stdout and "overlapping: 2 pairs" in answer.stdout
    assert "Research use only. Not a medical device." in answer.stdout
    document = json.loads((tmp_path / "wbcdet-report" / "results.json").read_text())
    jsonschema.validate(document, schema())
    again = command("count", "in", "--dedupe", "-q")
    assert again.returncode == 0 and again.stdout == "" and again.stderr == ""


def test_fields_without_a_cell_are_counted_listed_and_shown(count: Count, tmp_path: Path) -> None:
    for number in range(12):
        draw(tmp_path / "in" / f"{number}.png", number + 1, 2 if number < 4 else 0)
    answer = count("in", "--out", "out")
    assert answer.exit_code == 0, answer.output
    out = tmp_path / "out"
    assert "8 of 12 fields hold no cell that was found" in answer.output
    names = [f"in/{number}.png" for number in range(4, 12)]
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    [slide] = document["slides"]
    assert (slide["fields"], slide["not_read"], slide["without_cell"]) == (12, 0, names)
    assert [row["file"] for row in rows(out / "fields.csv") if row["cells"] == "0"] == names
    page = (out / "report.html").read_text(encoding="utf-8")
    said = re.search(r"(\d+) of 12 fields with a cell and without a problem", page)
    assert said is not None and int(said[1]) <= 4
    assert "12 of 12 fields" not in page
    assert "8 without a cell: in/4.png, in/5.png, in/6.png and 5 more" in page
    assert "fields read, 8 without a cell" in page
    shown = page[page.index('id="empty"') :]
    assert "Fields without a cell (8)" in shown
    assert shown.count("no cell found") == 8 and shown.count('href="annotated/') >= 8
    # They are kept in the journal: the report is made again without the fields.
    before = final_files(out)
    assert count("in", "--out", "out").exit_code == 0 and count.analysed == []
    assert final_files(out) == before
    # A field that could not be read is not an empty one.
    (tmp_path / "in" / "bad.jpg").write_text("no picture")
    assert "8 of 12 fields hold no cell" in count("in", "--out", "out").output


def test_unknown_ground_is_said_everywhere(
    count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = PlainAnalyzer.info
    limit = {"median": 0.97, "limit": 0.95}  # above the scores of all cells here

    def known(analyzer: PlainAnalyzer) -> dict[str, Any]:
        return {**info(analyzer), "ground": {"detection_score": limit}}

    monkeypatch.setattr(PlainAnalyzer, "info", known)
    folder_of(tmp_path / "in")
    answer = count("in", "--out", "out", "--group-by", "folder")
    assert answer.exit_code == 0, answer.output
    for group in ("anna", "boris"):
        assert f"{group}: unlike what the models were trained on" in answer.output
    document = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    for slide in document["slides"]:
        ground = slide["ground"]
        assert ground["verdict"] == "unlike-training"
        assert ground["measures"]["detection_score"]["beyond"] > 5
        assert "wbcdet evaluate" in ground["advice"]
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert page.count("This slide looks unlike what the models were trained on") == 2
    assert page.count("the slide looks unlike what was trained on") == 2
    limit["limit"] = 0.5
    answer = count("in", "--out", "new", "--group-by", "folder")
    assert "unlike" not in answer.output


def test_careful_is_a_setting_of_the_count(count: Count, tmp_path: Path) -> None:
    folder_of(tmp_path / "in", 2)
    assert count("in", "--out", "out", "--careful").exit_code == 0
    assert count.analyzer is not None and count.analyzer.settings.careful
    answer = count("in", "--out", "out")
    assert answer.exit_code == 2 and "careful True, now False" in one_line(answer.stderr)


def test_copies_are_counted_once_however_far_apart(
    count: Count, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that holds a copy of another one with more than 150 fields."""
    monkeypatch.setattr(counts_module, "find_duplicates", partial(find_duplicates, near=1))
    for number in range(1, 4):
        draw(tmp_path / "in" / "a" / f"{number}.png", number, 2)
    count("in", "--out", "once")
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "b")
    answer = count("in", "--dedupe", "--out", "out")
    assert "3 pairs of fields" in answer.output and "copies of others" not in answer.output
    assert (
        rows(tmp_path / "out" / "differential.csv")[:4]
        == (rows(tmp_path / "once" / "differential.csv")[:4])
    )
    left = {row["file"] for row in rows(tmp_path / "out" / "cells.csv") if row["left_out"]}
    assert left == {f"in/b/{number}.png" for number in range(1, 4)}


def test_copies_of_a_field_are_named(count: Count, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, name in enumerate(("anna/1.png", "anna/2.png", "boris/1.png")):
        draw(folder / name, number + 1, 2)
    shutil.copy(folder / "anna" / "1.png", folder / "anna" / "1 - copy.png")
    shutil.copy(folder / "anna" / "2.png", folder / "boris" / "2.png")
    draw(folder / "boris" / "empty.png", 9, 0)
    shutil.copy(folder / "boris" / "empty.png", folder / "boris" / "empty too.png")
    first = "in/anna/1.png = in/anna/1 - copy.png"
    second = "in/boris/2.png = in/anna/2.png"
    answer = count("in", "--group-by", "folder", "--out", "out")
    assert "2 fields are copies of others (" in answer.output
    said = " ".join(answer.output.split())
    assert first in said and second in said
    sheet = (tmp_path / "out" / "report.html").read_text()
    assert "1 field is a copy of another" in sheet
    # One slide's copies overlap wholly; those of two slides do not become fewer.
    answer = count("in", "--group-by", "folder", "--dedupe", "--out", "out")
    said = " ".join(answer.output.split())
    assert "1 field is a copy of another (" in said and second in said and first not in said
