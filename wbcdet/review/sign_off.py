"""Sign a review: write the signed report, then the line of the signature log.

A signature is made by one step, the line of the log that reaches the disk. Before it the signed
report is written beside the one that was signed before; after it the two change places. Whatever
ends the program between, the next one that opens the report drops what has no line, or finishes
what has one.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

from wbcdet.records import NOTICE
from wbcdet.review.cell_state import checked_name, checked_note
from wbcdet.review.counts import machine, progress, reviewed
from wbcdet.review.decision_store import Decision
from wbcdet.review.signature_log import SignatureEntry, SignatureLog, Signed, SigningError, signs
from wbcdet.review.signed_report import OpenReview, write_reviewed
from wbcdet.utils.safe_files import inside, open_own, own_folder, read_own
from wbcdet.utils.text import some_of
from wbcdet.utils.version import __version__

#: Folder of the signed report, in the report folder; and of one that is being signed.
REVIEWED, SIGNING = "reviewed", ".reviewed.part"
_OLD = ".reviewed.old"

_SignedT = TypeVar("_SignedT", bound=Signed)


def sign(
    session: OpenReview, log: SignatureLog, name: str, note: str, slide: str | None = None
) -> SignatureEntry:
    """Write the reviewed report, then the line of the log, which is what signs it.

    Args:
        session: the review.
        log: its signatures.
        name, note: who signs, and a remark.
        slide: the one that is signed; None signs all of them.

    Raises:
        SigningError: unclassified cells are still to be looked at, or there is no such slide.
        ChangeError: the name or the note is not allowed.
        OSError: a file cannot be written; nothing is signed.
    """
    state = session.state
    if slide is not None and slide not in state.report.groups:
        raise SigningError("there is no such slide")
    name, note, done = checked_name(name), checked_note(note), progress(state, slide)
    if done["open"]:
        raise SigningError(
            f"{done['open']} unclassified cells are not settled; name each, or confirm it with U"
        )
    signature: Signed = {
        "name": name,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "note": note,
        "wbcdet": __version__,
        "results_sha256": state.report.sha256,
        "slides_sha256": dict(state.report.slides_sha256),
        "decisions": state.last,
        "decisions_sha256": digest(session.store.decisions()),
        "slide": slide,
        "cells": done["cells"],
        "one_by_one": done["one_by_one"],
        "in_bulk": done["in_bulk"],
        "unreviewed": done["unreviewed"],
        "machine": machine(state, slide).counts,
        "reviewed": reviewed(state, slide).counts,
        "notice": NOTICE,
    }
    slides: dict[str, Signed] = {
        group: entry for group in state.report.groups if (entry := valid(session, log, group))
    }
    slides |= {
        group: {**signature, "number": len(log.entries) + 1}
        for group in state.report.groups
        if slide in (None, group)
    }
    # Each sheet speaks of its own cells, also where all slides were signed at once; they are as
    # they were then, or the signature would not be valid any more.
    slides = {group: of_slide(entry, progress(state, group)) for group, entry in slides.items()}
    part = session.folder / SIGNING
    try:
        _remove(part)
        part.mkdir(mode=0o700)
        write_reviewed(session, signature, slides, part)
        entry = log.append(signature, _files_of(part))
    except BaseException:
        _remove(part)
        raise
    settle(session.folder, log)
    return entry


def of_slide(entry: _SignedT, done: Mapping[str, int]) -> _SignedT:
    """Return a signature with the numbers of the cells of one slide."""
    of_one = entry.copy()
    of_one["cells"], of_one["unreviewed"] = done["cells"], done["unreviewed"]
    of_one["one_by_one"], of_one["in_bulk"] = done["one_by_one"], done["in_bulk"]
    return of_one


def valid(session: OpenReview, log: SignatureLog, slide: str) -> SignatureEntry | None:
    """Return the last signature of a slide, if what the machine's results say of it, and the
    decisions on its cells, are as they were; None else.

    Slides that were added since, or changed, are other signatures' concern. A signature made
    meanwhile, of another slide, must have found this one as it is too: the signed report, which
    holds all slides, is of the last one.
    """
    for entry in reversed(log.entries):
        if not _same_slide(entry, session, slide):
            return None
        if signs(entry, slide):
            return entry if session.state.last_of(slide) <= entry["decisions"] else None
    return None


def _same_slide(entry: SignatureEntry, session: OpenReview, slide: str) -> bool:
    """Say whether the machine's results say of a slide what they said when something was signed."""
    report = session.state.report
    if entry["results_sha256"] == report.sha256:
        return True
    then = entry.get("slides_sha256", {}).get(slide)
    return then is not None and then == report.slides_sha256.get(slide)


def settle(folder: Path, log: SignatureLog) -> None:
    """Finish or drop what a killed program was signing.

    Where that cannot be done now (the folder is read-only), ``signed_folder`` still finds the right
    one, and the next program tries again.
    """
    part, old, kept = folder / SIGNING, folder / _OLD, folder / REVIEWED
    with suppress(OSError):
        if log.last is not None and _is_signed(part, log.last["files"]):
            if not _exchange(part, kept):
                if os.path.lexists(kept):
                    _remove(old)
                    kept.rename(old)
                part.rename(kept)
        elif not os.path.lexists(kept) and old.is_dir() and not old.is_symlink():
            old.rename(kept)
        _remove(part)
        _remove(old)


def signed_folder(folder: Path, log: SignatureLog) -> Path:
    """Return the folder of the report that was signed last.

    Raises:
        OSError: it is a link.
    """
    part = folder / SIGNING
    if log.last is not None and _is_signed(part, log.last["files"]):
        return part
    return own_folder(folder, REVIEWED)


def _is_signed(part: Path, files: Mapping[str, str]) -> bool:
    """Say whether a folder is there, and holds just the files of a signature."""
    if part.is_symlink() or not part.is_dir():
        return False
    try:
        return _files_of(part) == files
    except OSError:
        return False


def _files_of(folder: Path) -> dict[str, str]:
    """Return sha256 of every file in a folder, by its path there; all of them are on the disk."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_dir():
            with open_own(path, "rb") as file:
                os.fsync(file.fileno())
                hashes[path.relative_to(folder).as_posix()] = hashlib.sha256(
                    file.readall()
                ).hexdigest()
    return hashes


def _remove(folder: Path) -> None:
    """Remove one of the two folders that signing makes for itself."""
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def _exchange(path: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system has none for it."""
    if sys.platform != "linux" or not other.is_dir() or other.is_symlink():
        return False
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(call(here, os.fsencode(path), here, os.fsencode(other), exchange) == 0)


def digest(rows: Sequence[Decision]) -> str:
    """Return sha256 of decisions, as JSON lines in their order."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps([row.id, row.values()], sort_keys=True).encode() + b"\n")
    return sha.hexdigest()


def check(session: OpenReview) -> list[str]:
    """Find what no longer agrees with the log, a line each; empty where all agrees."""
    log, wrong = SignatureLog(session.folder), []
    rows = session.store.decisions()
    for entry in log.entries:
        before = [row for row in rows if row.id <= entry["decisions"]]
        if digest(before) != entry["decisions_sha256"]:
            wrong.append(f"signature {entry['number']}: decisions before it were changed")
    if log.last is None:
        return wrong
    wrong += _counted_again(session, log, log.last)
    place = signed_folder(session.folder, log)
    for file, sha in log.last["files"].items():
        try:
            path = inside(place, file)
            now = hashlib.sha256(read_own(path.parent, path.name)).hexdigest()
        except FileNotFoundError:
            wrong.append(f"{place / file}: is missing")
        except OSError as error:
            wrong.append(f"{place}: {error}")
        else:
            if now != sha:
                wrong.append(f"{path}: was changed since it was signed")
    return wrong


def _counted_again(session: OpenReview, log: SignatureLog, last: SignatureEntry) -> Iterator[str]:
    """Yield what of the machine's results is another than was signed."""
    if "slides_sha256" not in last:
        if last["results_sha256"] != session.state.report.sha256:
            yield "results.json is another one than was signed last"
        return
    there = session.state.report.groups
    signed = [
        slide
        for slide in last["slides_sha256"]
        if any(signs(entry, slide) for entry in log.entries)
    ]
    if changed := [
        slide for slide in signed if slide in there and not _same_slide(last, session, slide)
    ]:
        yield f"results.json: counted again since these were signed: {some_of(changed)}"
    if gone := [slide for slide in signed if slide not in there]:
        yield f"results.json: has these slides, which were signed, no more: {some_of(gone)}"
