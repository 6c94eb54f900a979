"""Find, name and count the white blood cells in microscope fields of blood smears.

Research use only. Not a medical device.

>>> from wbcdet import Analyzer
>>> result = Analyzer().analyze("slide.jpg")  # doctest: +SKIP
>>> [(cell.label, cell.box) for cell in result.cells]  # doctest: +SKIP

Analyse:
    Analyzer            loads the models once, then analyses files, arrays and folders of fields
    Settings            every default of the analysis
    FieldResult         what is said of a field: its cells, or why it could not be read
    Cell, CellType      one cell: box, label, scores; the labels
    annotate            draws the cells into a picture

Count and read back:
    differentials       counts to percentages with intervals, one for each slide or patient
    Differential        one of them
    load_results        the field results in a results.json

Parts of your own (protocols: any class with these members will do):
    Detector, Classifier    the two stages, for ``Analyzer(detector=..., classifier=...)``
    Backend                 runs the graph of a model
    FrameSource             gives frames to ``wbcdet stream``
    ReportSource            what a report is written from

Errors, all of them a ``WbcdetError`` whose message is one line:
    FieldError, WeightsError, ResultsError, SourceError, DataError
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from wbcdet.utils.usage_reports import report_nothing
from wbcdet.utils.version import __version__

if TYPE_CHECKING:
    from wbcdet.datasets.archives import DataError
    from wbcdet.differential.differential import Differential
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.inference.backends import Backend
    from wbcdet.inference.protocols import Classifier, Detector
    from wbcdet.inference.weights import WeightsError
    from wbcdet.io.errors import FieldError
    from wbcdet.records import Cell, CellType, FieldResult
    from wbcdet.report.source import ReportSource
    from wbcdet.results.annotate import annotate
    from wbcdet.results.document import ResultsError, load_results
    from wbcdet.results.named_apart import differentials
    from wbcdet.settings import Settings
    from wbcdet.stream.sources.base import FrameSource, SourceError
    from wbcdet.utils.errors import WbcdetError

report_nothing()  # before any library that would report is imported

__all__ = [
    "Analyzer",
    "Backend",
    "Cell",
    "CellType",
    "Classifier",
    "DataError",
    "Detector",
    "Differential",
    "FieldError",
    "FieldResult",
    "FrameSource",
    "ReportSource",
    "ResultsError",
    "Settings",
    "SourceError",
    "WbcdetError",
    "WeightsError",
    "__version__",
    "annotate",
    "differentials",
    "load_results",
]

# Resolved on first use, so that `wbcdet --help` and `import wbcdet` stay free of model runtimes.
_HOMES = {
    "Analyzer": "wbcdet.inference.analyzer",
    "Backend": "wbcdet.inference.backends",
    "Cell": "wbcdet.records",
    "CellType": "wbcdet.records",
    "Classifier": "wbcdet.inference.protocols",
    "DataError": "wbcdet.datasets.archives",
    "Detector": "wbcdet.inference.protocols",
    "Differential": "wbcdet.differential.differential",
    "FieldError": "wbcdet.io.errors",
    "FieldResult": "wbcdet.records",
    "FrameSource": "wbcdet.stream.sources.base",
    "ReportSource": "wbcdet.report.source",
    "ResultsError": "wbcdet.results.document",
    "Settings": "wbcdet.settings",
    "SourceError": "wbcdet.stream.sources.base",
    "WbcdetError": "wbcdet.utils.errors",
    "WeightsError": "wbcdet.inference.weights",
    "annotate": "wbcdet.results.annotate",
    "differentials": "wbcdet.results.named_apart",
    "load_results": "wbcdet.results.document",
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
