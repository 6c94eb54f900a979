"""Figures of both stages together: cells found and named, fields counted, the differential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wbcdet.evaluation.classification import FOUR, UNCLASSIFIED
from wbcdet.evaluation.detection import match
from wbcdet.evaluation.figures import DifferentialFigures, PipelineFigures, TypeDifference
from wbcdet.records import Cell
from wbcdet.utils.intervals import Groups


@dataclass(slots=True)
class AnalysedField:
    """The analyser's cells of one field beside the truth.

    Attributes:
        truth, types: see :class:`wbcdet.evaluation.dataset.LabelledField`.
        cells: the cells found, those in ignored regions left out.
        whole: every white cell of the field has a box and a type, so its differential is known.
    """

    truth: np.ndarray
    types: tuple[str, ...]
    cells: Sequence[Cell]
    group: str
    whole: bool

    @property
    def boxes(self) -> np.ndarray:
        """(M, 4) corners of the cells found."""
        return np.array([c.box for c in self.cells]).reshape(-1, 4)

    def pairs(self) -> list[tuple[int, int]]:
        """Return pairs (truth, cell) of the same cell."""
        return match(self.truth, self.boxes)


def judge_pipeline(fields: Sequence[AnalysedField]) -> PipelineFigures:
    """Return end-to-end figures: a cell that is not found is not named right either.

    Returns:
        ``found`` of all cells; ``named`` of the cells of the four types; ``exact``, fields whose
        number of cells is right; ``differential``, counted less true share of each type.
    """
    found, named, known, open_, groups = [], [], [], [], []
    false, exact = [], []
    for f in fields:
        said = {t: str(f.cells[b].label) for t, b in f.pairs()}
        false.append(len(f.cells) - len(said))
        exact.append(len(f.cells) == len(f.truth))
        for t, kind in enumerate(f.types):
            groups.append(f.group)
            found.append(t in said)
            known.append(kind in FOUR)
            named.append(kind in FOUR and said.get(t) == kind)
            open_.append(kind in FOUR and said.get(t) == UNCLASSIFIED)
    by_cell, by_field = Groups(groups), Groups([f.group for f in fields])
    every, of_four = np.ones(len(found), bool), np.array(known, bool)
    hit, right, counted = np.array(found, bool), np.array(named, bool), np.array(exact, bool)
    return {
        "fields": len(fields),
        "cells": len(found),
        "found": int(hit.sum()),
        "recall": float(hit.mean()) if len(hit) else None,
        "recall_ci": by_cell.share(hit, every),
        "false_boxes": sum(false),
        "false_per_field": sum(false) / max(len(fields), 1),
        "exact_counts": int(counted.sum()),
        "exact": float(counted.mean()) if len(counted) else None,
        "exact_ci": by_field.share(counted, np.ones(len(counted), bool)),
        "typed_cells": int(of_four.sum()),
        "found_and_named": int(right.sum()),
        "accuracy": float(right[of_four].mean()) if of_four.any() else None,
        "accuracy_ci": by_cell.share(right, of_four),
        "unclassified": int(sum(open_)),
        "interval": by_cell.method,
        "differential": differential([f for f in fields if f.whole]),
    }


def differential(fields: Sequence[AnalysedField]) -> DifferentialFigures:
    """Return counted less true percentage of each type, where every cell's type is known.

    Percentages are of the cells of the four types: true ones by their label, counted ones by
    their name, whether the box is right or not, as on a report.
    """
    counts = np.zeros((len(fields), 2, len(FOUR)))
    for row, f in zip(counts, fields, strict=True):
        row[0] = [f.types.count(name) for name in FOUR]
        said = [str(c.label) for c in f.cells]
        row[1] = [said.count(name) for name in FOUR]
    true, counted = counts.sum(0)
    types: dict[str, TypeDifference] = {}
    figures: DifferentialFigures = {
        "fields": len(fields),
        "cells": int(true.sum()),
        "types": types,
        "mean_absolute_points": None,
    }
    if not true.sum() or not counted.sum():
        return figures
    groups = Groups([f.group for f in fields])
    for n, name in enumerate(FOUR):

        def points(drawn: np.ndarray, n: int = n) -> np.ndarray:
            share = drawn[:, :, n] / drawn.sum(2)
            result: np.ndarray = 100 * (share[:, 1] - share[:, 0])
            return result

        types[name] = {
            "true": int(true[n]),
            "counted": int(counted[n]),
            "true_percent": float(100 * true[n] / true.sum()),
            "counted_percent": float(100 * counted[n] / counted.sum()),
            "points": float(points(counts.sum(0)[None])[0]),
            "points_ci": groups.spread(counts, points),
        }
    off = [abs(row["points"]) for row in types.values()]
    figures["mean_absolute_points"] = float(np.mean(off))
    return figures
