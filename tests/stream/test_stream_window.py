"""The window, on a real (virtual) screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from streaming import pan, raster

_SHOW = """
import sys, time, pygame
keys = iter(["", " ", " ", "u", "", "n", "", "q"])
real = pygame.event.get
def press():
    key = next(keys, "")
    return [*real(), *(pygame.event.Event(pygame.KEYDOWN, key=ord(one)) for one in key)]
pygame.event.get = press
from wbcdet.cli.app import app
app(["stream", sys.argv[1], "--out", sys.argv[2], "--display"])
"""

#: At the fourth look the window is closed.
_CLOSE = """
    if key == "u":
        import x_windows
        x_windows.close_all()
        time.sleep(0.2)
    return real()
"""


def _run(show: str, video: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", show, str(video), str(out)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_keys_steer_the_window(tmp_path: Path) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("no virtual screen (Debian: xvfb, xauth)")
    video = pan(tmp_path / "v.mp4", raster())
    done = _run(_SHOW, video, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    told = [line.split(",")[2] for line in (tmp_path / "out/events.csv").read_text().splitlines()]
    # What the models say of drawn ground is no matter of the window.
    assert [what for what in told[1:] if what != "ground"] == [
        "begin",
        "pause",
        "start",
        "undo",
        "new-slide",
    ]


def test_closing_the_window_ends_with_a_report(tmp_path: Path) -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("no virtual screen (Debian: xvfb, xauth)")
    show = _SHOW.replace('key = next(keys, "")\n', 'key = next(keys, "")' + _CLOSE)
    assert _CLOSE in show
    done = _run(show, pan(tmp_path / "v.mp4", raster()), tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "report.html").is_file()
    info = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["info"]
    assert info["stream"]["totals"]["analysed"] < 8


def test_no_screen_is_said(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux runs without a screen")
    video = pan(tmp_path / "v.mp4", raster()[:2])
    hidden = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-m", "wbcdet", "stream", str(video), "--out", "out", "--display"],
        cwd=tmp_path,
        env={**hidden, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "--serve" in done.stderr.splitlines()[-1]
