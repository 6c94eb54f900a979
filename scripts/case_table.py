"""Print the outcomes of cases as a table in Markdown, beside those of another checkout."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent


class Row(NamedTuple):
    """A line of the table: what came of a case, and whether that is right."""

    section: str
    title: str
    before: str
    now: str
    right: bool


def print_table(given: Iterable[Row], *, against: bool) -> int:
    """Print rows in Markdown as they come; 1 where one is not as it should be."""
    titles = ["section", "case", *(["before"] if against else []), "now", "as it should be"]
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))
    wrong = 0
    for row in given:
        cells = [row.section, row.title, *([row.before] if against else []), row.now]
        cells = [_shown(text) for text in cells]
        wrong += not row.right
        print(f"| {' | '.join(cells)} | {'yes' if row.right else '**no**'} |", flush=True)
    return int(wrong > 0)


def _shown(text: str) -> str:
    """Return a text for a cell of the table: in one line, without signs that cannot be seen."""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(printable.replace("|", "/").split())


def is_chosen(only: str | None, section: str, title: str) -> bool:
    """Whether ``--only`` names a case."""
    return not only or only == section or only in title
