"""The command ``wbcdet cameras``: list the cameras of this computer."""

from __future__ import annotations


def cameras() -> None:
    """List the cameras that `wbcdet stream` can open here.

    Each line begins with what to give to `wbcdet stream`.
    """
    from wbcdet.stream.sources.open import find_cameras
    from wbcdet.utils.tables import Row, print_table, terminal

    available = find_cameras()
    usable = [camera for camera in available if not camera.problem]
    if usable:
        rows = [Row((camera.source, camera.what)) for camera in usable]
        print_table(terminal(), ("source", "what"), rows, left=2)
    for camera in available:
        if camera.problem:
            print(f"Not here: {camera.source} ({camera.what}): {camera.problem}")
    if not any(camera.source.isdecimal() for camera in available):
        print("No USB camera found: is it plugged in, and may you read it (/dev/video* on Linux)?")
    print("Always: a video file, a folder, an rtsp:// or http:// address.")
    if any(camera.source == "mm:demo" for camera in usable):
        print("No camera at hand? wbcdet stream mm:demo")
