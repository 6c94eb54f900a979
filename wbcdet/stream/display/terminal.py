"""Terminal output of a stream: a status line while it runs, the differential at its end."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from wbcdet.inference.run_info import StreamInfo
from wbcdet.records import NOTICE
from wbcdet.report.counts import ReportCounts
from wbcdet.report.terminal import alarms, print_differentials, unknown_slides
from wbcdet.stream.cell_counter import FrameResult
from wbcdet.stream.display.base import Status
from wbcdet.stream.report import unusable
from wbcdet.utils.tables import terminal
from wbcdet.utils.text import plural
from wbcdet.utils.words import speaking_english

#: Seconds between two changes of the status line.
_PAUSE_S = 0.25


class StatusLine:
    """One line that changes: cells so far, speed, lag."""

    def __init__(self) -> None:
        self._status = Console(stderr=True).status("waiting for the first frame")
        self._status.start()
        self._shown = 0.0

    def show(self, result: FrameResult | None, status: Status) -> None:
        """See :class:`~wbcdet.stream.display.base.Display`."""
        now = time.monotonic()
        if now - self._shown < _PAUSE_S:
            return
        self._shown = now
        self._status.update(describe(status))

    def close(self) -> None:
        """Take the line away."""
        self._status.stop()


def describe(status: Status) -> str:
    """Return a status in one line."""
    differential = status.differential
    goal = f" of {differential.target}" if differential.target else ""
    unclassified = sum(differential.unclassified.values())
    counted = (
        f"slide {status.slide}: {differential.classified}{goal} classified, {unclassified} not"
    )
    flagged = [f"{share.count} {share.label}" for share in differential.alarming()]
    if flagged:
        counted += f" ({', '.join(flagged)})"
    if status.ground:
        counted += "; unlike the training"
    if status.state == "paused":
        more = f"; {status.message}" if status.message != "paused" else ""
        return f"{counted}; paused{more}"
    state = f"{status.state}; {status.message}" if status.state == "damaged" else status.state
    return f"{counted}; {state}; {status.fps:.1f} frames/s, lag {status.lag_s:.2f} s"


@speaking_english()
def print_stream(counts: ReportCounts, out: Path, run: StreamInfo, *, pdf: bool = False) -> None:
    """Print the differential of every slide, what to note, and where the files are.

    Args:
        counts: the count.
        out: the report folder.
        run: the counters of the stream.
        pdf: there is a report.pdf.
    """
    console = terminal()
    print_differentials(console, counts.differentials)
    cut = sum(differential.edge for differential in counts.differentials)
    for line in alarms(counts):
        console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    lines = unknown_slides(counts)
    lines += [
        warning for differential in counts.differentials if (warning := differential.warning())
    ]
    if cut:
        lines.append(f"{plural(cut, 'cell')} never seen whole, not counted")
    problems = sum(len(notes.problems) for notes in counts.notes.values())
    if problems:
        lines.append(f"{plural(problems, 'view')} with quality problems (fields.csv)")
    if warning := unusable(run.get("totals", {})):
        lines.append(warning)
    lines += [f"not everything was read: {text}" for text in run.get("unread", [])]
    page = "report.html, report.pdf" if pdf else "report.html"
    lines += [NOTICE, f"Files in {out}: {page}, cells.csv, differential.csv, mosaic/, crops/"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
