"""The header of a journal: what made its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wbcdet.report.journal import JournalError
from wbcdet.results.schemas import check_line
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.schemas import SchemaError
from wbcdet.utils.version import __version__


class ResumeError(WbcdetError, ValueError):
    """The report folder holds a count that this run must not go on with; one line."""


def make_header(info: Mapping[str, Any], folder: Path, created: str) -> dict[str, Any]:
    """The first line of a journal: what made its results, and of what.

    Args:
        info: what ``Analyzer.info()`` gives.
        folder: where the fields are.
        created: date and time, ISO 8601.
    """
    return {"wbcdet": __version__, "created": created, "folder": str(folder.resolve()), **info}


def check_shape(header: Mapping[str, Any]) -> None:
    """The header of a journal that an earlier run began has all that is read of one.

    Raises:
        JournalError: it has not.
    """
    try:
        check_line("header", header)
    except SchemaError as error:
        raise JournalError(f"the first line of the journal is damaged: {error}") from error


def check_header(old: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """The results in a journal were made as this run would make them.

    Raises:
        PlanError: they were not; the message says what differs.
    """
    changes = []
    if old.get("wbcdet") != __version__:
        changes.append(f"wbcdet {old.get('wbcdet')}, now {__version__}")
    for role in ("detector", "classifier"):
        before, now = old.get(role) or {}, info[role]
        if before.get("sha256") != now["sha256"]:
            changes.append(
                f"{role} {before.get('name')} ({str(before.get('sha256'))[:8]}), "
                f"now {now['name']} ({now['sha256'][:8]})"
            )
        # Versions that did not write it down took every card.
        elif before.get("card_sha256") not in (None, now.get("card_sha256")):
            changes.append(f"{role} {now['name']}, now with another card")
    before, now = old.get("settings") or {}, info["settings"]
    for name in sorted({*before, *now} - {"fingerprint"}):
        if before.get(name) != now.get(name):
            said = ("default" if v is None else v for v in (before.get(name), now.get(name)))
            changes.append("{} {}, now {}".format(name, *said))
    # Thresholds of single labels stand on the card alone, which is not part of the model's sha256.
    if not changes and old.get("thresholds") != info.get("thresholds"):
        changes.append("other thresholds on the cards of the models")
    if changes:
        raise ResumeError(
            f"was counted otherwise ({'; '.join(changes)}); count as before, choose another --out, "
            "or begin anew with --restart"
        )
