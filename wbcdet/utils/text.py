"""Format names and numbers as text on one line."""

from __future__ import annotations


def one_line(name: str) -> str:
    """Return a file name that cannot break the table: control characters are shown as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in name
    )


def plural(number: int, noun: str) -> str:
    """Return ``1 cell``, ``2 cells``."""
    return f"{number} {noun}{'s' * (number != 1)}"
