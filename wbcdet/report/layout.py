"""Names of the folders and lists of a report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

#: Folders in the report that hold pictures or state, and are never counted themselves.
ANNOTATED, CELLS, JOURNAL = "annotated", "cells", "journal"


#: The journal's list of the contact sheets.
SHEETS = "sheets"


def drop(out: Path, files: Iterable[str]) -> None:
    """Remove files of the report, and the folders that they leave empty."""
    for file in files:
        (out / file).unlink(missing_ok=True)
        for folder in list(Path(file).parents)[:-2]:
            if (out / folder).is_dir() and not any((out / folder).iterdir()):
                (out / folder).rmdir()


#: The journal's list of the fields of the folder, when a run last looked.
FIELDS = "fields"
