"""Reports and pages in Chromium, in each language: nothing that has a translation stays English."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import polib
import pytest
from conftest import REPOSITORY
from counting import Count
from drawn_slides import UM, Drawn, whole_zone
from reviewing import Server, make_report
from serving import CHROMIUM, Served
from streaming import frame_at
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.synthetic import render_field
from wbcdet.datasets.synthetic.slide import write_pyramid
from wbcdet.utils.words import choose

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="pages are driven by playwright: pip install wbcdet[test]"
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="pages need a browser: apt-get install chromium"
)

#: Language, what a browser calls it, and the word for neutrophil.
LANGUAGES = [("ru", "ru-RU", "нейтрофил"), ("es", "es-MX", "neutrófilo")]
SHOTS = os.environ.get("WBCDET_SCREENSHOTS")
#: Every text of a tab that can be read or heard, except code.
TEXTS = """() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (!node.parentElement.closest("script, style, kbd, code")) found.push(node.data);
  }
  for (const name of ["title", "aria-label", "placeholder", "alt", "data-ask"]) {
    for (const node of document.querySelectorAll(`[${name}]`)) found.push(node.getAttribute(name));
  }
  return found.map((text) => text.trim().replace(/\\s+/g, " ")).filter(Boolean);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM)
        yield running
        running.close()


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of a drawn field each, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("fields")
    for number, name in enumerate(("anna", "boris")):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / "1.png"), render_field(number, 640, 480).pixels)
    (folder / "boris" / "2.png").write_bytes(b"no picture")
    return folder


def english(language: str, texts: list[str]) -> list[str]:
    """Return texts that are still English though the language has words for them."""
    path = REPOSITORY / "wbcdet" / "utils" / "words" / f"{language}.po"
    known = []
    for entry in polib.pofile(str(path)):
        for text in filter(None, (entry.msgid, entry.msgid_plural)):
            if entry.msgstr != text:  # some words are the same
                numbers = re.sub(r"\\{(n|total|target|cells|done)\\}", r"[\\d.]+", re.escape(text))
                known.append(re.compile(re.sub(r"\\{\w+\\}", ".+", numbers)))
    return [text for text in texts if any(pattern.fullmatch(text) for pattern in known)]


def look(tab: Any, language: str, name: str) -> list[str]:
    texts: list[str] = tab.evaluate(TEXTS)
    if SHOTS:
        tab.screenshot(path=f"{SHOTS}/{name}-{language}.png", full_page=name == "report")
    assert english(language, texts) == []
    assert tab.evaluate("document.documentElement.lang") == language
    return texts


@pytest.mark.parametrize(("language", "tag", "word"), LANGUAGES)
def test_a_report(
    fields: Path, tmp_path: Path, browser: Any, language: str, tag: str, word: str
) -> None:
    out = tmp_path / "out"
    try:
        done = CliRunner().invoke(
            app, ["count", str(fields), "--out", str(out), "--language", language, "--dedupe",
                  "--target", "400", "--quiet", "--group-by", "folder"],
        )  # fmt: skip
    finally:
        choose(None)
    assert done.exit_code == 1, done.output  # one could not be read
    tab = browser.new_page(viewport={"width": 1000, "height": 900})
    tab.goto((out / "report.html").as_uri())
    assert any(word in text for text in look(tab, language, "report"))
    tab.close()
    # What programs read is the same in every language.
    assert "neutrophil" in (out / "differential.csv").read_text(encoding="utf-8")
    assert word not in (out / "results.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(("language", "tag", "word"), LANGUAGES)
def test_the_review_page(tmp_path: Path, browser: Any, language: str, tag: str, word: str) -> None:
    server = Server(make_report(tmp_path, 2, "--group-by", "folder"), "--reviewer", "Ann Example")
    try:
        tab = browser.new_page(viewport={"width": 1400, "height": 900}, locale=tag)
        wrong: list[str] = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(server.url)
        tab.wait_for_selector(".tile.focus")
        assert any(word in text for text in look(tab, language, "review"))
        for key, name in (("Space", "confirmed"), ("Enter", "field"), ("f", "fields")):
            tab.keyboard.press(key)
            tab.wait_for_timeout(300)
            look(tab, language, name)
        tab.keyboard.press("Escape")
        for key in ("Control+z", "Control+z", "Control+y", "Control+y"):
            tab.evaluate("document.getElementById('says').textContent = ''")
            tab.keyboard.press(key)
            sync_api.expect(tab.locator("#says")).not_to_be_empty()
            look(tab, language, key)
        tab.click("#sign-button")
        tab.wait_for_selector("#sign[open]")
        tab.wait_for_timeout(300)
        look(tab, language, "sign")
        assert wrong == []
        tab.close()
    finally:
        server.kill()


@pytest.mark.parametrize(("language", "tag", "word"), LANGUAGES)
def test_the_live_page(tmp_path: Path, browser: Any, language: str, tag: str, word: str) -> None:
    watched = tmp_path / "camera"
    watched.mkdir()
    cv2.imwrite(str(watched / "1.png"), frame_at(0, 0))
    live = Served("stream", watched, "--out", tmp_path / "out", "--serve", "--port", 0,
                  "--language", language)  # fmt: skip
    try:
        tab = browser.new_page(viewport={"width": 1200, "height": 900}, locale=tag)
        tab.goto(live.url)
        tab.wait_for_selector("#shares tr")
        assert any(word in text for text in look(tab, language, "live"))
        tab.close()
    finally:
        live.kill()


@pytest.mark.parametrize(("language", "tag", "word"), LANGUAGES)
def test_the_map_of_a_slide(
    tmp_path: Path,
    browser: Any,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    tag: str,
    word: str,
) -> None:
    pytest.importorskip("openslide", reason="pip install 'wbcdet[slides]'")
    write_pyramid(Drawn(cells=12), tmp_path / "slide.tif", levels=(1, 4))
    zone = whole_zone(tmp_path / "zone.geojson")
    count = Count(monkeypatch, tmp_path)
    done = count("slide.tif", "--um-per-px", UM, "--zone", zone, "--out", "report", "--quiet")
    assert done.exit_code == 0, done.output
    server = Server(tmp_path / "report", "--reviewer", "Ann Example")
    try:
        tab = browser.new_page(viewport={"width": 1100, "height": 800}, locale=tag)
        tab.goto(server.url)
        tab.goto(server.url.split("#")[0].split("?")[0].rstrip("/") + "/map")
        tab.wait_for_selector("#types button")
        tab.wait_for_timeout(500)
        assert any(word in text for text in look(tab, language, "map"))
        tab.close()
    finally:
        server.kill()


def test_a_language_that_is_asked_for_goes_before_the_browsers(
    tmp_path: Path, browser: Any
) -> None:
    server = Server(
        make_report(tmp_path, 2, "--group-by", "folder"),
        "--reviewer",
        "Ann Example",
        "--language",
        "es",
    )
    try:
        tab = browser.new_page(locale="ru-RU")
        tab.goto(server.url)
        tab.wait_for_selector(".tile.focus")
        look(tab, "es", "asked")
        tab.close()
    finally:
        server.kill()
