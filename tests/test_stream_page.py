"""The live page in a real browser, its server, and what it refuses."""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from streaming import frame_at, pan, raster
from test_stream_count import counted, events, start

CHROMIUM = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)


class Live:
    """A stream of a folder that pictures are put into, served on a page."""

    def __init__(self, folder: Path) -> None:
        self.watched, self.out = folder / "camera", folder / "out"
        self.watched.mkdir()
        self._number = 0
        self.add((0, 0))
        self.process = start(
            "stream", self.watched, "--out", self.out, "--serve", "--port", 0, "--target", 20
        )
        assert self.process.stderr is not None
        self.url = ""
        for line in self.process.stderr:
            if "live page" in line:
                self.url = line.split()[-1]
                break

    def add(self, *places: tuple[int, int]) -> None:
        import cv2

        for place in places:
            # Renamed when written, as cameras do that fill a folder.
            part = self.watched / "part.tmp"
            part.write_bytes(cv2.imencode(".png", frame_at(*place))[1].tobytes())
            part.rename(self.watched / f"{self._number:04}.png")
            self._number += 1

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}status", timeout=5) as answer:
            return dict(json.load(answer))

    def wait(self, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        end = time.monotonic() + 40
        while time.monotonic() < end:
            status = self.status()
            if what(status):
                return status
            time.sleep(0.1)
        raise AssertionError(f"never came: {status}")

    def settled(self) -> int:
        """The count, when it has not changed for a while."""
        last, since = -1, time.monotonic()
        while time.monotonic() - since < 2:
            if (now := int(self.status()["classified"])) != last:
                last, since = now, time.monotonic()
            time.sleep(0.1)
        return last

    def post(self, name: str, **headers: str) -> int:
        request = urllib.request.Request(
            f"{self.url}command/{name}", method="POST", headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    one = Live(tmp_path)
    yield one
    one.process.kill()
    one.process.wait()


def test_only_the_page_steers(live: Live) -> None:
    ours = {"X-Wbcdet": "1"}
    assert live.post("pause") == 403
    assert live.post("pause", Origin="http://evil.example", **ours) == 403
    assert live.post("format-disk", **ours) == 404
    assert live.post("pause", Host="evil.example", **ours) == 400
    assert live.status()["state"] != "paused"
    assert live.post("pause", **ours) == 200
    live.wait(lambda status: status["state"] == "paused")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{live.url}serve.py", timeout=5)


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
        assert errors == []
        browser.close()
    assert live.process.wait(timeout=60) == 0
    cells = counted(live.out)
    assert {row["group"] for row in cells} == {"slide-1", "slide-2"}
    assert {"undo", "pause", "start", "new-slide"} <= set(events(live.out))


def test_a_port_that_is_taken_is_said(live: Live, tmp_path: Path) -> None:
    port = live.url.rsplit(":", 1)[1].strip("/")
    video = pan(tmp_path / "v.mp4", raster()[:2])
    done = start("stream", video, "--out", tmp_path / "other", "--serve", "--port", port)
    _, err = done.communicate(timeout=60)
    assert done.returncode == 2
    assert "--port" in err.splitlines()[-1]
    assert "Traceback" not in err
