"""Remember where the pictures of a report are, as its reader said; kept outside of the report.

What stands in a report may come from somebody else, who must not choose which folder of this
computer is shown.
"""

from __future__ import annotations

from pathlib import Path

from wbcdet.utils.files import atomic_write
from wbcdet.utils.user_folder import user_folder

#: Longest path that is kept, in letters.
_MAX_LETTERS = 4096


def remember_pictures(mark: str, folder: Path) -> None:
    """Keep where the pictures are of the report with this mark.

    Raises:
        OSError: it cannot be kept.
    """
    place = _place(mark)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_write(place, str(folder.resolve()).encode("utf-8", "surrogateescape"))


def remembered_pictures(mark: str) -> Path | None:
    """Return the folder of the pictures; None where nobody named one."""
    try:
        said = _place(mark).read_bytes()[:_MAX_LETTERS].decode("utf-8", "surrogateescape")
    except OSError:
        return None
    return Path(said) if said else None


def _place(mark: str) -> Path:
    return user_folder() / "pictures" / mark
