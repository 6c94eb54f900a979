"""Figures of the models, against figures known by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import REPOSITORY, make_cell

from wbcdet.datasets.archives import DataError
from wbcdet.datasets.synthetic import render_smear
from wbcdet.evaluation.benchmarks import (
    _LABORATORIES,
    NAMES,
    empty_windows,
    load_lists,
    prepared_fields,
)
from wbcdet.evaluation.classification import (
    FOUR,
    NOT_FOUND,
    NamedCell,
    as_labelled,
    calibration,
    judge_names,
    judged_cell,
    named_cell,
    risk_coverage,
)
from wbcdet.evaluation.dataset import LabelledField
from wbcdet.evaluation.detection import (
    FoundField,
    counting,
    judge_detector,
    match,
    outside_ignored,
)
from wbcdet.evaluation.end_to_end import AnalysedField, differential, judge_pipeline
from wbcdet.evaluation.infer import BOTH, FINDING, Observation, observe
from wbcdet.evaluation.outcome import in_words, judge_outcome
from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.classifier import decide
from wbcdet.records import CellType
from wbcdet.utils.intervals import Groups, wilson

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil", "basophil", "artefact")


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
def test_wilson(hits: int, total: int, low: float, high: float) -> None:
    assert wilson(hits, total) == pytest.approx((low, high), abs=5e-5)


def test_cells_of_one_group_are_worth_less() -> None:
    hits = np.array([True] * 60 + [False] * 20)
    every = np.ones(80, bool)
    alone = Groups([str(n) for n in range(80)])
    assert alone.single and alone.share(hits, every) == wilson(60, 80)
    fours = Groups([str(n // 4) for n in range(80)])  # 15 groups all right, 5 all wrong
    low, high = fours.share(hits, every)
    plain = wilson(60, 80)
    assert low < plain[0] - 0.05 and high > plain[1] + 0.05
    assert fours.share(hits, every) == (low, high)  # the same every time
    mixed = Groups([str(n % 20) for n in range(80)])  # each group as good as the whole
    assert mixed.share(hits, every) == pytest.approx(plain)
    # All right in 20 groups of four: no more is known than from 20 cells.
    assert fours.share(every, every) == wilson(20, 20)
    assert fours.share(~every, every) == wilson(0, 20)
    assert fours.share(hits, ~every) == (0, 1)
    together = Groups(["same"] * 80)
    assert together.share(hits, every) == wilson(0.75, 1) and together.share(
        every, every
    ) == wilson(1, 1)


def boxes(*corners: tuple[float, ...]) -> np.ndarray:
    return np.array(corners, float).reshape(-1, 4)


CELL = (10, 10, 30, 30)
NEAR = (10, 10, 30, 24.4)  # IoU 0.72 with CELL
FAR = (20, 20, 40, 40)  # IoU 1/7
OTHER = (60, 60, 90, 90)


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


def judge(truth: list[list[tuple]], answers: list[list[tuple]], **more: Any) -> dict[str, Any]:
    """Figures of a stand-in that answers each field of 100x100 px with (box, score) pairs."""
    fields = [
        FoundField(
            boxes(*cells),
            boxes(*(b for b, _ in given)),
            np.array([s for _, s in given], float),
            (100, 100),
            str(n),
        )
        for n, (cells, given) in enumerate(zip(truth, answers, strict=True))
    ]
    return judge_detector(fields, 0.5, **more)


TWO = [[CELL, OTHER], [], [CELL, OTHER]]


def test_a_perfect_detector() -> None:
    both = [(CELL, 0.9), (OTHER, 0.8)]
    r = judge(TWO, [both, [], both])
    assert (r["fields"], r["cells"], r["false_boxes"], r["false_per_field"]) == (3, 4, 0, 0)
    assert (r["recall"], r["precision"], r["f1"]) == (1, 1, 1)
    assert r["ap50"] == pytest.approx(1) and r["ap50_95"] == pytest.approx(1)
    assert r["recall_ci"] == wilson(2, 2)  # two fields, not four cells
    assert r["curve"][-1] == {"score": 0.8, "recall": 1.0, "precision": 1.0}
    sizes = [(row["from"], row["to"], row["cells"], row["recall"]) for row in r["by_size"]]
    assert sizes == [(0.12, 0.25, 2, 1.0), (0.25, 0.5, 2, 1.0)]


def test_a_detector_that_finds_nothing() -> None:
    r = judge(TWO, [[], [], []])
    assert (r["recall"], r["precision"], r["f1"], r["ap50"], r["ap50_95"]) == (0, 0, 0, 0, 0)
    assert r["curve"] == [] and r["recall_ci"] == wilson(0, 2)


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
    # By falling score: right, wrong, wrong, right, right, wrong; COCO takes the best precision
    # from each recall on, at 101 recalls.
    assert r["ap50"] == pytest.approx((26 + 25 * 3 / 5 + 25 * 3 / 5) / 101, abs=0.001)
    curve = [(p["score"], p["recall"], pytest.approx(p["precision"])) for p in r["curve"]]
    assert curve == [
        (0.9, 0.25, 1.0),
        (0.7, 0.25, 0.5),
        (0.6, 0.25, 1 / 3),
        (0.5, 0.5, 0.5),
        (0.4, 0.75, 0.6),
        (0.3, 0.75, 0.5),
    ]


def test_a_rough_box_counts_up_to_its_overlap() -> None:
    r = judge([[CELL]], [[(NEAR, 0.9)]])
    assert r["ap50"] == pytest.approx(1)
    assert r["ap50_95"] == pytest.approx(0.5)  # 0.5 to 0.7 of ten thresholds


def test_boxes_in_ignored_regions_are_left_out_by_their_centre() -> None:
    given = boxes((62, 62, 88, 88), CELL, (85, 85, 99, 99))
    assert outside_ignored(given, boxes(OTHER)).tolist() == [False, True, True]
    assert outside_ignored(given, boxes()).all() and outside_ignored(
        boxes(), boxes(OTHER)
    ).shape == (0,)


def test_a_cell_of_which_a_part_is_ignored_is_found() -> None:
    cell, beside = [0.0, 0, 10, 10], [40.0, 0, 50, 10]
    nucleus, neighbour = [2.0, 2, 8, 8], [38.0, 0, 52, 12]
    boxes = np.array([cell, nucleus, beside])
    ignored = np.array([nucleus, neighbour])
    assert counting(boxes, np.array([cell]), ignored).tolist() == [True, False, False]
    assert not counting(boxes, np.zeros((0, 4)), ignored).any()
    assert counting(boxes, np.array([cell]), np.zeros((0, 4))).all()


def test_labels_of_nuclei_beside_those_of_cells_lose_no_cell() -> None:
    """A class that nobody has mapped counts neither way, as every run says."""
    smear = render_smear(6, 1200, 800, cell_px=80)
    boxes = np.array([cell.box for cell in smear.cells])
    inset = (boxes[:, 2:] - boxes[:, :2]) / 5
    nuclei = np.hstack([boxes[:, :2] + inset, boxes[:, 2:] - inset])
    fields = [
        LabelledField("a", lambda: smear.pixels, boxes, ("",) * len(boxes), ignored=ignored)
        for ignored in (np.zeros((0, 4)), nuclei)
    ]
    plain, with_nuclei = observe(fields, Analyzer(device="cpu"), (FINDING, BOTH), [])
    for observation in (plain[0], with_nuclei[0]):
        assert observation.found is not None and observation.analysed is not None
        assert judge_detector([observation.found], 0.25)["found"] == len(boxes)
        assert judge_pipeline([observation.analysed])["found"] == len(boxes)


def test_fields_without_cells_and_no_fields() -> None:
    r = judge([[], []], [[(CELL, 0.9)], [(CELL, 0.3)]])
    assert (r["fields"], r["cells"], r["false_boxes"], r["false_per_field"]) == (2, 0, 1, 0.5)
    assert "recall" not in r and "ap50" not in r
    r = judge([], [])
    assert (r["fields"], r["cells"], r["false_boxes"], r["false_per_field"]) == (0, 0, 0, 0)


def cell(truth: str, winner: str, score: float = 0.9, group: str = "") -> NamedCell:
    row = np.full(len(CLASSES), (1 - score) / (len(CLASSES) - 1))
    row[CLASSES.index(winner)] = score
    return named_cell(truth, row, CLASSES, 0.5, group)


def numbered(cells: list[NamedCell]) -> list[NamedCell]:
    for number, named in enumerate(cells):
        named.group = named.group or str(number)
    return cells


CELLS = [
    ("eosinophil", "eosinophil", 0.9),
    ("eosinophil", "eosinophil", 0.9),
    ("eosinophil", "neutrophil", 0.9),
    ("lymphocyte", "lymphocyte", 0.4),  # low score: unclassified, and so wrong
    ("neutrophil", "neutrophil", 0.9),
    ("basophil", "basophil", 0.9),
    ("basophil", "neutrophil", 0.9),  # outside the four: no harm to their precision
    ("artefact", "artefact", 0.9),
]


def test_judge_names() -> None:
    r = judge_names(numbered([cell(*given) for given in CELLS]), 0.5)
    assert (r["cells"], r["accuracy"], r["unclassified"]) == (5, 3 / 5, 1 / 5)
    assert r["accuracy_ci"] == wilson(3, 5) and r["interval"] == "Wilson"
    assert (r["accuracy_classified"], r["accuracy_classified_ci"]) == (3 / 4, wilson(3, 4))
    by_class = {
        name: (c["cells"], c["recall"], c["precision"], c["f1"]) for name, c in r["classes"].items()
    }
    assert by_class == {
        "eosinophil": (3, 2 / 3, 1.0, 4 / 5),
        "lymphocyte": (1, 0.0, None, 0.0),
        "monocyte": (0, None, None, None),
        "neutrophil": (1, 1.0, 1 / 2, 2 / 3),
    }
    # Over the three classes that have cells; one that is never named has a precision of 0.
    assert r["macro"]["precision"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert r["macro"]["recall"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert r["macro"]["f1"] == pytest.approx((4 / 5 + 0 + 2 / 3) / 3)
    # The lymphocyte with a low score counts where nothing may be declined.
    four = r["four_way"]
    assert (four["accuracy"], four["accuracy_ci"]) == (4 / 5, wilson(4, 5))
    assert four["recall"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert four["precision"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert r["weighted"]["recall"] == pytest.approx(r["accuracy"])
    assert r["weighted"]["precision"] == pytest.approx((3 * 1 + 0 + 0.5) / 5)
    low, high = r["macro"]["f1_ci"]
    assert 0 <= low < r["macro"]["f1"] < high <= 1
    assert (r["basophil"]["cells"], r["basophil"]["unclassified"]) == (2, 1 / 2)
    assert (r["artefact"]["cells"], r["artefact"]["unclassified"]) == (1, 1.0)
    assert r["other"] == {"cells": 0, "unclassified": None, "unclassified_ci": (0, 1)}
    assert r["confusion"]["eosinophil"]["neutrophil"] == 1
    assert r["confusion"]["lymphocyte"]["unclassified"] == 1
    assert list(r["confusion"]) == [*FOUR, "basophil", "artefact"]
    assert sum(sum(row.values()) for row in r["confusion"].values()) == len(CELLS)


def test_labels_of_a_laboratory_s_own_are_names() -> None:
    classes = (*FOUR, "basophil", "artefact", "blast")

    def cell(truth: str, **odds: float) -> NamedCell:
        scores = np.array([odds.get(name, 0.0) for name in classes])
        return judged_cell(truth, decide(scores, classes, 0.35, own=("basophil", "blast")), "")

    cells = [
        cell("lymphocyte", lymphocyte=0.9),
        cell("lymphocyte", lymphocyte=0.4, blast=0.6),
        cell("lymphocyte", lymphocyte=0.28, blast=0.32),  # too low a score, but not for its own
        cell("other", lymphocyte=0.2, blast=0.8),
        cell("basophil", basophil=0.9),
        cell("basophil", blast=0.9),
        cell("artefact", blast=0.9),
    ]
    r = judge_names(cells, 0.35)
    assert sum(sum(row.values()) for row in r["confusion"].values()) == len(cells)
    assert r["confusion"]["lymphocyte"]["blast"] == r["confusion"]["basophil"]["blast"] == 1
    assert (r["accuracy_classified"], r["unclassified"]) == (1 / 2, 1 / 3)
    assert [r[name]["unclassified"] for name in ("other", "basophil", "artefact")] == [1, 0.5, 0]
    # At no threshold is a cell of which the own label is surer one of the four.
    assert r["risk_coverage"]["coverage_most"] == 1 / 3


def test_bands_that_a_laboratory_has_taught_are_neutrophils_as_their_labels_are() -> None:
    classes = (*FOUR, "basophil", "artefact", "band")

    def cell(truth: str, **odds: float) -> NamedCell:
        scores = np.array([odds.get(name, 0.0) for name in classes])
        return judged_cell(truth, decide(scores, classes, 0.35, own=("band",)), "")

    cells = [
        cell("neutrophil", neutrophil=0.2, band=0.7),
        cell("neutrophil", neutrophil=0.9),
        cell("monocyte", monocyte=0.3, band=0.6),
        cell("monocyte", monocyte=0.9),
    ]
    assert [one.named for one in cells] == ["neutrophil"] * 3 + ["monocyte"]
    assert cells[0].scores[FOUR.index("neutrophil")] == pytest.approx(0.9)
    r = judge_names(cells, 0.35)
    assert (r["accuracy"], r["risk_coverage"]["coverage_most"]) == (0.75, 1)
    assert r["risk_coverage"]["at_threshold"]["risk"] == 0.25
    assert as_labelled(replace(make_cell(), label="band")).label == "neutrophil"
    assert as_labelled(replace(make_cell(), label="blast")).label == "blast"


def test_copies_of_one_field_widen_the_intervals() -> None:
    right, wrong = ("neutrophil", "neutrophil", 0.9), ("monocyte", "neutrophil", 0.9)
    alone = judge_names(numbered([cell(*given) for given in [right] * 30 + [wrong] * 10]), 0.5)
    copies = [cell(*right, group=f"r{n % 3}") for n in range(30)]
    copies += [cell(*wrong, group="w") for _ in range(10)]
    r = judge_names(copies, 0.5)
    assert r["accuracy"] == alone["accuracy"] == 0.75
    assert r["interval"] == "Wilson, widened by a bootstrap over 4 groups"
    assert r["accuracy_ci"][0] < alone["accuracy_ci"][0] - 0.2
    assert r["classes"]["neutrophil"]["recall_ci"] == wilson(3, 3)
    assert r["macro"]["recall_ci"][0] <= 0.5 <= r["macro"]["recall_ci"][1]


def test_a_picture_without_a_cell_counts_as_wrong() -> None:
    lost = NamedCell("monocyte", NOT_FOUND, np.zeros(4), True, "x")
    dirt = NamedCell("artefact", NOT_FOUND, np.zeros(4), True, "y")
    r = judge_names([cell("monocyte", "monocyte", group="m"), lost, dirt], 0.5)
    assert (r["accuracy"], r["unclassified"], r["accuracy_classified"]) == (1 / 2, 0, 1)
    assert r["missed"] == 1 / 2  # not found is not declined
    assert r["four_way"]["accuracy"] == 1 / 2
    assert r["confusion"]["monocyte"][NOT_FOUND] == 1 and r["artefact"]["unclassified"] == 1
    assert r["calibration"]["cells"] == 1  # there is no score to trust
    assert r["risk_coverage"]["coverage_most"] == 1 / 2


def test_judge_names_of_no_cells() -> None:
    r = judge_names([], 0.5)
    assert (r["cells"], r["accuracy"], r["accuracy_ci"]) == (0, 0, (0, 1))
    assert r["macro"]["f1"] is None and r["macro"]["f1_ci"] is None
    assert r["calibration"]["ece"] is None and r["risk_coverage"]["aurc"] is None


def test_calibration_by_hand() -> None:
    # Ten cells at 0.8, of which six are right; ten at 0.6, of which nine are.
    cells = [cell("monocyte", "monocyte" if n < 6 else "neutrophil", 0.8) for n in range(10)]
    cells += [cell("monocyte", "monocyte" if n < 9 else "neutrophil", 0.6) for n in range(10)]
    r = calibration(cells)
    assert r["cells"] == 20 and [b["cells"] for b in r["bins"]] == [2] * 10
    assert 0.25 <= r["ece"] <= 0.6  # at least the two gaps of 0.2 and 0.3, at finer bins more
    rng = np.random.default_rng(1)
    scores = rng.uniform(0.3, 1, 4000)
    fair = [cell("monocyte", "monocyte" if rng.random() < s else "neutrophil", s) for s in scores]
    r = calibration(fair)
    assert r["ece"] < 0.03 and r["ece"] == pytest.approx(r["ece_by_chance"], abs=0.015)
    bold = calibration([cell("monocyte", "neutrophil", 0.9)] * 50)
    assert bold["ece"] == pytest.approx(0.9) and bold["ece_by_chance"] < 0.15
    # "None of the four" is one answer: a basophil called basophil or artefact is right.
    apart_ = calibration([cell("basophil", "artefact", 0.9), cell("other", "basophil", 0.9)])
    assert [b["right"] for b in apart_["bins"]] == [1, 1]


def test_calibration_does_not_follow_the_order_of_cells() -> None:
    cells = [cell("monocyte", "monocyte" if n < 6 else "neutrophil", 0.8) for n in range(10)]
    cells += [cell("monocyte", "monocyte", 0.99)] * 5
    first, last = calibration(cells), calibration(cells[::-1])
    assert first == last and first["ece"] == pytest.approx((10 * 0.2 + 5 * 0.01) / 15)


def test_risk_and_coverage_by_hand() -> None:
    cells = [
        cell("monocyte", "monocyte", 0.9),
        cell("monocyte", "neutrophil", 0.8),
        cell("monocyte", "monocyte", 0.6),
        cell("monocyte", "basophil", 0.9),  # no threshold names it
    ]
    r = risk_coverage(cells, 0.7)
    points = [(p["coverage"], pytest.approx(p["risk"])) for p in r["points"]]
    assert points == [(0.25, 0), (0.5, 0.5), (0.75, 1 / 3)]
    assert r["coverage_most"] == 0.75 and r["aurc"] == pytest.approx((0 + 0.5 + 1 / 3) / 3)
    assert r["at_threshold"] == {"min_score": 0.7, "coverage": 0.5, "risk": 0.5}
    assert risk_coverage(cells, 0.95)["at_threshold"]["risk"] is None
    # Of equal scores the order of the fields says nothing.
    even = [cell("monocyte", "monocyte", 0.9), *[cell("monocyte", "neutrophil", 0.9)] * 3]
    assert risk_coverage(even, 0.5)["aurc"] == risk_coverage(even[::-1], 0.5)["aurc"] == 0.75


def analysed(
    truth: list[tuple[tuple, str]], said: list[tuple[tuple, str]], group: str = "a"
) -> AnalysedField:
    cells = [
        make_cell(n, box, label, None if label in FOUR else "low-score")
        for n, (box, label) in enumerate(said)
    ]
    types = tuple(kind for _, kind in truth)
    return AnalysedField(boxes(*(b for b, _ in truth)), types, cells, group, all(types))


def test_both_stages() -> None:
    neutrophil, monocyte = CellType.NEUTROPHIL, CellType.MONOCYTE
    fields = [
        analysed(
            [(CELL, "neutrophil"), (OTHER, "monocyte")],
            [(CELL, neutrophil), (OTHER, neutrophil)],
            "a",
        ),
        analysed([(CELL, "monocyte")], [(CELL, CellType.UNCLASSIFIED), (OTHER, monocyte)], "b"),
        analysed([(CELL, "neutrophil")], [], "c"),
        analysed([(CELL, "basophil")], [(CELL, CellType.UNCLASSIFIED)], "d"),
        analysed([(CELL, "")], [(CELL, neutrophil)], "e"),  # a white cell of unknown type
    ]
    r = judge_pipeline(fields)
    assert (r["fields"], r["cells"], r["found"], r["false_boxes"]) == (5, 6, 5, 1)
    assert (r["typed_cells"], r["found_and_named"], r["unclassified"]) == (4, 1, 1)
    assert (r["accuracy"], r["exact_counts"]) == (1 / 4, 3)
    d = r["differential"]
    assert (d["fields"], d["cells"]) == (4, 4)
    assert {name: (t["true"], t["counted"]) for name, t in d["types"].items()} == {
        "eosinophil": (0, 0),
        "lymphocyte": (0, 0),
        "monocyte": (2, 1),
        "neutrophil": (2, 2),
    }
    assert d["types"]["monocyte"]["points"] == pytest.approx(100 / 3 - 50)
    assert d["mean_absolute_points"] == pytest.approx(2 * (50 - 100 / 3) / 4)
    low, high = d["types"]["monocyte"]["points_ci"]
    assert low <= d["types"]["monocyte"]["points"] <= high
    nothing = judge_pipeline([])
    assert nothing["recall"] is None and nothing["differential"]["types"] == {}
    assert differential(fields[2:3])["mean_absolute_points"] is None  # nothing was counted


def test_names_of_cells_of_unknown_type_are_neither_right_nor_wrong() -> None:
    neutrophil, blast = CellType.NEUTROPHIL, "blast"
    fields = [
        analysed([(CELL, "neutrophil"), (OTHER, "")], [(CELL, neutrophil), (OTHER, neutrophil)]),
        analysed([(CELL, "other"), (OTHER, "")], [(CELL, blast), (OTHER, neutrophil)]),
        analysed([(CELL, "monocyte")], [(CELL, neutrophil)]),
    ]
    labelled = LabelledField("a.png", lambda: np.zeros((9, 9, 3), np.uint8))
    r = judge_outcome([Observation(labelled, analysed=one) for one in fields])
    assert r is not None and (r["named"], r["named_of_known_type"], r["right"]) == (5, 3, 2)
    assert "5 were named (2 of 3 of known type right)" in in_words(r)
    r = judge_outcome([Observation(labelled, analysed=fields[2])])
    assert r is not None and "1 were named (0 of them right)" in in_words(r)


def test_prepared_fields(made_up: Path) -> None:
    found = prepared_fields(made_up, lambda r: r["laboratory"] == "b" and r["detect"] == "train")
    assert [f.name for f in found] == ["b/0.png", "b/1.png", "b/4.png"]
    assert [f.types for f in found] == [("eosinophil",), ("lymphocyte", ""), ()]
    assert [len(f.boxes) for f in found] == [1, 2, 0]
    assert [f.ignored.shape for f in found] == [(0, 4), (1, 4), (0, 4)]
    assert found[0].read().shape == (120, 160, 3) and found[0].size == (160, 120)
    assert prepared_fields(made_up, lambda r: False) == []


def test_empty_windows_touch_neither_cells_nor_ignored_spots() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    image[:50, 50:] = 7

    def field(name: str, truth: tuple, *ignored: tuple) -> LabelledField:
        ignore = boxes(*ignored)
        return LabelledField(
            name, lambda: image, boxes(truth), ("",), ignore, group="g", size=(100, 100)
        )

    f = field("f", (10, 10, 30, 30), (60, 60, 90, 90))
    windows = empty_windows([f], 50, 50)
    assert [w.name for w in windows] == ["f@50,0", "f@0,50"]
    assert windows[0].read().shape == (50, 50, 3) and (windows[0].read() == 7).all()
    assert all(not len(w.boxes) and w.group == "g" for w in windows)
    crossing = empty_windows([field("g", (49, 0, 51, 5))], 50, 50)
    assert [w.name for w in crossing] == ["g@0,50", "g@50,50"]
    assert empty_windows([], 50, 50) == [] and empty_windows([f], 200, 50) == []


def test_lists_that_cannot_be_had(tmp_path: Path) -> None:
    for name, remedy in (("bccd", "wbcdet data prepare"), ("kaggle-test", "data fetch")):
        with pytest.raises(DataError, match=remedy) as error:
            load_lists([name], tmp_path / "prepared", tmp_path)
        assert "\n" not in str(error.value)
    assert load_lists([], tmp_path, tmp_path) == []


def test_originals_of_the_public_test_pictures() -> None:
    """Every copy has one original of the same cell type; that there are 71 of them."""
    folder = REPOSITORY / "datasets"
    rows = _rows(folder / "kaggle_test.csv")
    listed = {row["path"] for row in _rows(folder / "files" / "kaggle-wbc.csv")}
    fields = {r["file"]: r for r in _rows(folder / "splits.csv") if r["laboratory"] == "bccd"}
    assert len(rows) == 2487 and len({row["original"] for row in rows}) == 71
    assert {f"images/TEST/{row['file']}" for row in rows} == {
        path for path in listed if path.startswith("images/TEST/")
    }
    for row in rows:
        assert fields[row["original"]]["cell_types"] == row["file"].split("/")[0].lower()


def test_lists_of_real_fields(prepared: Path, data_dir: Path) -> None:
    names = [name for name in NAMES if name != "telephone"]  # takes 20 s to compose
    lists = {labelled.name: labelled for labelled in load_lists(names, prepared, data_dir)}
    assert len(lists["bccd-finding"].fields) == 72
    assert sum(len(f.boxes) for f in lists["bccd-finding"].fields) == 71
    assert sum(c.truth in FOUR for c in lists["bccd-naming"].crops) == 71
    completed = lists["bccd-finding-completed"]
    assert sum(len(f.boxes) for f in completed.fields) == 74
    assert sum(len(f.ignored) for f in completed.fields) == 3
    assert sum(len(f.boxes) for f in lists["raabin-finding-completed"].fields) == 51
    assert "pbc-finding-completed" not in lists
    assert sum(c.truth in FOUR for c in lists["bccd-naming-certain"].crops) == 68
    public = lists["kaggle-test"]
    assert len(public.fields) == 2487 and len({f.group for f in public.fields}) <= 71
    assert public.fields[0].read().shape == (240, 320, 3)
    held = {row["laboratory"] for row in _rows(prepared / "fields.csv")}
    absent = {name for name, (laboratory, *_) in _LABORATORIES.items() if laboratory not in held}
    for name, labelled in lists.items():
        assert labelled.title and (labelled.size or name.rsplit("-", 1)[0] in absent)
    learnt = {
        row["file"]
        for row in _rows(REPOSITORY / "datasets" / "splits.csv")
        if row["laboratory"] == "bccd" and {row["classify"], row["detect"]} & {"train", "val"}
    }
    copies = {
        row["file"]
        for row in _rows(REPOSITORY / "datasets" / "kaggle_test.csv")
        if row["original"] in learnt
    }
    # What was trained on is judged apart, and the list says so.
    kept = {f.name for f in public.fields if public.views[0].keep(f)}
    assert kept == {f.name for f in public.fields} - copies and copies
    doubtful = {row["file"] for row in _rows(REPOSITORY / "datasets" / "bccd_doubtful.csv")}
    certain = {
        row["file"]
        for row in _rows(REPOSITORY / "datasets" / "kaggle_test.csv")
        if row["original"] not in doubtful
    }
    assert {f.name for f in public.fields if public.views[1].keep(f)} == kept & certain != kept
    assert all(public.views[-1].keep(f) for f in public.fields)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
