"""Figures of the models, against figures known by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy", reason="evaluation needs scipy: pip install wbcdet[train]")

from wbcdet.training import evaluation
from wbcdet.training.cells import CLASSES
from wbcdet.training.evaluation import (
    empty_windows,
    interval,
    judge_detector,
    judge_labels,
    load_test_fields,
    match,
)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 1 - 0.1611, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_interval(hits: int, total: int, low: float, high: float) -> None:
    assert interval(hits, total) == pytest.approx((low, high), abs=5e-5)


def boxes(*corners: tuple[float, ...]) -> np.ndarray:
    return np.array(corners, float).reshape(-1, 4)


CELL = (10, 10, 30, 30)
NEAR = (10, 10, 30, 24.4)  # IoU 0.72 with CELL
FAR = (20, 20, 40, 40)  # IoU 1/7


@pytest.mark.parametrize(
    ("truth", "found", "pairs"),
    [
        ([], [], []),
        ([CELL], [], []),
        ([], [CELL], []),
        ([CELL], [CELL], [(0, 0)]),
        ([CELL], [FAR], []),
        ([CELL], [NEAR, CELL], [(0, 1)]),  # the better one, and once only
        ([NEAR, CELL], [CELL], [(1, 0)]),  # one box is no two cells
        ([CELL, FAR], [FAR, CELL], [(0, 1), (1, 0)]),
    ],
)
def test_match(truth: list, found: list, pairs: list) -> None:
    assert sorted(match(boxes(*truth), boxes(*found))) == pairs


def test_match_threshold() -> None:
    assert match(boxes(CELL), boxes(NEAR), 0.7) and not match(boxes(CELL), boxes(NEAR), 0.75)


def field(name: str, truth: list, ignored: tuple = ()) -> evaluation.TestField:
    image = np.zeros((100, 100, 3), np.uint8)
    return evaluation.TestField(name, image, boxes(*truth), [""] * len(truth), boxes(*ignored))


def judge(fields: list, answers: list[list[tuple]], confidence: float = 0.5) -> dict[str, Any]:
    """Figures of a stand-in that answers each field with (box, score) pairs."""
    waiting = iter(answers)

    def detect(pixels: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
        given = next(waiting)
        return boxes(*(b for b, _ in given)), np.array([s for _, s in given], float)

    return judge_detector(detect, fields, confidence)


OTHER = (60, 60, 90, 90)
TWO = [field("one", [CELL, OTHER]), field("none", []), field("two", [CELL, OTHER])]
#: What ultralytics gives for a perfect list: its curve is interpolated at 101 points.
FULL = 0.995


def test_a_perfect_detector() -> None:
    both = [(CELL, 0.9), (OTHER, 0.8)]
    r = judge(TWO, [both, [], both])
    assert (r["fields"], r["cells"], r["false_boxes"], r["false_per_field"]) == (3, 4, 0, 0)
    assert (r["recall"], r["precision"], r["f1"]) == (1, 1, 1)
    assert r["ap50"] == pytest.approx(FULL) and r["ap50_95"] == pytest.approx(FULL)
    assert r["recall_ci"] == interval(4, 4)


def test_a_detector_that_finds_nothing() -> None:
    r = judge(TWO, [[], [], []])
    assert (r["recall"], r["precision"], r["f1"], r["ap50"], r["ap50_95"]) == (0, 0, 0, 0, 0)
    assert r["recall_ci"] == interval(0, 4)


def test_a_noisy_detector() -> None:
    r = judge(
        TWO,
        [
            [(CELL, 0.9), (CELL, 0.7), (OTHER, 0.4)],  # one twice, one below the threshold
            [((0, 0, 9, 9), 0.6)],
            [(OTHER, 0.5), (FAR, 0.3)],
        ],
    )
    assert r["recall"] == 2 / 4 and r["precision"] == 2 / 4 and r["f1"] == 0.5
    assert r["false_boxes"] == 2 and r["false_per_field"] == pytest.approx(2 / 3)
    assert 0.3 < r["ap50"] < 0.75


def test_a_rough_box_counts_up_to_its_overlap() -> None:
    r = judge([field("one", [CELL])], [[(NEAR, 0.9)]])
    assert r["ap50"] == pytest.approx(FULL)
    assert r["ap50_95"] == pytest.approx(FULL / 2)  # 0.5 to 0.7 of ten thresholds


def test_boxes_in_ignored_regions_are_neither_right_nor_wrong() -> None:
    fields = [field("one", [CELL], ignored=(OTHER,))]
    r = judge(fields, [[((62, 62, 88, 88), 0.99), (CELL, 0.8)]])
    assert (r["recall"], r["precision"], r["false_boxes"]) == (1, 1, 0)
    assert r["ap50"] == pytest.approx(FULL)
    assert judge(fields, [[((85, 85, 99, 99), 0.9)]])["false_boxes"] == 1  # its centre is outside


def test_fields_without_cells_and_no_fields() -> None:
    r = judge([field("a", []), field("b", [])], [[(CELL, 0.9)], [(CELL, 0.3)]])
    assert r == {"fields": 2, "cells": 0, "false_boxes": 1, "false_per_field": 0.5}
    assert judge([], []) == {"fields": 0, "cells": 0, "false_boxes": 0, "false_per_field": 0}


def odds(winner: str, score: float = 0.9) -> np.ndarray:
    row = np.full(len(CLASSES), (1 - score) / (len(CLASSES) - 1))
    row[CLASSES.index(winner)] = score
    return row


def test_judge_labels() -> None:
    cells = [
        ("eosinophil", odds("eosinophil")),
        ("eosinophil", odds("eosinophil")),
        ("eosinophil", odds("neutrophil")),
        ("lymphocyte", odds("lymphocyte", 0.4)),  # low score: unclassified, and so wrong
        ("neutrophil", odds("neutrophil")),
        ("basophil", odds("basophil")),
        ("basophil", odds("neutrophil")),  # outside the four: no harm to their precision
        ("artefact", odds("artefact")),
    ]
    labels = np.array([CLASSES.index(label) for label, _ in cells])
    r = judge_labels(np.stack([row for _, row in cells]), labels, 0.5)
    assert (r["cells"], r["accuracy"], r["unclassified"]) == (5, 3 / 5, 1 / 5)
    assert r["accuracy_ci"] == interval(3, 5)
    by_class = {
        name: (c["cells"], c["recall"], c["precision"], c["f1"]) for name, c in r["classes"].items()
    }
    assert by_class == {
        "eosinophil": (3, 2 / 3, 1.0, 4 / 5),
        "lymphocyte": (1, 0.0, None, 0.0),
        "monocyte": (0, None, None, None),
        "neutrophil": (1, 1.0, 1 / 2, 2 / 3),
    }
    assert (r["basophil"]["cells"], r["basophil"]["unclassified"]) == (2, 1 / 2)
    assert (r["artefact"]["cells"], r["artefact"]["unclassified"]) == (1, 1.0)
    assert r["confusion"]["eosinophil"]["neutrophil"] == 1
    assert r["confusion"]["lymphocyte"]["unclassified"] == 1
    assert sum(sum(row.values()) for row in r["confusion"].values()) == len(cells)


def test_judge_labels_of_no_cells() -> None:
    r = judge_labels(np.zeros((0, len(CLASSES))), np.zeros(0, int), 0.5)
    assert (r["cells"], r["accuracy"], r["accuracy_ci"]) == (0, 0, (0, 1))
    assert r["basophil"]["unclassified"] is None


def test_empty_windows_touch_neither_cells_nor_ignored_spots() -> None:
    f = field("f", [(10, 10, 30, 30)], ignored=((60, 60, 90, 90),))
    f.image[:50, 50:] = 7
    windows = empty_windows([f], 50, 50)
    assert [w.name for w in windows] == ["f@50,0", "f@0,50"]
    assert windows[0].image.shape == (50, 50, 3) and (windows[0].image == 7).all()
    assert all(not len(w.truth) and not len(w.ignored) for w in windows)
    assert [w.name for w in empty_windows([field("g", [(49, 0, 51, 5)])], 50, 50)] == [
        "g@0,50",
        "g@50,50",
    ]
    assert empty_windows([], 50, 50) == [] and empty_windows([f], 200, 50) == []


def test_load_test_fields(made_up: Path) -> None:
    found = load_test_fields(made_up, lambda r: r["laboratory"] == "b" and r["detect"] == "train")
    assert [f.name for f in found] == ["b/0.png", "b/1.png", "b/4.png"]
    assert [f.types for f in found] == [["eosinophil"], ["lymphocyte", "unsure"], []]
    assert [len(f.truth) for f in found] == [1, 2, 0]
    assert [f.ignored.shape for f in found] == [(0, 4), (1, 4), (0, 4)]
    assert found[0].image.shape == (120, 160, 3)
    assert load_test_fields(made_up, lambda r: False) == []
