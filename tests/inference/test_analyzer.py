"""The analyzer with the models that ship."""

from __future__ import annotations

import copy
import pickle
import re
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from conftest import INFO, grain
from PIL import Image

from wbcdet import Analyzer, annotate
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.classifier import Classification, Thresholds
from wbcdet.io.discover import find_fields
from wbcdet.io.field import Field
from wbcdet.records import LABELS, CellType
from wbcdet.results.document import build_document, parse_document
from wbcdet.settings import Settings
from wbcdet.utils.errors import WbcdetError


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(device="cpu")


@pytest.mark.parametrize("odd", [None, 5, b"a.png", ["a.png"], Image.new("RGB", (9, 9))])
def test_what_is_no_source(analyzer: Analyzer, odd: object) -> None:
    with pytest.raises(TypeError, match="a field is a path") as caught:
        analyzer.analyze(odd)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_every_kind_of_source(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = grain(96, 128)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    for source in (path, str(path), pixels, pixels[:, :, 0], Field("a", None, pixels)):
        result = analyzer.analyze(source)
        assert result.failure is None and (result.width, result.height) == (128, 96)
    for odd in (np.asmatrix(pixels[:, :, 0]), np.ma.masked_array(pixels), pixels[::-1, ::-1][::-1]):
        assert analyzer.analyze(odd).height == 96
    missing = analyzer.analyze(tmp_path / "b.jpg")
    assert missing.file == "b.jpg" and "does not exist" in str(missing.failure)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.ma.masked_array(np.zeros((4, 4), np.uint8), np.eye(4)),
    ],
)
def test_other_arrays_are_refused(analyzer: Analyzer, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"pixels must be uint8|pixels are masked") as caught:
        analyzer.analyze(array)
    with pytest.raises(ValueError, match=re.escape(str(caught.value))):
        annotate(array, [])


@pytest.mark.parametrize(
    "one", ["fields", Path("fields"), Field("a", None, grain()), grain(), grain()[:, :, 0]]
)
def test_one_field_is_no_list_of_fields(analyzer: Analyzer, one: object) -> None:
    """The letters of a name and the rows of a picture were fields, without a cell."""
    for many in (analyzer.analyze_many, analyzer.analyze_fields):
        with pytest.raises(TypeError, match="put it into a list"):
            many(one)  # type: ignore[arg-type]


def test_an_array_may_be_used_again_for_the_next_field(analyzer: Analyzer) -> None:
    """As cameras' libraries do: fields wait for their turn while the next one is written there."""
    pixels = np.zeros((48, 64, 3), np.uint8)

    def frames() -> Iterator[np.ndarray]:
        for level in range(12):
            pixels[:] = level
            yield pixels

    seen = [int(field.pixels[0, 0, 0]) for field, _ in analyzer.analyze_fields(frames()) if field]
    assert seen == list(range(12))


def test_no_two_arrays_have_one_name() -> None:
    analyzer, pixels = Analyzer(detector=OneCell(), classifier=OneCell()), grain(48, 64)
    results = [analyzer.analyze(pixels) for _ in range(2)]
    for _ in range(2):
        results += analyzer.analyze_many([pixels, pixels])
    assert len({result.file for result in results}) == 6
    assert len(parse_document(build_document(INFO, results))[1]) == 6


def test_a_copy_loads_the_same_models_or_says_so(
    analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Analyzer(device="cpu", min_score=0.9)
    other = pickle.loads(pickle.dumps(strict))
    assert other.info() == strict.info() != analyzer.info()
    assert other.analyze(grain(48, 64)) == strict.analyze(grain(48, 64))
    own = Analyzer(detector=OneCell(), classifier=OneCell())
    assert len(copy.deepcopy(own).analyze(grain(100, 200)).cells) == 1
    kept = pickle.dumps(own)
    monkeypatch.setattr(OneCell, "sha256", "b" * 64)
    with pytest.raises(WbcdetError, match=r"other models than those .* make a new Analyzer"):
        pickle.loads(kept)


def test_order_holds_with_failures_between(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(11):
        path = tmp_path / f"{number}.png"
        if number % 3 == 1:
            path.write_bytes(b"broken")
        else:
            Image.fromarray(grain(48 + number, 64)).save(path)
    results = list(analyzer.analyze_many(find_fields([tmp_path])))
    assert [result.file for result in results] == [f"{number}.png" for number in range(11)]
    for number, result in enumerate(results):
        assert (result.failure is not None) == (number % 3 == 1)
        assert result.failure or result.height == 48 + number


def test_sources_are_read_as_they_are_needed(analyzer: Analyzer) -> None:
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield grain()

    stream = analyzer.analyze_many(endless())  # type: ignore[arg-type]
    for _ in range(10):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert taken <= 10 + 8 + 2  # the most that are analysed at the same time, and two more


def test_info_names_models_and_settings() -> None:
    info = Analyzer(Settings(confidence=0.4), device="cpu").info()
    for model in ("detector", "classifier"):
        assert info[model]["name"] and re.fullmatch("[0-9a-f]{64}", info[model]["sha256"])
    assert info["settings"]["confidence"] == 0.4 and info["settings"]["device"] == "cpu"
    assert len(info["settings"]["fingerprint"]) == 64
    assert info["thresholds"]["confidence"] == 0.4


def test_the_thresholds_in_force_are_numbers(analyzer: Analyzer) -> None:
    info = analyzer.info()
    card = analyzer.detector.card["confidence"]
    assert info["settings"]["confidence"] == info["thresholds"]["confidence"] == card
    assert set(info["thresholds"]["min_score"]) == {str(label) for label in LABELS}
    assert info["settings"]["min_score"] == min(info["thresholds"]["min_score"].values()) > 0
    strict = Analyzer(min_score=0.9, device="cpu").info()
    assert set(strict["thresholds"]["min_score"].values()) == {0.9}
    assert strict["settings"]["min_score"] == 0.9


def test_nearly_cells_and_stain_are_part_of_the_record(
    analyzer: Analyzer, real_field: Callable[[str, str], np.ndarray]
) -> None:
    pixels = real_field("bccd.zip", "BloodImage_00001.jpg")
    usual = analyzer.analyze(pixels)
    assert usual.cells and usual.stain is not None and len(usual.stain) == 9
    blind = Analyzer(confidence=0.99, device="cpu").analyze(pixels)
    scores = [cell.detection_score for cell in usual.cells]
    assert not blind.cells and list(blind.weak_scores[: len(scores)]) == scores
    assert blind.stain == usual.stain
    tiled = Analyzer(Settings(tile_size=300, confidence=0.99), device="cpu").analyze(pixels)
    assert not tiled.cells and tiled.weak_scores
    assert analyzer.analyze(np.full((64, 64, 3), 255, np.uint8)).stain is None


def test_a_real_field(analyzer: Analyzer, real_field: Callable[[str, str], np.ndarray]) -> None:
    pixels = real_field("bccd.zip", "BloodImage_00001.jpg")
    result = analyzer.analyze(pixels)
    assert len(result.cells) >= 1
    for number, cell in enumerate(result.cells):
        x_min, y_min, x_max, y_max = cell.box
        assert cell.id == number
        assert 0 <= x_min < x_max <= result.width and 0 <= y_min < y_max <= result.height
        assert set(cell.scores) == {str(label) for label in LABELS}
        assert sum(cell.scores.values()) <= 1.001
        assert (cell.reason is None) == (cell.label is not CellType.UNCLASSIFIED)
    assert len(result.detections) == len(result.cells) == len(result.to_frame())
    strict = Analyzer(min_score=1.0, device="cpu").analyze(pixels)
    assert [cell.box for cell in strict.cells] == [cell.box for cell in result.cells]
    assert all(cell.label is CellType.UNCLASSIFIED for cell in strict.cells)


def test_one_analyzer_for_many_threads(analyzer: Analyzer) -> None:
    fields = [grain(100, 100 + number, number) for number in range(8)]
    alone = [analyzer.analyze(pixels).cells for pixels in fields]
    with ThreadPoolExecutor(4) as pool:
        together = [result.cells for result in pool.map(analyzer.analyze, fields)]
    assert together == alone


def test_tiles_of_fields_side_by_side() -> None:
    field = render_field(3).pixels
    tiled = Analyzer(Settings(tile_size=max(field.shape) // 2), device="cpu")
    results = list(tiled.analyze_many([field] * 4))
    assert results[0].cells and all(result.cells == results[0].cells for result in results)


def test_ctrl_c_does_not_wait_for_the_end_of_a_large_field(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Analyzer(Settings(tile_size=500), device="cpu")

    looked: list[int] = []

    def look(pixels: np.ndarray, confidence: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        looked.append(len(looked))
        if len(looked) == 3:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.1)
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)

    monkeypatch.setattr(slow.detector, "detect", look)
    field = np.zeros((5100, 5100, 3), np.uint8)  # 196 tiles
    # Tests may run where SIGINT is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            slow.analyze(field)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(looked) < 100


class OneCell:
    """A detector and classifier in one: a cell in the middle of every field, named by its place."""

    name, sha256 = "one 1", "a" * 64
    card: ClassVar[dict[str, Any]] = {
        "input_size": 64,
        "crop_padding": 1.25,
        "learned": {"created": "2026-01-01"},
    }

    def detect(
        self, pixels: np.ndarray, confidence: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = pixels.shape[:2]
        box = [width * 0.4, height * 0.4, width * 0.6, height * 0.6]
        return np.array([box], np.float32), np.array([0.9], np.float32)

    def threshold(self, confidence: float | None = None) -> float:
        return confidence or 0.5

    def weakest(self, threshold: float) -> float:
        return threshold

    def thresholds(self, min_score: float | None = None) -> Thresholds:
        return Thresholds({str(label): min_score or 0.5 for label in LABELS}, None)

    def crop(self, pixels: np.ndarray, box: Sequence[float] | np.ndarray) -> np.ndarray:
        return pixels[:8, :8]

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        return np.zeros((len(crops), 0))

    def classify(
        self, crops: Sequence[np.ndarray], min_score: float | None = None
    ) -> list[Classification]:
        scores = {str(label): 0.01 for label in LABELS} | {"monocyte": 0.97}
        return [Classification(CellType.MONOCYTE, 0.97, scores, None) for _ in crops]


def test_stages_of_your_own() -> None:
    own = Analyzer(detector=OneCell(), classifier=OneCell())
    result = own.analyze(np.full((100, 200, 3), 220, np.uint8))
    [cell] = result.cells
    assert cell.box == (80.0, 40.0, 120.0, 60.0) and cell.label is CellType.MONOCYTE
    # Where a model was learned from a laboratory's cells, the results say so.
    assert own.info()["classifier"] == {
        "name": "one 1", "sha256": "a" * 64, "learned": "2026-01-01"
    }  # fmt: skip
