"""Write the shipped detector as a checkpoint that ultralytics reads, from its safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(path: Annotated[Path, typer.Argument(help="The checkpoint, a .pt file.")]) -> None:
    """Write it, and check that it finds the boxes that wbcdet finds."""
    import numpy as np
    import torch
    from ultralytics import YOLO
    from ultralytics.nn.tasks import DetectionModel

    from wbcdet.datasets.synthetic import render_field
    from wbcdet.inference.detector import Detector
    from wbcdet.inference.weights import weights_folder
    from wbcdet.training.start_weights import load_tensors

    detector = Detector("cpu")
    network = DetectionModel("yolo26n.yaml", nc=1, ch=3, verbose=False)
    load_tensors(network, weights_folder() / detector.card["training_file"])
    network.names = {0: "wbc"}
    network.args = {"imgsz": detector.card["input_size"], "task": "detect"}
    torch.save({"model": network.half(), "train_args": network.args}, path)
    pixels = render_field(0).pixels
    theirs = YOLO(path)(pixels, conf=0.5, verbose=False, device="cpu")[0].boxes.xyxy.numpy()
    ours, _ = detector.detect(pixels, 0.5)
    # Ultralytics scales pictures down by another method: boxes differ by a pixel or two.
    order = np.lexsort(ours.T), np.lexsort(theirs.T)
    if ours.shape != theirs.shape or np.abs(ours[order[0]] - theirs[order[1]]).max() > 4:
        raise typer.BadParameter(f"it finds other boxes: {ours.tolist()}, {theirs.tolist()}")


if __name__ == "__main__":
    typer.run(main)
