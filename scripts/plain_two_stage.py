"""A two-stage script as commonly written: ultralytics, then one classifier call a crop.

The baseline of ``scripts/benchmark.py``. Writes annotated pictures and a table, like wbcdet.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Annotated, Any

import typer


class TwoStage:
    """Both networks in torch.

    Args:
        checkpoint: of the detector, for ultralytics.
        weights: folder of wbcdet's weights.
        device: ``cpu`` or ``cuda``.
    """

    def __init__(self, checkpoint: Path, weights: Path, device: str) -> None:
        from ultralytics import YOLO

        from wbcdet.training.classifier_training import load_network

        self.card = json.loads((weights / "classifier.json").read_text(encoding="utf-8"))
        self.detector = YOLO(checkpoint)
        network = load_network(
            weights / self.card["training_file"], self.card["stages"], self.card["head"]
        )
        self.classifier = network.eval().to(device)
        self.device = device

    def analyse(self, path: Path, out: Path) -> list[list[Any]]:
        """Analyse one picture: rows of its cells (file, box, score, class); write its annotated
        copy."""
        import cv2
        import numpy as np
        import torch

        image = cv2.imread(str(path))
        found = self.detector(image, device=self.device, verbose=False)[0]
        mean, std = np.array(self.card["mean"]), np.array(self.card["std"])
        rows: list[list[Any]] = []
        for box, score in zip(found.boxes.xyxy.tolist(), found.boxes.conf.tolist(), strict=True):
            x0, y0, x1, y1 = (int(v) for v in box)
            crop = cv2.resize(image[y0 : y1 + 1, x0 : x1 + 1], (self.card["input_size"],) * 2)
            scaled = (crop[:, :, ::-1] / 255 - mean) / std
            tensor = torch.from_numpy(scaled.transpose(2, 0, 1)).float()[None].to(self.device)
            with torch.no_grad():
                odds = self.classifier(tensor).softmax(1)[0]
            rows.append([path.name, *box, score, self.card["classes"][int(odds.argmax())]])
        cv2.imwrite(str(out / path.name), found.plot())
        return rows


def main(
    folder: Annotated[Path, typer.Argument(help="Pictures.")],
    checkpoint: Annotated[Path, typer.Option(help="Of the detector, for ultralytics.")],
    weights: Annotated[Path, typer.Option(help="Folder of the weights.")] = Path("weights"),
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("two-stage"),
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Find and name the cells of all pictures in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    stages = TwoStage(checkpoint, weights, device)
    with (out / "cells.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        for path in sorted(folder.iterdir()):
            table.writerows(stages.analyse(path, out))


if __name__ == "__main__":
    typer.run(main)
