"""Requests to the live page, by what it takes and against it: answered, never with 500."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from wbcdet.stream.display.base import Command
from wbcdet.stream.display.web import make_app

quick = settings(max_examples=40)
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf")]),
    st.sampled_from(["", "\0", "../page.html", "start", "neutrophil", "\ud800", "x" * 5000]),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
)


class Shown:
    """What the page asks its server for."""

    def status(self) -> dict[str, object]:
        return {"state": "running"}

    def thumbnail(self, cell: int) -> bytes:
        return b"\xff\xd8" if cell == 1 else b""

    def picture(self) -> bytes:
        return b""

    def command(self, command: Command) -> None:
        asked.append(command)

    def report_file(self, name: str) -> Path | None:
        return None


asked: list[Command] = []
APP = make_app(Shown())  # type: ignore[arg-type]
ROUTES = [route for route in APP.routes if isinstance(route, APIRoute)]


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(APP, raise_server_exceptions=False)


def test_every_request_is_tried() -> None:
    assert {path for route in ROUTES if "POST" in route.methods for path in [route.path]} == {
        "/command",
        "/relabel",
    }


@pytest.mark.parametrize("path", [route.path for route in ROUTES if "GET" in route.methods])
@quick
@given(name=st.text(max_size=12) | st.sampled_from(["1", "-1", "9" * 400, "..%2f", "%00", "%ff"]))
def test_reads(path: str, name: str, client: TestClient) -> None:
    address = re.sub(r"{[\w:]+}", lambda _: quote(name, safe="%", errors="replace"), path)
    answer = client.get(address)
    # Before the first picture there is none.
    assert answer.status_code < 500 or (path == "/live.jpg" and answer.status_code == 503)


@pytest.mark.parametrize("path", ["/command", "/relabel"])
@quick
@given(
    body=odd | st.dictionaries(st.sampled_from(["command", "cell", "label"]), odd),
    raw=st.none() | st.binary(max_size=40),
)
def test_writes(path: str, body: Any, raw: bytes | None, client: TestClient) -> None:
    data = json.dumps(body).encode() if raw is None else raw
    before = len(asked)
    answer = client.post(path, content=data, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 413, 422), answer.text
    assert (len(asked) > before) == (answer.status_code == 200)
