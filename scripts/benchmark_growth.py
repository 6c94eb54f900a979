"""Run wbcdet over many small fields with models that answer at once: what is left could grow.

Started by ``scripts/benchmark.py`` with a folder of pictures and one for the results; prints what
the run took.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from wbcdet.batch.predict import run
from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.classifier import Classification, Thresholds
from wbcdet.io.discover import search
from wbcdet.records import LABELS
from wbcdet.results.writer import Report


class OneCell:
    """Finds one cell in every field."""

    name, sha256 = "one cell", "0" * 64
    card: ClassVar[dict[str, Any]] = {"input_size": 416}

    def detect(self, pixels: np.ndarray, confidence: float | None = None) -> Any:
        height, width = pixels.shape[:2]
        box = [0.25 * width, 0.25 * height, 0.75 * width, 0.75 * height]
        return np.array([box], np.float32), np.array([0.9], np.float32)

    def threshold(self, confidence: float | None = None) -> float:
        return 0.5 if confidence is None else confidence

    def weakest(self, threshold: float) -> float:
        return threshold


class OneName:
    """Names every cell alike."""

    name, sha256 = "one name", "0" * 64
    card: ClassVar[dict[str, Any]] = {"crop_padding": 1.5}

    def crop(self, pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
        return pixels[:8, :8]

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return np.full((len(crops), len(LABELS)), 1 / len(LABELS), np.float32)

    def classify(
        self, crops: Sequence[np.ndarray], min_score: float | None = None
    ) -> list[Classification]:
        scores = {str(label): 1 / len(LABELS) for label in LABELS}
        return [Classification(LABELS[0], 0.25, scores, None) for _ in crops]

    def thresholds(self, min_score: float | None = None) -> Thresholds:
        return Thresholds({str(label): 0.0 for label in LABELS}, None)


def main() -> None:
    """Run, and print seconds, processor seconds, and the peak of memory in MB."""
    folder, out = map(Path, sys.argv[1:3])
    cv2.setNumThreads(1)  # as the commands do
    start, processor = time.perf_counter(), time.process_time()
    found = search([str(folder)], exclude=[out])
    analyzer = Analyzer(detector=OneCell(), classifier=OneName())
    with Report(out, annotate=False, roots=found.roots) as report:
        run(found.fields, report, analyzer, quiet=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 1024**2 if sys.platform == "darwin" else 1024
    print(time.perf_counter() - start, time.process_time() - processor, peak)


if __name__ == "__main__":
    main()
