"""Tell the results that a review has signed from those of the machine, and what of them is
signed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from wbcdet.results.document import ResultsError
from wbcdet.utils.text import one_line, some_of

#: What a results document says of a review: the slides that are signed.
SIGNED_SLIDES = "signed_slides"


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
            f"{path}: is of the signed report; name the report itself{own}, which has all decisions"
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
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []
    notes = []
    if others:
        notes.append(f"signed by nobody, with the names that they had by then: {some_of(others)}")
    elif signed is None and last is not None:  # of an earlier version
        notes.append(f"of {one_line(last)} alone it is known that it is signed")
    try:
        now = hashlib.sha256((folder.parent / "results.json").read_bytes()).hexdigest()
    except OSError:
        return notes
    if folder.name == "reviewed" and now != counted:
        notes.append("the report was counted again since this was signed: review and sign it again")
    return notes
