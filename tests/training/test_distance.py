"""The distance of a crop from all that was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from wbcdet.datasets.cells import CLASSES
from wbcdet.training.augment_cells import CROP_SIZE
from wbcdet.training.distance import add_centres, fit_distance, load_distance
from wbcdet.training.export import export_classifier
from wbcdet.training.leucocytenet import FeatureDistance, LeucoCyteNet

SIDE = 12


def cells(middle: float, number: int, seed: int) -> np.ndarray:
    """Features around one centre, (number, SIDE) float32."""
    return np.random.default_rng(seed).normal(middle, 1, (number, SIDE)).astype(np.float32)


@pytest.fixture(scope="module")
def distance() -> FeatureDistance:
    features = np.concatenate([cells(0, 300, 0), cells(6, 300, 1), cells(-9, 3, 2)])
    labels = np.repeat([0, 1, 2], [300, 300, 3])
    return fit_distance(features, labels, ["a"] * 603)


def test_trained_cells_are_one_apart_and_strangers_far(distance: FeatureDistance) -> None:
    for middle in (0, 6):
        apart = distance(torch.from_numpy(cells(middle, 500, 7)))
        assert apart.shape == (500,) and float(apart.mean()) == pytest.approx(1, abs=0.15)
    assert float(distance(torch.from_numpy(cells(3, 200, 8))).min()) > 3
    # Three cells are too few for a centre of their own.
    assert len(distance.centres) == 2


def test_learnt_cells_are_strangers_no_more(distance: FeatureDistance) -> None:
    own = cells(20, 60, 3)
    assert float(distance(torch.from_numpy(own)).min()) > 50
    wider = add_centres(distance, own, np.full(60, 3))
    assert float(wider(torch.from_numpy(cells(20, 200, 4))).mean()) == pytest.approx(1, abs=0.2)
    assert len(distance.centres) == 2  # the old one is as it was


def test_the_exported_graph_gives_the_same_distance(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = LeucoCyteNet(len(CLASSES), 2, 16).eval()
    save_file(network.state_dict(), tmp_path / "run.safetensors")
    crops = torch.randn(3, 3, CROP_SIZE, CROP_SIZE)
    with torch.inference_mode():
        maps = network.blocks(network.stem(crops))
        features = maps.mean((2, 3))
        shape = features.shape[1]
        distance = FeatureDistance(torch.eye(shape), torch.zeros(1, shape))
        expected, logits = distance(features), network.decide(maps)
    export_classifier(
        tmp_path / "run.safetensors", tmp_path, 1.0, 0.3, "by hand", 2, 16, distance,
        {"unlike_trained": {"output": "distance", "threshold": 4.0}},
    )  # fmt: skip
    session = onnxruntime.InferenceSession(str(tmp_path / "classifier.onnx"))
    given = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"crops": crops.numpy()}),
            strict=True)
    )  # fmt: skip
    assert np.allclose(given["distance"], expected.numpy(), rtol=1e-3, atol=1e-3)
    assert np.allclose(given["logits"], logits.numpy(), rtol=1e-3, atol=1e-3)
    kept = load_distance(tmp_path / "classifier.safetensors")
    assert kept is not None and torch.equal(kept.centres, distance.centres)
    assert load_distance(tmp_path / "run.safetensors") is None
