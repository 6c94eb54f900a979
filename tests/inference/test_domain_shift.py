"""The comparison of a slide with what the models were trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
from conftest import make_cell

from wbcdet.inference.cards import GroundCard
from wbcdet.inference.domain_shift import (
    LIKE,
    NOT_COMPARED,
    TOO_FEW,
    UNLIKE,
    Beyond,
    GroundComparison,
    compare,
    make_reference,
    reference_for,
    stain_distance,
)
from wbcdet.inference.field_stain import STAIN_COLUMNS, measure_stain
from wbcdet.records import CellType, FieldResult

VIOLET, BLUE = (
    (0.2, 0.2, 0.1, 0.1, 0.3, 0.2, 0.3, 1.5, 0.9),
    (0.5, 0.2, 0.1, 0.1, 0.2, 0.4, 0.2, 1.9, 1.2),
)
#: Blood of another laboratory: a greenish lamp.
GREEN = (0.1, 0.6, 0.4, 0.3, 0.3, 0.1, 0.9, 0.9, 0.4)


def slide(
    fields: int = 20,
    stain: tuple[float, ...] = VIOLET,
    score: float = 0.9,
    distance: float = 5.0,
    cells: int = 3,
    seed: int = 0,
    weak: int = 0,
) -> list[FieldResult]:
    """Fields whose values scatter a little about those given."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(fields):
        own = tuple(
            replace(
                make_cell(i),
                detection_score=float(np.clip(score + rng.normal(0, 0.03), 0, 1)),
                distance=float(max(0.0, distance + rng.normal(0, 0.5))),
            )
            for i in range(cells)
        )
        scattered = tuple(float(v + rng.normal(0, 0.01)) for v in stain)
        found.append(
            FieldResult(f"{number}.jpg", 9, 9, own, weak_scores=(0.2,) * weak, stain=scattered)
        )
    return found


@pytest.fixture(scope="module")
def reference() -> dict[str, object]:
    labs = {"one": slide(60, VIOLET), "two": slide(40, BLUE, score=0.85, seed=1)}
    made = make_reference(labs, "d" * 64)
    return json.loads(json.dumps(made))  # as it comes from a card


def test_a_slide_of_a_trained_laboratory_is_like_it(reference: dict) -> None:
    for stain, score in ((VIOLET, 0.9), (BLUE, 0.85)):
        found = compare(slide(stain=stain, score=score, seed=5), reference)
        assert found.verdict == LIKE and not found.reasons and found.warning() is None
        assert set(found.measures) == {"detection_score", "name_score", "distance", "stain"}


@pytest.mark.parametrize(("values", "enough"), [(3, 3), (10, 5), (20, 8), (50, 15), (1000, 191)])
def test_so_many_values_beyond_a_limit_are_enough(values: int, enough: int) -> None:
    assert Beyond(values, enough, 0.0).unlike
    assert not Beyond(values, enough - 1, 0.0).unlike
    assert not Beyond(2, 2, 0.0).unlike and not Beyond(0, 0, 0.0).unlike


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stain": GREEN}, "another stain, light or camera"),
        ({"score": 0.5}, "box scores are below"),
        ({"weak": 3}, "box scores are below"),
        ({"distance": 40.0}, "cells lie farther than"),
        # What the models do not find leaves no cell: the stain still tells.
        ({"stain": GREEN, "cells": 0}, "another stain"),
    ],
)
def test_each_measure_flags_alone(reference: dict, changed: dict, said: str) -> None:
    found = compare(slide(**changed, seed=5), reference)
    assert found.verdict == UNLIKE
    assert len(found.reasons) == 1 and said in found.reasons[0]
    warning = found.warning()
    assert warning is not None and "\n" not in warning
    for remedy in ("wbcdet evaluate", "--confidence", "wbcdet review", "wbcdet learn"):
        assert remedy in warning
    assert found.to_dict()["advice"] and json.dumps(found.to_dict())


def test_surely_none_of_the_four_is_a_sure_name(reference: dict) -> None:
    sure = [
        replace(
            field,
            cells=tuple(
                replace(
                    c,
                    label=CellType.UNCLASSIFIED,
                    reason="blast-like",
                    label_score=0.01,
                    scores=dict.fromkeys(c.scores, 0.005),
                )
                for c in field.cells
            ),
        )
        for field in slide(seed=6)
    ]
    assert compare(sure, reference).verdict == LIKE
    unsure = [
        replace(
            field,
            cells=tuple(
                replace(c, label_score=0.4, scores=dict.fromkeys(c.scores, 0.2))
                for c in field.cells
            ),
        )
        for field in slide(seed=6)
    ]
    assert "name scores are below" in compare(unsure, reference).reasons[0]


def test_few_fields_say_little(reference: dict) -> None:
    assert compare([], reference).verdict == TOO_FEW
    assert compare(slide(1), reference).verdict == TOO_FEW
    assert compare(slide(1, stain=GREEN), reference).verdict == TOO_FEW  # chance cannot be excluded
    assert compare(slide(4, stain=GREEN), reference).verdict == UNLIKE
    failed = [FieldResult.failed("x.jpg", "file is empty")] * 50
    assert compare(failed, reference).verdict == TOO_FEW
    clear = [FieldResult("x.jpg", 9, 9)] * 50  # glass without anything on it
    assert compare(clear, reference).verdict == TOO_FEW


def test_a_minority_of_odd_fields_is_no_flag(reference: dict) -> None:
    mixed = slide(36, seed=7) + slide(4, stain=GREEN, seed=8)
    assert compare(mixed, reference).verdict == LIKE


def test_older_models_are_not_compared(reference: dict) -> None:
    assert compare(slide(), None).verdict == NOT_COMPARED
    assert reference_for({}, "d" * 64) is None
    card = {"ground": reference}
    mine = reference_for(card, "d" * 64)
    assert mine is not None and "detection_score" in mine
    other = reference_for(card, "e" * 64)  # a laboratory's own detector has its own scores
    assert other is not None and "detection_score" not in other and "stain" in other
    # A classifier without distances: the rest is compared.
    bare = [
        replace(field, cells=tuple(replace(c, distance=None) for c in field.cells))
        for field in slide(60)
    ]
    made = make_reference({"one": bare}, "d")
    assert "distance" not in made
    assert compare(slide(stain=GREEN), made).verdict == UNLIKE


def test_laboratories_weigh_alike() -> None:
    # A laboratory of many fields must not decide alone what is usual.
    labs = {"large": slide(400, score=0.9), "small": slide(20, score=0.7, seed=3)}
    limit = make_reference(labs, "d")["detection_score"]["limit"]
    assert limit < 0.72


def test_stain_distance_is_to_the_nearest() -> None:
    labs = make_reference({"one": slide(20), "two": slide(20, BLUE)}, "d")["stain"]["laboratories"]
    assert stain_distance(VIOLET, labs) < 1 > stain_distance(BLUE, labs)
    assert stain_distance(GREEN, labs) > 5


def picture(ground: tuple[int, int, int], red: tuple[int, int, int], size: int = 120) -> np.ndarray:
    pixels = np.full((size, size, 3), ground, np.uint8)
    pixels[size // 4 : size // 2, size // 4 : size // 2] = red
    pixels[size // 2 : size // 2 + size // 5, size // 2 : size // 2 + size // 5] = (120, 30, 90)
    return pixels


def test_measured_stain() -> None:
    seen = measure_stain(picture((215, 205, 220), (120, 140, 220)))
    assert seen is not None and len(seen) == len(STAIN_COLUMNS)
    darker = measure_stain(picture((180, 170, 185), (100, 115, 184)))
    assert darker is not None
    assert all(d > s for d, s in zip(darker[:3], seen[:3], strict=True))
    assert seen[8] > seen[5]  # a nucleus takes up more red than a red cell
    large = measure_stain(picture((215, 205, 220), (120, 140, 220), 1200))
    assert large == pytest.approx(seen, abs=0.05)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3000, 2), (48, 64)])
def test_nothing_stained_has_no_stain(shape: tuple[int, int]) -> None:
    for value in (0, 128, 255):
        assert measure_stain(np.full((*shape, 3), value, np.uint8)) is None


@pytest.mark.parametrize(
    ("cells", "far", "verdict"),
    [(10, 10, UNLIKE), (10, 9, LIKE), (22, 20, UNLIKE), (22, 19, LIKE), (9, 9, TOO_FEW)],
)
def test_a_slide_whose_cells_are_all_a_little_far(cells: int, far: int, verdict: str) -> None:
    """CellaVision's, a quarter of whose names are wrong or left open: 9 in 10 of its cells lie
    beyond the median of the training, 2 in 10 beyond the limit."""
    found = GroundComparison(cast("GroundCard", {"distance": {"limit": 2.0, "median": 1.0}}))
    at = [replace(make_cell(), distance=1.5)] * far + [replace(make_cell(), distance=1.0)] * (
        cells - far
    )
    found.add(FieldResult("a", 640, 480, tuple(at)))
    said = found.verdict()
    assert said.verdict == verdict
    measure = said.measures["distance"].to_dict()
    assert (measure["past_median"], measure["median"], measure["beyond"]) == (far, 1.0, 0)
    if verdict == UNLIKE:
        (reason,) = said.reasons
        assert reason == (
            f"{100 * far / cells:.0f} % of the cells lie farther than 1 from those trained on "
            "(50 % in the training)"
        )
    # A card that says no median, as a laboratory's own may be.
    older = GroundComparison(cast("GroundCard", {"distance": {"limit": 2.0}}))
    older.add(FieldResult("a", 640, 480, tuple(at)))
    assert older.verdict().verdict != UNLIKE


@pytest.mark.parametrize(
    ("values", "beyond", "verdict"),
    [
        (45, 7, UNLIKE),  # 16 % of each: none surely more than a sixth, all together a twelfth
        (45, 2, LIKE),
        (9, 3, TOO_FEW),  # of a cell all measures may be strange at once
    ],
)
def test_a_slide_that_differs_a_little_in_everything(
    values: int, beyond: int, verdict: str
) -> None:
    card = {name: {"limit": 0.5, "median": 0.5} for name in ("detection_score", "name_score")}
    found = GroundComparison(cast("GroundCard", {**card, "distance": {"limit": 2.0, "median": 1}}))
    cell = make_cell()
    strange = replace(
        cell, detection_score=0.1, label_score=0.4, scores=dict.fromkeys(cell.scores, 0.2),
        distance=9.0,
    )  # fmt: skip
    cells = [strange] * beyond + [replace(cell, distance=1.0)] * (values - beyond)
    found.add(FieldResult("a", 640, 480, tuple(cells)))
    said = found.verdict()
    assert said.verdict == verdict
    assert not any(measure.unlike for measure in said.measures.values())
    if verdict == UNLIKE:
        assert said.reasons == [
            "16 % of all scores, distances and stains are strange (5 % in the training)"
        ]
