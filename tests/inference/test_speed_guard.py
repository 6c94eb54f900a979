"""Ratios of processor time within one process, which keep wbcdet fast on any machine.

Other work on the machine makes the clock run; processor time it changes little, and both sides of
a ratio alike. The smallest ratio of some rounds is taken: noise only ever adds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from conftest import REPOSITORY

from wbcdet import Analyzer
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.backends import open_backend
from wbcdet.inference.detector import Detector, letterbox
from wbcdet.inference.weights import load_model
from wbcdet.io.decode import decode
from wbcdet.io.field import read_field
from wbcdet.records import FieldResult
from wbcdet.results.writer import write_annotated

#: What a run over pictures has no use for, with what each would cost.
UNUSED = (
    "torch",
    "ultralytics",
    "pandas",
    "supervision",
    "matplotlib",
    "openvino",
    "scipy",
    "pydantic",
    "rich",
    "wbcdet.cli.stream",
)
ROUNDS = 4
#: Longer side of the input of the yardstick, px: that of the first detectors, so that the bounds
#: below mean the same when a network looks at less.
YARDSTICK = 416


def times_as_long(work: Callable[[], object], measure: Callable[[], object]) -> float:
    """Processor time of ``work`` over that of ``measure``, paired."""
    ratios = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        middle = time.process_time()
        measure()
        ratios.append((middle - start) / (time.process_time() - middle))
    return min(ratios)


@pytest.fixture(scope="module")
def analyzer() -> Analyzer:
    return Analyzer(device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Fields of 640x480 with one white cell each, which is what fields at 100x hold."""
    folder = tmp_path_factory.mktemp("fields")
    paths = []
    for seed in range(8):
        paths.append(folder / f"{seed}.jpg")
        pixels = render_field(seed, counts={"neutrophil": 1}).pixels
        cv2.imwrite(str(paths[-1]), cv2.resize(pixels, (640, 480)))
    return paths


def graph_alone(analyzer: Analyzer, files: list[Path]) -> Callable[[], object]:
    card = analyzer.detector.card
    shape = YARDSTICK, card["stride"], card["letterbox_grey"]
    tensors = [letterbox(read_field(path).pixels, *shape)[0] for path in files]
    return lambda: [analyzer.detector._backend.run(tensor) for tensor in tensors]


def test_a_run_imports_no_more_than_it_needs(tmp_path: Path, files: list[Path]) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['wbcdet', 'predict', {str(files[0])!r}, '--out', 'out', '--quiet']\n"
        "from wbcdet.cli.app import main\ntry:\n    main()\nexcept SystemExit as end:\n"
        "    assert end.code == 0, end.code\n"
        f"print([name for name in {UNUSED!r} if name in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{code}"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stderr.strip() == "[]"
    assert (tmp_path / "out" / "annotated" / files[0].name).is_file()


def test_both_stages_take_little_more_than_the_graph(analyzer: Analyzer, files: list[Path]) -> None:
    alone = graph_alone(analyzer, files)
    assert all(len(result.cells) == 1 for result in analyzer.analyze_many(files))
    assert times_as_long(lambda: list(analyzer.analyze_many(files)), alone) < 1.0


def test_a_first_look_takes_half_of_the_graph(analyzer: Analyzer, files: list[Path]) -> None:
    detector = analyzer.detector
    assert isinstance(detector, Detector)
    fields = [read_field(path).pixels for path in files]
    quick = lambda: [detector.detect_whole(pixels) for pixels in fields]  # noqa: E731
    assert times_as_long(quick, graph_alone(analyzer, files)) < 0.55


def test_naming_takes_a_tenth_of_the_graph(analyzer: Analyzer, files: list[Path]) -> None:
    fields = [read_field(path).pixels for path in files]
    boxes = [analyzer.detector.detect(pixels)[0] for pixels in fields]
    named = [(pixels, box) for pixels, own in zip(fields, boxes, strict=True) for box in own]

    def name() -> None:
        # One after the other, so that neither pays for the caches that the other has filled.
        crops = [analyzer.classifier.crop(pixels, box) for pixels, box in named]
        for crop in crops:
            analyzer.classifier.classify([crop])

    assert len(named) == len(files)
    assert times_as_long(name, graph_alone(analyzer, files)) < 0.2


def test_drawing_and_writing_take_a_part_of_the_graph(
    analyzer: Analyzer, files: list[Path], tmp_path: Path
) -> None:
    fields = [read_field(path).pixels for path in files]
    results = list(analyzer.analyze_many(files))

    def draw() -> None:
        for pixels, result in zip(fields, results, strict=True):
            write_annotated(tmp_path, result.file, pixels, result)

    assert times_as_long(draw, graph_alone(analyzer, files)) < 0.4


def test_threads_that_share_a_call_do_not_spin(analyzer: Analyzer, files: list[Path]) -> None:
    two = open_backend(load_model("detector"), "cpu", threads=2)
    tensor = np.zeros((1, 3, 320, YARDSTICK), np.float32)

    def shared() -> None:
        for _ in range(6):
            two.run(tensor)
            time.sleep(0.005)  # what comes between two frames

    def alone() -> None:
        for _ in range(6):
            analyzer.detector._backend.run(tensor)

    assert times_as_long(shared, alone) < 1.5


def test_a_large_jpeg_is_read_as_fast_as_libjpeg_turbo_can() -> None:
    pixels = cv2.resize(render_field(0).pixels, (2048, 1536), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    assert np.array_equal(decode(data, 10**7), simplejpeg.decode_jpeg(data, colorspace="BGR"))
    bare = lambda: [simplejpeg.decode_jpeg(data, colorspace="BGR") for _ in range(6)]  # noqa: E731
    assert times_as_long(lambda: [decode(data, 10**7) for _ in range(6)], bare) < 1.7


def test_memory_does_not_grow_with_the_number_of_fields(analyzer: Analyzer) -> None:
    import tracemalloc

    def peak(number: int) -> int:
        tracemalloc.reset_peak()
        blank = np.full((480, 640, 3), 220, np.uint8)
        results = [FieldResult("warm", 1, 1)]
        for _, result in analyzer.analyze_fields(blank.copy() for _ in range(number)):
            results.append(result)
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak(8)
        assert peak(64) < 1.3 * peak(16)
    finally:
        tracemalloc.stop()
