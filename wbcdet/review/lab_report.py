"""The report that a laboratory's system gets: what was signed and still holds, else as counted."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from wbcdet.differential.differential import ALL
from wbcdet.report.journal import JournalError
from wbcdet.results.document import ResultsError, not_json, parse_document
from wbcdet.results.export.lab_report import LabReport, LabSlide, how_counted
from wbcdet.results.signed_slides import check_not_signed
from wbcdet.review.counts import progress
from wbcdet.review.decision_store import StoreError
from wbcdet.review.session import Session
from wbcdet.review.sign_off import of_slide
from wbcdet.review.signature_log import LOG, SignatureEntry, SigningError, signs
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.lock import LockedError
from wbcdet.utils.safe_files import OutsideError, read_own
from wbcdet.utils.schemas import JsonObject, parse_json


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
            return _counted(folder)
        session = Session(folder)
        try:
            return _signed(session)
        finally:
            session.close()
    except LockedError as error:
        raise NotSignedAsIsError(
            f"{folder}: a review or a count has this report open; end it first"
        ) from error
    except (ResultsError, JournalError, StoreError, SigningError, OutsideError) as error:
        raise NotSignedAsIsError(str(error)) from error
    except OSError as error:
        raise NotSignedAsIsError(
            f"{folder}: cannot be opened ({error.strerror or error}); check whether you may read "
            "and write there, or export a copy of the report"
        ) from error


def _signed(session: Session) -> LabReport:
    report = _counted(session.folder)
    last = session.log()[-1] if session.log() else None
    signatures = {slide.name: _signatures(session, slide.name) for slide in report.slides}
    same = last is not None and last["results_sha256"] == session.state.report.sha256
    if last is None or not (same or any(signatures.values())):
        return report  # counted again since
    reviewed, sha256 = _read(session.reviewed_folder)
    if last["files"]["results.json"] != sha256:
        raise NotSignedAsIsError(
            f"{session.reviewed_folder / 'results.json'}: was changed since it was signed; see "
            "wbcdet review --check, then sign again"
        )
    as_signed = {slide["group"]: slide for slide in reviewed["slides"]}
    counting = how_counted(reviewed)
    # A signed report has all slides as they were then, with the names that a person gave to cells
    # of slides that nobody has signed yet: these are sent as counted.
    slides = []
    for slide in report.slides:
        if own := signatures[slide.name]:
            slide = replace(
                slide,
                data=as_signed[slide.name],
                counting=counting.get(slide.name, ()),
                digest=sha256,
                signature=own[-1],
                signed_before=len(own) > 1,
            )
        slides.append(slide)
    return replace(report, slides=slides)


def _signatures(session: Session, group: str) -> list[SignatureEntry]:
    """Return all signatures of a slide, the one that holds last; none where none holds."""
    said = session.signed(group)
    if said is None or not said["current"]:
        return []
    log = session.log()
    holds = next(i for i, entry in enumerate(log) if entry["number"] == said["number"])
    # Those of an earlier state of the count too: they have the same number of the report.
    *earlier, current = (entry for entry in log[: holds + 1] if signs(entry, group))
    # It may cover all slides at once; what is reported covers one.
    return [*earlier, of_slide(current, progress(session.state, group))]


def _counted(folder: Path) -> LabReport:
    """Return the slides of a report as they were counted."""
    document, sha256 = _read(folder)
    # Its names are a person's: sent as counted, they would be said to be the program's.
    check_not_signed(folder / "results.json", document["info"])
    first: dict[str, str] = {}
    for entry in document["fields"]:
        first.setdefault(entry.get("group") or ALL, entry.get("sha256") or entry["file"])
    counting = how_counted(document)
    slides = [
        LabSlide(
            slide,
            sha256,
            first=first.get(slide["group"], ""),
            counting=counting.get(slide["group"], ()),
        )
        for slide in document["slides"]
    ]
    # A count that goes on is the one that was begun then: a slide that it adds must not give the
    # others another number, under which a receiver would have them twice.
    return LabReport(document["info"], slides, str(document["info"].get("created") or sha256))


def _read(folder: Path) -> tuple[JsonObject, str]:
    """Return the results document of a folder, which has slides, and its sha256."""
    path = folder / "results.json"
    try:
        data = read_own(folder, "results.json")
        document = parse_json(data)
    except OutsideError as error:
        raise ResultsError(str(error)) from error
    except OSError as error:
        raise ResultsError(
            f"{path}: cannot be read ({error.strerror or error}); name the --out folder of wbcdet "
            "count, predict or stream"
        ) from error
    except ValueError as error:
        raise not_json(path, error) from error
    try:
        parse_document(document)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    if not document.get("slides"):
        raise NotSignedAsIsError(
            f"{path}: says nothing of slides; analyse the fields again with this version"
        )
    return document, hashlib.sha256(data).hexdigest()
