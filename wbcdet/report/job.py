"""What a report is made of, and the hold on its folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from wbcdet.io.discover import Source, find_fields
from wbcdet.report.journal import Journal, JournalError
from wbcdet.report.layout import ANNOTATED, CELLS, JOURNAL
from wbcdet.utils.lock import locked


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
        OSError: nothing can be written there.
    """
    job.out.mkdir(parents=True, exist_ok=True)
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
    for file in (job.out / JOURNAL).iterdir():
        if file.suffix in (".jsonl", ".bin"):
            file.unlink()
    return Journal(job.out / JOURNAL)
