"""The ``wbcdet`` command with an analyzer of plain arithmetic in place of the models.

Run as a program it is killed, starved and locked out by the tests of ``wbcdet count``, which are
about everything but the models. Environment: WORKER_SLEEP seconds a field, WORKER_MODEL the name of
the model it claims to have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.source import Source
from wbcdet.records import ALL_LABELS, LABELS, Cell, CellType, FieldResult
from wbcdet.settings import Settings


class PlainAnalyzer:
    """Finds the dark squares of a drawn field and names them by their place."""

    def __init__(self, settings: Settings, **_: object) -> None:
        self.settings = settings
        self.analysed: list[str] = []

    def info(self) -> dict[str, Any]:
        name = os.environ.get("WORKER_MODEL", "plain 1")
        digest = name.encode().hex().ljust(64, "0")[:64]
        return {
            "detector": {"name": name, "sha256": digest},
            "classifier": {"name": "plain 1", "sha256": "1" * 64},
            "settings": {
                **self.settings.to_dict(),
                "fingerprint": self.settings.fingerprint(),
            },
        }

    def analyze_fields(
        self, sources: Iterable[Source]
    ) -> Iterator[tuple[Field | None, FieldResult]]:
        for source in sources:
            time.sleep(float(os.environ.get("WORKER_SLEEP", "0")))
            self.analysed.append(source.name)
            try:
                field = read_field(source, self.settings)
            except FieldError as error:
                yield None, FieldResult.failed(source.name, str(error))
                continue
            yield field, self.analyze(field)

    def analyze(self, field: Field) -> FieldResult:
        cells = find_cells(field)
        return FieldResult(field.name, field.width, field.height, cells, region=field.region)


def find_cells(field: Field) -> tuple[Cell, ...]:
    """Return the dark squares of a field, from top to bottom."""
    dark = (field.pixels.max(2) < 140).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(dark)
    cells = []
    for number, (x, y, width, height, area) in enumerate(
        box for box in boxes[1:].tolist() if box[4] >= 60
    ):
        place = x * 31 + y * 17 + area
        label = ALL_LABELS[place % 5]
        score = round(0.4 + place % 59 / 100, 4)
        cells.append(
            Cell(
                id=number,
                box=(float(x), float(y), float(x + width), float(y + height)),
                detection_score=0.9,
                label=label,
                label_score=score,
                scores={
                    str(other): score if other == label else round((1 - score) / 5, 4)
                    for other in LABELS
                },
                reason="low-score" if label is CellType.UNCLASSIFIED else None,
                touches_edge=min(x, y, field.width - x - width, field.height - y - height) < 1,
            )
        )
    return tuple(cells)


if __name__ == "__main__":
    import wbcdet.cli.count

    wbcdet.cli.count.load_analyzer = PlainAnalyzer  # type: ignore[assignment]

    from wbcdet.cli.app import main

    main()
