"""Resume an interrupted count: find the fields that are left, and check that they are the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wbcdet.io.source import Root, Source
from wbcdet.report.header import ResumeError, roots_of
from wbcdet.report.input_fingerprint import FileStamp, InputFingerprints
from wbcdet.report.journal import Journal, JournalError
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.layout import FIELDS
from wbcdet.utils.schemas import JsonObject

#: Files named in a line; the rest are counted.
_MAX_NAMED = 3
#: How a JPEG file ends.
_END = b"\xff\xd9"


@dataclass(slots=True)
class ResumePlan:
    """The work of a run.

    Attributes:
        todo: fields to count, in order.
        done: number of fields that need not be counted again.
        cells: number of cells in those.
        notes: what the user should know of an earlier run, a line each.
        pictures: annotated picture of each field, as a path below the report folder.
    """

    todo: list[Source] = field(default_factory=list)
    done: int = 0
    cells: int = 0
    notes: list[str] = field(default_factory=list)
    pictures: Mapping[str, str] = field(default_factory=dict)


def keep_names(
    journal: Journal, sources: list[Source], roots: Sequence[Root]
) -> tuple[list[Source], tuple[Root, ...]]:
    """Return the fields under the names that a report already has for them.

    A report keeps the names that it began with, and with them what was decided on its cells, where
    its one folder is given in another way now, has moved, or was named by an older version.
    """
    before = roots_of(journal)
    known = any(source.name in journal for source in sources)
    if known or len(before) != 1 or len(roots) != 1 or before[0].name == roots[0].name:
        return sources, tuple(roots)
    old, new = before[0].name, roots[0].name
    kept = []
    for source in sources:
        rest = source.name[len(new) + 1 :] if new else source.name
        kept.append(replace(source, name=f"{old}/{rest}" if old else rest))
    return kept, (Root(old, roots[0].path),)


def check_fields(journal: Journal, sources: Sequence[Source], roots: Sequence[Root]) -> None:
    """Check that a journal is of these files, if not folders: drives change their letters.

    Raises:
        ResumeError: it is of other files.
    """
    before = [root.path for root in roots_of(journal)]
    if not len(journal) or before == [root.path for root in roots]:
        return
    stamps = InputFingerprints()
    same = 0
    for source in sources:
        if source.name in journal and source.problem is None:
            same += stamps.same(source.path, _stamp(journal, source.name))
    if 2 * same < len(journal):
        raise ResumeError(
            f"holds the count of another folder, {', '.join(before[:_MAX_NAMED])}; choose another "
            "--out, or begin again with --restart"
        )


def _stamp(journal: Journal, name: str) -> FileStamp | None:
    try:
        return JournalEntry.checked(name, journal.read(name), journal.header).stamp
    except JournalError:
        return None


def plan_resume(
    sources: Sequence[Source],
    journal: Journal,
    pictures: Mapping[str, str],
    *,
    dedupe: bool,
    out: Path,
) -> ResumePlan:
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
    plan, stamps = ResumePlan(pictures=pictures), InputFingerprints()
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
            try:
                record = journal.read(source.name)
                entry = JournalEntry.checked(source.name, record, journal.header)
            except JournalError:
                journal.name_damaged(source.name)
                plan.todo.append(source)
                continue
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
    if journal.without_checksums:
        plan.notes.append(
            "the journal was begun by a version without checksums: its lines are checked against "
            "their schema alone"
        )
    if journal.damaged:
        lines = f"{len(journal.damaged)} line{'s' * (len(journal.damaged) != 1)}"
        plan.notes.append(
            f"{lines} of the journal damaged, their fields counted again: "
            f"{_listed(journal.damaged)}"
        )
    for what, files in (
        ("changed since, counted again", changed),
        ("could not be read, tried again", failed),
        ("without what is asked for now, counted again", more),
        ("new", new),
        ("gone, left out", gone),
    ):
        if files:
            plan.notes.append(f"{_fields(files)} {what}: {_listed(files)}")
    return plan


def _complete(
    entry: JournalEntry,
    record: JsonObject,
    journal: Journal,
    picture: str | None,
    dedupe: bool,
    out: Path,
) -> bool:
    if dedupe and not entry.ground:
        return False
    if picture is not None and (entry.annotated != picture or not _is_written(out / picture)):
        return False
    return journal.has_pictures(record)


def _is_written(picture: Path) -> bool:
    """Say whether a picture is there to its end: a power cut may keep its name and lose bytes."""
    if not picture.is_file() or picture.stat().st_size < len(_END):
        return False
    with picture.open("rb") as file:
        file.seek(-len(_END), os.SEEK_END)
        return file.read() == _END


def _fields(names: Sequence[str]) -> str:
    return f"{len(names)} field{'s' * (len(names) != 1)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(" ".join(name.split()) for name in names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
