"""The review page in a real browser: 2,000 cells, by keyboard, mouse and touch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from counting import rows
from reviewing import ACROSS, DOWN, Server, make_report
from serving import CHROMIUM

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the page is driven by playwright: pip install wbcdet[test]"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="the page needs a browser: apt-get install chromium"
)

FIELDS = 50
CELLS = FIELDS * ACROSS * DOWN
Serve = Callable[..., Server]
SHOTS = os.environ.get("WBCDET_SCREENSHOTS")


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("page"), FIELDS, "--group-by", "folder")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM)
        sync_api.expect.set_options(timeout=20_000)  # a busy machine
        yield running
        running.close()


@pytest.fixture
def report(counted: Path, tmp_path: Path) -> Path:
    """Return the counted report, not reviewed yet."""
    shutil.copytree(counted, tmp_path / "report")
    return tmp_path / "report"


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start servers; none outlives its test."""
    started: list[Server] = []

    def start(*arguments: object) -> Server:
        started.append(Server(*arguments))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.kill()


class Page:
    """A tab on the review page; what goes wrong in it fails the test."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.wrong: list[str] = []
        self.tab = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **options})
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.goto(url)
        self.tab.wait_for_selector(".tile.focus")

    def knows(self, server: Server) -> None:
        """As when a program that was started opens its address, with its token, in this browser."""
        assert self.tab.request.get(server.url).ok

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def says(self, text: str) -> None:
        sync_api.expect(self.tab.locator("#says")).to_contain_text(text)

    def progress(self, text: str) -> None:
        sync_api.expect(self.tab.locator("#progress-text")).to_contain_text(text)

    def focus(self) -> str:
        return str(self.tab.locator(".tile.focus").get_attribute("data-key"))

    def count(self, label: str) -> int:
        return int(self.tab.locator(f"#classes [data-label='{label}'] b").inner_text())

    def reviewed(self, label: str) -> int:
        row = self.tab.locator("#differential tr", has_text=re.compile(f"^{label}")).first
        return int(row.locator("td").nth(1).locator(".count").inner_text())

    def shot(self, name: str) -> None:
        if SHOTS:
            self.tab.wait_for_timeout(400)
            self.tab.screenshot(path=f"{SHOTS}/{name}.png")

    def close(self) -> None:
        assert self.wrong == []
        self.tab.close()


def test_a_review_from_start_to_signature(report: Path, browser: Any, serve: Serve) -> None:
    server = serve(report, "--reviewer", "Ann Example")
    page = Page(browser, server.url)
    page.progress(f"0 of {CELLS} reviewed")
    open_, neutrophils = page.count("unclassified"), page.count("neutrophil")
    assert open_ > 100 and page.reviewed("neutrophil") == neutrophils
    # Only what is in sight is in the page.
    assert page.tab.locator(".tile").count() < 250
    assert page.tab.locator(".head b").first.inner_text() == "unclassified"
    page.shot("gallery")

    # By key: each press names the cell in focus and goes to the next.
    first = page.focus()
    page.press("n")
    assert page.focus() != first
    page.press("b", "Space", "ArrowRight", "Shift+ArrowRight", "Shift+ArrowRight", "a")
    page.says("3 cells: artefact")
    page.progress(f"6 of {CELLS} reviewed")
    assert page.count("unclassified") == open_ - 5 and page.count("artefact") == 3
    assert page.reviewed("neutrophil") == neutrophils + 1 and page.reviewed("basophil") == 1
    page.press("Control+z")
    page.says("Undone: 3 cells")
    assert page.count("artefact") == 0
    page.press("Control+z", "Control+z", "Control+y")
    page.says("Redone: 1 cell")
    page.progress(f"2 of {CELLS} reviewed")

    # Another tab sees it, and neither overwrites the other.
    other = Page(browser, server.url)
    other.progress(f"2 of {CELLS} reviewed")
    other.press("e")
    page.progress(f"3 of {CELLS} reviewed")
    other.close()

    # A label of one's own, a false cell, and one that was missed.
    page.press("Home", "o")
    page.tab.keyboard.type("Plasma cell")
    page.press("Enter")
    page.says("1 cell: plasma cell")
    page.press("o")
    page.tab.keyboard.type("Debris")
    page.press("Enter")
    page.says("1 cell: artefact")
    page.press("Control+z")
    page.says("Undone: 1 cell")
    page.press("Delete")
    page.says("1 cell: deleted")
    page.progress(f"4 of {CELLS - 1} reviewed")
    page.press("Enter")
    tile = page.tab.locator("#tiles img").first
    sync_api.expect(tile).to_have_js_property("naturalWidth", 320)
    page.shot("field")
    page.press("d")
    view = page.tab.locator("#view").bounding_box()
    assert view is not None
    x, y = view["x"] + view["width"] / 2, view["y"] + view["height"] / 2
    page.tab.mouse.move(x - 60, y - 50)
    page.tab.mouse.down()
    page.tab.mouse.move(x, y)
    page.tab.mouse.move(x + 60, y + 50)
    page.tab.mouse.up()
    page.shot("drawing")
    page.press("l")
    page.says("Missed cell added: lymphocyte")
    page.progress(f"5 of {CELLS} reviewed")
    page.press("ArrowRight", "ArrowDown", "+", "0", "x", "x", "Escape")
    assert page.tab.locator("#gallery").is_visible()

    # Killed and started over: the page in the browser goes on by itself.
    port = server.port
    server.kill()
    sync_api.expect(page.tab.locator("#banner")).to_contain_text("does not answer", timeout=15000)
    page.press("b")  # shown at once, and taken back, as nobody keeps it
    sync_api.expect(page.tab.locator("#classes [data-label='basophil'] b")).to_have_text("1")
    server = serve(report, "--port", port, "--reviewer", "Ann Example")
    page.knows(server)
    sync_api.expect(page.tab.locator("#banner")).to_be_hidden(timeout=15000)
    again = Page(browser, server.url)
    again.progress(f"5 of {CELLS} reviewed")
    assert again.count("plasma cell") == 1 and again.count("deleted") == 1
    page.close()

    # Sign-off asks for the unclassified first.
    again.tab.click("#sign-button")
    again.tab.wait_for_selector("#sign-open:not([hidden])")
    assert again.tab.locator("#sign-go").is_disabled()
    again.tab.click("#sign-show")
    again.press("Control+a", "m")
    again.says("cells: monocyte")
    again.tab.click("#sign-button")
    again.tab.fill("#sign-note", "Slide 2 is thick")
    again.shot("sign-off")
    again.tab.click("#sign-go")
    sync_api.expect(again.tab.locator("#sign-error")).to_have_text("Signed.", timeout=60000)
    again.press("Escape")
    sync_api.expect(again.tab.locator("#signed")).to_contain_text("Signed by Ann Example")
    again.close()

    entry = json.loads((report / "review-log.jsonl").read_text())
    assert entry["name"] == "Ann Example" and entry["note"] == "Slide 2 is thick"
    table = rows(report / "reviewed" / "cells.csv")
    assert len(table) == CELLS  # one deleted, one drawn
    labels = [row["label"] for row in table]
    assert labels.count("plasma cell") == 1 and "unclassified" not in labels
    assert len(rows(report / "cells.csv")) == CELLS
    assert {row["by"] for row in rows(report / "reviewed" / "changes.csv")} == {"Ann Example"}


def test_mouse_slides_and_names(report: Path, browser: Any, serve: Serve) -> None:
    server = serve(report, "--reviewer", "Ann")
    page = Page(browser, server.url)
    tiles = page.tab.locator(".tile")
    tiles.nth(0).click()
    tiles.nth(2).click(modifiers=["Control"])
    assert page.tab.locator("#count").inner_text() == "2 selected:"
    tiles.nth(4).click(modifiers=["Shift"])
    assert page.tab.locator("#count").inner_text() == "3 selected:"
    tiles.nth(3).drag_to(page.tab.locator("#classes [data-label='eosinophil']"))
    page.says("3 cells: eosinophil")
    page.tab.select_option("#slide", label="boris")
    page.progress(f"of {CELLS // 2} reviewed")
    page.tab.click("#classes [data-label='lymphocyte']")
    assert page.tab.locator(".head b").all_inner_texts() == ["lymphocyte"]
    page.press("]")
    assert page.tab.locator(".head b").all_inner_texts() == ["monocyte"]
    page.press("End")
    assert int(page.tab.locator(".tile.focus").get_attribute("aria-posinset")) > 100
    page.press("Home", "+", "+", "PageDown", "-", "?")
    assert page.tab.locator("#help").is_visible()
    page.press("Escape")
    # A click gives the keys back: Space confirms the next cell, and does not click again.
    before = page.count("basophil"), page.count("eosinophil")
    page.tab.click("#classes [data-label='eosinophil']")
    page.tab.click("#actions [data-label='basophil']")
    page.says("1 cell: basophil")
    page.press("Space")
    page.says("1 cell confirmed")
    assert (page.count("basophil"), page.count("eosinophil")) == (before[0] + 1, before[1] - 1)
    page.tab.locator("#actions [data-label='basophil']").focus()
    page.press("Space")  # as one who goes by Tab means it
    page.says("1 cell: basophil")
    for control in ("#zoom", "#only-open", "#undo"):
        page.tab.locator(control).click()
        assert page.tab.evaluate("document.activeElement.id") == "gallery"
    # Nor does a letter choose another slide.
    page.tab.evaluate("document.body.dispatchEvent(new Event('pointerdown', { bubbles: true }))")
    page.tab.select_option("#slide", label="anna")
    assert page.tab.evaluate("document.activeElement.id") == "gallery"
    page.tab.fill("#who", "")
    page.tab.locator("#gallery").focus()
    page.press("n")  # who is it?
    assert page.tab.locator("#ask").is_visible()
    page.tab.keyboard.type("Bob")
    page.press("Enter")
    page.says("1 cell: neutrophil")
    page.close()


def test_the_next_report_on_the_same_port(report: Path, browser: Any, serve: Serve) -> None:
    """A tab that stayed open shows the new report, by the new name; here one without a cell."""
    server = serve(report)
    page = Page(browser, server.url)
    page.tab.fill("#who", "Ann")
    page.tab.locator("#gallery").focus()
    page.press("n")
    page.says("1 cell: neutrophil")
    shutil.copytree(report, report.parent / "empty", ignore=shutil.ignore_patterns("review*"))
    results = report.parent / "empty" / "results.json"
    document = json.loads(results.read_text())
    for field in document["fields"]:
        field["cells"] = []
    results.write_text(json.dumps(document))
    server.kill()
    page.knows(serve(results.parent, "--port", server.port, "--reviewer", "Bob"))
    sync_api.expect(page.tab.locator("#title")).to_have_text("empty", timeout=15000)
    sync_api.expect(page.tab.locator("#who")).to_have_value("Bob")
    page.tab.select_option("#slide", label="boris")
    page.tab.locator("#gallery").focus()
    page.press("d")
    sync_api.expect(page.tab.locator("#field-name")).to_contain_text("boris/")
    page.press("l")
    page.says("Missed cell added: lymphocyte")
    page.progress("1 of 1 reviewed")
    page.tab.reload()
    sync_api.expect(page.tab.locator("#who")).to_have_value("Bob")
    page.tab.wait_for_selector(".tile.focus")
    page.tab.fill("#who", "Eve")
    page.tab.locator("#gallery").focus()
    page.press("m")
    page.says("1 cell: monocyte")
    page.tab.reload()  # what was typed here since the start counts
    sync_api.expect(page.tab.locator("#who")).to_have_value("Eve")
    page.close()


def test_nuclei_outside_the_boxes_are_marked(report: Path, browser: Any, serve: Serve) -> None:
    results = report / "results.json"
    document = json.loads(results.read_text())
    field = next(field for field in document["fields"] if len(field["cells"]) > 1)
    missed = field["cells"].pop()
    group = field.get("group", "all")
    slide = next(slide for slide in document["slides"] if slide["group"] == group)
    nucleus = {"file": field["file"], "box": missed["box"]}
    slide["ground"]["nuclei"] = {"in_boxes": 20, "outside": [nucleus]}
    results.write_text(json.dumps(document))
    page = Page(browser, serve(report, "--reviewer", "Ann").url)
    tab = page.tab
    page.press("f")
    tab.click("[data-filter=missed]")
    card = tab.locator("#fields-list .card")
    assert card.count() == 1 and "1 nucleus outside the boxes" in card.inner_text()
    card.click()
    mark = tab.locator("#boxes .nucleus")
    sync_api.expect(mark).to_have_count(1)
    assert "missed?" in tab.locator("#boxes text").all_text_contents()
    page.shot("missed")
    # Drawn, it is a cell, and no longer missed.
    box = mark.bounding_box()
    page.press("d")
    tab.mouse.move(box["x"], box["y"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"], box["y"] + box["height"], steps=4)
    tab.mouse.up()
    page.press("l")
    page.says("Missed cell added: lymphocyte")
    sync_api.expect(mark).to_have_count(0)
    page.close()


def test_fields_light_and_boxes(report: Path, browser: Any, serve: Serve) -> None:
    results = report / "results.json"
    document = json.loads(results.read_text())
    (bare,) = (
        field for field in document["fields"] if field["file"].endswith("boris/field 003.png")
    )
    bare["cells"] = []
    document["fields"][5]["quality"] = {"problems": ["blurred"]}
    document["fields"][6] |= {"failure": "cut off", "cells": []}
    document.pop("slides", None)
    results.write_text(json.dumps(document))
    server = serve(report, "--reviewer", "Ann")
    page = Page(browser, server.url)
    tab = page.tab
    page.press("f", "n")  # what is typed here is a name, and names no cell
    cards = tab.locator("#fields-list .card")
    assert tab.locator("#fields-search").input_value() == "n"
    tab.fill("#fields-search", "boris 003")
    assert cards.count() == 1 and "no cell" in cards.inner_text()
    tab.fill("#fields-search", "")
    assert tab.locator("#fields-count").inner_text() == f"{FIELDS} fields"
    page.shot("fields")
    assert tab.locator("[data-filter=unlike]").is_hidden()
    tab.click("[data-filter=unread]")
    assert cards.count() == 1 and cards.is_disabled()
    tab.click("[data-filter=unread]")
    tab.click("[data-filter=quality]")
    assert cards.count() == 1 and "blurred" in cards.inner_text()
    tab.click("[data-filter=empty]")  # both
    assert cards.count() == 0 and "No field" in tab.locator("#fields-list").inner_text()
    tab.click("[data-filter=quality]")
    cards.first.click()
    sync_api.expect(tab.locator("#field-name")).to_contain_text("field 003.png")
    page.press("d", "b")
    page.says("Missed cell added: basophil")
    page.press("Escape")
    sync_api.expect(cards).to_have_count(0)  # it has a cell now
    page.press("Escape")
    assert tab.locator("#gallery").is_visible()

    # The box of a cell, by mouse and by key; undone and left as it was.
    page.press("Home", "Enter", "r")
    label = tab.locator("#field-says")
    x0, y0, x1, y1 = (float(tab.locator("#boxes .shaped").get_attribute(n)) for n in
                      ("x", "y", "width", "height"))  # fmt: skip
    view = tab.locator("#view").bounding_box()
    tab.mouse.move(view["x"] + x0 + x1 - 2, view["y"] + y0 + y1 - 2)  # its lower right corner
    tab.mouse.down()
    tab.mouse.move(view["x"] + x0 + x1 + 30, view["y"] + y0 + y1 + 20, steps=3)
    tab.mouse.up()
    assert float(tab.locator("#boxes .shaped").get_attribute("width")) == pytest.approx(x1 + 32)
    page.press("Enter")
    page.says("Box of cell")
    sync_api.expect(label).to_contain_text("box moved")
    page.press("Control+z")
    page.says("Undone: 1 cell")
    sync_api.expect(label).not_to_contain_text("box moved")
    page.press("r", "ArrowLeft", "Shift+ArrowDown", "Escape")
    assert tab.locator("#boxes .shaped").count() == 0 and tab.locator("#view").is_visible()
    page.press("r", "ArrowLeft", "n")  # a name keeps the box too
    page.says("1 cell: neutrophil")
    sync_api.expect(label).to_contain_text("box moved")

    # Light changes what is seen, here and in the gallery, until it is put back.
    tab.click("#light-button")
    tab.fill("#brightness", "150")
    look = "getComputedStyle(document.querySelector('#tiles')).filter"
    assert "brightness(1.5)" in tab.evaluate(look)
    tab.reload()
    tab.wait_for_selector(".tile.focus")
    assert "brightness(1.5)" in tab.evaluate(
        "getComputedStyle(document.querySelector('.tile img')).filter"
    )
    tab.click("#light-button")
    tab.click("#light-reset")
    assert tab.evaluate("getComputedStyle(document.querySelector('.tile img')).filter") == "none"
    page.close()


def test_what_the_dialog_does_not_say_is_not_signed(
    report: Path, browser: Any, serve: Serve
) -> None:
    """Somebody else changes a cell while a person reads what they are about to sign."""
    server = serve(report, "--reviewer", "Ann")
    page = Page(browser, server.url)
    tab = page.tab
    page.press("Control+a", "m")  # all that is unclassified, in bulk
    page.says("cells: monocyte")
    held: list[Any] = []
    tab.route("**/api/changes?since=1000000000*", lambda route: held.append(route))
    tab.click("#sign-button")
    sync_api.expect(tab.locator("#sign-form")).to_be_visible()
    tab.wait_for_timeout(300)
    sync_api.expect(tab.locator("#sign-go")).to_be_disabled()
    for route in held:
        route.continue_()
    tab.unroute("**/api/changes?since=1000000000*")
    sync_api.expect(tab.locator("#sign-state")).to_contain_text("left as the machine named them")
    sync_api.expect(tab.locator("#sign-go")).to_be_enabled()
    before = tab.locator("#sign-state").inner_text()
    news = server.ask("/api/changes")
    field, cell, _, _, seen, *_ = next(
        row for row in server.ask("/api/report")["cells"] if not row[3]
    )
    server.call("basophil", (field, cell), seen=seen, who="Bob")
    # The page behind the dialog has taken it over.
    reviewed = news["differential"]["cells"] - news["differential"]["unreviewed"] + 1
    page.progress(f"{reviewed} of {CELLS} reviewed")
    tab.click("#sign-go")
    sync_api.expect(tab.locator("#sign-error")).to_contain_text("a cell was changed meanwhile")
    sync_api.expect(tab.locator("#sign-state")).not_to_have_text(before)
    assert not (report / "reviewed").exists()
    tab.click("#sign-go")
    sync_api.expect(tab.locator("#sign-error")).to_have_text("Signed.", timeout=60000)
    page.close()


def test_a_moved_box_is_signed(report: Path, browser: Any, serve: Serve) -> None:
    server = serve(report, "--reviewer", "Ann")
    page = Page(browser, server.url)
    tab = page.tab
    page.press("Control+a", "m")  # all that is unclassified, in bulk
    page.says("cells: monocyte")
    tab.select_option("#slide", label="anna")
    page.progress(f"of {CELLS // 2} reviewed")
    tab.locator("#gallery").focus()
    page.press("Home", "Enter", "r")
    key = tab.locator("#field-name").inner_text().split(" (")[0]
    page.press("ArrowRight", "ArrowRight", "ArrowDown", "Shift+ArrowRight", "Enter")
    page.says("Box of cell")
    tab.click("#sign-button")
    sync_api.expect(tab.locator("#sign-slide")).to_have_value("anna")
    tab.click("#sign-go")
    sync_api.expect(tab.locator("#sign-error")).to_have_text("Signed.", timeout=60000)
    page.press("Escape")

    (moved,) = (r for r in rows(report / "reviewed" / "changes.csv") if r["box"] == "moved")
    assert moved["file"] == key
    box = [float(moved[side]) for side in ("x_min", "y_min", "x_max", "y_max")]
    document = json.loads((report / "reviewed" / "results.json").read_text())
    (field,) = (field for field in document["fields"] if field["file"] == key)
    (cell,) = (cell for cell in field["cells"] if str(cell["id"]) == moved["id"])
    machine = json.loads((report / "results.json").read_text())
    (before,) = (field for field in machine["fields"] if field["file"] == key)
    (was,) = (cell for cell in before["cells"] if str(cell["id"]) == moved["id"])
    assert cell["box"] == box and was["box"] != box and box[0] > was["box"][0]
    # The sheet of the slide that was signed says how its own cells were looked at, not others.
    sheet = (report / "reviewed" / "report.html").read_text()
    bulk = sum(r["how"] == "in bulk" for r in rows(report / "reviewed" / "changes.csv")
               if r["file"].startswith(str(Path(key).parent)))  # fmt: skip
    assert f"{CELLS // 2} cells: {bulk} confirmed together with others" in sheet
    assert sheet.count("Reviewed and signed by Ann") == 1 and sheet.count("Not signed.") == 1
    server.kill()
    done = subprocess.run(
        [sys.executable, "-m", "wbcdet", "review", str(report), "--check"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page.close()


def test_on_a_telephone(report: Path, browser: Any, serve: Serve) -> None:
    """The cells have the page, and every bar scrolls sideways."""
    server = serve(report, "--reviewer", "Ann")
    page = Page(
        browser, server.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    tab = page.tab
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.locator("#gallery").bounding_box()["height"] > 300
    assert tab.locator("#sign-button").bounding_box()["x"] < 390 - 40
    # The hints name the keys also where the buttons do not.
    tab.evaluate("document.getElementById('help-button').click()")
    assert "(Shift: size)" in tab.locator("#help").inner_text()
    page.press("Escape")
    tab.locator(".tile").nth(1).tap()
    tab.locator("#actions [data-label='basophil']").tap()
    page.says("1 cell: basophil")
    tab.locator("#fields-button").tap()
    sync_api.expect(tab.locator("#fields-list .card").first).to_be_visible()
    assert tab.locator("#fields-list").bounding_box()["height"] > 300
    tab.locator("#fields-search").press("Escape")  # nothing typed: back to the gallery
    assert tab.locator("#gallery").is_visible()
    page.close()


def test_the_page_of_two_readers(report: Path, browser: Any, serve: Serve) -> None:
    first = serve(report, "--reviewer", "Ann")
    second = serve(report, "--second", "--reviewer", "Bob")
    first.call("monocyte", (0, 0), (0, 1))
    second.call("monocyte", (0, 0), who="Bob")
    second.call("blast", (0, 1), who="Bob")
    second.ask("/api/draw", {"who": "Bob", "field": 1, "box": [3, 3, 30, 30], "label": "blast"})
    blind = Page(browser, second.url)
    assert blind.tab.locator("#second").is_visible()
    assert blind.tab.locator("#sign-button").is_hidden()
    assert blind.tab.locator("#readers-link").is_hidden()
    blind.close()
    page = Page(browser, first.url, viewport={"width": 820, "height": 1180})
    page.tab.click("#readers-link")
    cards = page.tab.locator(".differs")
    sync_api.expect(cards).to_have_count(2)
    kappa = page.tab.locator(".figure b").nth(2).inner_text()
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 820
    cards.nth(0).get_by_role("button", name="blast").click()
    sync_api.expect(cards.nth(0)).to_contain_text("✓ in the report: blast")
    assert page.tab.locator(".figure b").nth(2).inner_text() == kappa
    cards.nth(1).get_by_role("button", name="blast").click()
    sync_api.expect(cards.nth(1)).to_contain_text("✓ in the report: blast")
    assert page.tab.locator(".figure b").nth(2).inner_text() == kappa
    cards.nth(0).get_by_role("link").click()
    sync_api.expect(page.tab.locator("#field-says")).to_contain_text("blast; machine")
    page.close()


def test_on_a_tablet(report: Path, browser: Any, serve: Serve) -> None:
    server = serve(report, "--reviewer", "Ann")
    page = Page(
        browser, server.url, viewport={"width": 820, "height": 1180}, has_touch=True, is_mobile=True
    )
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= 820
    page.tab.locator("#several").tap()
    for number in (0, 1, 3):
        page.tab.locator(".tile").nth(number).tap()
    page.shot("tablet")
    cut = (
        "node => node.scrollWidth > node.clientWidth + 1"
        " || node.getBoundingClientRect().right > 820"
    )
    for button in page.tab.locator("button:visible").all():
        assert not button.evaluate(cut), button.inner_text()
    page.tab.locator("#actions [data-label='basophil']").tap()
    page.says("3 cells: basophil")
    assert page.count("basophil") == 3
    page.close()


#: Texts of the differential that lie over one another.
OVERLAID = """() => {
  const nodes = [...document.querySelectorAll("#differential :is(b, .count, small)")];
  const texts = nodes.map((node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return [node.textContent, range.getBoundingClientRect()];
  });
  const over = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]);
  return texts.flatMap(([name, a], at) => texts.slice(at + 1)
    .filter(([, b]) => over(a, b, "left", "right") > 1 && over(a, b, "top", "bottom") > 3)
    .map(([other]) => `${name}: ${other}`));
}"""


def test_an_enlarged_page(report: Path, browser: Any, serve: Serve) -> None:
    """At 200 % the field had no height and its bars lay on the numbers; at 1280 px "Sign off" lay
    outside the window, at 1000 counts on the percentages beside them."""
    page = Page(browser, serve(report, "--reviewer", "Ann").url)
    tab = page.tab
    for width, height in ((1280, 720), (1000, 700), (700, 450)):
        tab.set_viewport_size({"width": width, "height": height})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        button = tab.locator("#sign-button").bounding_box()
        assert button["x"] + button["width"] <= width
        assert tab.evaluate(OVERLAID) == []
        assert tab.locator("#gallery").bounding_box()["height"] > 180
        page.press("Enter")
        assert tab.locator("#view").bounding_box()["height"] > 150
        page.press("Escape")
    # What tells types and pressed buttons apart stays in a scheme of few colours.
    tab.emulate_media(forced_colors="active")
    ground = "node => getComputedStyle(node).backgroundColor"
    assert tab.locator("#classes [data-label=monocyte] i").evaluate(ground) == "rgb(240, 228, 66)"
    pressed, other = (tab.locator(f"#classes [data-label='{one}']") for one in ("", "monocyte"))
    assert pressed.evaluate(ground) != other.evaluate(ground)
    page.close()


def test_names_are_text(report: Path, browser: Any, serve: Serve) -> None:
    """A field or slide whose name is markup stays a name."""
    evil = "<img src=x onerror=alert(1)>"
    text = (report / "results.json").read_text()
    document = json.loads(text)
    for number, field in enumerate(document["fields"]):
        field["file"], field["group"] = f"{evil}{number}.png", evil
    (report / "results.json").write_text(json.dumps(document))
    shutil.rmtree(report / "journal")
    server = serve(report)
    page = Page(browser, server.url)
    assert page.tab.locator("#slide option").nth(1).inner_text() == evil
    page.press("Enter")
    sync_api.expect(page.tab.locator("#field-name")).to_contain_text(evil)
    sync_api.expect(page.tab.locator("#view-note")).to_contain_text("--pictures")
    assert page.tab.locator("img[src=x]").count() == 0
    page.close()
