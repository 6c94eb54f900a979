"""A signed report of which some slides are signed and others are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reviewing import make_report
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.results.signed_slides import signed_notes
from wbcdet.review.cell_state import LabelChange
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
    del document["info"]["review"]["signed_slides"]
    (report / "reviewed" / "results.json").write_text(json.dumps(document))
    with (report / "results.json").open("a") as file:
        file.write("\n")
    last, again = signed_notes(report / "reviewed")
    assert last == "of anna alone it is known that it is signed"
    assert again.startswith("the report was counted again since this was signed")
    document["info"]["review"] = []  # as somebody else may have written it
    (report / "reviewed" / "results.json").write_text(json.dumps(document))
    assert signed_notes(report / "reviewed") == []


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
