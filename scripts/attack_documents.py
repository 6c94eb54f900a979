"""Put odd values into the documents of a report and into the cards of models."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

#: What stands in for a value: of every type, at every end.
ODD = [
    None, True, -1, 10**9, 2**63, 10**400, 0.5, 1e308, float("nan"), float("inf"), "", "\0", "a\nb",
    "\ud800", "\u202ex", "../../thesis.txt", "/etc/passwd", "=1+1", "<script>alert(1)</script>",
    "(a+)+$", "{{ 7 * 7 }}", "x" * 5000, [], {}, [[[[]]]],
]  # fmt: skip
#: Values of a card that are no number, or none that can be computed with.
NUMBERS = [-1, float("nan"), float("inf"), 10**400, "1", []]


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every value of a document by what holds it and its key there."""
    for key in list(document) if isinstance(document, dict) else range(len(document)):
        yield document, key
        if isinstance(document[key], dict | list):
            yield from places(document[key])


def odd_document(whole: Any) -> Any:
    """Return a document with one of its values replaced."""
    document = json.loads(json.dumps(whole))
    holder, key = random.choice(list(places(document)))
    holder[key] = random.choice(ODD)
    return document


def foreign_reports(report: Path, work: Path, tries: int) -> tuple[int, int, int]:
    """Return how many reports with an odd value were opened, how many were refused in a line, and
    how many ended in anything else."""
    from starlette.testclient import TestClient

    from wbcdet.results.document import ResultsError
    from wbcdet.review.decision_store import DATABASE, Store
    from wbcdet.review.server import build
    from wbcdet.review.session import Session
    from wbcdet.utils.errors import WbcdetError

    whole = json.loads((report / "results.json").read_text(encoding="utf-8"))
    for field in whole["fields"]:
        del field["cells"][2:]
    del whole["fields"][4:]
    wrong = refused = 0
    for number in range(tries):
        folder = work / "foreign"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if number % 2:
            (folder / "results.json").write_text(json.dumps(odd_document(whole)))
        else:
            (folder / "results.json").write_text(json.dumps(whole))
            Store(folder).close()
            with closing(sqlite3.connect(folder / DATABASE)) as base, base:
                _odd_decision(base, whole)
        try:
            session = Session(folder)
        except (WbcdetError, ResultsError, OSError) as error:
            refused += 1
            wrong += "\n" in str(error)
            continue
        except Exception as error:  # what is counted here
            print(f"  {type(error).__name__}: {error}")
            wrong += 1
            continue
        with closing(session):
            client = TestClient(build(session))
            try:
                asks = [client.get("/api/report"), client.post("/api/undo", json=_ask(session))]
                for key, one in list(session.state.cells.items())[:3]:
                    cell = {"field": key[0], "cell": key[1], "seen": one.last_decision}
                    body = _ask(session, cells=[{**cell, "label": "basophil"}])
                    asks.append(client.post("/api/change", json=body))
                asks.append(client.post("/api/sign", json=_ask(session, since=session.state.last)))
                wrong += any(one.status_code == 500 for one in asks)
            except Exception as error:
                print(f"  {type(error).__name__}: {error}")
                wrong += 1
    return tries, refused, wrong


def _ask(session: Any, **more: Any) -> dict[str, Any]:
    return {"mark": session.mark, "who": "Ann", **more}


def _odd_decision(base: sqlite3.Connection, whole: Any) -> None:
    field = next(one for one in whole["fields"] if one["cells"])
    cell = field["cells"][0]
    state = {"label": cell["label"], "reviewed": True}
    row: dict[str, Any] = {
        "id": 1, "time": "2026-01-01", "who": "Ann", "step": 1, "kind": "change", "of": None,
        "file": field["file"], "cell": cell["id"], "box": cell["box"], "before": state,
        "after": dict(state),
    }  # fmt: skip
    holder, key = random.choice(list(places(row)))
    holder[key] = random.choice(ODD)
    values = [
        json.dumps(value) if isinstance(value, dict | list) else value for value in row.values()
    ]
    with suppress(sqlite3.Error, OverflowError, UnicodeError):  # what no file can hold
        base.execute(f"INSERT INTO decisions VALUES ({','.join('?' * len(values))})", values)


def odd_cards(work: Path) -> tuple[int, int]:
    """Return how many cards with NaN or the like for a number, or with two classes swapped, were
    tried, and how many were taken. Those with numbers are sealed again, as a mistake of a maker
    would be.
    """
    from wbcdet.inference.weights import ROLES, WeightsError, load_model, sealed, weights_folder

    tried = taken = 0
    for role in ROLES:
        source = weights_folder() / f"{role}.json"
        whole = json.loads(source.read_text(encoding="utf-8"))
        cards = list(_odd_numbers(whole))
        if len(whole["classes"]) > 1:
            first, second, *others = whole["classes"]
            cards.append({**whole, "classes": [second, first, *others]})
        for at, card in enumerate(cards):
            # What JSON has no number for cannot even be sealed.
            with suppress(ValueError):
                card = sealed(card) if at < len(cards) - 1 or role == "detector" else card
            folder = work / "cards"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / f"{role}.onnx").symlink_to(source.resolve().with_suffix(".onnx"))
            (folder / f"{role}.json").write_text(json.dumps(card))
            tried += 1
            with suppress(WeightsError):
                load_model(role, folder)
                changed = {key: card[key] for key in card if card[key] != whole.get(key)}
                print(f"  {role}: taken with {changed}")
                taken += 1
    return tried, taken


def _odd_numbers(whole: Any) -> Iterator[Any]:
    numbers = [
        at
        for at, (holder, key) in enumerate(places({**whole, "ground": None}))
        if isinstance(holder[key], int | float) and key not in ("version", "stages", "head")
    ]
    for at in numbers:
        for odd in NUMBERS:
            card = json.loads(json.dumps(whole))
            holder, key = list(places(card))[at]
            holder[key] = odd
            yield card
