"""Format names and numbers as text on one line."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def one_line(name: str) -> str:
    """Return a file name that cannot break the table: control characters are shown as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name
    )


def composed(name: str) -> str:
    """Return a name with its accents as every system but a Mac writes them: a Mac makes them
    letters of their own."""
    return unicodedata.normalize("NFC", name)


def alike(name: str) -> str:
    """Return what two names share that are one file where capitals, or how accents are written, do
    not count."""
    return composed(name).casefold()


def plural(number: int, noun: str) -> str:
    """Return ``1 cell``, ``2 cells``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def some_of(names: Iterable[str], most: int = 8) -> str:
    """Return the first of some names, each in one line, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(map(one_line, listed[:most])) + more


def decimal(value: float, digits: int) -> str:
    """Return a number with so many decimals; one that rounds to nothing has no minus."""
    # Adding zero turns -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def signed(value: float, digits: int = 1) -> str:
    """Return a difference with its sign: ``+1.5``, ``-0.3``, ``+0.0``."""
    return f"{round(value, digits) + 0.0:+.{digits}f}"
