"""Crops to labels: the verdict, and the classifier that ships."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import grain

from wbcdet.inference.classifier import Classifier, decide
from wbcdet.inference.weights import WeightsError, load_model, sealed
from wbcdet.records import LABELS, CellType

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil", "basophil", "artefact")


@pytest.mark.parametrize(
    ("odds", "label", "score", "reason"),
    [
        ((0.0, 0.0, 0.0, 1.0, 0.0, 0.0), "neutrophil", 1.0, None),
        ((0.75, 0.25, 0.0, 0.0, 0.0, 0.0), "eosinophil", 0.75, None),
        ((0.125, 0.5, 0.125, 0.125, 0.125, 0.0), "lymphocyte", 0.5, None),  # at the threshold
        ((0.0, 0.4, 0.3, 0.3, 0.0, 0.0), "unclassified", 0.4, "low-score"),
        ((0.2, 0.0, 0.0, 0.0, 0.8, 0.0), "unclassified", 0.2, "basophil-like"),
        ((0.0, 0.3, 0.1, 0.0, 0.0, 0.6), "unclassified", 0.3, "artefact"),
        # Another class wins although no score is high: its reason says more than "low-score".
        ((0.1, 0.2, 0.2, 0.2, 0.3, 0.0), "unclassified", 0.2, "basophil-like"),
    ],
)
def test_decide(odds: tuple[float, ...], label: str, score: float, reason: str | None) -> None:
    verdict = decide(np.array(odds), CLASSES, 0.5)
    assert (verdict.label, verdict.reason) == (CellType(label), reason)
    assert verdict.label_score == score
    assert verdict.scores == dict(zip(CLASSES[:4], odds[:4], strict=True))


def test_class_order_is_that_of_the_card() -> None:
    turned = tuple(reversed(CLASSES))
    verdict = decide(np.array([0.0, 0.1, 0.1, 0.7, 0.1, 0.0]), turned, 0.5)
    assert verdict.label is CellType.MONOCYTE and verdict.scores["monocyte"] == 0.7
    with pytest.raises(ValueError, match="zip"):
        decide(np.array([0.5, 0.5]), CLASSES, 0.5)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -0.1, 1.5])
def test_what_is_no_probability_is_no_cell_type(odd: float) -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        decide(np.array([odd, 0.5, 0.2, 0.2, 0.0, 0.0]), CLASSES, 0.5)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"temperature": 0}, "temperature must be bigger"),
        ({"temperature": -1.0}, "temperature must be bigger"),
        ({"min_score": 1.01}, "min_score must be smaller"),
        ({"std": [0.5, 0.5, 0]}, "std"),
        ({"mean": [0.5, 0.5]}, "mean"),
        ({"classes": [*CLASSES[:4], "basophil", "basophil"]}, "classes must contain unique"),
        ({"classes": list(CLASSES[1:])}, "classes"),
        ({"classes": [*CLASSES, "blastoid"]}, "blastoid"),
        ({"classes": list(CLASSES[:5])}, "is not the model of its card"),
        ({"input_size": 64}, "classifier.onnx|wbcdet-leucocytenet"),
    ],
)
def test_a_card_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, object], words: str
) -> None:
    model = load_model("classifier")
    shutil.copy(model.path, tmp_path)
    card = sealed({**model.card, **values})
    (tmp_path / "classifier.json").write_text(json.dumps(card))
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=words) as caught:
        Classifier("cpu")
    assert "\n" not in str(caught.value)


def test_swapped_classes_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("classifier")
    shutil.copy(model.path, tmp_path)
    swapped = {**model.card, "classes": ["lymphocyte", "eosinophil", *CLASSES[2:]]}
    (tmp_path / "classifier.json").write_text(json.dumps(swapped))
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="was changed since it was written"):
        Classifier("cpu")
    (tmp_path / "classifier.json").write_text(json.dumps(sealed(swapped)))  # on purpose
    other = Classifier("cpu").identity
    assert other["sha256"] == model.sha256 and other["card_sha256"] != model.card["card_sha256"]


def test_a_file_that_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "classifier.onnx").write_bytes(b"no model")
    card = {**load_model("classifier").card, "sha256": hashlib.sha256(b"no model").hexdigest()}
    (tmp_path / "classifier.json").write_text(json.dumps(sealed(card)))
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="cannot be opened") as caught:
        Classifier("cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return Classifier("cpu")


@pytest.fixture(scope="module")
def crops(shipped: Classifier) -> list[np.ndarray]:
    return [shipped.crop(grain(120, 160, seed), (30, 20, 90, 100)) for seed in range(7)]


def test_crop_has_the_form_on_the_card(shipped: Classifier, crops: list[np.ndarray]) -> None:
    side = shipped.card["input_size"]
    assert all(crop.shape == (side, side, 3) and crop.dtype == np.uint8 for crop in crops)


def test_no_crops_no_verdicts(shipped: Classifier) -> None:
    assert shipped.probabilities([]).shape == (0, len(shipped.card["classes"]))
    assert shipped.classify([]) == []


def test_probabilities_sum_to_one_whatever_the_crop(
    shipped: Classifier, crops: list[np.ndarray]
) -> None:
    blank = [np.full_like(crops[0], value) for value in (0, 128, 255)]
    odds = shipped.probabilities([*crops, *blank])
    assert odds.shape == (10, len(shipped.card["classes"]))
    assert (odds >= 0).all() and odds.sum(1) == pytest.approx(1, abs=1e-5)


def test_a_batch_does_not_change_its_cells(shipped: Classifier, crops: list[np.ndarray]) -> None:
    together = shipped.probabilities(crops)
    alone = np.concatenate([shipped.probabilities([crop]) for crop in crops])
    assert np.abs(together - alone).max() < 1e-5
    assert together.std(0).max() > 1e-4  # the crops do differ


def test_min_score_overrides_the_card(shipped: Classifier, crops: list[np.ndarray]) -> None:
    strict = shipped.classify(crops, 1.01)
    assert all(v.label is CellType.UNCLASSIFIED and v.reason for v in strict)
    assert not any(v.reason == "low-score" for v in shipped.classify(crops, 0.0))
    assert shipped.classify(crops) == shipped.classify(crops, shipped.card["min_score"])
    assert all(list(v.scores) == [str(label) for label in LABELS] for v in strict)


def test_temperature_softens(shipped: Classifier, crops: list[np.ndarray]) -> None:
    before = shipped.probabilities(crops)
    kept = shipped.card["temperature"]
    try:
        shipped.card["temperature"] = kept * 4
        after = shipped.probabilities(crops)
    finally:
        shipped.card["temperature"] = kept
    assert (after.max(1) < before.max(1)).all()
    assert np.array_equal(after.argmax(1), before.argmax(1))
