"""A tab that is open while the review is started again."""

from __future__ import annotations

from pathlib import Path

import pytest
from reviewing import Server, make_report
from serving import CHROMIUM

playwright_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page needs a browser")


def test_an_open_tab_says_what_to_do_and_goes_on(tmp_path: Path) -> None:
    report = make_report(tmp_path, 2)
    first = Server(report)
    with playwright_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context()
        tab = context.new_page()
        tab.goto(first.url)
        tab.wait_for_selector(".cell, .tile, canvas")
        first.kill()
        tab.get_by_text("The server does not answer").wait_for(timeout=20_000)
        second = Server(report, "--port", first.port)
        try:
            tab.get_by_text("started again, with a new token").wait_for(timeout=20_000)
            other = context.new_page()
            other.goto(second.url)
            tab.get_by_text("started again, with a new token").wait_for(
                state="hidden", timeout=20_000
            )
        finally:
            second.kill()
        browser.close()
