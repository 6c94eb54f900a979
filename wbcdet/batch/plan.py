"""What an earlier run has left to do, and whether this one may go on with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wbcdet import __version__
from wbcdet.batch.entry import Entry
from wbcdet.batch.inputs import Stamps
from wbcdet.batch.journal import Journal
from wbcdet.fields import Source

#: The journal's list of the fields of the folder, when a run last looked.
FIELDS = "fields"

#: Files named in a line; the rest are counted.
_MOST_NAMED = 3


class PlanError(ValueError):
    """The report folder holds a count that this run must not go on with; one line."""


@dataclass(slots=True)
class Plan:
    """The work of a run.

    Attributes:
        todo: fields to count, in order.
        done: number of fields that need not be counted again.
        cells: number of cells in those.
        notes: what the user should know of an earlier run, a line each.
    """

    todo: list[Source] = field(default_factory=list)
    done: int = 0
    cells: int = 0
    notes: list[str] = field(default_factory=list)


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
    for name in sorted({*before, *now} - {"fingerprint"}):
        if before.get(name) != now.get(name):
            said = ("default" if v is None else v for v in (before.get(name), now.get(name)))
            changes.append("{} {}, now {}".format(name, *said))
    if changes:
        raise PlanError(
            f"was counted otherwise ({'; '.join(changes)}); count as before, choose another --out, "
            "or begin anew with --restart"
        )


def check_folder(journal: Journal, sources: Sequence[Source], folder: Path) -> None:
    """The journal is of these files, if not of this folder: drives change their letters.

    Raises:
        PlanError: it is of others.
    """
    before = str((journal.header or {}).get("folder"))
    if not len(journal) or before == str(folder.resolve()):
        return
    stamps = Stamps()
    same = 0
    for source in sources:
        if source.name in journal and source.problem is None:
            same += stamps.same(source.path, journal.read(source.name)["input"])
    if 2 * same < len(journal):
        raise PlanError(
            f"holds the count of another folder, {before}; choose another --out, or begin anew "
            "with --restart"
        )


def make_plan(
    sources: Sequence[Source],
    journal: Journal,
    pictures: Mapping[str, str],
    *,
    dedupe: bool,
    out: Path,
) -> Plan:
    """Find out what is still to do.

    Fields that could not be read are tried again, and fields whose file has changed are counted
    again. So are those of which something is missing that is asked for now.

    Args:
        sources: the fields of the folder.
        journal: what was done so far.
        pictures: annotated picture of each field, as a path below ``out``; empty without any.
        dedupe: what ``--dedupe`` compares is asked for.
        out: the report folder.
    """
    plan, stamps = Plan(), Stamps()
    changed: list[str] = []
    failed: list[str] = []
    more: list[str] = []
    before = set(journal.lists.get(FIELDS, ()))
    new = [source.name for source in sources if before and source.name not in before]
    names = {source.name for source in sources}
    gone = [name for name in journal if name not in names]
    for source in sources:
        entry = None
        if source.name in journal:
            record = journal.read(source.name)
            entry = Entry.from_record(record)
            if entry.result.failure is not None:
                failed.append(source.name)
                entry = None
            elif not stamps.same(source.path, entry.stamp):
                changed.append(source.name)
                entry = None
            elif not _complete(entry, record, journal, pictures.get(source.name), dedupe, out):
                more.append(source.name)
                entry = None
        if entry is None:
            plan.todo.append(source)
        else:
            plan.done += 1
            plan.cells += len(entry.result.cells)
    if len(journal):
        plan.notes.append(f"{plan.done} of {len(sources)} fields were counted before")
    for what, found in (
        ("changed since, counted again", changed),
        ("could not be read, tried again", failed),
        ("with something missing that is asked for now, counted again", more),
        ("new", new),
        ("gone, left out", gone),
    ):
        if found:
            plan.notes.append(f"{_fields(found)} {what}: {_listed(found)}")
    return plan


def _complete(
    entry: Entry,
    record: Mapping[str, Any],
    journal: Journal,
    picture: str | None,
    dedupe: bool,
    out: Path,
) -> bool:
    if dedupe and not entry.ground:
        return False
    if picture is not None and (entry.annotated != picture or not (out / picture).is_file()):
        return False
    return journal.has_pictures(record)


def _fields(names: Sequence[str]) -> str:
    return f"{len(names)} field{'s' * (len(names) != 1)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(" ".join(name.split()) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
