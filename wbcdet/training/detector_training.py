"""Train the white cell detector on composed scenes, with ultralytics' trainer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import ModelEMA

from wbcdet.datasets.scene_sources import load_cutouts, load_sources
from wbcdet.training.compose_scenes import SceneMaker
from wbcdet.training.start_weights import start_from
from wbcdet.utils.parallel import cores

#: Scenes that a checkpoint is judged on, the same in every epoch.
VALIDATION_SCENES = 200
#: bfloat16 is not timed any further where its first step takes so many times that of float32: both
#: warm up in it.
_HOPELESS = 3.0


def to_float(value: Any) -> Any:
    """Convert every tensor in a nested structure to float32."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {k: to_float(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_float(v) for v in value)
    return value


class FastModel(DetectionModel):
    """A YOLO whose layers train channels last on a CPU, in bfloat16 where that is faster."""

    bfloat16 = False

    def predict(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pass of (B, 3, H, W) pictures in 0..1."""
        if not self.training or x.device.type != "cpu":
            return super().predict(x, *args, **kwargs)
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            out = super().predict(x, *args, **kwargs)
        return to_float(out)


def choose_precision(model: FastModel, size: int) -> str:
    """Set the precision in which a training step is faster here; say the times of both.

    bfloat16 halves the time on processors with AVX-512 or AMX units for it and takes five times
    as long on others, which emulate it: there its first step says so, and no other is taken.
    """
    picture = torch.rand(1, 3, size, size)
    training = model.training
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()

    def step(bfloat16: bool) -> float:
        model.bfloat16 = bfloat16
        begun = time.perf_counter()
        torch.stack([t.mean().float() for t in _tensors(model.predict(picture))]).sum().backward()
        return time.perf_counter() - begun

    first = {name: step(name == "bfloat16") for name in ("float32", "bfloat16")}  # warming up
    seconds = dict(first)
    for name in first:
        if first[name] < _HOPELESS * first["float32"]:
            seconds[name] = min(step(name == "bfloat16") for _ in range(2))
    model.zero_grad(set_to_none=True)
    model.load_state_dict(state)  # the statistics of the normalisations moved
    model.train(training)
    model.bfloat16 = seconds["bfloat16"] < seconds["float32"]
    chosen = "bfloat16" if model.bfloat16 else "float32"
    times_said = ", ".join(f"{name} {1000 * s:.0f} ms" for name, s in seconds.items())
    return f"{chosen} (a picture of {size} px, forward and backward: {times_said})"


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value] if value.requires_grad else []
    parts = value.values() if isinstance(value, dict) else value
    return [t for part in parts for t in _tensors(part)] if isinstance(parts, Iterable) else []


class SceneDataset(Dataset[dict[str, Any]]):
    """Composed scenes in the form that ultralytics' trainer and validator read.

    Args:
        maker: draws the scenes.
        length: scenes in an epoch.
        fixed: give the same scenes in every epoch (validation).
        sizes: sides of the scenes in pixels; all of a batch have the same.
        batch: scenes in a batch.
    """

    collate_fn = staticmethod(YOLODataset.collate_fn)

    def __init__(
        self, maker: SceneMaker, length: int, fixed: bool, sizes: tuple[int, ...], batch: int
    ) -> None:
        self.maker, self.length, self.fixed = maker, length, fixed
        self.sizes, self.batch = sizes, batch
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch = 1_000_000 if self.fixed else self.epoch
        choice = np.random.default_rng((epoch, index // self.batch, 0))
        size = self.sizes[choice.integers(len(self.sizes))]
        image, boxes = self.maker.make((epoch, index), size)
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


class MeanOfWeights(ModelEMA):
    """The mean of the weights after every step but the first ones (Izmailov et al. 2018, arXiv
    1803.05407).

    At a rate that stays as high as it is, the weights wander about what fits all scenes; their mean
    lies in the midst of it, and finds more in an unknown laboratory than where a falling rate
    brings them to rest.

    Args:
        model: network that is trained.
        first: gives the number of steps that do not count; until then it follows the network.
    """

    def __init__(self, model: torch.nn.Module, first: Callable[[], float]) -> None:
        super().__init__(model)
        self.decay = lambda step: 1 - 1 / max(step - first(), 1)


class SceneTrainer(DetectionTrainer):
    """Ultralytics' detection trainer fed with scenes instead of files.

    ``prepared``, ``scenes`` (per epoch), ``sizes`` (sides of training scenes), ``leave_out``,
    ``start`` (safetensors to start from, such as the shipped ones) and ``mean_from`` (part of the
    steps whose weights do not count in their mean) are set on the class before training, because
    ultralytics builds its trainers itself and checks every argument against its own list.
    """

    prepared: Path
    scenes: int = 5000
    sizes: tuple[int, ...] = (320,)
    leave_out: tuple[str, ...] = ()
    start: Path | None = None
    mean_from: float = 0.25
    ema: Any

    @cached_property
    def maker(self) -> SceneMaker:
        """Scenes of the training fields."""
        sources = load_sources(self.prepared, ("train",), self.leave_out)
        return SceneMaker(sources, load_cutouts(self.prepared, self.leave_out), max(self.sizes))

    def get_dataset(self) -> dict[str, Any]:
        """Return the data description that ultralytics reads from a YAML otherwise."""
        here = str(self.prepared)
        return {"train": here, "val": here, "nc": 1, "names": {0: "wbc"}, "channels": 3}

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> Any:
        """Build scenes from the training fields, or a fixed set from the validation fields."""
        if mode == "train":
            return SceneDataset(self.maker, self.scenes, False, self.sizes, batch or 1)
        side = self.args.imgsz
        maker = SceneMaker(load_sources(self.prepared, ("val",), self.leave_out), {}, side)
        return SceneDataset(maker, VALIDATION_SCENES, True, (side,), batch or 1)

    def get_dataloader(
        self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train"
    ) -> Any:
        """Return a plain loader: the scenes are shuffled already."""
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
        """Return the network, in the precision that is faster on this CPU."""
        # Ultralytics leaves one core idle; half of the speed on a machine with two.
        torch.set_num_threads(cores())
        model = FastModel(cfg, nc=1, ch=3, verbose=verbose)
        if weights is not None:
            model.load(weights)
        elif self.start is not None:
            print(start_from(model, self.start, self._scene_batches()))
        model = model.to(memory_format=torch.channels_last)
        if self.device.type == "cpu":
            print(f"precision: {choose_precision(model, max(self.sizes))}")
        return model

    def _scene_batches(self) -> Iterator[torch.Tensor]:
        """Yield some hundred scenes as the network's input, from which statistics are taken."""
        data = SceneDataset(self.maker, 112, False, self.sizes, 16)
        for first in range(0, len(data), 16):
            pictures = [data[i]["img"] for i in range(first, first + 16)]
            yield torch.stack(pictures).float() / 255

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Move a batch to the device and scale its pixels to 0..1."""
        batch = super().preprocess_batch(batch)
        # The loader's workers are started over in each epoch, so they see the new number.
        self.train_loader.dataset.epoch = self.epoch + 1
        return batch

    def resume_training(self, ckpt: Any) -> None:
        """Go on with the scenes of the epoch to come, not with those of the first, and with the
        mean."""
        super().resume_training(ckpt)
        self.train_loader.dataset.epoch = self.start_epoch
        mean = MeanOfWeights(
            self.model, lambda: self.mean_from * self.epochs * len(self.train_loader)
        )
        mean.ema, mean.updates = self.ema.ema, self.ema.updates
        self.ema = mean

    def plot_training_labels(self) -> None:
        """Nothing to plot: scenes have no label files."""
        return

    def final_eval(self) -> None:
        """Nothing more to measure: the checkpoint is judged on real fields by ``evaluate``."""
        return

    def auto_batch(self, max_num_obj: int = 0) -> int:
        """Return the batch size given; scenes cannot be probed."""
        return int(self.args.batch)
