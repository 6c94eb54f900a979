"""Sign a review as it stands, and check what was signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from wbcdet.records import NOTICE
from wbcdet.review.cell_state import checked_name
from wbcdet.review.counts import machine, progress, reviewed
from wbcdet.review.decision_store import Decision
from wbcdet.review.signature_log import SignatureLog, SigningError
from wbcdet.review.signed_report import OpenReview, write_reviewed
from wbcdet.utils.version import __version__


def sign(session: OpenReview, log: SignatureLog, name: str, note: str) -> dict[str, Any]:
    """Write the reviewed report, then the line of the log.

    Raises:
        SigningError: unclassified cells are still to be looked at.
        ChangeError: the name is none.
        OSError: a file cannot be written.
    """
    board = session.board
    name, done = checked_name(name), progress(board)
    if done["open"]:
        raise SigningError(
            f"{done['open']} unclassified cells are not settled; name each, or confirm it with U"
        )
    signature = {
        "name": name,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": " ".join(note.split()),
        "wbcdet": __version__,
        "results_sha256": board.report.sha256,
        "decisions": board.last,
        "decisions_sha256": digest(session.store.decisions()),
        "cells": done["cells"],
        "unreviewed": done["unreviewed"],
        "machine": machine(board).counts,
        "reviewed": reviewed(board).counts,
        "notice": NOTICE,
    }
    files = write_reviewed(session, signature)
    return log.append({**signature, "files": files})


def digest(rows: Sequence[Decision]) -> str:
    """sha256 of decisions, as JSON lines in their order."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps([row.id, row.values()], sort_keys=True).encode() + b"\n")
    return sha.hexdigest()


def check(session: OpenReview) -> list[str]:
    """What does not agree with the log any more, a line each; empty where all does."""
    log, wrong = SignatureLog(session.folder), []
    rows = session.store.decisions()
    for entry in log.entries:
        signed = [row for row in rows if row.id <= entry["decisions"]]
        if digest(signed) != entry["decisions_sha256"]:
            wrong.append(f"signature {entry['number']}: decisions before it were changed")
    if log.last is None:
        return wrong
    if log.last["results_sha256"] != session.board.report.sha256:
        wrong.append("results.json is another one than was signed last")
    for file, sha in log.last["files"].items():
        path = session.reviewed_folder / file
        if not path.is_file():
            wrong.append(f"{path}: is missing")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            wrong.append(f"{path}: was changed since it was signed")
    return wrong
