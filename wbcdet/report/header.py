"""The header of a journal: the models and settings behind its results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wbcdet.inference.run_info import RunInfo
from wbcdet.io.source import Root
from wbcdet.report.journal import JournalError
from wbcdet.report.source import ReportSource
from wbcdet.results.schemas import check_line
from wbcdet.settings import NO_RESULT
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.schemas import JsonObject, SchemaError
from wbcdet.utils.version import __version__

#: The journal's lists of where the fields are: names and paths of ``Root``.
_ROOT_NAMES, _ROOT_PATHS = "source-names", "source-paths"


class ResumeError(WbcdetError, ValueError):
    """The report folder holds a count that this run must not go on with; one line."""


def make_header(info: RunInfo, roots: Sequence[Root], created: str) -> RunInfo:
    """Return the first line of a journal: what made its results, and of what.

    Args:
        info: what ``Analyzer.info()`` gives.
        roots: where the fields are.
        created: date and time, ISO 8601.
    """
    return {
        "wbcdet": __version__,
        "created": created,
        "folder": _base(roots),
        "sources": [root.to_dict() for root in roots],
        **info,
    }


def _base(roots: Sequence[Root]) -> str:
    """Return the folder that the names of the fields are paths below; of several the first."""
    if not roots:
        return ""
    path, name = roots[0].path, roots[0].name
    return (path.removesuffix(name).rstrip("/") or "/") if name and path.endswith(name) else path


def roots_of(journal: ReportSource) -> list[Root]:
    """Return the roots of the fields of a journal, as its last run knew them."""
    names, paths = (journal.lists.get(key) for key in (_ROOT_NAMES, _ROOT_PATHS))
    if names is not None and paths is not None and len(names) == len(paths):
        return [Root(name, path) for name, path in zip(names, paths, strict=True)]
    header = journal.header or {}
    if isinstance(header.get("sources"), list):
        return [Root(str(root["name"]), str(root["path"])) for root in header["sources"]]
    # Until there were several, names were paths below the one folder, or the one file's name.
    folder = Path(str(header.get("folder", "")))
    return [Root("", str(folder.parent if folder.is_file() else folder))]


def note_roots(journal: ReportSource, roots: Sequence[Root]) -> None:
    """Write down where the fields are now, if it is elsewhere than before."""
    if list(roots) != roots_of(journal):
        journal.note(_ROOT_NAMES, [root.name for root in roots])
        journal.note(_ROOT_PATHS, [root.path for root in roots])


def check_shape(header: JsonObject) -> None:
    """Check that the header of an earlier run's journal has all keys that are read.

    Raises:
        JournalError: a key is missing.
    """
    try:
        check_line("header", header)
    except SchemaError as error:
        raise JournalError(f"the first line of the journal is damaged: {error}") from error


def check_header(old: JsonObject, info: RunInfo) -> None:
    """Check that a journal's results were made with the models and settings of this run.

    Raises:
        ResumeError: they were not; the message says what differs.
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
        # Versions that did not record it accepted every card.
        elif before.get("card_sha256") not in (None, now.get("card_sha256")):
            changes.append(f"{role} {now['name']}, now with another card")
    asked_before, asked = old.get("settings") or {}, info["settings"]
    for name in sorted({*asked_before, *asked} - {"fingerprint"} - NO_RESULT):
        values = asked_before.get(name), asked.get(name)
        if values[0] != values[1]:
            said = ("default" if value is None else value for value in values)
            changes.append("{} {}, now {}".format(name, *said))
    # Thresholds of single labels stand on the card alone, which is not part of the model's sha256.
    if not changes and old.get("thresholds") != info.get("thresholds"):
        changes.append("other thresholds on the cards of the models")
    if changes:
        raise ResumeError(
            f"was counted otherwise ({'; '.join(changes)}); count as before, choose another --out, "
            "or start over with --restart"
        )
