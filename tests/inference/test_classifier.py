"""Crops to labels: the verdict, and the classifier that ships."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import grain, one_line

from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.classifier import Classifier, decide
from wbcdet.inference.weights import WeightsError, load_model, sealed
from wbcdet.records import LABELS, CellType
from wbcdet.settings import Settings
from wbcdet.training.augment_cells import CROP

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
        ({"classes": [*CLASSES, "blastoid"]}, "is not the model of its card"),
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
    first, second, *others = model.card["classes"]
    swapped = {**model.card, "classes": [second, first, *others]}
    (tmp_path / "classifier.json").write_text(json.dumps(swapped))
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="was changed since it was written"):
        Classifier("cpu")
    (tmp_path / "classifier.json").write_text(json.dumps(sealed(swapped)))  # on purpose
    monkeypatch.delenv("WBCDET_WEIGHTS")
    other = Analyzer(Settings(device="cpu"), weights=tmp_path).info()["classifier"]
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


TEN = (*CLASSES[:5], "immature granulocyte", "promyelocyte", "erythroblast", "platelet", "artefact")
REASONS_OF_TEN = {
    "basophil": "basophil-like",
    "immature granulocyte": "immature-like",
    "promyelocyte": "blast-like",
    "erythroblast": "erythroblast-like",
    "platelet": "artefact",
    "artefact": "artefact",
}


@pytest.mark.parametrize(
    ("odds", "reason"),
    [
        ({"promyelocyte": 0.6, "lymphocyte": 0.4}, "blast-like"),
        ({"immature granulocyte": 0.5, "neutrophil": 0.4}, "immature-like"),
        ({"erythroblast": 0.9}, "erythroblast-like"),
        # Two classes of one reason are one: together they are more probable than the name.
        ({"platelet": 0.3, "artefact": 0.25, "lymphocyte": 0.45}, "artefact"),
        ({"promyelocyte": 0.3, "erythroblast": 0.25, "lymphocyte": 0.45}, "low-score"),
        ({"lymphocyte": 0.55, "promyelocyte": 0.45}, None),
    ],
)
def test_reasons_come_from_the_card(odds: dict[str, float], reason: str | None) -> None:
    row = np.array([odds.get(name, 0.0) for name in TEN])
    assert decide(row, TEN, 0.5, REASONS_OF_TEN).reason == reason


def test_a_class_without_a_reason_is_never_one_of_the_four() -> None:
    row = np.zeros(6)
    row[4] = 1.0
    classes = (*CLASSES[:4], "mast cell", "artefact")
    assert decide(row, classes, 0.5).reason == "mast cell-like"


def test_unlike_the_training() -> None:
    sure = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    assert decide(sure, CLASSES, 0.5, distance=9.0, unlike_from=9.0).reason is None
    far = decide(sure, CLASSES, 0.5, distance=9.1, unlike_from=9.0)
    assert (far.label, far.reason, far.distance) == (
        CellType.UNCLASSIFIED,
        "unlike-trained",
        9.1,
    )
    assert decide(sure, CLASSES, 0.5, distance=99.0).reason is None  # no such check
    # What it looks like says more; a low score less.
    basophil = np.array([0.1, 0.0, 0.0, 0.0, 0.9, 0.0])
    assert decide(basophil, CLASSES, 0.5, distance=99, unlike_from=9).reason == "basophil-like"
    low = np.array([0.4, 0.3, 0.3, 0.0, 0.0, 0.0])
    assert decide(low, CLASSES, 0.5, distance=99, unlike_from=9).reason == "unlike-trained"


def test_a_threshold_of_each_label() -> None:
    row = np.array([0.0, 0.6, 0.2, 0.2, 0.0, 0.0])
    least = dict.fromkeys(CLASSES[:4], 0.5)
    assert decide(row, CLASSES, least).reason is None
    assert decide(row, CLASSES, {**least, "lymphocyte": 0.7}).reason == "low-score"


def write_model(folder: Path, **changes: object) -> None:
    """Return a classifier of ten classes with the outputs of the new ones: logits and distance.

    Its logits are the mean colours of the crop, its distance is the mean red (0 to 255).
    """
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    weight = np.zeros((3, len(TEN)), np.float32)
    weight[:, :3] = 30 * np.eye(3)  # red: eosinophil, green: lymphocyte, blue: monocyte
    nodes = [
        helper.make_node("ReduceMean", ["crops"], ["colour"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["colour", "weight"], ["logits"]),
        helper.make_node("MatMul", ["colour", "red"], ["distance"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(weight, "weight"),
        onnx.numpy_helper.from_array(np.array([255, 0, 0], np.float32), "red"),
    ]
    graph = helper.make_graph(
        nodes,
        "made-up",
        [helper.make_tensor_value_info("crops", kinds.FLOAT, ["n", 3, 16, 16])],
        [
            helper.make_tensor_value_info("logits", kinds.FLOAT, ["n", len(TEN)]),
            helper.make_tensor_value_info("distance", kinds.FLOAT, ["n"]),
        ],
        constants,
    )
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    folder.mkdir(exist_ok=True)
    (folder / "classifier.onnx").write_bytes(model.SerializeToString())
    card = {
        "name": "made-up",
        "version": "4",
        "file": "classifier.onnx",
        "classes": TEN,
        "reasons": REASONS_OF_TEN,
        "input_size": 16,
        "crop_padding": 1.5,
        "stain": None,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "colour_order": "RGB",
        "temperature": 1.0,
        "min_score": 0.5,
        "unlike_trained": {"output": "distance", "threshold": 200.0},
        **changes,
    }
    card["sha256"] = hashlib.sha256((folder / "classifier.onnx").read_bytes()).hexdigest()
    kept = {name: value for name, value in card.items() if value != "absent"}
    (folder / "classifier.json").write_text(json.dumps(sealed(kept)))


def colour(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((16, 16, 3), (blue, green, red), np.uint8)


def test_a_model_with_distances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    write_model(tmp_path, decline_below={"lymphocyte": 0.999999})
    model = Classifier("cpu")
    red, dim, green = model.classify([colour(255, 0, 0), colour(150, 0, 0), colour(0, 60, 0)])
    assert (red.reason, dim.reason, green.reason) == ("unlike-trained", None, "low-score")
    assert dim.label is CellType.EOSINOPHIL
    assert [classification.distance for classification in (red, dim, green)] == pytest.approx(
        [255, 150, 0], abs=0.1
    )
    asked = model.classify([colour(0, 60, 0)], 0.5)  # what is asked for goes before the card
    assert asked[0].label is CellType.LYMPHOCYTE
    in_force = model.thresholds()
    assert in_force.unlike_trained == 200.0
    assert in_force.min_score["lymphocyte"] == 0.999999 and in_force.min_score["monocyte"] == 0.5
    # Plain colour: no stain was evened, and every view of a crop is the same.
    crop = model.crop(np.full((50, 50, 3), (10, 20, 30), np.uint8), (10, 10, 30, 30))
    assert (crop == (10, 20, 30)).all()
    careful = Classifier("cpu", careful=True).classify([colour(255, 0, 0), colour(150, 0, 0)])
    assert [classification.distance for classification in careful] == pytest.approx(
        [255, 150], abs=0.1
    )
    assert Classifier("cpu").classify([]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"stain": {**CROP["stain"], "red_cell": [0.1, 0.3]}, "least_red_cells": 2.4},
        {"stain": {**CROP["stain"], "red_cell": [0.1, -0.3, 0.3]}, "least_red_cells": 2.4},
        {"stain": {"red_cell": [0.1, 0.3, 0.3]}, "least_red_cells": 2.4},
        {"stain": {**CROP["stain"], "unknown": 1}, "least_red_cells": 2.4},
        {"stain": CROP["stain"]},
        {"stain": CROP["stain"], "least_red_cells": 0},
    ],
)
def test_a_card_whose_crops_cannot_be_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    write_model(tmp_path, **changes)
    with pytest.raises(WeightsError, match=r"classifier\.json") as error:
        Classifier("cpu")
    assert one_line(str(error.value))


@pytest.mark.parametrize("absent", ["unlike_trained", "reasons", "decline_below", "stain"])
def test_older_cards_do_without(
    absent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    write_model(tmp_path, **{absent: "absent"})
    model = Classifier("cpu")
    [red] = model.classify([colour(255, 0, 0)])
    if absent == "unlike_trained":
        assert (red.reason, red.distance) == (None, None)
        assert model.thresholds().unlike_trained is None
    else:
        assert red.reason == "unlike-trained"


def test_a_card_that_names_a_missing_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    write_model(tmp_path, unlike_trained={"output": "energy", "threshold": 1.0})
    with pytest.raises(WeightsError, match=r"classifier\.onnx: lacks the output 'energy'"):
        Classifier("cpu")
