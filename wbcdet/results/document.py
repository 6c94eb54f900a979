"""The versioned results document, ``results.json``: built, validated and loaded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, TypedDict, cast

from wbcdet.differential.slide_summary import summarise
from wbcdet.inference.run_info import ModelInfo, RunInfo, taught_labels
from wbcdet.io.source import RootInfo
from wbcdet.records import FORMAT, NOTICE, FieldRecord, FieldResult
from wbcdet.results.schemas import check_results
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import read_own
from wbcdet.utils.schemas import SchemaError, parse_json
from wbcdet.utils.version import __version__


class DocumentHead(TypedDict):
    """``results.json`` without its fields: what made it, and its slides."""

    format: str
    info: RunInfo
    slides: list[dict[str, object]]


class ResultsDocument(DocumentHead):
    """``results.json``: its head, and the record of every field."""

    fields: list[FieldRecord]


class ResultsError(WbcdetError, ValueError):
    """A file is not a results document that this version reads; the message is one line."""


def build_document(info: RunInfo, results: Iterable[FieldResult]) -> ResultsDocument:
    """Return the results document of a run.

    Args:
        info: what ``Analyzer.info()`` gives: models, settings and thresholds.
        results: the record of every field, in order.
    """
    results = list(results)
    head = _head(info, results)
    return {**head, "fields": [result.to_dict() for result in results]}


def _head(info: RunInfo, results: Sequence[FieldResult]) -> DocumentHead:
    slides = summarise(results, info.get("ground"), info.get("sources", ()), taught_labels(info))
    return {
        "format": FORMAT,
        "info": {
            "wbcdet": __version__,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "notice": NOTICE,
            **info,
        },
        "slides": [slide.to_dict() for slide in slides],
    }


def write_document(file: BinaryIO, info: RunInfo, results: Sequence[FieldResult]) -> RunInfo:
    """Write the results document of a run into a file, a line a field.

    The document of a large run would take several times the memory of its records.

    Args:
        file: open for writing.
        info, results: as for :func:`build_document`.

    Returns:
        ``info`` as it stands in the file.
    """
    head = _head(info, results)
    text = json.dumps(head, ensure_ascii=False, indent=1)
    file.write(text.removesuffix("\n}").encode() + b',\n "fields": [')
    for number, result in enumerate(results):
        line = json.dumps(result.to_dict(), ensure_ascii=False)
        file.write((",\n  " if number else "\n  ").encode() + line.encode())
    file.write(b"\n ]\n}\n")
    return head["info"]


def parse_document(document: Any) -> tuple[RunInfo, list[FieldResult]]:
    """Parse a results document to ``(info, results)``.

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
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            why = " ".join(str(error).split())[:300]
            raise ResultsError(f"fields[{number}] is broken: {why}") from error
    try:
        check_results(document)
    except SchemaError as error:
        raise ResultsError(f"is not as its schema says: {error}") from error
    files = Counter(result.file for result in results)
    if twice := [file for file, times in files.items() if times > 1]:
        raise ResultsError(f"field {' '.join(twice[0].split())!r} stands twice")
    return cast("RunInfo", info), results


def roots_in(info: RunInfo) -> list[RootInfo]:
    """Return where the fields of a document came from (``discover.locate``); [] where unknown.

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


@dataclass(frozen=True, slots=True)
class Loaded:
    """A ``results.json`` as one reading of it said.

    Attributes:
        info, results: as :func:`load_document` gives them.
        digests: sha256 of the fields' files, by field; of the fields of which it says them.
        duplicates: the cells, ``(file, id)``, that a count found to be counted in another field.
    """

    info: RunInfo
    results: list[FieldResult]
    digests: Mapping[str, str]
    duplicates: Set[tuple[str, int]]


def load_document(path: str | Path) -> tuple[RunInfo, list[FieldResult]]:
    """Load ``(info, results)`` of a ``results.json`` file.

    Raises:
        ResultsError: the file is missing, is not JSON or is not a results document.
    """
    whole = load_whole(path)
    return whole.info, whole.results


def load_whole(path: str | Path) -> Loaded:
    """Load a ``results.json`` file with what a count says of its fields and cells.

    Raises:
        ResultsError: the file is missing, is not JSON or is not a results document.
    """
    path = Path(path)
    try:
        document = parse_json(read_own(path.parent, path.name))
    except OSError as error:
        why = error.strerror or error
        raise ResultsError(
            f"{path}: cannot be read: {why}; name the --out folder of wbcdet count, predict or "
            "stream, or what was signed of it, its folder reviewed"
        ) from error
    except ValueError as error:
        raise not_json(path, error) from error
    try:
        info, results = parse_document(document)
    except ResultsError as error:
        raise ResultsError(f"{path}: {error}") from error
    fields = document["fields"]
    digests = {field["file"]: field["sha256"] for field in fields if field.get("sha256")}
    duplicates = {
        (field["file"], cell["id"])
        for field in fields
        for cell in field["cells"]
        if cell.get("duplicate_of")
    }
    return Loaded(info, results, digests, duplicates)


def not_json(path: Path, error: ValueError) -> ResultsError:
    """Return the error of a results document that is not JSON, such as one that was cut off."""
    return ResultsError(f"{path}: not JSON: {error}; run the command that wrote it again")


def load_results(path: str | Path) -> list[FieldResult]:
    """Load the field results of a ``results.json``, in the order of the file.

    They have all cells, also those that a count left out of its differential (``left_out``).

    Args:
        path: the file itself, not its folder.

    Raises:
        ResultsError: the file is missing, is not JSON or is not a results document of this
            version; the message is one line that names it.
    """
    return load_document(path)[1]


def describe_model(info: ModelInfo) -> str:
    """Name a model as reports do, from what a results document says of it."""
    return f"{info['name']}{', learned in this laboratory' * ('learned' in info)}"


def dump(document: Mapping[str, object]) -> str:
    """Return the results document as JSON text, in UTF-8 letters."""
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"
