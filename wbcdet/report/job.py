"""What a report is made of, and the hold on its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wbcdet.io.discover import Source, find_fields
from wbcdet.report.journal import LINES, PICTURES, Journal, JournalError
from wbcdet.report.layout import ANNOTATED, CELLS, JOURNAL
from wbcdet.utils.lock import locked
from wbcdet.utils.safe_files import own_folder


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is asked to count.

    Attributes:
        folder: the fields, a folder or one file.
        out: the report folder.
        annotate: draw annotated pictures.
        dedupe: keep what ``--dedupe`` compares.
        restart: drop what an earlier run has counted.
    """

    folder: Path
    out: Path
    annotate: bool = True
    dedupe: bool = False
    restart: bool = False

    def sources(self) -> list[Source]:
        """The fields, in natural order; nothing that the report itself holds."""
        own = [self.out / name for name in (ANNOTATED, CELLS, JOURNAL)]
        return find_fields([self.folder], exclude=own)


@contextmanager
def opened(job: Job) -> Iterator[Journal]:
    """The journal of a report, held against other runs.

    Raises:
        LockedError: another run writes to the report.
        JournalError: it cannot be read.
        OSError: nothing can be written there, or a folder of the report is a link.
    """
    job.out.mkdir(parents=True, exist_ok=True)
    for name in (ANNOTATED, CELLS, JOURNAL):
        own_folder(job.out, name)
    with locked(job.out / JOURNAL):
        journal = _open(job)
        try:
            yield journal
        finally:
            journal.close()


def _open(job: Job) -> Journal:
    try:
        return Journal(job.out / JOURNAL)
    except JournalError:
        if not job.restart:
            raise
    for name in (LINES, PICTURES):
        _move_aside(job.out / JOURNAL, name)
    return Journal(job.out / JOURNAL)


def _move_aside(folder: Path, name: str) -> None:
    """Keep a file that cannot be gone on with: it may be somebody's own."""
    if not (folder / name).exists():
        return
    number = 1
    while (folder / f"{name}.{number}").exists():
        number += 1
    (folder / name).rename(folder / f"{name}.{number}")
