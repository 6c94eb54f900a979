"""The embedded demo: synthetic smear fields, analysed like any other pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wbcdet.batch.predict import Run, run
from wbcdet.io.source import Root, Source, field_name
from wbcdet.records import LABELS, Cell, CellType, FieldResult
from wbcdet.results.writer import Report
from wbcdet.utils.boxes import iou

if TYPE_CHECKING:
    from wbcdet.datasets.synthetic import SmearCell
    from wbcdet.inference.analyzer import Analyzer


#: Overlap (intersection over union) from which a found box is taken for the drawn cell.
_SAME_CELL = 0.5


@dataclass(frozen=True, slots=True)
class Score:
    """Score of the analysis on drawn cells, whose truth is known.

    Attributes:
        drawn, found, named: cells of each label drawn; of these found; of these named right. What
            is not one of the four labels is named right as ``unclassified``.
        extra: boxes where no cell was drawn.
    """

    drawn: Counter[str]
    found: Counter[str]
    named: Counter[str]
    extra: int

    def lines(self) -> list[str]:
        """Return the score in words."""
        drawn, found, named = (sum(part.values()) for part in (self.drawn, self.found, self.named))
        parts = [
            f"{label} {self.named[label]}/{self.drawn[label]}"
            for label in sorted(self.drawn, key=_order)
        ]
        return [
            f"Of {drawn} drawn cells {found} were found and {named} named right; "
            f"{self.extra} boxes where none was drawn.",
            f"Named right: {', '.join(parts)}",
        ]


def run_demo(
    report: Report, fields: int, seed: int, analyzer: Analyzer, *, quiet: bool = False
) -> tuple[Run, Score]:
    """Render synthetic fields to ``OUT/fields``, analyse them and compare with what was drawn.

    Args:
        report: the output folder.
        fields: number of fields, at least 1.
        seed: same seed, same fields.

    Raises:
        OSError: the folder cannot be written.
    """
    truth = _render(report.folder / "fields", fields, seed)
    place = report.out / "fields"
    name = field_name(place)
    report.roots = [Root(name, str(place.absolute()))]
    # Until all is written they may lie elsewhere than where they will be found.
    sources = [Source(f"{name}/{path.name}", path) for path in sorted(truth)]
    done = run(sources, report, analyzer, quiet=quiet)
    return done, compare(done.results, [truth[path] for path in sorted(truth)][: len(done.results)])


def compare(results: Sequence[FieldResult], truth: Sequence[Sequence[SmearCell]]) -> Score:
    """Match found cells with drawn ones, one to one, best overlap first."""
    drawn: Counter[str] = Counter()
    found: Counter[str] = Counter()
    named: Counter[str] = Counter()
    extra = 0
    for result, cells in zip(results, truth, strict=True):
        drawn.update(str(cell.label) for cell in cells)
        pairs = _match(result.cells, cells)
        extra += len(result.cells) - len(pairs)
        for cell, real in pairs:
            label = str(real.label)
            found[label] += 1
            right = label if label in LABELS else CellType.UNCLASSIFIED.value
            named[label] += cell.label == right
    return Score(drawn, found, named, extra)


def _render(folder: Path, fields: int, seed: int) -> dict[Path, Sequence[SmearCell]]:
    import cv2

    from wbcdet.datasets.synthetic import render_field

    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[Path, Sequence[SmearCell]] = {}
    for number in range(fields):
        smear = render_field(seed + number)
        path = folder / f"smear-{seed + number:04d}.png"
        done, data = cv2.imencode(".png", smear.pixels)
        if not done:
            raise OSError(f"{path} cannot be encoded")
        path.write_bytes(data.tobytes())
        truth[path] = smear.cells
    return truth


def _match(cells: Sequence[Cell], drawn: Sequence[SmearCell]) -> list[tuple[Cell, SmearCell]]:
    overlaps = sorted(
        (
            (iou(cell.box, real.box), i, j)
            for i, cell in enumerate(cells)
            for j, real in enumerate(drawn)
        ),
        reverse=True,
    )
    used: tuple[set[int], set[int]] = (set(), set())
    pairs = []
    for overlap, i, j in overlaps:
        if overlap >= _SAME_CELL and i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            pairs.append((cells[i], drawn[j]))
    return pairs


def _order(label: str) -> tuple[int, str]:
    return (LABELS.index(CellType(label)) if label in LABELS else len(LABELS), label)
