"""Run the warm contenders of ``scripts/benchmark.py``, each in a process of its own.

Started with a contender and a folder of pictures, it loads the models, runs once, then answers
every line on its standard input with the seconds that the whole folder took.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Tensors that the floor goes round on, so that a large folder does not fill the memory.
_TENSORS = 24


def _wbcdet(files: list[Path], out: Path, checkpoint: Path, device: str, draw: bool) -> Callable:
    import cv2

    from wbcdet.batch.predict import run
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.io.discover import find_fields
    from wbcdet.results.writer import Report

    cv2.setNumThreads(1)  # as the commands do
    analyzer = Analyzer(device=device)
    sources = find_fields(files)
    return lambda: run(sources, Report(out, annotate=draw), analyzer, quiet=True)


def _yolo(files: list[Path], out: Path, checkpoint: Path, device: str) -> Callable:
    from ultralytics import YOLO

    model = YOLO(checkpoint)
    options = {"project": str(out), "name": "run", "exist_ok": True, "save": True, "verbose": False}

    def work() -> None:
        for _ in model.predict(files[0].parent, device=device, stream=True, **options):
            pass

    return work


def _two_stage(files: list[Path], out: Path, checkpoint: Path, device: str) -> Callable:
    from plain_two_stage import TwoStage

    from wbcdet.inference.weights import weights_folder

    stages = TwoStage(checkpoint, weights_folder(), device)
    return lambda: [stages.analyse(path, out) for path in files]


def _floor(files: list[Path], out: Path, checkpoint: Path, device: str, decode: bool) -> Callable:
    """Return the detector's graph alone, a core for each field: the fastest way that was found."""
    import cv2
    import numpy as np
    import onnxruntime

    from wbcdet.inference.detector import letterbox
    from wbcdet.inference.weights import load_model
    from wbcdet.io.decode import decode as read
    from wbcdet.utils.parallel import cores

    model = load_model("detector")
    card = model.card
    shape = card["input_size"], card["stride"], card["letterbox_grey"]
    tensors = [letterbox(read(path.read_bytes(), 10**9), *shape)[0] for path in files[:_TENSORS]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
    session = onnxruntime.InferenceSession(str(model.path), options, providers=providers)
    name = session.get_inputs()[0].name

    def one(number: int) -> None:
        if decode:
            data = np.frombuffer(files[number].read_bytes(), np.uint8)
            assert cv2.imdecode(data, cv2.IMREAD_COLOR) is not None
        session.run(None, {name: tensors[number % len(tensors)]})

    pool = ThreadPoolExecutor(cores())
    return lambda: list(pool.map(one, range(len(files))))


def main() -> None:
    """Load, run once, then once for every line on standard input."""
    contender, folder, out, checkpoint, device = sys.argv[1:6]
    Path(out).mkdir(parents=True, exist_ok=True)
    files = sorted(Path(folder).iterdir())
    given = files, Path(out), Path(checkpoint)
    work = {
        "wbcdet": lambda: _wbcdet(*given, device, draw=True),
        "wbcdet-plain": lambda: _wbcdet(*given, device, draw=False),
        "wbcdet-bf16": lambda: _wbcdet(*given, "cpu-bf16", draw=True),
        "yolo": lambda: _yolo(*given, device),
        "two-stage": lambda: _two_stage(*given, device),
        "floor": lambda: _floor(*given, device, decode=False),
        "floor-decode": lambda: _floor(*given, device, decode=True),
    }[contender]()
    work()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        work()
        print(f"took {time.perf_counter() - start}", flush=True)


if __name__ == "__main__":
    main()
