"""Files that are whole under their name, also after a power cut."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest

from wbcdet.results.writer import write_picture
from wbcdet.utils.files import atomic_write, write_csv
from wbcdet.utils.safe_files import make_private


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], bool]:
    """Return whether all of a file was on the disk before it had its name."""
    synced: dict[int, int] = {}
    named: list[int] = []
    sync, move = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        sync(handle)
        now = os.fstat(handle)
        if now.st_ino not in named:
            synced[now.st_ino] = now.st_size

    def replace(path: Path, target: Path) -> Path:
        named.append(path.stat().st_ino)
        return move(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return lambda path: synced.get(path.stat().st_ino) == path.stat().st_size


def test_tables_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, on_disk: Callable[[Path], bool]
) -> None:
    write_csv(tmp_path / "cells.csv", ("id",), ({"id": n} for n in range(5000)))
    atomic_write(tmp_path / "results.json", b"{}" * 5000)
    assert on_disk(tmp_path / "cells.csv") and on_disk(tmp_path / "results.json")
    picture = cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    write_picture(tmp_path, "annotated/1.jpg", picture)  # there are many, and each would wait
    assert not on_disk(tmp_path / "annotated" / "1.jpg")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other permissions")
@pytest.mark.parametrize("owner", ["mount", "account"])
def test_permissions_that_cannot_be_set(
    owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network drive that was mounted by another account lets files be written, and not more."""

    def refuse(*_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    if owner == "mount":
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        atomic_write(tmp_path / "results.json", b"{}")
        make_private(tmp_path / "review.sqlite")
        assert {path.name for path in tmp_path.iterdir()} == {"results.json", "review.sqlite"}
    else:
        for write in (lambda path: atomic_write(path, b"{}"), make_private):
            with pytest.raises(PermissionError):
                write(tmp_path / "review.sqlite")
