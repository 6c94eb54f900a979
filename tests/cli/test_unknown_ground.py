"""``wbcdet predict`` on ground that the models do not know, with the models that ship."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest
from conftest import schema

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import STAINS, render_field
from wbcdet.inference.domain_shift import make_reference
from wbcdet.inference.weights import sealed, weights_folder

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_another_stain_is_said(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = [render_field(seed, 320, 240, stain=STAINS[0]).pixels for seed in range(12)]
    analyzer = Analyzer(device="cpu")
    results = [analyzer.analyze(pixels) for pixels in fields]
    shutil.copytree(weights_folder(), tmp_path / "weights")
    card = json.loads((tmp_path / "weights/classifier.json").read_text(encoding="utf-8"))
    card["ground"] = make_reference({"drawn": results}, analyzer.detector.sha256)
    (tmp_path / "weights/classifier.json").write_text(json.dumps(sealed(card)), encoding="utf-8")
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path / "weights"))
    for name, light in (("known", (1.0, 1.0, 1.0)), ("green", (0.55, 1.0, 0.6))):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number, pixels in enumerate(fields[:6]):
            lit = (pixels * np.array(light)).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "in" / name / f"{number}.png"), lit)
    answer = command("predict", "in", "--no-annotate")
    assert answer.returncode == 0, answer.stderr
    document = json.loads((tmp_path / "wbcdet-out/results.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema())
    said = {slide["group"]: slide["ground"]["verdict"] for slide in document["slides"]}
    assert set(said) == {"green", "known"} and said["green"] == "unlike-training"
    [line] = [line for line in answer.stdout.splitlines() if "unlike what" in line]
    assert line.startswith("green: ") and "another stain, light or camera" in line
