"""The schemas of the documents that runs leave behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbcdet.utils.schemas import check_schema

_RESULTS = Path(__file__).parent / "results.schema.json"
_JOURNAL = Path(__file__).parent / "journal.schema.json"


def check_results(document: Any) -> None:
    """A results document is as ``results.schema.json`` says.

    Raises:
        SchemaError: it is not.
    """
    check_schema(document, _RESULTS)


def check_line(kind: str, line: Any) -> None:
    """A line of a journal or of a review's log is as ``journal.schema.json`` says.

    Args:
        kind: one of the ``$defs`` of that schema, such as ``header`` or ``entry``.
        line: without its checksum.

    Raises:
        SchemaError: it is not.
    """
    # The lines hold the same fields and cells as the results document.
    check_schema(line, _JOURNAL, kind, _RESULTS)
