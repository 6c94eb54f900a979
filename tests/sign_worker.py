"""Sign a report and be killed at a given step; run as a program by ``test_others_reports.py``.

``python sign_worker.py REPORT STEP``: a step is anything that Python tells its audit hooks of a
file: one that is opened, renamed, removed or made. The program dies before that step, as with
``kill -9``. With ``count`` in place of a step it signs to the end and prints how many there are.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import cv2

from wbcdet.review.session import Session

_STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate")
_STEPS += ("ctypes.call_function", "shutil.rmtree", "ctypes.dlopen")


def main(report: Path, wanted: str) -> None:
    cv2.setNumThreads(0)
    session = Session(report)
    steps = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal steps
        if event in _STEPS and (
            event.startswith(("ctypes", "shutil")) or _is_of(arguments, report)
        ):
            steps += 1
            if str(steps) == wanted:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    session.sign("Ann", "", session.board.last)
    if wanted == "count":
        print(steps, flush=True)
    os._exit(0)


def _is_of(arguments: tuple[object, ...], report: Path) -> bool:
    return any(str(report) in str(one) for one in arguments[:2])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
