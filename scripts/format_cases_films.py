"""Try films and labels as people have them: made by code, given to the commands.

    python scripts/format_cases_films.py                     # the package that is imported
    python scripts/format_cases_films.py --only 8 --keep DIR # the cases of one section, files kept
    python scripts/format_cases_films.py --against OLD       # a column of another checkout too

A case makes files and names a command; its outcome is the exit code, the cells counted or the
figures, and what was said. The cases are in
``film_cases.py`` and ``label_cases.py``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import command_cases
import film_cases
import label_cases  # noqa: F401 - registers its cases
from case_table import Row, print_table


def rows(only: str | None, against: Path | None, root: Path) -> Iterator[Row]:
    """Yield the cases of films and labels, one after the other."""
    return command_cases.rows(only, against, root, film_cases.Files)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="the cases of one section, or with a word in their title")
    parser.add_argument("--keep", type=Path, help="keep the files there")
    parser.add_argument("--against", type=Path, help="another checkout, for a column beside it")
    given = parser.parse_args()
    against = given.against and given.against.resolve()
    with tempfile.TemporaryDirectory() as folder:
        made = rows(given.only, against, given.keep or Path(folder))
        return print_table(made, against=against is not None)


if __name__ == "__main__":
    sys.exit(main())
