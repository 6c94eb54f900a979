"""The exported classifier says what the trained one says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import grain

pytest.importorskip("onnx", reason="export needs onnx: pip install wbcdet[train]")
pytest.importorskip("onnxscript", reason="export needs onnxscript: pip install wbcdet[train]")
pytest.importorskip("safetensors", reason="export needs safetensors: pip install wbcdet[train]")

from safetensors.torch import load_file, save_file

from wbcdet.datasets.cells import CLASSES
from wbcdet.inference.classifier import Classifier
from wbcdet.training.classifier_training import predict_logits
from wbcdet.training.export import export_classifier
from wbcdet.training.leucocytenet import LeucoCyteNet

STAGES, HEAD = 2, 16


@pytest.mark.parametrize("offsets", [None, [0.0] * 4 + [-0.5] * 4 + [-2.0] * 2])
def test_exported_classifier_agrees_with_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offsets: list[float] | None
) -> None:
    torch.manual_seed(0)
    network = LeucoCyteNet(len(CLASSES), STAGES, HEAD).eval()
    for module in network.modules():  # as after a training, so that folding them is seen
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    save_file(network.state_dict(), tmp_path / "trained.safetensors")
    weights = tmp_path / "weights"
    weights.mkdir()
    export_classifier(
        tmp_path / "trained.safetensors", weights, 1.5, 0.6, "by hand", STAGES, HEAD,
        offsets=offsets,
    )  # fmt: skip

    card = json.loads((weights / "classifier.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256((weights / "classifier.onnx").read_bytes()).hexdigest()
    assert card["sha256"] == digest and card["classes"] == list(CLASSES)
    assert (card["temperature"], card["min_score"]) == (1.5, 0.6)
    half = load_file(weights / "classifier.safetensors")
    assert {v.dtype for v in half.values()} == {torch.float16}
    assert half["stem.conv.weight"].shape == network.stem.conv.weight.shape

    monkeypatch.setenv("WBCDET_WEIGHTS", str(weights))
    classifier = Classifier("cpu")
    crops = [grain(card["input_size"], card["input_size"], n) for n in range(5)]
    for number in (1, 5):
        odds = classifier.probabilities(crops[:number])
        logits = (predict_logits(network, crops[:number]) + np.array(offsets or 0.0)) / 1.5
        # Log-probabilities are the logits except for one number a cell.
        difference = np.log(odds) - logits
        assert np.abs(difference - difference.mean(1, keepdims=True)).max() < 1e-3
        assert logits.std() > 1e-2
