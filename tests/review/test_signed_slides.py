"""A signed report of which some slides are signed and others are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from counting import Count
from reviewing import make_report
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.results.signed_slides import signed_notes
from wbcdet.review.cell_state import LabelChange
from wbcdet.review.lab_report import open_lab_report
from wbcdet.review.session import Session


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def sign(report: Path, slide: str | None) -> None:
    """Name the unclassified cells of all slides, and sign one slide."""
    session = Session(report)
    state = session.state
    named = [
        LabelChange(key, cell.last_decision, "basophil")
        for key, cell in state.cells.items()
        if cell.label == "unclassified"
    ]
    if named:
        state.change("Ann", named)
    session.sign("Ann", "", state.last, slide)
    session.close()


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a count of the slides anna and boris, of which anna alone is signed."""
    report = make_report(tmp_path, 2, "--group-by", "folder")
    sign(report, "anna")
    return report


def test_what_nobody_has_signed_is_said(report: Path, tmp_path: Path) -> None:
    manual = tmp_path / "manual.csv"
    manual.write_text("slide,eos,lymph,mono,neut,baso\nanna,9,9,9,9,4\nboris,9,9,9,9,4\n")
    for part in ("", "cells.csv", "differential.csv", "results.json"):
        code, out = run("agree", report / "reviewed" / part, manual)
        assert code == 0 and "signed by nobody, with the names that they had by then: boris" in out
    code, out = run("export", report / "reviewed", "--to", "coco", "--out", tmp_path / "coco")
    assert code == 0 and "signed by nobody, with the names that they had by then: boris" in out
    code, out = run("review", report, "--check")
    assert code == 0 and out.endswith("; not signed: boris")
    assert "signed by nobody" not in run("agree", report, manual)[1]
    sign(report, "boris")
    assert signed_notes(report / "reviewed") == []
    assert "not signed" not in run("review", report, "--check")[1]


def test_counted_again_or_signed_by_an_earlier_version(report: Path) -> None:
    document = json.loads((report / "reviewed" / "results.json").read_text())
    del document["info"]["review"]["signed_slides"], document["info"]["review"]["slides_sha256"]
    (report / "reviewed" / "results.json").write_text(json.dumps(document))
    with (report / "results.json").open("a") as file:
        file.write("\n")
    last, again = signed_notes(report / "reviewed")
    assert last == "of anna alone it is known that it is signed"
    assert again.startswith("the report was counted again since this was signed")
    document["info"]["review"] = []  # as somebody else may have written it
    (report / "reviewed" / "results.json").write_text(json.dumps(document))
    assert signed_notes(report / "reviewed") == []


def current(report: Path) -> dict[str, bool]:
    """Say of each slide that was ever signed whether it is signed as it is now."""
    session = Session(report)
    said = {group: session.signed(group) for group in session.state.report.groups}
    session.close()
    return {group: bool(of["current"]) for group, of in said.items() if of}


def change_count(report: Path, change: Callable[[Any], None]) -> None:
    document = json.loads((report / "results.json").read_text())
    change(document)
    (report / "results.json").write_text(json.dumps(document))


def test_a_signature_is_of_what_was_counted(report: Path) -> None:
    """Of the slide, of what analysed it and how; not of the letters of the file, and of no other
    slide."""
    sign(report, "boris")
    assert current(report) == {"anna": True, "boris": True}
    change_count(report, lambda document: None)  # written in other lines
    assert current(report) == {"anna": True, "boris": True}
    assert signed_notes(report / "reviewed") == []

    def move(document: Any) -> None:
        box = next(f for f in document["fields"] if f["group"] == "boris")["cells"][0]["box"]
        box[0] += 0.5

    change_count(report, move)
    assert current(report) == {"anna": True, "boris": False}
    (note,) = signed_notes(report / "reviewed")
    assert note == "counted again since this was signed: review and sign again: boris"
    code, out = run("review", report, "--check")
    assert code == 1 and "counted again since these were signed: boris" in out
    sign(report, "boris")
    assert current(report) == {"anna": True, "boris": True}
    change_count(report, lambda document: document["info"]["detector"].update(sha256="0" * 64))
    assert current(report) == {"anna": False, "boris": False}


def test_a_slide_that_is_added_leaves_the_others_signed(report: Path) -> None:
    """The slides of a day are signed, and the next day's are counted into the same report: all of
    them were to be signed again."""
    sign(report, None)
    shutil.copytree(report.parent / "fields" / "boris", report.parent / "fields" / "carla")
    with pytest.MonkeyPatch.context() as patch:
        options = ("--out", "report", "--quiet", "--no-annotate", "--group-by", "folder")
        assert Count(patch, report.parent)("fields", *options).exit_code == 0
    # A signature of all slides is of those that were there.
    assert current(report) == {"anna": True, "boris": True}
    (note,) = signed_notes(report / "reviewed")
    assert note == "counted since, and not in what was signed: carla"
    code, out = run("review", report, "--check")
    assert code == 0 and out.endswith("; not signed: carla")
    lab = {slide.name: slide for slide in open_lab_report(report).slides}
    assert {name: slide.is_final for name, slide in lab.items()} == {
        "anna": True,
        "boris": True,
        "carla": False,
    }
    sign(report, "carla")
    assert current(report) == {"anna": True, "boris": True, "carla": True}
    lab = {slide.name: slide for slide in open_lab_report(report).slides}
    assert [name for name, slide in lab.items() if slide.signed_before] == ["anna"]  # twice
    document = json.loads((report / "reviewed" / "results.json").read_text())
    assert document["info"]["review"]["signed_slides"] == ["anna", "boris", "carla"]
    shutil.rmtree(report.parent / "fields" / "carla")
    with pytest.MonkeyPatch.context() as patch:
        assert Count(patch, report.parent)("fields", *options).exit_code == 0
    assert current(report) == {"anna": True, "boris": True}
    assert "not in the count any more: carla" in signed_notes(report / "reviewed")
    code, out = run("review", report, "--check")
    assert code == 1 and "has these slides, which were signed, no more: carla" in out


def test_a_signed_report_that_had_a_slide_otherwise_is_not_sent(report: Path) -> None:
    """Anna's slide was signed, counted another way when Boris's was, and is as it was again: the
    signed report has it as it was in between."""
    before = (report / "results.json").read_text()
    change_count(report, lambda document: document["fields"][0].update(remarks=["x"]))
    sign(report, "boris")
    (report / "results.json").write_text(before)
    assert current(report) == {"anna": False, "boris": True}


@pytest.mark.parametrize(
    "command",
    [
        ("review", "--no-browser"),
        ("review", "--second", "--no-browser"),
        ("export", "--to", "hl7"),
        ("export", "--to", "fhir"),
    ],
)
def test_the_signed_report_is_not_the_machines(report: Path, command: tuple[str, ...]) -> None:
    """It was opened as if the machine had named its cells; the decisions, which the next signature
    takes away, were lost, and its names were sent as those that the program gave."""
    files = sorted(report.rglob("*"))
    name, *options = command
    out = report.parent / "out"
    more = ("--out", out) if name == "export" else ()
    code, said = run(name, report / "reviewed", *options, *more)
    assert code == 2 and f"name the report itself ({report})" in said
    assert sorted(report.rglob("*")) == files and not out.exists()
