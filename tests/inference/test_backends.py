"""Every backend says the same of every field, and what cannot run says why in one line."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from wbcdet import Analyzer
from wbcdet.inference.backends import open_backend
from wbcdet.inference.backends.onnx_runtime import OnnxBackend
from wbcdet.inference.weights import Model, WeightsError, load_model
from wbcdet.records import FieldResult

MODEL = Model("a 3", Path("detector.onnx"), "", {})


class Session:
    """Stands in for ONNX Runtime's, on a machine whose CUDA starts or does not."""

    starts = True

    def __init__(self, path: str, options: Any, providers: list[str]) -> None:
        self.asked = providers

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name="images")]

    def get_providers(self) -> list[str]:
        return self.asked if self.starts else ["CPUExecutionProvider"]


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("device", "available", "starts", "expected"),
    [
        ("cpu", [CPU], True, [CPU]),
        ("auto", [CPU], True, [CPU]),
        ("cpu", [CUDA, CPU], True, [CPU]),
        ("auto", [CUDA, CPU], True, [CUDA, CPU]),
        ("auto", [CUDA, CPU], False, [CPU]),
        ("cuda", [CUDA, CPU], True, [CUDA, CPU]),
        ("cuda", [CPU], True, "install onnxruntime-gpu"),
        ("cuda", [CUDA, CPU], False, "check the driver"),
    ],
)
def test_device(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    available: list[str],
    starts: bool,
    expected: list[str] | str,
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(Session, "starts", starts)
    if isinstance(expected, str):
        with pytest.raises(WeightsError, match=expected) as caught:
            OnnxBackend(MODEL, device, 1)
        assert "device cuda" in str(caught.value) and "\n" not in str(caught.value)
    else:
        assert OnnxBackend(MODEL, device, 1).session.get_providers() == expected


#: Of each laboratory so many fields, spread over its list.
OF_EACH = 6


@pytest.fixture(scope="module")
def fields(prepared: Path) -> list[Path]:
    """Real fields of every laboratory."""
    by: dict[str, list[str]] = {}
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            by.setdefault(row["laboratory"], []).append(row["field"])
    names = [name for own in by.values() for name in own[:: max(1, len(own) // OF_EACH)][:OF_EACH]]
    return [prepared / "fields" / name for name in names]


def with_backends(kind: type, *arguments: Any, **options: Any) -> Analyzer:
    analyzer = Analyzer(device="cpu")
    for part, role in ((analyzer.detector, "detector"), (analyzer.classifier, "classifier")):
        part._backend = kind(load_model(role), *arguments, **options)
    return analyzer


def pairs(first: list[FieldResult], other: list[FieldResult]) -> Iterator[tuple[Any, Any]]:
    for a, b in zip(first, other, strict=True):
        assert len(a.cells) == len(b.cells), a.file
        yield from zip(a.cells, b.cells, strict=True)


def boxes_apart(a: Any, b: Any) -> float:
    return float(np.abs(np.subtract(a.box, b.box)).max())


def assert_same(first: list[FieldResult], other: list[FieldResult]) -> None:
    for a, b in pairs(first, other):
        assert boxes_apart(a, b) <= 0.5
        assert abs(a.detection_score - b.detection_score) <= 0.005
        assert max(abs(a.scores[name] - b.scores[name]) for name in a.scores) <= 0.005
        assert (a.label, a.reason) == (b.label, b.reason)


def test_backends_say_the_same_on_every_laboratory(fields: list[Path]) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    from wbcdet.inference.backends.openvino import OpenVinoBackend

    expected = list(Analyzer(device="cpu").analyze_many(fields))
    assert sum(len(result.cells) for result in expected) >= len(fields) // 2
    other = with_backends(OpenVinoBackend, threads=1, half=False)
    assert_same(expected, list(other.analyze_many(fields)))


def test_threads_change_nothing(fields: list[Path]) -> None:
    alone = [Analyzer(device="cpu", threads=2).analyze(path) for path in fields[::3]]
    assert_same(alone, list(Analyzer(device="cpu").analyze_many(fields[::3])))


def test_half_precision_finds_the_same_cells(
    fields: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    # Where a first look is just enough for one of them, the other would look at another size.
    monkeypatch.setattr("wbcdet.inference.first_look.LOOKS", ())
    try:
        half = Analyzer(device="cpu-bf16")
    except WeightsError as error:
        pytest.skip(str(error))
    plain = Analyzer(device="cpu").analyze_many(fields)
    apart = [(a, b) for a, b in pairs(list(plain), list(half.analyze_many(fields)))]
    assert max(abs(a.detection_score - b.detection_score) for a, b in apart) <= 0.05
    assert np.median([boxes_apart(a, b) for a, b in apart]) <= 1
    assert sum(a.label is not b.label for a, b in apart) <= 0.03 * len(apart)


def test_half_precision_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(WeightsError, match=r'pip install "wbcdet\[bf16\]"') as caught:
        open_backend(MODEL, "cpu-bf16")
    assert "\n" not in str(caught.value)


def test_half_precision_on_a_processor_without(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed")
    core = SimpleNamespace(get_property=lambda device, name: ["FP32", "INT8"])
    monkeypatch.setattr(openvino, "Core", lambda: core)
    with pytest.raises(WeightsError, match="has no bfloat16; use cpu"):
        open_backend(MODEL, "cpu-bf16")
