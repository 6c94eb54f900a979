"""Check documents against their JSON schema before anything in them is used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from wbcdet.utils.errors import WbcdetError

#: Whole numbers are those of 64 bits, as in SQLite and numpy.
_MAX_INT = 2**63
_MAX_DIGITS = len(str(-_MAX_INT))

#: An object of parsed JSON: the parser knows no types; what is read of it is checked there.
JsonObject = Mapping[str, Any]


class SchemaError(WbcdetError, ValueError):
    """A document is not as its schema says; the message is one line that names the place."""


def parse_json(data: bytes | str) -> Any:
    """Parse JSON as the standard has it: no NaN, no endless nesting; and no number that a computer
    has none for, such as 1e400, nor half a letter (a lone surrogate), which no file can hold.

    Raises:
        ValueError: it is not; the message is one line.
    """
    try:
        value = json.loads(data, parse_constant=_refuse, parse_float=_float, parse_int=_int)
        if _may_hold_half_a_letter(data):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("a text in it holds half a letter (a lone surrogate)") from error
    return value


def _may_hold_half_a_letter(data: bytes | str) -> bool:
    """Say so without a look at each text: as an escape, in UTF-8 as some write it, in UTF-16."""
    if isinstance(data, str):
        return "\\u" in data or not data.isascii()
    return any(sign in data for sign in (b"\\u", b"\xed", b"\0"))


def check_schema(
    value: Any, schema: Path, kind: str | None = None, definitions: Path | None = None
) -> None:
    """Check a value against a schema.

    Args:
        value: what JSON can hold.
        schema: the file of the schema.
        kind: which of its ``$defs``; None takes the schema itself.
        definitions: another schema, whose ``$defs`` it builds upon.

    Raises:
        SchemaError: it is not.
    """
    import fastjsonschema

    with suppress(fastjsonschema.JsonSchemaValueException):
        _compiled(schema, kind, definitions, detailed=False)(value)
        return
    # What says all that is wrong takes three times as long to compile.
    try:
        _compiled(schema, kind, definitions, detailed=True)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        text = " ".join(str(error.message).split())
        raise SchemaError(text.removeprefix("data.").removeprefix("data ")[:300]) from error


@cache
def _compiled(
    schema: Path, kind: str | None, definitions: Path | None, *, detailed: bool
) -> Callable[[Any], Any]:
    """Return what checks a value. Schemas say ``enum`` for ``const``, which fastjsonschema cannot
    compile without details."""
    import fastjsonschema

    whole = _read(schema)
    more = _read(definitions)["$defs"] if definitions else {}
    chosen = whole if kind is None else whole["$defs"][kind]
    compiled: Callable[[Any], Any] = fastjsonschema.compile(
        {**chosen, "$defs": {**more, **whole["$defs"]}}, detailed_exceptions=detailed
    )
    return compiled


def _read(schema: Path) -> Any:
    return json.loads(schema.read_text(encoding="utf-8"))


def _float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse(text)


def _int(text: str) -> int:
    value = int(text) if len(text) <= _MAX_DIGITS else _refuse(text)
    return value if -_MAX_INT <= value < _MAX_INT else _refuse(text)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant[:30]} is no number that can be used")
