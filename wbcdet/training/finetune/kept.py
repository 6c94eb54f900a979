"""Keep what an interrupted ``wbcdet learn`` has done, for the same command."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wbcdet.training.finetune.install import learning_alone, learning_home
from wbcdet.training.finetune.reviewed_cells import Reviewed
from wbcdet.training.finetune.reviewed_fields import ReviewedFields
from wbcdet.utils.version import __version__

#: Days for which what an interrupted run has done is kept.
KEPT_DAYS = 30


class Kept:
    """What an interrupted run has done already, kept for the same command.

    Args:
        parts: everything that decides what is learnt.
    """

    def __init__(self, *parts: str) -> None:
        self.fingerprint = hashlib.sha256("\n".join((*parts, __version__)).encode()).hexdigest()
        self.folder = learning_home() / self.fingerprint[:16]

    @staticmethod
    @contextmanager
    def held() -> Iterator[None]:
        """Hold what is kept, and what will be installed, against another learning of this user.

        Raises:
            LockedError: there is one.
        """
        with learning_alone():
            for folder in learning_home().iterdir():  # nobody goes on with these
                if folder.is_dir() and time.time() - folder.stat().st_mtime > KEPT_DAYS * 86400:
                    shutil.rmtree(folder, ignore_errors=True)
            yield

    def path(self, name: str) -> Path:
        """Return the path of a file, its folder made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def done(self) -> None:
        """Forget it all: it stands elsewhere now."""
        shutil.rmtree(self.folder, ignore_errors=True)


def data_fingerprint(cells: Reviewed, fields: ReviewedFields) -> str:
    """Return a sha256 that stands for everything that is learnt from."""
    digest = hashlib.sha256()
    for cell in cells.cells:
        name = cells.classes[cell.label]
        digest.update(f"{cell.group} {cell.box} {name}\n".encode())
        digest.update(cell.patch.tobytes())
    for field in fields.fields:
        digest.update(f"{field.group} {field.cells.tolist()}\n".encode())
        digest.update(field.pixels.tobytes())
    return digest.hexdigest()
