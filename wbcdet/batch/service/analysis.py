"""Pictures to results documents, in the thread of a worker."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from wbcdet.batch.service.metrics import Metrics
from wbcdet.batch.service.pictures import Picture
from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.run_info import RunInfo
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.records import FieldResult
from wbcdet.results.document import build_document


class Analysis:
    """What the workers do.

    Args:
        analyzer: shared by all workers.
        info: what ``analyzer.info()`` gives.
        metrics: where it is counted.
    """

    def __init__(self, analyzer: Analyzer, info: RunInfo, metrics: Metrics) -> None:
        self._analyzer, self._metrics = analyzer, metrics
        self.info = info

    def analyze(self, picture: Picture) -> list[FieldResult]:
        """Return the record of every field of a picture."""
        start = time.monotonic()
        try:
            results = [self._one(picture, source) for source in picture.sources()]
        except FieldError as error:
            results = [FieldResult.failed(picture.name, str(error))]
        self._metrics.work_seconds.observe(time.monotonic() - start)
        self._metrics.count(results)
        return results

    def _one(self, picture: Picture, source: Any) -> FieldResult:
        try:
            field = read_field(source, self._analyzer.settings, data=picture.data)
        except FieldError as error:
            return FieldResult.failed(source.name, str(error))
        return self._analyzer.analyze(field)

    def document(self, results: Sequence[FieldResult]) -> bytes:
        """Return the results document, in one line of JSON."""
        document = build_document(self.info, results)
        return json.dumps(document, ensure_ascii=False).encode() + b"\n"
