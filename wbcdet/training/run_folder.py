"""Hold the folder of a training: one run at a time writes to it, and over nothing of a user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wbcdet.io.ownership import read_marker
from wbcdet.results.output_folder import is_empty, mark_new
from wbcdet.training.config import TrainingError
from wbcdet.utils.lock import LockedError, locked


@contextmanager
def run_folder(out: Path) -> Iterator[None]:
    """Lock and mark a folder that is new, empty or a training's.

    Raises:
        TrainingError: it holds what no training wrote, or another training writes to it.
        OSError: it cannot be written.
    """
    if out.exists() and not is_empty(out) and (read_marker(out) or {}).get("command") != "train":
        raise TrainingError(f"{out}: holds what no training wrote, which stays; give another --out")
    try:
        with locked(out):
            mark_new(out, "train")
            yield
    except LockedError as error:
        raise TrainingError(str(error)) from error
