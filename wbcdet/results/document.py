"""The versioned results document, ``results.json``: built, validated and loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from wbcdet.records import FORMAT, NOTICE, FieldResult
from wbcdet.utils.version import __version__


class ResultsError(ValueError):
    """A file is not a results document that this version reads; the message is one line."""


def build_document(info: Mapping[str, Any], results: Iterable[FieldResult]) -> dict[str, Any]:
    """The results document of a run.

    Args:
        info: what ``Analyzer.info()`` gives: detector, classifier and settings.
        results: the record of every field, in order.
    """
    return {
        "format": FORMAT,
        "info": {
            "wbcdet": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "notice": NOTICE,
            **info,
        },
        "fields": [result.to_dict() for result in results],
    }


def parse_document(document: Any) -> tuple[dict[str, Any], list[FieldResult]]:
    """``(info, results)`` of a results document.

    Raises:
        ResultsError: the document is of another format or a record in it is broken.
    """
    if not isinstance(document, dict) or "format" not in document:
        raise ResultsError("not a wbcdet results document: it names no format")
    if document["format"] != FORMAT:
        raise ResultsError(
            f"results format is {document['format']!r}, this version reads {FORMAT!r}"
        )
    info, fields = document.get("info"), document.get("fields")
    if not isinstance(info, dict) or not isinstance(fields, list):
        raise ResultsError('results document needs an object "info" and a list "fields"')
    results: list[FieldResult] = []
    for number, entry in enumerate(fields):
        try:
            results.append(FieldResult.from_dict(entry))
        except KeyError as error:
            raise ResultsError(f"fields[{number}] has no {error.args[0]!r}") from error
        except (TypeError, ValueError, AttributeError) as error:
            raise ResultsError(f"fields[{number}] is broken: {error}") from error
    return info, results


def roots_in(info: Mapping[str, Any]) -> list[dict[str, str]]:
    """Where the fields of a document came from (``sources.locate``); empty where it is not said.

    Raises:
        ResultsError: it is said in another way.
    """
    roots = info.get("sources", [])
    if not isinstance(roots, list) or not all(
        isinstance(root, dict) and all(isinstance(root.get(key), str) for key in ("name", "path"))
        for root in roots
    ):
        raise ResultsError('"sources" must be a list of objects with a name and a path')
    return [{"name": root["name"], "path": root["path"]} for root in roots]


def load_document(path: str | Path) -> tuple[dict[str, Any], list[FieldResult]]:
    """``(info, results)`` of a ``results.json`` file.

    Raises:
        ResultsError: the file is missing, is not JSON or is not a results document.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON: {error}") from error
    try:
        return parse_document(document)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error


def dump(document: Mapping[str, Any]) -> str:
    """The results document as JSON text, in UTF-8 letters."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
