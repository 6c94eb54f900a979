"""Check the documents that runs write against their JSON schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wbcdet.utils.schemas import check_schema

_RESULTS = Path(__file__).parent / "results.schema.json"
_JOURNAL = Path(__file__).parent / "journal.schema.json"


def check_results(document: Any) -> None:
    """Check a results document against ``results.schema.json``.

    Raises:
        SchemaError: it is not.
    """
    check_schema(document, _RESULTS)


def check_line(kind: str, line: Any) -> None:
    """Check a line of a journal or of a review's log against ``journal.schema.json``.

    Args:
        kind: one of the ``$defs`` of that schema, such as ``header`` or ``entry``.
        line: without its checksum.

    Raises:
        SchemaError: it is not.
    """
    # The lines hold the same fields and cells as the results document.
    check_schema(line, _JOURNAL, kind, _RESULTS)
