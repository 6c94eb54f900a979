"""Say in one line what a search for pictures passed over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from wbcdet.io.source import printable
from wbcdet.utils.text import plural

#: Number of names given of each kind of file.
_MAX_NAMED = 3


@dataclass(slots=True)
class PassedOver:
    """Files and folders that a search passed over.

    Attributes:
        outputs: folders that wbcdet wrote, and archives of them.
        drawings: pictures that wbcdet drew, moved elsewhere.
        films: videos.
        others: files that are no pictures, by ending.
        hidden: files and folders whose name begins with a dot.
        repeated: files that are the same file as one before (links, or named twice).
        folders_again: folders that are the same as one before.
    """

    outputs: list[str] = field(default_factory=list)
    drawings: list[str] = field(default_factory=list)
    films: int = 0
    others: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    repeated: int = 0
    folders_again: int = 0

    def line(self) -> str | None:
        """Say all of it in one line; None where nothing was passed over."""
        parts = []
        if self.outputs:
            folders = plural(len(self.outputs), "folder")
            parts.append(f"{folders} that wbcdet wrote ({_listed(self.outputs)})")
        if self.drawings:
            pictures = plural(len(self.drawings), "picture")
            parts.append(f"{pictures} that wbcdet drew ({_listed(self.drawings)})")
        if self.films:
            parts.append(f"{plural(self.films, 'video')} (for wbcdet stream)")
        if self.others:
            kinds = [f"{n} {kind or 'without ending'}" for kind, n in self.others.most_common()]
            parts.append(f"{plural(self.others.total(), 'other file')} ({_listed(kinds)})")
        if self.hidden:
            parts.append(f"{self.hidden} hidden")
        if self.repeated:
            parts.append(f"{plural(self.repeated, 'file')} met twice")
        if self.folders_again:
            parts.append(f"{plural(self.folders_again, 'folder')} met twice")
        return f"passed over: {', '.join(parts)}" if parts else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(" ".join(printable(name).split()) for name in names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
