"""The report that a laboratory's system gets: what was signed and still holds, else as counted."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from wbcdet.report.journal import JournalError
from wbcdet.results.document import ResultsError, parse_document
from wbcdet.results.export.lab_report import LabReport, LabSlide
from wbcdet.review.counts import progress
from wbcdet.review.decision_store import StoreError
from wbcdet.review.session import Session
from wbcdet.review.sign_off import of_slide
from wbcdet.review.signature_log import LOG, SignatureEntry, SigningError
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.lock import LockedError
from wbcdet.utils.safe_files import read_own
from wbcdet.utils.schemas import parse_json


class NotSignedAsIsError(WbcdetError, ValueError):
    """A report cannot be sent as it stands; the message is one line."""


def open_lab_report(report: Path) -> LabReport:
    """Return the slides of a report, each with the signature that holds for it.

    A slide is signed where its last signature is of the machine's results and of all decisions on
    its cells as they are now.

    Args:
        report: a report folder, or its ``results.json``.

    Raises:
        NotSignedAsIsError: there is no report, or what was signed has been changed.
    """
    folder = report.parent if report.name == "results.json" else report
    try:
        if not (folder / LOG).exists():
            return _read(folder, {})
        session = Session(folder)
        try:
            return _signed(session)
        finally:
            session.close()
    except LockedError as error:
        raise NotSignedAsIsError(
            f"{folder}: a review or a count has this report open; end it first"
        ) from error
    except (ResultsError, JournalError, StoreError, SigningError) as error:
        raise NotSignedAsIsError(str(error)) from error
    except OSError as error:
        raise NotSignedAsIsError(f"{folder}: cannot be read: {error.strerror or error}") from error


def _signed(session: Session) -> LabReport:
    last = session.log()[-1] if session.log() else None
    if last is None or last["results_sha256"] != session.state.report.sha256:
        return _read(session.folder, {})  # counted again since
    signatures: dict[str, list[SignatureEntry]] = {}
    for group in session.state.report.groups:
        said = session.signed(group)
        if said is not None and said["current"]:
            log = session.log()
            holds = next(i for i, entry in enumerate(log) if entry["number"] == said["number"])
            *earlier, current = (
                entry
                for entry in log[: holds + 1]
                if entry.get("slide") in (None, group)
                and entry["results_sha256"] == last["results_sha256"]
            )
            # It may be of all slides at once; what is reported is of one.
            done = progress(session.state, group)
            signatures[group] = [*earlier, of_slide(current, done)]
    return _read(session.reviewed_folder, signatures, last)


def _read(
    folder: Path,
    signatures: Mapping[str, Sequence[SignatureEntry]],
    last: SignatureEntry | None = None,
) -> LabReport:
    """Read the slides of a folder.

    Args:
        folder: of the report, or of what was signed of it.
        signatures: of a slide that is signed: all that it had, the one that holds last.
        last: the last signature of all, where the folder is of what was signed.
    """
    path = folder / "results.json"
    try:
        data = read_own(folder, "results.json")
        document = parse_json(data)
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON: {error}") from error
    sha256 = hashlib.sha256(data).hexdigest()
    if last is not None and last["files"]["results.json"] != sha256:
        raise NotSignedAsIsError(
            f"{path}: was changed since it was signed; see wbcdet review --check, then sign again"
        )
    try:
        info, _ = parse_document(document)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    slides = document.get("slides")
    if not slides:
        raise NotSignedAsIsError(
            f"{path}: says nothing of slides; analyse the fields again with this version"
        )
    lab_slides = []
    for slide in slides:
        own = signatures.get(slide["group"], ())
        lab_slides.append(LabSlide(slide, own[-1] if own else None, len(own) > 1))
    return LabReport(info, sha256, lab_slides, sha256 if last is None else last["results_sha256"])
