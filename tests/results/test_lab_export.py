"""Reports for a laboratory's system, read back by the libraries of FHIR and HL7 v2."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import INFO, make_cell
from counting import Count, draw
from reviewing import make_report
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.records import NOTICE, CellType, FieldResult
from wbcdet.results.document import build_document, dump
from wbcdet.results.export import lab_report
from wbcdet.results.export.lab_report import remarks
from wbcdet.review.cell_state import LabelChange
from wbcdet.review.lab_report import open_lab_report
from wbcdet.review.session import Session

fhir = pytest.importorskip("fhir.resources.R4B.bundle", reason="needs the extra lis")
hl7 = pytest.importorskip("hl7apy.parser", reason="needs the extra lis")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a count of two slides, of 40 cells each."""
    return make_report(tmp_path, 2, "--group-by", "folder", "--target", "100")


def export(report: Path, to: str, *options: object) -> tuple[Path, Any]:
    out = report.parent / f"{to}-{len(list(report.parent.iterdir()))}"
    arguments = ["export", report, "--to", to, "--out", out, *options]
    return out, CliRunner().invoke(app, [str(argument) for argument in arguments])


def sign(report: Path, slide: str | None, name: str = "Ann & Bo|b") -> None:
    session = Session(report)
    try:
        state = session.state
        open_cells = [
            LabelChange(key, cell.last_decision, "unclassified")
            for key, cell in state.cells.items()
            if cell.label == "unclassified"
        ]
        state.change(name, open_cells)
        session.sign(name, "looked twice", state.last, slide)
    finally:
        session.close()


def bundles(out: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Resources of every Bundle by kind, by its slide."""
    found = {}
    for row in rows(out):
        data = (out / row["file"]).read_bytes()
        fhir.Bundle.model_validate_json(data)
        kinds: dict[str, list[dict[str, Any]]] = {}
        urls = set()
        for entry in json.loads(data)["entry"]:
            kinds.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
            urls.add(entry["fullUrl"])
        assert len(urls) == sum(map(len, kinds.values()))
        assert set(references(kinds)) <= urls
        found[row["slide"]] = kinds
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def messages(out: Path) -> dict[str, list[list[str]]]:
    """Fields of the segments of every message, by its slide."""
    found = {}
    for row in rows(out):
        text = (out / row["file"]).read_bytes().decode()
        hl7.parse_message(text).validate()
        assert text.endswith("\r") and "\n" not in text
        found[row["slide"]] = [line.split("|") for line in text[:-1].split("\r")]
    return found


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "slides.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def by_code(observations: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        coding["code"]: observation
        for observation in observations
        for coding in observation["code"]["coding"]
    }


def test_fhir_says_what_the_differential_says(report: Path) -> None:
    out, done = export(report, "fhir")
    assert done.exit_code == 0, done.output
    assert "2 preliminary" in done.output
    slides = json.loads((report / "results.json").read_text())["slides"]
    found = bundles(out)
    assert list(found) == ["anna", "boris"]
    codes = {
        "neutrophil": "26511-6",
        "lymphocyte": "26478-8",
        "monocyte": "26485-3",
        "eosinophil": "26450-7",
    }
    for slide in slides:
        kinds = found[slide["group"]]
        [whole] = kinds["DiagnosticReport"]
        assert whole["status"] == "preliminary" and "resultsInterpreter" not in whole
        assert NOTICE in whole["conclusion"] and NOTICE in whole["text"]["div"]
        assert "of 100 cells asked for" in whole["conclusion"]
        assert len(whole["result"]) == len(kinds["Observation"])
        observations = by_code(kinds["Observation"])
        for row in slide["differential"]:
            if row["label"] in codes:
                observation = observations[codes[row["label"]]]
                limits = observation["referenceRange"][0]
                assert [limits[end]["value"] for end in ("low", "high")] == [
                    row["range_low"],
                    row["range_high"],
                ]
                flags = [
                    item["coding"][0]["code"] for item in observation.get("interpretation", [])
                ]
                assert flags == [{"low": "L", "high": "H"}[flag] for flag in (row["flag"],) if flag]
            elif row["label"] == "unclassified":
                observation = observations[f"reason-{row['reason']}"]
            else:
                continue
            parts = [part["valueQuantity"]["value"] for part in observation["component"]]
            assert observation["valueQuantity"]["value"] == row["percent"]
            assert parts == [row["count"], row["ci_low"], row["ci_high"]]
            assert observation["note"][0]["text"].startswith(NOTICE)
        assert observations["classified-cells"]["valueQuantity"]["value"] == slide["classified"]


def test_hl7_says_what_the_differential_says(report: Path) -> None:
    out, done = export(report, "hl7")
    assert done.exit_code == 0, done.output
    slides = json.loads((report / "results.json").read_text())["slides"]
    for slide, segments in zip(slides, messages(out).values(), strict=True):
        assert segments[0][8:12] == ["ORU^R01^ORU_R01", segments[0][9], "T", "2.5.1"]
        assert segments[1][25] == "P"
        assert any(NOTICE in segment[3] for segment in segments if segment[0] == "NTE")
        values = {segment[3].split("^")[0]: segment for segment in segments if segment[0] == "OBX"}
        assert {value[11] for value in values.values()} == {"P"}
        for row in slide["differential"]:
            name = row["reason"] if row["label"] == "unclassified" else row["label"]
            assert values[f"count-{name}"][5] == str(row["count"])
            if row["percent"] is not None:
                ends = f"^{row['ci_low']:g}^-^{row['ci_high']:g}"
                assert values[f"ci95-{name}"][5] == ends
        neutrophil = next(row for row in slide["differential"] if row["label"] == "neutrophil")
        assert values["26511-6"][5:9] == [
            f"{neutrophil['percent']:g}",
            "%^percent^UCUM",
            "39-75",
            {"low": "L", "high": "H"}.get(neutrophil["flag"], ""),
        ]


def test_only_a_signed_slide_is_final(report: Path) -> None:
    sign(report, "anna")
    out, done = export(report, "fhir")
    assert done.exit_code == 0 and "1 final, 1 preliminary" in done.output
    found = bundles(out)
    [anna], [boris] = (found[name]["DiagnosticReport"] for name in ("anna", "boris"))
    assert (anna["status"], boris["status"]) == ("final", "preliminary")
    [signer] = found["anna"]["Practitioner"]
    assert signer["name"] == [{"text": "Ann & Bo|b"}]
    assert "Signed by Ann & Bo|b" in anna["conclusion"] and "looked twice" in anna["conclusion"]
    assert "Practitioner" not in found["boris"]
    assert {observation["status"] for observation in found["anna"]["Observation"]} == {"final"}
    [first, second] = messages(export(report, "hl7")[0]).values()
    assert (first[1][25], first[1][32]) == ("F", r"&Ann \T\ Bo\F\b")
    assert (second[1][25], len(second[1])) == ("P", 26)


def test_a_second_signature_replaces_the_first(report: Path) -> None:
    def sent() -> tuple[str, str, str, str]:
        whole = bundles(export(report, "fhir")[0])["anna"]["DiagnosticReport"][0]
        order = messages(export(report, "hl7")[0])["anna"][1]
        return whole["status"], whole["identifier"][0]["value"], order[25], order[3]

    before = sent()
    sign(report, "boris")  # is of another slide
    sign(report, "anna")
    first = sent()
    sign(report, None)
    second = sent()
    assert [one[0] for one in (before, first, second)] == ["preliminary", "final", "amended"]
    assert [one[2] for one in (before, first, second)] == ["P", "F", "C"]
    assert before[1::2] == first[1::2] == second[1::2]  # the same report for the receiver


def test_a_slide_that_is_added_gives_the_others_no_other_number(report: Path) -> None:
    def sent() -> tuple[str, bool, bool]:
        lab = open_lab_report(report)
        anna = next(slide for slide in lab.slides if slide.name == "anna")
        return str(lab.order_of(anna)), anna.is_final, anna.signed_before

    sign(report, None)
    number, *signed = sent()
    assert signed == [True, False]
    shutil.copytree(report.parent / "fields" / "boris", report.parent / "fields" / "carla")
    with pytest.MonkeyPatch.context() as patch:
        options = ("--out", "report", "--quiet", "--no-annotate", "--group-by", "folder")
        assert Count(patch, report.parent)("fields", *options).exit_code == 0
    # It is counted without a target now: to be signed again, and replaces what the receiver has.
    assert sent() == (number, False, False)
    sign(report, None)
    assert sent() == (number, True, True)
    # Another count that began in the same second is another report.
    document = json.loads((report / "results.json").read_text())
    for field in document["fields"]:
        field["sha256"] = field["sha256"][::-1]
    (report / "results.json").write_text(json.dumps(document))
    assert sent()[0] != number


def test_of_slides_signed_together_each_says_what_was_not_looked_at(report: Path) -> None:
    session = Session(report)
    try:
        state, fields = session.state, session.state.report.fields
        seen = [
            LabelChange(key, cell.last_decision, str(cell.label))
            for key, cell in state.cells.items()
            if fields[key[0]].group == "anna" or cell.label == "unclassified"
        ]
        left = len(state.cells) - len(seen)
        state.change("Ann", seen)
        session.sign("Ann", "", state.last)
    finally:
        session.close()
    found = bundles(export(report, "fhir")[0])
    told = {name: found[name]["DiagnosticReport"][0]["conclusion"] for name in ("anna", "boris")}
    assert "left as the program named them" not in told["anna"]
    assert 0 < left < 40
    assert f"{left} cells of those signed were left as the program named them" in told["boris"]


def test_codes_have_the_check_digit_of_loinc() -> None:
    for code, _ in [*lab_report.SHARES.values(), lab_report.REPORT]:
        body, digit = code.split("-")
        doubled = str(2 * int(body[::-1][0::2])) + body[::-1][1::2]
        assert (10 - sum(map(int, doubled)) % 10) % 10 == int(digit)


def test_what_was_signed_is_what_is_sent(report: Path) -> None:
    session = Session(report)
    key, state = next((k, v) for k, v in session.state.cells.items() if v.label != "basophil")
    session.state.change("Ann", [LabelChange(key, state.last_decision, "basophil")])
    session.close()
    sign(report, None)
    kinds = bundles(export(report, "fhir")[0])["anna"]
    assert by_code(kinds["Observation"])["30180-4"]["component"][0]["valueQuantity"]["value"] == 1


def test_neutrophils_are_sent_with_their_bands(report: Path) -> None:
    """LOINC's code and the reference range are of all neutrophils: where bands were named apart the
    others stood under both, 45 % of 40 cells in the range for 39 to 75 of which 90 % were."""
    session = Session(report)
    state = session.state
    anna = [key for key in state.cells if state.report.fields[key[0]].group == "anna"]
    names = ["band"] * 18 + ["neutrophil"] * 18 + ["lymphocyte"] * 4
    state.change("Ann", [LabelChange(key, 0, name) for key, name in zip(anna, names, strict=True)])
    session.close()
    sign(report, "anna")
    sent = bundles(export(report, "fhir")[0])
    coded = by_code(sent["anna"]["Observation"])
    whole, others = coded["26511-6"], coded["share-neutrophil"]
    assert whole is coded["share-all-neutrophil"] and whole is not others
    assert [one["valueQuantity"]["value"] for one in (whole, others)] == [90, 45]
    assert [one["component"][0]["valueQuantity"]["value"] for one in (whole, others)] == [36, 18]
    assert (
        whole["referenceRange"][0]["high"]["value"] == 75 and "text" in whole["referenceRange"][0]
    )
    assert whole["interpretation"][0]["coding"][0]["code"] == "H"
    assert not {"referenceRange", "interpretation"} & others.keys()
    assert others["code"]["text"].startswith("neutrophil cells without band")
    observed = [s for s in messages(export(report, "hl7")[0])["anna"] if s[0] == "OBX"]
    assert [s[5:9] for s in observed if s[3].startswith("26511-6^")] == [
        ["90", "%^percent^UCUM", "39-75", "H"]
    ]
    with (report / "reviewed" / "differential.csv").open(newline="") as file:
        table = {row["label"]: row for row in csv.DictReader(file) if row["group"] == "anna"}
    assert [table["neutrophil"][name] for name in ("percent", "range_low", "flag")] == [
        "45.0",
        "",
        "",
    ]
    page = (report / "reviewed" / "report.html").read_text()
    assert "neutrophil + band: 36 together, 90.0 %" in page
    assert "reference range of all of them: 39 – 75 (above reference)" in page
    # Of the other slide nobody has named bands.
    assert (
        by_code(bundles(export(report, "fhir")[0])["boris"]["Observation"])["26511-6"] is not None
    )


def test_what_nobody_has_signed_is_sent_as_counted(report: Path) -> None:
    """A signature of one slide takes along the names that a person gave to cells of another."""
    counted = {to: export(report, to)[0] for to in ("fhir", "hl7")}
    session = Session(report)
    named = [
        LabelChange(key, cell.last_decision, "basophil")
        for key, cell in session.state.cells.items()
        if session.state.report.fields[key[0]].group == "boris"
    ]
    session.state.change("Ann", named)
    session.close()
    sign(report, "anna")
    for to, before in counted.items():
        after, done = export(report, to)
        assert "1 final, 1 preliminary" in done.output
        [(one, other)] = [
            [(out / row["file"]).read_bytes() for out in (before, after)]
            for row in rows(after)
            if row["slide"] == "boris"
        ]
        assert one == other


def test_cells_apart_have_no_share(tmp_path: Path) -> None:
    """What a classifier calls artefact, and a type that a person calls as our own rows are."""
    kinds = [CellType.NEUTROPHIL, CellType.UNCLASSIFIED, CellType.UNCLASSIFIED, "edge", "artefact"]
    cells = tuple(
        make_cell(n, (20.0 * n, 0.0, 20.0 * n + 9, 9.0), kind, reason)
        for n, (kind, reason) in enumerate(
            zip(kinds, (None, "artefact", "artefact", None, None), strict=True)
        )
    )
    (tmp_path / "report").mkdir()
    text = dump(build_document(INFO, [FieldResult("1.jpg", 99, 99, cells)]))
    (tmp_path / "report" / "results.json").write_text(text)
    [kinds_of] = bundles(export(tmp_path / "report", "fhir")[0]).values()
    found = by_code(kinds_of["Observation"])
    for code, count in (("artefact", 1), ("artefact-by-model", 2), ("edge-cells", 0)):
        assert found[code]["valueQuantity"]["value"] == count
        assert "dataAbsentReason" not in found[code]
    assert found["share-edge"]["valueQuantity"]["value"] == 50
    [message] = messages(export(tmp_path / "report", "hl7")[0]).values()
    results = {row[3].split("^")[0]: row[5] for row in message if row[0] == "OBX"}
    assert (results["count-artefact"], results["count-artefact-by-model"]) == ("1", "2")
    assert results["share-edge"] == "50"
    assert "count-unclassified" not in results and "artefact-by-model" not in results


def test_names_of_earlier_versions_that_are_words_of_ours(tmp_path: Path) -> None:
    kinds = ["neutrophil"] * 3 + ["band"] * 2 + ["edge", "all-neutrophil", "low-score"]
    cells = [
        replace(make_cell(n, (9.0 * n, 0, 9.0 * n + 9, 9), kind), touches_edge=n < 4)
        for n, kind in enumerate(kinds)
    ]
    cells.append(make_cell(8, (80, 0, 89, 9), CellType.UNCLASSIFIED, "low-score"))
    (tmp_path / "report").mkdir()
    text = dump(build_document(INFO, [FieldResult("1.jpg", 99, 99, tuple(cells))]))
    (tmp_path / "report" / "results.json").write_text(text)
    [message] = messages(export(tmp_path / "report", "hl7")[0]).values()
    codes = [row[3].split("^LN^")[-1].split("^")[0] for row in message if row[0] == "OBX"]
    assert len(set(codes)) == len(codes)
    counted = {row[3].split("^")[0]: row[5] for row in message if row[0] == "OBX"}
    for code, count in (("edge", 4), ("all-neutrophil", 5), ("low-score", 1)):
        assert (counted[f"count-{code}"], counted[f"count-type-{code}"]) == (str(count), "1")
    [kinds_of] = bundles(export(tmp_path / "report", "fhir")[0]).values()
    found = [item["code"]["coding"][-1]["code"] for item in kinds_of["Observation"]]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("options", [["--skip-bad"], ["--dedupe"], []])
def test_fields_left_out_and_copies_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """As on the sheet: the number of fields that were read does not tell what the shares are of."""
    draw(tmp_path / "in" / "anna" / "1.png", 2, cells=3)
    shutil.copy(tmp_path / "in" / "anna" / "1.png", tmp_path / "in" / "anna" / "2.png")
    draw(tmp_path / "in" / "boris" / "1.png", 4, cells=1)
    cv2.imwrite(str(tmp_path / "in" / "boris" / "2.png"), np.full((120, 160, 3), 225, np.uint8))
    done = Count(monkeypatch, tmp_path)("in", "--out", "out", "--group-by", "folder", *options)
    assert ("4 fields counted." in done.stdout) == ("--skip-bad" not in options), done.stdout
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    bad = [field["file"] for field in document["fields"] if field["quality"]["problems"]]
    said = {
        slide.name: remarks(r, slide)
        for r in [open_lab_report(tmp_path / "out")]
        for slide in r.slides
    }
    for name, lines in said.items():
        problems = sum(f"/{name}/" in file for file in bad)
        kept = "left out, with" if "--skip-bad" in options else "counted."
        assert any(f"{problems} field" in x and kept in x for x in lines) == bool(problems)
    assert bad
    anna = "\n".join(said["anna"])
    if "--dedupe" in options:
        assert "cells seen again in an overlapping field, counted once." in anna
    copied = "1 field is a copy of another: its cells count once more."
    assert (copied in anna) == ("--dedupe" not in options)


def test_a_decision_after_the_signature_takes_it_away(report: Path) -> None:
    sign(report, None)
    session = Session(report)
    key = next(key for key in session.state.cells if key[0] == 0)
    last = session.state.cells[key].last_decision
    session.state.change("Bob", [LabelChange(key, last, "monocyte")])
    session.close()
    _, done = export(report, "fhir")
    assert done.exit_code == 0 and "1 final, 1 preliminary" in done.output


def test_what_was_changed_after_signing_is_not_sent(report: Path) -> None:
    sign(report, None)
    path = report / "reviewed" / "results.json"
    path.write_text(path.read_text().replace('"classified": ', '"classified":  '))
    out, done = export(report, "fhir")
    assert done.exit_code == 2 and "was changed since it was signed" in done.output
    assert not out.exists()


def test_a_report_that_may_not_be_opened(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sign(report, None)

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Session, "_open", refused)
    _, done = export(report, "fhir")
    said = " ".join(done.output.split())
    assert done.exit_code == 2 and "report: cannot be opened (Permission denied); check" in said


@pytest.mark.parametrize("to", ["fhir", "hl7"])
def test_nothing_classified_and_odd_names(tmp_path: Path, to: str) -> None:
    """A slide without a cell, and slides whose names are hard on XML, HL7 and file systems."""
    lonely = make_cell(0, (1.0, 1.0, 9.0, 9.0), CellType.UNCLASSIFIED, "blast-like")
    names = ("a|b^c&d~e\\f/1.jpg", '<b>"x"</b>/1.jpg', "мазок/1.jpg", "x" * 180 + "/1.jpg", "1.jpg")
    names = (*names, "x" * 181 + "/1.jpg")  # as long a name that begins as another one
    results = [FieldResult(name, 99, 99, (lonely,) * (n == 0)) for n, name in enumerate(names)]
    results.append(FieldResult.failed("bad/2.jpg", "file is empty"))
    (tmp_path / "report").mkdir()
    text = dump(build_document(INFO, results))
    (tmp_path / "report" / "results.json").write_text(text, encoding="utf-8")
    out, done = export(tmp_path / "report", to)
    assert done.exit_code == 0, done.output
    read = bundles(out) if to == "fhir" else messages(out)
    slides = json.loads(text)["slides"]
    assert list(read) == [slide["group"] for slide in slides]
    if to == "hl7":
        ids = [message[-1][2] for message in read.values()]
        assert len(set(ids)) == len(ids) and all(len(one) <= 81 for one in ids[1:])
        said = [row[3] for row in read["x" * 181] if row[0] == "NTE"]
        short = read["x" * 181][-1][2].removeprefix("^")
        assert said[-1] == f"{short} is short for the slide {'x' * 181}."
    first = str(next(iter(read.values())))
    assert "blast-like" in first and "'A'" in first


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--pictures", "."], "takes no pictures"), (["--images", "copy"], "takes no pictures")],
)
def test_pictures_are_not_for_a_laboratory(report: Path, options: list[str], said: str) -> None:
    _, done = export(report, "hl7", *options)
    assert done.exit_code == 2 and said in done.output


def test_without_the_extra(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fhir.resources.R4B.bundle", None)
    out, done = export(report, "fhir")
    assert done.exit_code == 2 and 'pip install "wbcdet[lis]"' in done.output
    assert not out.exists()


def test_no_report_no_slides(tmp_path: Path) -> None:
    _, done = export(tmp_path, "fhir")
    assert done.exit_code == 2 and "results.json: cannot be read" in done.output
    assert "name the --out folder" in " ".join(done.output.split())
    (tmp_path / "report").mkdir()
    document = build_document(INFO, [FieldResult("1.jpg", 9, 9)])
    del document["slides"]
    (tmp_path / "report" / "results.json").write_text(dump(document))
    _, done = export(tmp_path / "report", "hl7")
    assert done.exit_code == 2 and "says nothing of slides" in done.output
