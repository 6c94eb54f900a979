"""Sign a report again and again, killed at every step; run as a program by the tests of signing.

``python sign_worker.py REPORT`` signs the report in child processes. A step is anything of a file
that Python tells its audit hooks of: one that is opened, renamed, removed or made. A child dies
before that step, as with ``kill -9``; what it leaves behind is then opened as the next program
would, and said in a line of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import cv2

from wbcdet.review.session import Session
from wbcdet.review.sign_off import SIGNING, check

_STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"}
#: How the folders change places, and how one is removed.
_STEPS |= {"ctypes.call_function", "shutil.rmtree"}


def sign(report: Path, last: int | None) -> int:
    """Sign in a child that dies before a step; returns its steps where it does not."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        session = Session(report)
        steps = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal steps
            # Of calls through ctypes there is one; other files are of no concern.
            ours = event == "ctypes.call_function" or any(
                str(report) in os.fsdecode(argument)
                for argument in arguments[:2]
                if isinstance(argument, str | bytes)
            )
            if event in _STEPS and ours:
                steps += 1
                if steps == last:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        session.sign("Ann", "", session.state.last)
        os.write(write, str(steps).encode())
        os._exit(0)
    os.close(write)
    said = os.read(read, 100)
    os.close(read)
    os.waitpid(child, 0)
    return int(said or 0)


def main(report: Path) -> None:
    cv2.setNumThreads(0)
    sign(report, None)  # the first signature has nothing to take the place of
    steps = sign(report, None)
    # The last steps, about the line of the log and the change of places, one by one.
    for step in sorted({*range(1, steps, 7), *range(max(1, steps - 12), steps + 1)}):
        finished = sign(report, step)
        there = (report / "reviewed" / "report.html").is_file()
        session = Session(report)
        found = {
            "step": step,
            "of": steps,
            "finished": finished,
            "there": there,
            "signatures": len(session.log()),
            "wrong": check(session),
            "left": (report / SIGNING).exists(),
        }
        session.close()
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
