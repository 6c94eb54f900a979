"""Training of the white cell detector on composed scenes, with ultralytics' trainer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel

from wbcdet.datasets.scene_sources import load_cutouts, load_sources
from wbcdet.training.compose_scenes import SceneMaker

#: Scenes that a checkpoint is judged on, the same in every epoch.
VALIDATION_SCENES = 200


def to_float(value: Any) -> Any:
    """Every tensor in a nested structure as float32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: to_float(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_float(v) for v in value)
    return value


def load_tensors(model: torch.nn.Module, path: Path) -> None:
    """Fill a detector from its safetensors, in place.

    Raises:
        ValueError: the file is of another network.
    """
    given = load_file(path)
    wanted = {k: v.shape for k, v in model.state_dict().items() if v.is_floating_point()}
    if wanted != {k: v.shape for k, v in given.items()}:
        raise ValueError(f"{path}: is of another network")
    model.load_state_dict({k: v.float() for k, v in given.items()}, strict=False)


class FastModel(DetectionModel):
    """A YOLO whose layers run in bfloat16, channels last, on a CPU that is faster with it."""

    def predict(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Forward pass of (B, 3, H, W) pictures in 0..1."""
        if not self.training or x.device.type != "cpu":
            return super().predict(x, *args, **kwargs)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            out = super().predict(x, *args, **kwargs)
        return to_float(out)


class SceneDataset(Dataset[dict[str, Any]]):
    """Composed scenes in the form that ultralytics' trainer and validator read.

    Args:
        maker: draws the scenes.
        length: scenes in an epoch.
        fixed: give the same scenes in every epoch (validation).
    """

    collate_fn = staticmethod(YOLODataset.collate_fn)

    def __init__(self, maker: SceneMaker, length: int, fixed: bool) -> None:
        self.maker, self.length, self.fixed = maker, length, fixed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        size = self.maker.size
        epoch = 1_000_000 if self.fixed else self.epoch
        image, boxes = self.maker.make((epoch, index))
        centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / size
        span = (boxes[:, 2:] - boxes[:, :2]) / size
        rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1))
        return {
            "img": torch.from_numpy(rgb),
            "cls": torch.zeros(len(boxes), 1),
            "bboxes": torch.from_numpy(np.concatenate([centre, span], 1).astype(np.float32)),
            "batch_idx": torch.zeros(len(boxes)),
            "im_file": f"scene-{epoch}-{index}.jpg",
            "ori_shape": (size, size),
            "resized_shape": (size, size),
            "ratio_pad": ((1.0, 1.0), (0.0, 0.0)),
        }


class SceneTrainer(DetectionTrainer):
    """Ultralytics' detection trainer fed with scenes instead of files.

    ``prepared``, ``scenes`` (per epoch), ``leave_out`` and ``start`` (safetensors to go on from,
    such as the shipped ones) are set on the class before training,
    because ultralytics builds its trainers itself and checks every argument against its own list.
    """

    prepared: Path
    scenes: int = 5000
    leave_out: tuple[str, ...] = ()
    start: Path | None = None

    def get_dataset(self) -> dict[str, Any]:
        """The data description that ultralytics reads from a YAML otherwise."""
        here = str(self.prepared)
        return {"train": here, "val": here, "nc": 1, "names": {0: "wbc"}, "channels": 3}

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Scenes from the training fields, or a fixed set from the validation fields."""
        training = mode == "train"
        sources = load_sources(self.prepared, ("train",) if training else ("val",), self.leave_out)
        cutouts = load_cutouts(self.prepared, self.leave_out) if training else []
        maker = SceneMaker(sources, cutouts, self.args.imgsz)
        return SceneDataset(
            maker, self.scenes if training else VALIDATION_SCENES, fixed=not training
        )

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """A plain loader: the scenes are shuffled already."""
        dataset = self.build_dataset(dataset_path, mode, batch_size)
        return torch.utils.data.DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=self.args.workers,
            collate_fn=dataset.collate_fn,
            drop_last=mode == "train",
            prefetch_factor=4 if self.args.workers else None,
        )

    def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> Any:
        """The network, in bfloat16 on the CPU."""
        # Ultralytics leaves one core idle; half of the speed on a machine with two.
        torch.set_num_threads(os.cpu_count() or 1)
        model = FastModel(cfg, nc=1, ch=3, verbose=verbose)
        if weights is not None:
            model.load(weights)
        elif self.start is not None:
            load_tensors(model, self.start)
        return model.to(memory_format=torch.channels_last)

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device and scale its pixels to 0..1."""
        batch = super().preprocess_batch(batch)
        # The loader's workers are started anew in each epoch, so they see the new number.
        self.train_loader.dataset.epoch = self.epoch + 1
        return batch

    def resume_training(self, ckpt: Any) -> None:
        """Go on with the scenes of the epoch to come, not with those of the first."""
        super().resume_training(ckpt)
        self.train_loader.dataset.epoch = self.start_epoch

    def plot_training_labels(self) -> None:
        """Nothing to plot: scenes have no label files."""
        return

    def final_eval(self) -> None:
        """Nothing more to measure: the checkpoint is judged on real fields by ``evaluate``."""
        return

    def auto_batch(self, max_num_obj: int = 0) -> int:
        """The batch size given; scenes cannot be probed."""
        return int(self.args.batch)
