"""The command ``wbcdet cameras``: list the cameras of this computer."""

from __future__ import annotations

import sys


def cameras() -> None:
    """List the cameras that `wbcdet stream` can open here.

    Each line begins with what to give to `wbcdet stream`.
    """
    from rich.console import Console
    from rich.table import Table

    from wbcdet.stream.sources.open import find_cameras

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("source", "what", ""):
        table.add_column(name, overflow="fold")
    found = find_cameras()
    for one in found:
        table.add_row(one.source, one.what, one.problem or "ready")
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(table, markup=False)
    if not any(one.source.isdecimal() for one in found):
        print("No USB camera found: is it plugged in, and may you read it (/dev/video* on Linux)?")
    print(
        "Always: a video file, a folder, an rtsp:// or http:// address. "
        "No camera at hand? wbcdet stream mm:demo"
    )
