"""The map of a slide on the review page: its tiles, and in a real browser."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import Count
from drawn_slides import HIGH, UM, WIDE, Drawn, whole_zone
from PIL import Image
from reviewing import Server
from serving import CHROMIUM

from wbcdet.batch import slides as slides_module
from wbcdet.datasets.synthetic.slide import write_pyramid, write_tiles

pytest.importorskip("openslide", reason="pip install 'wbcdet[slides]'")
pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn(cells=12)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, drawn: Drawn) -> Path:
    """Return a report of a pyramid, and of the same slide as tiles, beside both."""
    folder = tmp_path_factory.mktemp("map")
    write_pyramid(drawn, folder / "pyramid.tif", levels=(1, 4))
    write_tiles(drawn, folder / "tiles", side=900, overlap=120)
    zone = whole_zone(folder / "zone.geojson")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slides_module, "CORE", 700)
        count = Count(patch, folder)
        slides = ("pyramid.tif", "tiles", "--um-per-px", UM)
        done = count(*slides, "--zone", zone, "--out", "report", "--quiet")
        assert done.exit_code == 0, done.output
    return folder / "report"


@pytest.fixture(scope="module")
def server(report: Path) -> Iterator[Server]:
    running = Server(report, "--reviewer", "Ann")
    yield running
    running.kill()


def picture(server: Server, path: str) -> np.ndarray:
    status, headers, data = server.request(path)
    assert status == 200, data
    assert headers["content-type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(data)))[:, :, ::-1]


@pytest.mark.parametrize("number", [0, 1])
def test_tiles_are_those_of_the_slide(number: int, server: Server, drawn: Drawn) -> None:
    status, headers, data = server.request(f"/slide/{number}.dzi?mark={server.mark}")
    assert status == 200 and headers["content-type"].startswith("application/xml")
    assert f'Width="{WIDE}" Height="{HIGH}"'.encode() in data
    side = int(re.search(rb'TileSize="(\d+)"', data)[1])  # type: ignore[index]
    last = 12  # 2 ** 12 is the first power of two that holds 2200 px
    for level in (last, last - 1, last - 2):
        by = 2 ** (last - level)
        wide, high = -(-WIDE // by), -(-HIGH // by)
        rows = []
        for row in range(-(-high // side)):
            place = f"/slide/{number}_files/{level}"
            columns = range(-(-wide // side))
            rows.append(np.hstack([picture(server, f"{place}/{c}_{row}.jpeg") for c in columns]))
        whole = np.vstack(rows)
        assert whole.shape == (high, wide, 3)
        wanted = drawn.read(0, 0, wide, high, by).astype(int)
        assert np.abs(whole.astype(int) - wanted).mean() < 6


def test_a_slide_without_levels_is_shown_from_afar(server: Server) -> None:
    """From the picture that the report keeps: all of the slide is not read for it."""
    far = picture(server, "/slide/1_files/6/0_0.jpeg")
    near = picture(server, "/slide/0_files/6/0_0.jpeg")
    assert far.shape == near.shape == (29, 35, 3)
    assert np.abs(far.astype(int) - near).mean() < 20


@pytest.mark.parametrize(
    "path",
    ["/slide/2.dzi", "/slide/0_files/12/9_0.jpeg", "/slide/0_files/13/0_0.jpeg",
     "/slide/0_files/99/0_0.jpeg", "/slide/0_files/12/0_99999999999.jpeg",
     "/slide/0_files/12/-1_0.jpeg", "/slide/-1.dzi", "/slide/0.dzi?mark=another"],
)  # fmt: skip
def test_what_is_not_there(path: str, server: Server) -> None:
    status, _, data = server.request(path)
    assert status in (404, 422) and b"Traceback" not in data


def test_what_the_page_knows(server: Server, drawn: Drawn) -> None:
    slides: Any = server.ask("/api/slides")
    assert [slide["name"].rsplit("/")[-1] for slide in slides] == ["pyramid.tif", "tiles"]
    for slide in slides:
        assert (slide["width"], slide["height"], slide["um_per_px"]) == (WIDE, HIGH, UM)
        assert slide["problem"] is None and len(slide["parts"]) > 4


def test_a_slide_that_has_gone_keeps_its_cells(report: Path, tmp_path: Path) -> None:
    slide = report.parent / "tiles"
    shutil.copytree(report, tmp_path / "report")  # another review has the report open
    slide.rename(tmp_path / "away")
    server = Server(tmp_path / "report")
    try:
        one: Any = server.ask("/api/slides")
        assert one[0]["problem"] is None
        assert "tiles" in one[1]["problem"] and "\n" not in one[1]["problem"]
        assert one[1]["parts"]
        assert server.request("/slide/1_files/12/0_0.jpeg")[0] == 404
    finally:
        server.kill()
        (tmp_path / "away").rename(slide)


def test_a_field_of_a_slide_without_scale_is_shown(server: Server, report: Path) -> None:
    """The scale that was said at the count is not asked for again."""
    fields = server.ask("/api/report")["fields"]
    number = next(n for n, field in enumerate(fields) if field["file"].startswith("tiles#"))
    assert server.request(f"/tile/{number}/0/0/0")[0] == 200


@pytest.mark.skipif(CHROMIUM is None, reason="the page needs a browser: apt-get install chromium")
def test_a_click_on_a_cell_opens_it(server: Server, drawn: Drawn) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install 'wbcdet[test]'")
    sync_api.expect.set_options(timeout=20_000)  # a busy machine
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        tab = browser.new_page(viewport={"width": 1200, "height": 800})
        wrong: list[str] = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        tab.goto(server.url)
        tab.wait_for_selector(".tile.focus")
        tab.locator("#map-link").click()
        sync_api.expect(tab.locator("#counted")).to_contain_text("12 cells, parts of the slide:")
        tab.wait_for_url(re.compile("/map#cell="))
        tab.wait_for_selector("#scale-bar[style]")
        tab.locator("#zoom-fit").click()
        tab.wait_for_timeout(1200)
        shot(tab, "map")
        place = mark_in_sight(tab)
        tab.mouse.move(*place)
        sync_api.expect(tab.locator("#hint")).to_contain_text("cell")
        named = tab.locator("#hint").inner_text()
        tab.mouse.click(*place)
        tab.wait_for_selector("#field:not([hidden])")
        number = re.search(r"cell (\d+)", named)[1]  # type: ignore[index]
        focus = tab.locator("#field-about, #field").first
        sync_api.expect(focus).to_contain_text(number)
        shot(tab, "from-map")
        # Types that are switched off are not marked.
        tab.goto(f"http://127.0.0.1:{server.port}/map")
        tab.wait_for_selector("#types button")  # they come with the report
        for button in tab.locator("#types button").all():
            button.click()
        tab.wait_for_timeout(300)
        assert mark_in_sight(tab) is None
        # The other slide.
        tab.select_option("#slide", "1")
        tab.wait_for_timeout(800)
        assert wrong == []
        browser.close()


#: The middle of a mark on the canvas, in pixels of the page.
_FIND = """() => {
  const canvas = document.getElementById("marks"), at = canvas.getBoundingClientRect();
  const { width, height } = canvas, by = width / at.width;
  const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
  for (let place = 3; place < data.length; place += 4) {
    if (data[place] < 250) continue;
    const x = (place - 3) / 4 % width, y = Math.floor((place - 3) / 4 / width);
    if (data[(y * width + x - 30) * 4 + 3] || x < 40) continue;
    return [at.left + x / by, at.top + y / by + 4];
  }
  return null;
}"""


def mark_in_sight(tab: Any) -> tuple[float, float] | None:
    # The lines of the zone are no marks.
    tab.locator("#show-zone").uncheck()
    tab.wait_for_timeout(200)
    found = tab.evaluate(_FIND)
    return tuple(found) if found else None


def shot(tab: Any, name: str) -> None:
    if folder := os.environ.get("WBCDET_SCREENSHOTS"):
        tab.screenshot(path=f"{folder}/{name}.png")
