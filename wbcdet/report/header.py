"""The header of a journal: what made its results."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wbcdet.settings import NO_RESULT
from wbcdet.utils.version import __version__


class ResumeError(ValueError):
    """The report folder holds a count that this run must not go on with; one line."""


def make_header(info: Mapping[str, Any], folder: Path, created: str) -> dict[str, Any]:
    """The first line of a journal: what made its results, and of what.

    Args:
        info: what ``Analyzer.info()`` gives.
        folder: where the fields are.
        created: date and time, ISO 8601.
    """
    return {"wbcdet": __version__, "created": created, "folder": str(folder.resolve()), **info}


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
    before, now = old.get("settings") or {}, info["settings"]
    for name in sorted({*before, *now} - {"fingerprint"} - NO_RESULT):
        if before.get(name) != now.get(name):
            said = ("default" if v is None else v for v in (before.get(name), now.get(name)))
            changes.append("{} {}, now {}".format(name, *said))
    if changes:
        raise ResumeError(
            f"was counted otherwise ({'; '.join(changes)}); count as before, choose another --out, "
            "or begin anew with --restart"
        )
