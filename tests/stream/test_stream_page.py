"""The live page in a real browser, and its server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from conftest import REPOSITORY, make_cell
from fastapi.testclient import TestClient
from serving import CHROMIUM, Served
from streaming import frame_at, raster
from test_stream_count import counted, events

from wbcdet.differential.differential import differential_of
from wbcdet.differential.reference_ranges import read_ranges
from wbcdet.records import CellType
from wbcdet.report.html.slide_sheet import _line
from wbcdet.review import counts as review_counts
from wbcdet.stream.display.base import Relabel, Status
from wbcdet.stream.display.terminal import describe
from wbcdet.stream.display.web import make_app, to_json
from wbcdet.stream.runner import Runner


class Live(Served):
    """A stream of a folder that pictures are put into, served on a page."""

    def __init__(self, folder: Path) -> None:
        self.watched, self.out = folder / "camera", folder / "out"
        self.watched.mkdir()
        self._number = 0
        self.add((0, 0))
        super().__init__(
            "stream", self.watched, "--out", self.out, "--serve", "--port", 0, "--target", 20
        )

    def add(self, *places: tuple[int, int]) -> None:
        for place in places:
            # Renamed when written, as cameras do that fill a folder.
            part = self.watched / "part.tmp"
            part.write_bytes(cv2.imencode(".png", frame_at(*place))[1].tobytes())
            part.rename(self.watched / f"{self._number:04}.png")
            self._number += 1

    def status(self) -> dict[str, Any]:
        return self.ask("/status")

    def wait(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + 40
        while time.monotonic() < end:
            status = self.status()
            if what(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"never came: {status}")

    def settled(self) -> int:
        """Return the count, when no frame has come in for a while."""
        last, since = self.status(), time.monotonic()
        while time.monotonic() - since < 3:
            now = self.status()
            # Every frame has a lag of its own, also one without another cell.
            if any(now[key] != last[key] for key in ("classified", "lag_s")):
                last, since = now, time.monotonic()
            time.sleep(0.1)
        return int(last["classified"])


def test_reasons_and_unknown_ground_are_part_of_the_status() -> None:
    cells = [make_cell(n) for n in range(8)]
    for reason in ("blast-like", "low-score", "artefact"):
        cells.append(make_cell(9, label=CellType.UNCLASSIFIED, reason=reason))
    status = Status(1, differential_of(cells), ground="unlike what the models were trained on: x")
    page = to_json(status)
    assert [(reason["label"], reason["count"], reason["flag"]) for reason in page["reasons"]] == [
        ("blast-like", 1, "present"),
        ("low-score", 1, ""),
        ("artefact", 1, ""),
    ]
    assert page["white_cells"] == 10 and page["reasons"][0]["percent"] == 10
    assert page["ground"] == status.ground
    assert "1 blast-like" in describe(status) and "unlike the training" in describe(status)


def test_taught_types_on_the_live_page() -> None:
    """The reference range is of bands and other neutrophils together: 18 of 40 cells alone were
    within 39 to 75 %, where 90 % are neutrophils; a taught blast is looked at."""
    names = ["band"] * 18 + ["neutrophil"] * 18 + ["lymphocyte"] * 3 + ["blast"]
    tracks = [SimpleNamespace(label=n, reason=None, touches_edge=False, counts=True) for n in names]
    runner = SimpleNamespace(
        _session=SimpleNamespace(slide=SimpleNamespace(tracks=tracks)),
        _options=SimpleNamespace(target=None, ranges=read_ranges(), taught=()),
    )
    status = Status(1, Runner._count(runner))  # type: ignore[arg-type]
    page = to_json(status)
    shares = {share["label"]: share for share in page["shares"]}
    assert shares["neutrophil"]["range"] is None and shares["blast"]["flag"] == "present"
    [both] = page["together"]
    assert both["labels"] == ("neutrophil", "band") and both["flag"] == "high"
    assert (both["count"], both["percent"], both["range"]) == (36, 90, [39, 75])
    assert "(1 blast)" in describe(status)


def test_shares_are_rounded_alike_on_all_pages() -> None:
    """49 of 400 are 12.25 %: the sheet said 12.2, a browser rounds to 12.3."""
    cells = [make_cell(0, label=CellType.MONOCYTE)] * 49 + [make_cell(0)] * 351
    differential = differential_of(cells)
    [share] = [share for share in differential.shares() if share.label == "monocyte"]
    texts = {"percent_text": "12.2", "interval_text": share.interval_text}
    [live] = [row for row in to_json(Status(1, differential))["shares"] if row["count"] == 49]
    assert _line(share).percent == "12.2" and live.items() >= texts.items()
    assert review_counts._share(share).items() >= texts.items()
    for script in ("stream/display/page/page.js", "review/static/panel.js"):
        assert "toFixed" not in (REPOSITORY / "wbcdet" / script).read_text(encoding="utf-8")


def test_a_taught_type_is_named_on_the_live_page() -> None:
    """A taught band that was called otherwise could only be called one of the four."""
    asked: list[Relabel] = []
    page = to_json(Status(1, differential_of([]), taught=("band",)))
    client = TestClient(make_app(SimpleNamespace(status=lambda: page, command=asked.append)))  # type: ignore[arg-type]
    for label, answer in (("band", 200), ("neutrophil", 200), (None, 200), ("blast", 422)):
        assert client.post("/relabel", json={"cell": 1, "label": label}).status_code == answer
    assert [one.label for one in asked] == ["band", "neutrophil", None]


def test_what_comes_after_the_end_is_refused() -> None:
    """It was answered as done, and the cell kept its name in the report."""
    asked: list[object] = []
    status = {**to_json(Status(1, differential_of([]))), "state": "ended"}
    client = TestClient(make_app(SimpleNamespace(status=lambda: status, command=asked.append)))  # type: ignore[arg-type]
    sent = {"/relabel": {"cell": 1, "label": "monocyte"}, "/command": {"command": "undo"}}
    for path, body in sent.items():
        answer = client.post(path, json=body)
        assert answer.status_code == 409 and "has ended" in answer.json()["detail"]
    assert asked == []


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    live_page = Live(tmp_path)
    yield live_page
    live_page.kill()


def test_what_it_answers(live: Live) -> None:
    assert live.request("/command", {"command": "format-disk"})[0] == 422
    assert live.request("/relabel", {"cell": 1, "label": "blast"})[0] == 422
    assert live.request("/relabel", {"cell": -1, "label": "monocyte"})[0] == 422
    assert live.request("/relabel", {"cell": 9999, "label": "monocyte"})[0] == 200
    live.wait(lambda status: "no cell 9999" in status["message"])
    assert live.request("/cell/9999.jpg")[0] == 404
    assert live.status()["state"] != "paused"
    assert live.request("/command", {"command": "pause"})[0] == 200
    live.wait(lambda status: status["state"] == "paused")
    assert live.request("/serve.py")[0] == 404


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium (Debian: chromium)")
def test_a_count_steered_from_two_tabs(live: Live, tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1300, "height": 800})
        errors: list[str] = []
        context.on("weberror", lambda error: errors.append(str(error.error)))
        tab, other = context.new_page(), context.new_page()
        for page in (tab, other):
            page.on("dialog", lambda dialog: dialog.accept())
            page.goto(live.url)
        live.add(*raster()[:5])
        live.wait(lambda status: status.get("classified", 0) >= 3)
        before = live.settled()
        api.expect(tab.locator("#classified")).to_have_text(str(before))
        api.expect(tab.locator("#target")).to_have_text(" of 20")
        api.expect(tab.locator("#shares tr")).to_have_count(4)
        wide = "document.getElementById('live').naturalWidth"
        end = time.monotonic() + 15
        while tab.evaluate(wide) < 640 and time.monotonic() < end:
            tab.wait_for_timeout(100)
        assert tab.evaluate(wide) >= 640
        tab.get_by_text("Undo last cell").click()
        api.expect(other.locator("#classified")).to_have_text(str(before - 1))
        other.get_by_role("button", name="Pause").click()
        api.expect(tab.locator("#state")).to_have_text("paused")
        live.add(*raster()[5:8])
        tab.wait_for_timeout(1000)
        assert live.status()["classified"] == before - 1
        tab.get_by_role("button", name="Start").click()
        other.get_by_role("button", name="New slide").click()
        api.expect(tab.locator("#slide")).to_have_text("2", timeout=15_000)
        live.add(*raster()[:3])
        live.wait(lambda status: status["slide"] == 2 and status["classified"] >= 1)
        tab.screenshot(path=str(tmp_path / "page.png"))
        tab.get_by_role("button", name="End").click()
        api.expect(tab.locator("#state")).to_have_text("ended", timeout=15_000)
        link = tab.locator("#message a")
        api.expect(link).to_have_text(str(live.out / "report.html"), timeout=30_000)
        assert tab.evaluate(wide) >= 640  # the last picture stays
        with context.expect_page() as opened:
            link.click()
        report = opened.value
        api.expect(report.locator("h1").first).to_have_text("Leukocyte differentials")
        cells = report.locator("figure.cell img")  # the page may still be loading
        api.expect(cells).to_have_count(len(counted(live.out)))
        with context.expect_page() as opened:
            report.locator("figure.cell a").first.evaluate("link => link.target = '_blank'")
            report.locator("figure.cell a").first.click()
        opened.value.wait_for_function("document.images[0]?.naturalWidth >= 640")
        assert live.request("/report/results.json")[0] == 404
        assert live.request("/report/..%2f..%2fcamera%2f0000.png")[0] == 404
        assert live.process.poll() is None
        assert errors == []
        browser.close()
    assert live.process.wait(timeout=60) == 0
    cells = counted(live.out)
    assert {row["group"] for row in cells} == {"slide-1", "slide-2"}
    assert {"undo", "pause", "start", "new-slide"} <= set(events(live.out))
