"""Begin the report folder of a stream, or resume an earlier one."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from wbcdet.inference.run_info import RunInfo
from wbcdet.io.source import Root
from wbcdet.report.header import ResumeError, check_header, check_shape, make_header
from wbcdet.report.journal import Journal
from wbcdet.report.write import remove_report
from wbcdet.results.writer import remove_pictures
from wbcdet.stream.event_log import remove_events
from wbcdet.stream.report import CROPS, MOSAICS
from wbcdet.stream.store import ANNOTATED, VIEWS
from wbcdet.utils.safe_files import own_folder


def begin(out: Path, journal: Journal, info: RunInfo, *, restart: bool) -> None:
    """Begin the journal, or check that this run may go on with it.

    Args:
        out: the report folder.
        journal: its journal.
        info: what ``Analyzer.info()`` gives.
        restart: forget what an earlier run has counted.

    Raises:
        ResumeError: it holds something else, or was counted with other settings; nothing is
        changed. JournalError: its header is damaged.
        OSError: the folder cannot be written.
    """
    old = journal.header
    if old is not None and not old.get("stream"):
        raise ResumeError("holds the count of a folder; choose another --out")
    if old is not None and not restart:
        check_shape(old)
        check_header(old, info)
        return
    if old is not None:
        remove_report(out)
        for name in (VIEWS, ANNOTATED, CROPS, MOSAICS):
            pictures = own_folder(out, name).rglob("*.jpg")
            remove_pictures(out, [path.relative_to(out).as_posix() for path in list(pictures)])
        remove_events(out)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    roots = [Root("", str((out / VIEWS).absolute()))]
    journal.start({**make_header(info, roots, created), "stream": True})
