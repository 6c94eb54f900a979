"""``wbcdet doctor``: what is installed here, in a form to paste into an issue."""

from __future__ import annotations

import typer

from wbcdet.cli.options import EXIT_SOME_FAILED
from wbcdet.records import NOTICE

EPILOG = f"Exit code: 0 wbcdet can analyse pictures here, 1 it cannot. {NOTICE}"


def doctor() -> None:
    """Say what is installed here and what is missing for what.

    Prints version, models, devices and optional parts, with the command that installs what is
    missing: to be pasted into an issue. It holds no name, path or picture of yours.
    """
    from wbcdet.inference.diagnosis import diagnose
    from wbcdet.utils.tables import terminal

    findings = diagnose()
    for line in findings.lines(terminal().width):
        print(line)
    if not findings.sound:
        raise typer.Exit(EXIT_SOME_FAILED)
