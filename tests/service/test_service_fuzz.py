"""Requests by the description that the service gives of itself, and against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error

pytest.importorskip("prometheus_client", reason="needs the extra serve")
pytest.importorskip("multipart", reason="needs the extra serve")

from test_service import BEARER, Service

quick = settings(max_examples=15)

REQUESTS = [
    ("POST", "/v1/analyze"),
    ("POST", "/v1/batch"),
    ("GET", "/health"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    made = Service(waiting=8)
    with made.client:
        yield made


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_requests(method: str, path: str, mode: Any) -> None:
    # It runs an event loop of its own, so it has an application of its own.
    schema = schemathesis.openapi.from_asgi("/openapi.json", Service(waiting=8).client.app)

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @quick
    def ask(case: schemathesis.Case) -> None:
        response = case.call(headers=BEARER)
        case.validate_response(response, checks=[not_a_server_error])
        if response.status_code >= 400:
            assert response.headers["content-type"][0] == "application/problem+json"

    with suppress(Unsatisfiable):  # a request without parameters cannot be wrong
        ask()


def test_every_request_is_tried(service: Service) -> None:
    paths = service.client.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described == set(REQUESTS)


@given(
    body=st.binary(max_size=80)
    | st.recursive(
        st.none() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["url", "path", "pictures"]), inner, max_size=2)
        ),
        max_leaves=6,
    ),
    kind=st.sampled_from(
        ["application/json", "image/png", "multipart/form-data; boundary=b", "image/", ";;", "\xff"]
    ),
    path=st.sampled_from(["/v1/analyze", "/v1/batch"]),
)
@settings(quick, max_examples=60)
def test_bodies(service: Service, body: Any, kind: str, path: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {**BEARER, "content-type": kind.encode("latin-1")}
    answer = service.client.post(path, content=data, headers=headers)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.json()["status"] == answer.status_code
