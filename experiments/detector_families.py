"""Measure processor time of untrained detector graphs of several families, sizes and inputs."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

FAMILIES = ("yolo26n", "yolo26s", "yolo11n", "yolov8n", "yolov5nu")
#: Longer sides of the input, and the rest of a 4:3 field with it padded to the stride.
INPUTS = {320: 256, 352: 288, 384: 288, 416: 320, 448: 352, 480: 384, 640: 480}


def main(
    families: Annotated[list[str] | None, typer.Option("--family", help="Such as yolo26n.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds.")] = 7,
) -> None:
    """Print milliseconds a field, one thread, ONNX Runtime."""
    import numpy as np
    import onnxruntime
    from ultralytics import YOLO

    os.chdir(tempfile.mkdtemp())  # ultralytics writes beside its configuration
    print(f"| family | {' | '.join(map(str, INPUTS))} |\n|---|{'---|' * len(INPUTS)}")
    for family in families or FAMILIES:
        path = Path(YOLO(f"{family}.yaml").export(format="onnx", dynamic=True, simplify=True))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(str(path), options)
        times = []
        for width, height in INPUTS.items():
            tensor = np.random.default_rng(0).random((1, 3, height, width), np.float32)
            took = []
            for _ in range(rounds + 1):
                start = time.process_time()
                session.run(None, {"images": tensor})
                took.append((time.process_time() - start) * 1e3)
            times.append(f"{median(took[1:]):.1f}")
        print(f"| {family} | {' | '.join(times)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
