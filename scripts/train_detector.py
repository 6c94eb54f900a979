"""Train the white cell detector from scratch; an interrupted run goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    out: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("runs/detector"),
    model: Annotated[str, typer.Option(help="Network, an ultralytics YAML.")] = "yolo26n.yaml",
    weights: Annotated[
        Path | None, typer.Option(help="Checkpoint or weights/detector.safetensors to start from.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side of a training scene, px.")] = 320,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 20,
    hours: Annotated[
        float | None, typer.Option(help="Train this long instead; the epochs are fitted to it.")
    ] = None,
    scenes: Annotated[int, typer.Option(help="Scenes in an epoch.")] = 5000,
    batch: Annotated[int, typer.Option(help="Scenes in a batch.")] = 16,
    rate: Annotated[float, typer.Option(help="Learning rate of AdamW.")] = 1e-3,
    workers: Annotated[int, typer.Option(help="Processes that compose scenes.")] = 2,
    device: Annotated[str, typer.Option(help="cpu, or the number of a GPU.")] = "cpu",
    leave_out: Annotated[list[str] | None, typer.Option(help="Laboratory to leave out.")] = None,
) -> None:
    """Train the white cell detector."""
    from ultralytics import YOLO

    from wbcdet.training.detector_training import SceneTrainer

    SceneTrainer.prepared = prepared
    SceneTrainer.scenes = scenes
    SceneTrainer.leave_out = tuple(leave_out or ())
    last = out / "weights" / "last.pt"
    out.mkdir(parents=True, exist_ok=True)
    description = out / "scenes.yaml"  # ultralytics asks for a file even when the data is ours
    here = prepared.resolve()
    description.write_text(f"train: {here}\nval: {here}\nnc: 1\nnames: [wbc]\n", encoding="utf-8")
    settings: dict[str, Any] = {
        "data": str(description),
        "imgsz": size,
        "epochs": epochs,
        "time": hours,
        "batch": batch,
        "optimizer": "AdamW",
        "lr0": rate,
        "lrf": 0.02,
        "cos_lr": True,
        "weight_decay": 0.01,
        "warmup_epochs": 1.0,
        "nbs": batch,
        "amp": False,
        "plots": False,
        "workers": workers,
        "device": device,
        "project": str(out.parent.resolve()),
        "name": out.name,
        "exist_ok": True,
        "save_period": 5,
        "close_mosaic": 0,
    }
    if last.exists():
        try:
            YOLO(last).train(trainer=SceneTrainer, resume=True)
        except AssertionError as error:
            if "nothing to resume" not in " ".join(str(error).split()):
                raise
            print(f"{last}: this training is finished; give another --out to train anew")
    elif weights is not None and weights.suffix == ".safetensors":
        SceneTrainer.start = weights
        YOLO(model).train(trainer=SceneTrainer, **settings)
    elif weights is not None:
        YOLO(weights).train(trainer=SceneTrainer, **settings)
    else:
        YOLO(model).train(trainer=SceneTrainer, **settings)


if __name__ == "__main__":
    typer.run(main)
