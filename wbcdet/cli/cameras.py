"""The command ``wbcdet cameras``: list the cameras of this computer."""

from __future__ import annotations


def cameras() -> None:
    """List the cameras that `wbcdet stream` can open here.

    Each line begins with what to give to `wbcdet stream`.
    """
    from wbcdet.stream.sources.open import find_cameras
    from wbcdet.utils.tables import Row, print_table, terminal

    found = find_cameras()
    usable = [one for one in found if not one.problem]
    if usable:
        rows = [Row((one.source, one.what)) for one in usable]
        print_table(terminal(), ("source", "what"), rows, left=2)
    for one in found:
        if one.problem:
            print(f"Not here: {one.source} ({one.what}): {one.problem}")
    if not any(one.source.isdecimal() for one in found):
        print("No USB camera found: is it plugged in, and may you read it (/dev/video* on Linux)?")
    print("Always: a video file, a folder, an rtsp:// or http:// address.")
    if any(one.source == "mm:demo" for one in usable):
        print("No camera at hand? wbcdet stream mm:demo")
