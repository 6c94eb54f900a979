"""Time the detector's graph: runtimes, threads, callers side by side, batches."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Annotated, Any

import typer

#: Fields in a round.
FIELDS = 16


def onnx_runtime(path: str, threads: int, spin: bool) -> Callable[[Any], Any]:
    """Return the graph in ONNX Runtime; threads that share a call may spin while they wait."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda tensor: session.run(None, {"images": tensor})[0]


def main(rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 7) -> None:
    """Print milliseconds and processor milliseconds a field, medians, all ways in turn."""
    import numpy as np

    from wbcdet.inference.backends.openvino import OpenVinoBackend
    from wbcdet.inference.weights import WeightsError, load_model

    model = load_model("detector")
    path = str(model.path)
    alone, shared = onnx_runtime(path, 1, True), onnx_runtime(path, 2, False)
    ways: dict[str, tuple[Callable[[Any], Any], int, int]] = {
        "ONNX Runtime, 1 thread": (alone, 1, 1),
        "ONNX Runtime, 1 thread, 2 fields side by side": (alone, 2, 1),
        "the same, batches of 4": (alone, 2, 4),
        "ONNX Runtime, 2 threads to a field, spinning (its default)": (
            onnx_runtime(path, 2, True), 1, 1,
        ),
        "ONNX Runtime, 2 threads to a field, not spinning": (shared, 1, 1),
        "the same, 2 fields side by side": (shared, 2, 1),
    }  # fmt: skip
    for half, title in ((False, "float32"), (True, "bfloat16")):
        try:
            backend = OpenVinoBackend(model, 1, half=half)
        except WeightsError as error:
            print(error)
            continue
        ways[f"OpenVINO {title}, 1 thread, 2 fields side by side"] = (backend.run, 2, 1)
    tensor = np.random.default_rng(0).random((1, 3, 320, 416), np.float32)
    pools = {number: ThreadPoolExecutor(number) for number in (1, 2)}
    wall: dict[str, list[float]] = {way: [] for way in ways}
    used: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds + 1):
        for way, (run, callers, batch) in ways.items():
            given = [np.concatenate([tensor] * batch)] * (FIELDS // batch)
            start, processor = time.perf_counter(), time.process_time()
            list(pools[callers].map(run, given))
            wall[way].append((time.perf_counter() - start) * 1e3 / FIELDS)
            used[way].append((time.process_time() - processor) * 1e3 / FIELDS)
    print("| | ms a field | processor ms a field |\n|---|---|---|")
    for way in ways:
        print(f"| {way} | {median(wall[way][1:]):.1f} | {median(used[way][1:]):.1f} |")


if __name__ == "__main__":
    typer.run(main)
