"""The page of a count: what it shows, that it is safe and whole, and that it prints."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import INFO

from wbcdet.differential.differential import ALL, Differential
from wbcdet.differential.reference_ranges import read_ranges
from wbcdet.inference.domain_shift import UNLIKE, Beyond, GroundVerdict
from wbcdet.records import ALL_LABELS, LABELS, REASONS
from wbcdet.report.counts import BAD_FIELD, DUPLICATE, GroupNotes
from wbcdet.report.html.contact_sheets import COLUMNS, ROWS, contact_sheets
from wbcdet.report.html.gallery import (
    MAX_SHOWN,
    ONE_BY_ONE,
    CellPicture,
    distribute_places,
    make_sections,
)
from wbcdet.report.html.page import Content, EmptyField, render, thresholds_text
from wbcdet.report.html.slide_sheet import make_sheet
from wbcdet.report.thumbnails import SIDE, from_jpeg, to_jpeg
from wbcdet.utils.words import speaking

EVIL = "<img src=x onerror=alert(1)>\"'&.jpg"
HEADER = {**INFO, "wbcdet": "0", "created": "2026-01-02T03:04:05+00:00"}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PICTURE = to_jpeg(
    np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8), 60
)  # noise: larger than any cell


def differential(group: str = ALL, target: int | None = None, **counts: int) -> Differential:
    return Differential(
        group=group,
        counts={**dict.fromkeys(map(str, LABELS), 0), **counts},
        unclassified={"low-score": 9, "basophil-like": 3},
        artefacts=0,
        edge=7,
        edge_left_out=False,
        fields=20,
        not_read=2,
        target=target,
        ranges=read_ranges(),
    )


def notes() -> GroupNotes:
    return GroupNotes(
        read=20,
        failures=[(EVIL, "file is empty"), ("line\nbreak.jpg", "file is <b>cut</b> short")],
        problems=[("a.jpg", ("blurred", "too dark")), ("b.jpg", ("blurred",))],
        left_out=Counter({DUPLICATE: 4, BAD_FIELD: 2}),
        overlapping=3,
    )


def shots(number: int, groups: tuple[str | None, ...] = (None,)) -> list[CellPicture]:
    rng = np.random.default_rng(1)
    made = []
    for row in range(number):
        label = ALL_LABELS[int(rng.choice(5, p=[0.03, 0.3, 0.07, 0.5, 0.1]))]
        reason = str(rng.choice(["low-score", "artefact"])) if label is ALL_LABELS[4] else None
        score = round(float(rng.random()), 4)
        group = groups[row * len(groups) // number]
        link = f"annotated/{row} #?.jpg"
        made.append(CellPicture(group, str(label), score, reason, row + 1, EVIL, row, (0, 0), link))
    return made


def page(found: list[Differential], made: list[CellPicture], title: str = "slide 7") -> str:
    by_group = {item.group: notes() for item in found}
    grouped = found[0].group != ALL
    content = Content(
        title, grouped, HEADER, ["Cells are counted."], found, by_group, make_sections(made)
    )
    return render(content, lambda place: PICTURE)


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_a_page_of_2000_cells() -> None:
    text = page([differential(neutrophil=1000, lymphocyte=600)], shots(2000), title=EVIL)
    read = Reader(text)
    assert read.open == []
    assert len(text) < 8_000_000
    images = [values for tag, values in read.tags if tag == "img"]
    lazy = [values for values in images if values.get("loading") == "lazy"]
    assert len(lazy) == MAX_SHOWN and len(images) <= MAX_SHOWN + 30
    assert "This page shows 400 of 2000 counted cells" in read.text


def test_a_page_is_safe_and_stands_alone() -> None:
    read = Reader(page([differential(neutrophil=10)], shots(60), title=EVIL))
    assert "<img src=x onerror=alert(1)>" in read.text  # as text
    assert "file is <b>cut</b> short" in read.text and "line\\nbreak.jpg" in read.text
    for tag, values in read.tags:
        assert tag not in ("script", "link", "iframe", "object", "b1")
        assert not [name for name in values if name.startswith("on")]
        source = values.get("src") or ""
        assert not source or source.startswith("data:image/jpeg;base64,")
        target = values.get("href") or "#"
        assert target[0] == "#" or re.fullmatch(r"annotated/\d+%20%23%3F\.jpg", target)
    policy = next(v["content"] for t, v in read.tags if t == "meta" and "http-equiv" in v)
    assert policy is not None and policy.startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("language", "one", "two"),
    [
        ("en", "cell classified", "cells classified"),
        ("es", "célula clasificada", "células clasificadas"),
        ("ru", "клетка определена", "клетки определены"),
    ],
)
def test_numbers_go_with_their_nouns(language: str, one: str, two: str) -> None:
    with speaking(language):
        pages = [page([differential(neutrophil=number)], shots(number)) for number in (1, 2)]
    assert f"<b>1</b><span>{one}<" in pages[0] and f"<b>2</b><span>{two}<" in pages[1]


def test_what_a_sheet_says() -> None:
    counted = differential(target=400, neutrophil=50, lymphocyte=30, eosinophil=20)
    text = " ".join(Reader(page([counted], shots(100))).text.split())
    for part in (
        "Research use only. Not a medical device.",
        "Counted 2026-01-02 03:04 UTC",
        "eosinophil 20 20.0 12.7 – 29.2 0 – 7 ▲ above reference",
        "neutrophil 50 50.0 39.8 – 60.2 39 – 75",
        "100 of 400 cells classified, 300 are missing",
        "12 unclassified: 9 low-score, 3 basophil-like",
        "4 seen again in an overlapping field, left out (3 overlapping pairs of fields)",
        "18 of 20 fields without a problem of focus, exposure or stain",
        "2 blurred, 1 too dark",
        "7 cells cut by the border are counted",
        "2 not read",
        "sha256 0000000000000000",
        "settings 2222222222222222",
        "Reference ranges: University of Chicago",
        "Name Date Signature",
    ):
        assert part in text, part


def test_a_sheet_with_all_that_can_be_said() -> None:
    every = {reason: number + 1 for number, reason in enumerate(REASONS)}
    counted = replace(differential(neutrophil=50, lymphocyte=30), unclassified=every)
    said = notes()
    said.empty = [f"empty {number}.jpg" for number in range(8)]
    said.ground = GroundVerdict(UNLIKE, {"stain": Beyond(20, 20, 3.5)})
    thresholds = {
        "confidence": 0.25,
        "min_score": {str(label): 0.5 for label in LABELS} | {"lymphocyte": 0.65},
        "unlike_trained": 14.2,
    }
    empty = [EmptyField(EVIL, (0, 0), "annotated/x.jpg"), EmptyField("b.jpg")]
    content = Content(
        "slide 7",
        False,
        {**HEADER, "thresholds": thresholds},
        ["Cells are counted."],
        [counted],
        {ALL: said},
        make_sections(shots(90)),
        empty,
    )
    read = Reader(render(content, lambda place: PICTURE))
    text = " ".join(read.text.split())
    white = 80 + sum(every.values()) - every["artefact"]
    for part in (
        f"Unclassified, % of all {white} white cells (without artefacts):",
        f"blast-like 1 {100 / white:.1f} 0.0 – ",
        "● look at each",
        "1 blast-like, 2 immature-like, 3 erythroblast-like: look at each of these cells first.",
        "This slide looks unlike what the models were trained on: 100 % of the fields have",
        "8 of 20 fields hold no cell that was found",
        "10 of 20 fields with a cell and without a problem of focus, exposure or stain",
        "20 fields read, 8 without a cell".removeprefix("20 "),
        "Thresholds in force: cell 0.25, name eosinophil 0.5, lymphocyte 0.65",
        "unlike-trained beyond a distance of 14.2",
        "Fields without a cell (2)",
        "Also: b.jpg",
    ):
        assert part in text, part
    assert text.count("look at each of these") == 1 and text.count("● look at each") == 3
    alike = {**thresholds, "min_score": {str(label): 0.5 for label in LABELS}}
    assert thresholds_text({"thresholds": alike, "settings": {}}).startswith("cell 0.25, name 0.5,")


def test_the_most_doubtful_come_first() -> None:
    sections = make_sections(shots(500))
    assert [section.label for section in sections] == [str(label) for label in ALL_LABELS]
    for section in sections[:4]:
        scores = [shot.score for shot in section.shots]
        assert scores == sorted(scores)
    nearly = [(shot.reason, -shot.score) for shot in sections[4].shots]
    assert nearly == sorted(nearly)
    assert sum(section.shown for section in sections) == MAX_SHOWN
    text = Reader(page([differential(neutrophil=9)], shots(500))).text
    assert "slide" not in text[text.index("Cells, the most doubtful") :][:600]


@pytest.mark.parametrize(
    ("sizes", "most", "given"),
    [
        ([], 5, []),
        ([3, 0, 2], 10, [3, 0, 2]),
        ([100, 1, 100], 21, [10, 1, 10]),
        ([5, 5, 5], 2, [1, 1, 0]),
        ([1000, 4, 50, 2], 100, [47, 4, 47, 2]),
    ],
)
def test_share_out(sizes: list[int], most: int, given: list[int]) -> None:
    assert distribute_places(sizes, most) == given


def test_many_slides() -> None:
    groups = tuple(f"patient {number}" for number in range(60))
    text = page([differential(group, neutrophil=5) for group in groups], shots(3000, groups))
    read = Reader(text)
    assert len(text) < 8_000_000 and "Leukocyte differentials" in read.text
    anchors = {values["id"] for _, values in read.tags if values.get("id")}
    links = {values["href"] for tag, values in read.tags if tag == "a" and values.get("href")}
    assert {link[1:] for link in links if link and link[0] == "#"} <= anchors
    assert len([tag for tag, _ in read.tags if tag == "img"]) == MAX_SHOWN


def test_contact_sheets_hold_all() -> None:
    made = shots(COLUMNS * ROWS + 3)
    sheets = list(contact_sheets(made, "neutrophil", lambda place: PICTURE))
    sizes = [from_jpeg(sheet).shape for sheet in sheets]
    assert len(sizes) == 2 and sizes[0][1] == sizes[1][1] and sizes[0][0] > 5 * sizes[1][0]
    assert list(contact_sheets([], "neutrophil", lambda place: PICTURE)) == []
    first = from_jpeg(sheets[0])[34 : 34 + SIDE, 8 : 8 + SIDE - 8]
    assert first.std() > 3 * cv2.cvtColor(from_jpeg(sheets[1]), cv2.COLOR_BGR2GRAY)[-5:].std()


def test_what_a_person_named_has_no_score() -> None:
    named = replace(shots(1)[0], score=0.0, reason=None, label="blast", mark=ONE_BY_ONE)
    text = Reader(page([differential(neutrophil=10)], [named])).text
    assert "0.00" not in text and re.search(r"–\s+✓ row 1", text)


def test_tiles_in_print_keep_the_end_of_a_name() -> None:
    files = ("d/BloodImage_00253.jpg", "d/2026-11-20 smear of room 4 00017.tif")
    tiles = [replace(shots(1)[0], file=file, row=row) for row, file in enumerate(files, 1)]
    text = Reader(page([differential(neutrophil=10)], tiles)).text
    assert " BloodImage_00253 " in text and " …r of room 4 00017 " in text


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 820, 1400])
def test_a_page_is_no_wider_than_the_screen(tmp_path: Path, width: int) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="pip install wbcdet[test]")
    groups = ("Name" * 50, "long name " * 25)
    found = [differential(group, 400, neutrophil=50, monocyte=40) for group in groups]
    (tmp_path / "page.html").write_text(page(found, shots(60, groups)), encoding="utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.goto((tmp_path / "page.html").as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        cut = "nodes => nodes.map(node => node.scrollWidth > node.clientWidth)"
        # The table of types is whole; what does not fit of the others scrolls, and shows it.
        assert tab.eval_on_selector_all(".wide:has(.types)", cut) == [False, False]
        assert tab.eval_on_selector_all(".wide:has(.overview)", cut) == [width == 390]
        assert tab.locator(".types .flag i").first.is_visible()
        assert tab.locator(".legend.marks").first.is_visible() == (width == 390)
        shades = "node => getComputedStyle(node).backgroundAttachment"
        assert tab.eval_on_selector(".wide", shades) == "local, local, scroll, scroll"
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("slides", [1, 3])
def test_a_slide_prints_on_one_page(tmp_path: Path, slides: int) -> None:
    groups = tuple(f"{'long name ' * 30}{number}" for number in range(slides))
    # With as many types of a laboratory's own as the review page offers.
    own = {f"type of ours whose name is long {n}": 5 for n in range(12 * (slides > 1))}
    found = [differential(group, 400, neutrophil=50, monocyte=40, **own) for group in groups]
    (tmp_path / "page.html").write_text(page(found, shots(900, groups)), encoding="utf-8")
    assert CHROMIUM is not None
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            *("--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"),
            *("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}"),
            str(tmp_path / "page.html"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    sheets = slides + (slides > 1)  # several have an overview before them
    data = (tmp_path / "page.pdf").read_bytes()
    pages = re.findall(rb"/MediaBox\s*\[\s*0 0 (\d+)\.?\d* (\d+)", data)
    assert [(int(w) // 10, int(h) // 10) for w, h in pages] == [(59, 84)] * sheets


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_types_of_a_laboratorys_own_in_print(tmp_path: Path) -> None:
    """A long name left the bars 3 px, and in the overview a flag lay on the next number."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install wbcdet[test]")
    own = {"band": 30, "a type of ours whose name is rather long": 20}
    own |= {f"blast {n}": 30 for n in range(10)}
    few = differential("b", neutrophil=90, monocyte=9)
    found = [differential("a", neutrophil=50, **own), few]
    (tmp_path / "page.html").write_text(page(found, shots(9)), encoding="utf-8")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        tab = browser.new_page(viewport={"width": 695, "height": 1000})  # A4 without its margins
        tab.emulate_media(media="print")
        tab.goto((tmp_path / "page.html").as_uri())
        width = "node => node.getBoundingClientRect().width"
        assert tab.eval_on_selector(".types td.chart", width) > 150
        assert tab.evaluate(
            """() => [...document.querySelectorAll(".overview tr:first-child td.share")].every(
              (cell) => cell.scrollWidth <= cell.clientWidth + 1)"""
        )
        # Numbers stand below each other, with a flag or without.
        column = tab.locator(".overview td.share:nth-child(5)")
        assert len(column.all()) == 2
        assert len({mark.bounding_box()["x"] for mark in column.locator(".mark").all()}) == 1
        browser.close()


@pytest.mark.parametrize(("reason", "share"), [("artefact", None), ("low-score", 23)])
def test_what_the_classifier_calls_artefact_leaves_no_white_cell_unclassified(
    reason: str, share: int | None
) -> None:
    """The sheet gives the reasons' shares of the white cells, without these."""
    counted = replace(differential(neutrophil=100), unclassified={reason: 30})
    sheet = make_sheet(0, "a", counted, notes(), [], last=True)
    said = [line for line in sheet.warnings if "of the cells are unclassified" in line]
    assert [line.split(" %")[0] for line in said] == ([] if share is None else [str(share)])
    assert ("many unclassified" in sheet.remarks) == (share is not None)


@pytest.mark.parametrize(
    ("found", "warning", "remark"),
    [
        ({"copies": [("b.png", "a.png"), ("c.png", "a.png")]}, "count once more", "2 copies of"),
        ({"diameters": {"a.svs": [30.0] * 5}}, "30.0 µm wide", "see the scale"),
        ({"empty": ["b.png"]}, "no cell that was found", "1 field without a cell"),
    ],
)
def test_the_overview_names_what_a_sheet_warns_of(
    found: dict[str, object], warning: str, remark: str
) -> None:
    """Who looks at the overview alone would take the numbers as they are."""
    said = replace(notes(), **found)  # type: ignore[arg-type]
    sheet = make_sheet(0, "a", differential(neutrophil=100), said, [], last=True)
    assert any(warning in line for line in sheet.warnings) and remark in sheet.remarks
