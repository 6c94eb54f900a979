"""A database of decisions from somebody else, or damaged: used, or refused in a line.

The examples are drawn again in the same way each time, so that a run is like the one before it.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reviewing import make_report
from starlette.testclient import TestClient

from wbcdet.results.document import ResultsError
from wbcdet.review.decision_store import DATABASE, Store, StoreError, read_decisions
from wbcdet.review.server import build
from wbcdet.review.session import Session

quick = settings(max_examples=25)
#: Values that a column may hold, whatever its type, and texts in place of its JSON.
ODD = [
    None, 0, -1, 1, 2**31, 2**52, 2**63 - 1, -(2**63), 1.5, "", "x" * 41, "a\nb", "\u202ex",
    b"\xff",     "undo", "redo", "null", "[]", "[NaN,1,2,3]", "[1,2,3,1e400]", "[" * 50_000,
    '{"label":"\\ud800","reviewed":true}', '{"label":"\\u0000","reviewed":true}',
    '{"label":"x","reviewed":1}', '{"label":"x","reviewed":true,"box":[1,1,2,2]}',
    '{"label":"x","reviewed":true,"box":[-9,1e9,20,20]}',
]  # fmt: skip
COLUMNS = ("id", "time", "who", "step", "kind", "of", "file", "cell", "box", "before", "after")


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report with a few decisions and a drawn cell."""
    report = make_report(tmp_path_factory.mktemp("decisions"), 2, "--group-by", "folder")
    shutil.rmtree(report / "cells")
    with work(report) as page:
        for cell in range(20):
            assert page.change((0, cell)) == 200
        assert page.post("draw", field=0, box=[3, 3, 40, 40], label="blast") == 200
    return report


class Page:
    """Requests of the page of a review; an answer of 500 is an error here."""

    def __init__(self, session: Session) -> None:
        self.session, self._client = session, TestClient(build(session))

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def get(self, path: str) -> int:
        return self._client.get(path).status_code

    def post(self, what: str, **body: Any) -> int:
        body = {"mark": self.session.mark, "who": "Ann", **body}
        return self._client.post(f"/api/{what}", json=body).status_code

    def change(self, key: tuple[int, int]) -> int:
        seen = self.session.state.cells[key].last_decision
        cell = {"field": key[0], "cell": key[1], "seen": seen, "label": "basophil"}
        return self.post("change", cells=[cell])

    def all_of_it(self) -> Iterator[int]:
        yield self.get("/api/report")
        drawn = [key for key, one in self.session.state.cells.items() if one.cell is None]
        for field, cell in [(0, 0), *drawn[-1:]]:
            yield self.get(f"/thumb/{field}/{cell}")
        yield self.change((0, 1))
        yield self.change((1, 5))
        for what in ("undo", "undo", "redo", "readers"):
            yield self.post(what)
        yield self.post("draw", field=1, box=[3, 3, 40, 40], label="blast")
        yield self.post("sign", since=self.session.state.last)


def work(report: Path) -> Page:
    return Page(Session(report))


def copy_of(counted: Path, folder: Path) -> Path:
    report = folder / "report"
    shutil.rmtree(report, ignore_errors=True)
    shutil.copytree(counted, report)
    return report


def is_harmless(report: Path) -> None:
    """Work on a report; what was decided on the way can be opened again."""
    try:
        with work(report) as page:
            assert all(status < 500 or status == 507 for status in page.all_of_it())
    except (StoreError, ResultsError) as error:
        assert "\n" not in str(error)
        return
    with suppress(StoreError, ResultsError), work(report):
        return
    raise AssertionError("what the page had taken cannot be opened again")


@quick
@given(column=st.sampled_from(COLUMNS), odd=st.sampled_from(ODD))
@example(column="id", odd=2**63 - 1)
@example(column="step", odd=2**63 - 1)
@example(column="after", odd='{"label":"\\ud800","reviewed":true}')
def test_rows_of_somebody_else(column: str, odd: object, counted: Path, tmp_path: Path) -> None:
    report = copy_of(counted, tmp_path)
    with closing(sqlite3.connect(report / DATABASE)) as base:
        row = base.execute("SELECT * FROM decisions WHERE id = 20").fetchone()
        values = {**dict(zip(COLUMNS, row, strict=True)), "id": 30, "step": 30, column: odd}
        with suppress(sqlite3.IntegrityError):
            base.execute(
                f"INSERT INTO decisions VALUES ({','.join('?' * len(COLUMNS))})",
                [values[name] for name in COLUMNS],
            )
            base.commit()
    is_harmless(report)


@pytest.mark.parametrize("odd", [None, 10**12, "text"])
def test_thumbnails_of_somebody_else(odd: object, counted: Path, tmp_path: Path) -> None:
    report = copy_of(counted, tmp_path)
    with closing(sqlite3.connect(report / DATABASE)) as base, suppress(sqlite3.IntegrityError):
        base.execute("UPDATE thumbnails SET jpeg = ?", [odd])
        base.commit()
    is_harmless(report)


@quick
@given(seed=st.integers(0, 2**32), how=st.sampled_from(["bytes", "block", "cut"]))
def test_a_damaged_file(seed: int, how: str, counted: Path, tmp_path: Path) -> None:
    draw = random.Random(seed)
    report = copy_of(counted, tmp_path)
    data = bytearray((report / DATABASE).read_bytes())
    if how == "bytes":
        for _ in range(draw.choice([1, 5, 50])):
            data[draw.randrange(len(data))] = draw.randrange(256)
    elif how == "block":
        at = draw.randrange(len(data) - 512)
        data[at : at + 512] = draw.randbytes(512)
    else:
        del data[draw.randrange(len(data)) :]
    (report / DATABASE).write_bytes(data)
    with suppress(StoreError):
        read_decisions(report, DATABASE)
    is_harmless(report)


@pytest.mark.parametrize("label", ["a\nb", "\ud800"])
def test_labels_that_no_person_can_give(label: str, counted: Path, tmp_path: Path) -> None:
    """Else a decision would record it, and the file be refused from then on."""
    report = copy_of(counted, tmp_path)
    document = json.loads((report / "results.json").read_text())
    document["fields"][1]["cells"][5].update(label=label, reason=None)
    (report / "results.json").write_text(json.dumps(document))
    with pytest.raises(ResultsError, match=r"label that is no line|half a letter"):
        Session(report)


def test_no_number_is_left(tmp_path: Path) -> None:
    """A decision that could not be read again is not taken."""
    report = make_report(tmp_path, 1)
    Store(report).close()
    with work(report) as page:
        assert page.change((0, 0)) == 200
    with closing(sqlite3.connect(report / DATABASE)) as base:
        base.execute(
            'INSERT INTO decisions SELECT ?, time, who, 2, kind, "of", file, cell, box, after, '
            "after FROM decisions", [2**52],
        )  # fmt: skip
        base.commit()
    with work(report) as page:
        assert page.change((0, 1)) == 409
    with work(report) as page:
        assert page.session.state.last == 2**52
