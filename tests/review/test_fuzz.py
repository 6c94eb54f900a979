"""Malformed documents and requests: refused in a line, or accepted; never a crash.

The examples are drawn again in the same way each time, so that a run is like the one before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from reviewing import make_report
from schemathesis.checks import not_a_server_error

from wbcdet.differential.csv_table import TableError, read_table
from wbcdet.inference.weights import WeightsError, load_model, sealed, weights_folder
from wbcdet.report.header import check_shape
from wbcdet.report.journal import Journal, JournalError, _sealed
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.layout import JOURNAL
from wbcdet.results.document import ResultsError
from wbcdet.review import counts
from wbcdet.review.decision_store import Store
from wbcdet.review.machine_report import load_report
from wbcdet.review.serializers import cell_row
from wbcdet.review.server import build
from wbcdet.review.session import Session
from wbcdet.review.signature_log import SignatureLog, SigningError
from wbcdet.review.state import ReviewState
from wbcdet.stream.store import StreamStore
from wbcdet.utils.csv_text import harmless, original

quick = settings(max_examples=60)

#: Values that break what is not checked: of every type, at every end.
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 10**9, 2**31, 2**63, -(2**63), 10**400]),
    st.sampled_from([0.5, -0.5, 1.5, 1e308, math.nan, math.inf, -math.inf]),
    st.sampled_from(
        ["", "\0", "../../x", "/etc/passwd", "a\nb", "=1+1", "\ud800", "(a+)+$", "x" * 5000]
    ),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from(["file", "id", "box"]), st.integers(), max_size=2),
)


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Any:
    """Return a document with one to three of its values taken out or replaced."""
    document = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = document
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            inner = place[key]
            if isinstance(inner, dict | list) and inner and draw(st.integers(0, 9)):
                place = inner
                continue
            if draw(st.booleans()):
                place[key] = draw(odd)
            else:
                del place[key]
            break
    return document


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(tmp_path_factory.mktemp("fuzz"), 2, "--group-by", "folder", "--dedupe")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def small(document: dict[str, Any]) -> dict[str, Any]:
    """Return a results document with a few cells only, so that every part of it is reached."""
    for field in document["fields"]:
        del field["cells"][4:]
    return document


@given(data=st.data())
@quick
def test_results_documents(report: Path, folder: Path, data: st.DataObject) -> None:
    whole = small(json.loads((report / "results.json").read_text()))
    (folder / "results.json").write_text(json.dumps(data.draw(damaged(whole))))
    with suppress(ResultsError):
        found = load_report(folder)
        store = Store(folder)
        try:
            state = ReviewState(found, store)
            for key in state.cells:
                json.dumps(cell_row(state, key), allow_nan=False)
            for group in (None, *found.groups):
                counts.side_by_side(state, group, counts.machine(state, group))
        finally:
            store.close()


@given(text=st.one_of(st.binary(max_size=60), st.just(b"[" * 100_000), st.just(b"1" * 9_999)))
@quick
def test_what_is_no_document(folder: Path, text: bytes) -> None:
    (folder / "results.json").write_bytes(text)
    with pytest.raises(ResultsError):
        load_report(folder)


@given(data=st.data())
@quick
def test_journals(report: Path, folder: Path, data: st.DataObject) -> None:
    lines = (report / JOURNAL / "fields.jsonl").read_bytes().splitlines(keepends=True)
    which = data.draw(st.integers(0, len(lines) - 1))
    how = data.draw(st.sampled_from(["forged", "flipped", "cut"]))
    if how == "forged":
        value = json.loads(lines[which])
        del value["check"]
        if "result" in value:
            del value["result"]["cells"][4:], value["pictures"][4:]
        lines[which] = _sealed(json.dumps(data.draw(damaged(value))).encode())
    elif how == "flipped":
        at = data.draw(st.integers(0, len(lines[which]) - 1))
        line = bytearray(lines[which])
        line[at] ^= data.draw(st.integers(1, 255))
        lines[which] = bytes(line)
    else:
        lines[which] = lines[which][: data.draw(st.integers(0, len(lines[which])))]
    (folder / "fields.jsonl").write_bytes(b"".join(lines))
    (folder / "pictures.bin").write_bytes((report / JOURNAL / "pictures.bin").read_bytes())
    with suppress(JournalError):
        journal = Journal(folder, read_only=True)
        try:
            if journal.header is not None:
                check_shape(journal.header)
            for file in journal:
                with suppress(JournalError):
                    record = journal.read(file)
                    entry = JournalEntry.checked(file, record, journal.header)
                    assert how == "forged" or record == json.loads(json.dumps(record))
                    assert entry.result.file == file
                    journal.has_pictures(record)
        finally:
            journal.close()


@given(value=odd | st.dictionaries(st.sampled_from(["file", "tracks", "spot"]), odd))
@quick
def test_lines_of_a_stream(folder: Path, value: Any) -> None:
    (folder / JOURNAL).mkdir(exist_ok=True)
    head = {"journal": "wbcdet-journal/2", "stream": True}
    lines = [
        head,
        {"file": "run", "slide": value},
        {"file": "slide-1/0000001.jpg", "tracks": value},
    ]
    lines += [
        {"file": "map/1/1", "spot": value, "pictures": []},
        {"file": "map/x", "pictures": value},
    ]
    (folder / JOURNAL / "fields.jsonl").write_bytes(
        b"".join(_sealed(json.dumps(line).encode()) for line in lines)
    )
    journal = Journal(folder / JOURNAL)
    try:
        StreamStore(folder, journal)
    finally:
        journal.close()


@given(value=st.dictionaries(st.sampled_from(["files", "name", "number", "previous"]), odd))
@quick
def test_lines_of_a_log(folder: Path, value: Any) -> None:
    (folder / "review-log.jsonl").write_text(json.dumps(value) + "\n")
    with pytest.raises(SigningError):
        SignatureLog(folder)


@pytest.mark.parametrize("role", ["detector", "classifier"])
@given(data=st.data())
@quick
def test_cards(tmp_path_factory: pytest.TempPathFactory, role: str, data: st.DataObject) -> None:
    whole = json.loads((weights_folder() / f"{role}.json").read_text())
    card = data.draw(damaged(whole))
    folder = tmp_path_factory.mktemp("card")
    (folder / f"{role}.onnx").symlink_to(weights_folder().resolve() / f"{role}.onnx")
    with suppress(ValueError):
        card = sealed(card)
    (folder / f"{role}.json").write_text(json.dumps(card))
    with pytest.MonkeyPatch.context() as patch, suppress(WeightsError):
        patch.setenv("WBCDET_WEIGHTS", str(folder))
        load_model(role)


@given(text=st.text(alphabet="='+-@;,\t\n\r\" a|＝", max_size=12))
@quick
def test_texts_of_tables(text: str) -> None:
    assert original(harmless(text)) == text
    assert harmless(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n", "＝")


@given(data=st.binary(max_size=200))
@quick
def test_tables(folder: Path, data: bytes) -> None:
    (folder / "manual.csv").write_bytes(data)
    with suppress(TableError):
        read_table(folder / "manual.csv")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    opened = Session(make_report(tmp_path_factory.mktemp("http"), 1))
    yield opened
    opened.close()


#: What the page asks for, but its endless stream of events.
REQUESTS = [
    ("GET", "/api/report"),
    ("GET", "/api/changes"),
    ("GET", "/api/log"),
    ("POST", "/api/change"),
    ("POST", "/api/draw"),
    ("POST", "/api/move"),
    ("POST", "/api/readers"),
    ("POST", "/api/undo"),
    ("POST", "/api/redo"),
    ("POST", "/api/sign"),
    ("GET", "/thumb/{field}/{cell}"),
    ("GET", "/crop/{field}/{cell}/{side}"),
    ("GET", "/tile/{field}/{level}/{column}/{row}"),
    ("GET", "/reviewed/{path}"),
    ("GET", "/api/slides"),
    ("GET", "/slide/{number}.dzi"),
    ("GET", "/slide/{number}_files/{level}/{column}_{row}.jpeg"),
]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize("method, path", REQUESTS)
def test_requests(session: Session, method: str, path: str, mode: Any) -> None:
    """Requests by the description that the page's server gives of itself, and against it."""
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", build(session))

    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    @settings(quick, max_examples=12)
    def ask(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict) and "mark" in case.body and len(str(case.body)) % 2:
            case.body["mark"] = session.mark  # half of them get past the first question
        case.call_and_validate(checks=[not_a_server_error])

    with suppress(Unsatisfiable):  # a request without parameters cannot be wrong
        ask()


def test_every_request_is_tried(session: Session) -> None:
    described = {
        (method.upper(), path)
        for path, methods in build(session).openapi()["paths"].items()
        for method in methods
    }
    assert described == {
        *REQUESTS,
        ("GET", "/"), ("GET", "/readers"), ("GET", "/map"), ("GET", "/words.js"),
        ("GET", "/api/events"),
    }  # fmt: skip


@given(body=odd | st.dictionaries(st.sampled_from(["mark", "who", "group", "cells", "note"]), odd))
@pytest.mark.parametrize(
    "path", ["/api/change", "/api/draw", "/api/move", "/api/readers", "/api/undo", "/api/sign"]
)
@quick
def test_bodies(session: Session, path: str, body: Any) -> None:
    """What no schema describes: NaN, lone surrogates, numbers without end."""
    from starlette.testclient import TestClient

    client = TestClient(build(session), raise_server_exceptions=False)
    if isinstance(body, dict) and "mark" in body:
        body = {"who": "Ann", **body, "mark": session.mark}
    answer = client.post(
        path, content=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    assert answer.status_code < 500, answer.text
