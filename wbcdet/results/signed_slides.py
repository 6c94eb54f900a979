"""Tell the results that a review has signed from those of the machine, and what of them is
signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from wbcdet.differential.differential import ALL
from wbcdet.results.document import ResultsError
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.text import one_line, some_of

#: What a results document says of a review: the slides that are signed.
SIGNED_SLIDES = "signed_slides"
#: What ``info`` says of a run as a whole: a slide that is added changes it, or another place.
_OF_ALL_SLIDES = ("folder", "sources", "stream")


def slide_digests(document: JsonObject) -> dict[str, str]:
    """Return, for each slide of a results document, sha256 of all that it says of that slide: what
    analysed it, with which settings and ranges, its figures, its fields and their cells.

    It stays the same when slides are added to a count, or others change.
    """
    info = {key: value for key, value in document["info"].items() if key not in _OF_ALL_SLIDES}
    figures = {slide["group"]: slide for slide in document.get("slides") or ()}
    digests = {}
    for field in document["fields"]:
        group = field.get("group") or ALL
        if group not in digests:
            about = [_info_of(group, info), figures.get(group)]
            digests[group] = hashlib.sha256(_canonical(about))
        digests[group].update(_canonical(field))
    return {group: digest.hexdigest() for group, digest in digests.items()}


def _info_of(group: str, info: JsonObject) -> JsonObject:
    """Return ``info`` without the identifiers of other slides."""
    count = info.get("count")
    if not (isinstance(count, dict) and "identifiers" in count):
        return info
    own = {name: of for name, of in count["identifiers"].items() if name == group}
    return {**info, "count": {**count, "identifiers": own}}


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode() + b"\n"


def check_not_signed(path: Path, info: Mapping[str, object]) -> None:
    """Check that results are the machine's, which a person looks at.

    What was signed is replaced by the next signature, with all that was put beside it.

    Args:
        path: the results document.
        info: its ``info``.

    Raises:
        ResultsError: a review has signed them.
    """
    if "review" in info:
        own = f" ({path.parent.parent})" if path.parent.name == "reviewed" else ""
        raise ResultsError(
            f"{path}: is part of the signed report; name the report itself{own}, which has all "
            "decisions"
        )


def signed_notes(folder: Path) -> list[str]:
    """Return what one must know to take the results in a folder for signed ones, in sentences.

    A signed report holds all slides: those that nobody has signed have the names that a reviewer
    gave to their cells so far.

    Args:
        folder: of any report; one that no review wrote has nothing to be said, and one whose
            ``results.json`` cannot be read either.
    """
    try:
        document = json.loads((folder / "results.json").read_bytes())
        review = document["info"]["review"]
        signed, last = review.get(SIGNED_SLIDES), review.get("slide")
        names = [str(slide["group"]) for slide in document["slides"]]
        counted = str(review["results_sha256"])
        others = [name for name in names if name not in (names if signed is None else signed)]
        then = review.get("slides_sha256")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    notes = []
    if others:
        notes.append(f"signed by nobody, with the names that they had by then: {some_of(others)}")
    elif signed is None and last is not None:  # of an earlier version
        notes.append(f"of {one_line(last)} alone it is known that it is signed")
    if folder.name == "reviewed":
        notes += _changed_since(folder.parent / "results.json", counted, then)
    return notes


def _changed_since(results: Path, counted: str, then: Mapping[str, str] | None) -> Iterator[str]:
    """Yield what of the machine's results is not as it was when the report was signed.

    Args:
        results: the machine's results as they are now.
        counted: sha256 of those that were signed.
        then: of each slide, what ``slide_digests`` gave; None of a report of an earlier version.
    """
    again = "the report was counted again since this was signed: review and sign it again"
    try:
        data = results.read_bytes()
        if hashlib.sha256(data).hexdigest() == counted:
            return
        now = slide_digests(json.loads(data)) if then is not None else {}
    except OSError:
        return
    except (ValueError, LookupError, TypeError, AttributeError):
        yield again
        return
    if then is None:
        yield again
        return
    changed = [name for name, digest in then.items() if now.get(name, digest) != digest]
    for what, which in (
        ("counted again since this was signed: review and sign again", changed),
        ("not in the count any more", [name for name in then if name not in now]),
        ("counted since, and not in what was signed", [name for name in now if name not in then]),
    ):
        if which:
            yield f"{what}: {some_of(which)}"
