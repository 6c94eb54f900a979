"""wbcdet finds, names and counts white blood cells in microscope fields of blood smears.

>>> from wbcdet import Analyzer
>>> result = Analyzer().analyze("slide.jpg")  # doctest: +SKIP
>>> [(cell.label, cell.box) for cell in result.cells]  # doctest: +SKIP

Research use only. Not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wbcdet.utils.version import __version__

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.records import Cell, CellType, FieldResult

__all__ = ["Analyzer", "Cell", "CellType", "FieldResult", "__version__"]

# Resolved on first use, so that `wbcdet --help` and `import wbcdet` stay free of model runtimes.
_HOMES = {
    "Analyzer": "wbcdet.inference.analyzer",
    "Cell": "wbcdet.records",
    "CellType": "wbcdet.records",
    "FieldResult": "wbcdet.records",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
