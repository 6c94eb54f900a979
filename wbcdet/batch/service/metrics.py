"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from wbcdet.inference.run_info import RunInfo
from wbcdet.records import FieldResult
from wbcdet.utils.version import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST

#: Upper ends of the classes of times, in seconds.
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The figures of one service.

    Args:
        models: ``info`` of a results document.
        places: requests that are let in at a time.
    """

    def __init__(self, models: RunInfo, places: int) -> None:
        own = self._registry = CollectorRegistry()
        about = Info("wbcdet", "Version and models.", registry=own)
        about.info(
            {
                "version": __version__,
                "detector_sha256": models["detector"]["sha256"],
                "classifier_sha256": models["classifier"]["sha256"],
            }
        )
        self.requests = Counter(
            "wbcdet_requests", "Answered requests.", ["route", "status"], registry=own
        )
        self.request_seconds = Histogram(
            "wbcdet_request_seconds",
            "From the first byte of a request to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=own,
        )
        self.work_seconds = Histogram(
            "wbcdet_work_seconds",
            "Analysis of one picture, without waiting.",
            buckets=_SECONDS,
            registry=own,
        )
        self.fields = Counter("wbcdet_fields", "Fields, read or not.", ["outcome"], registry=own)
        self.cells = Counter("wbcdet_cells", "Cells found, by label.", ["label"], registry=own)
        self.inside = Gauge("wbcdet_requests_inside", "Requests waiting or in work.", registry=own)
        limit = Gauge("wbcdet_requests_inside_limit", "Requests let in at a time.", registry=own)
        limit.set(places)

    def count(self, results: Iterable[FieldResult]) -> None:
        """Add the fields of a picture."""
        for result in results:
            self.fields.labels("read" if result.failure is None else "not_read").inc()
            for cell in result.cells:
                self.cells.labels(str(cell.label)).inc()

    def text(self) -> bytes:
        """All figures, as ``/metrics`` gives them."""
        data: bytes = generate_latest(self._registry)
        return data
