"""The job behind a report, and the lock on its folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wbcdet.io.source import Root
from wbcdet.report.journal import LINES, PICTURES, Journal, JournalError
from wbcdet.report.layout import ANNOTATED, CELLS, JOURNAL
from wbcdet.results.output_folder import Output
from wbcdet.utils.safe_files import own_folder

#: Folders named in a title.
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class Job:
    """Task of a run.

    Attributes:
        roots: the folders that the fields lie in.
        out: the report folder.
        annotate: draw annotated pictures.
        dedupe: keep what ``--dedupe`` compares.
        restart: drop what an earlier run has counted.
        command: which command counts.
        pdf: print the page as a PDF file too.
    """

    roots: tuple[Root, ...]
    out: Path
    annotate: bool = True
    dedupe: bool = False
    restart: bool = False
    command: str = "count"
    pdf: bool = False

    @property
    def title(self) -> str:
        """Name of what was counted."""
        return title_of(self.roots)


def title_of(roots: Sequence[Root]) -> str:
    """Return the name of the folder that was counted, or the names of several."""
    names = [Path(root.path).name or root.path for root in roots]
    shown = ", ".join(names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


@contextmanager
def opened(job: Job) -> Iterator[Journal]:
    """Yield the journal of a report, held against other runs.

    Raises:
        OutputError: the folder is not a report of the command.
        LockedError: another run writes to the report.
        JournalError: it cannot be read.
        OSError: nothing can be written there, or a folder of the report is a link.
    """
    for name in (ANNOTATED, CELLS, JOURNAL):
        own_folder(job.out, name)
    with Output(job.out, job.command):
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
    """Keep a file that no run can continue: it may be somebody's own."""
    if not (folder / name).exists():
        return
    number = 1
    while (folder / f"{name}.{number}").exists():
        number += 1
    (folder / name).rename(folder / f"{name}.{number}")
