"""Train a classifier, LeucoCyteNet or another; an interrupted run is resumed."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from wbcdet.datasets.cells import CLASSES, MEAN, STD, load_cells
from wbcdet.inference.preprocess import normalise
from wbcdet.training.architectures import architecture, build
from wbcdet.training.augment_cells import plain_crop
from wbcdet.training.config import ClassifierRecipe, TrainingError, check_same, stamp
from wbcdet.training.devices import fast_bfloat16
from wbcdet.training.leucocytenet import DISTANCE_PREFIX, LeucoCyteNet
from wbcdet.training.run_folder import run_folder
from wbcdet.utils.calibration import fit_temperature as most_likely
from wbcdet.utils.parallel import cores
from wbcdet.utils.progress import progress

#: The averaged weights follow the trained ones over about this many steps, at most a quarter of the
#: run: over all of a short one they would still be half of what it began with.
AVERAGE_STEPS = 300
#: Steps in which the learning rate rises to its highest.
WARM_UP = 100
#: Pretrained layers learn at this fraction of the learning rate.
TAUGHT_RATE = 0.5
WEIGHTS = "classifier.safetensors"


class EpochData(Protocol):
    """Crops ``{"crop": (3, S, S), "label": int}`` that depend on the epoch and the index alone."""

    epoch: int

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Any]: ...


def predict_outputs(
    network: nn.Module, crops: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network says of crops (S, S, 3) uint8 BGR, in single precision.

    Returns:
        logits (N, classes), and of LeucoCyteNet the features (N, F) of its blocks, averaged over
        the crop; (N, 0) of other networks.
    """
    network.eval()
    first = next(network.parameters())
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    waiting = iter(crops)
    with torch.inference_mode():
        while chunk := list(islice(waiting, 128)):
            batch = torch.from_numpy(normalise(chunk, MEAN, STD))
            batch = batch.to(first.device, memory_format=torch.channels_last)
            if isinstance(network, LeucoCyteNet):
                maps = network.blocks(network.stem(batch))
                features = maps.mean((2, 3))
                logits = network.decide(maps)
            else:
                logits = network(batch)
                features = logits[:, :0]
            parts.append((logits.cpu().numpy(), features.cpu().numpy()))
    if not parts:
        return np.zeros((0, len(CLASSES)), np.float32), np.zeros((0, 0), np.float32)
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def predict_logits(network: nn.Module, crops: Iterable[np.ndarray]) -> np.ndarray:
    """Return logits (N, classes) of crops (S, S, 3) uint8 BGR, in single precision."""
    return predict_outputs(network, crops)[0]


class Run:
    """One training run with its checkpoint.

    Args:
        out: folder of the run.
        data: training crops.
        recipe: how to train.
        classes: number of classes.
        device: where to train.

    Raises:
        TrainingError: the network or its weights cannot be had, or ``out`` holds a checkpoint of
            another recipe.
    """

    def __init__(
        self,
        out: Path,
        data: EpochData,
        recipe: ClassifierRecipe,
        classes: int = len(CLASSES),
        device: str = "cpu",
    ) -> None:
        torch.manual_seed(0)
        self.out, self.data, self.recipe = out, data, recipe
        self.stamp = stamp(recipe)
        self.device = torch.device(device)
        self.steps = recipe.epochs * (len(data) // recipe.batch)
        if not self.steps:
            raise TrainingError(
                "an epoch must hold a batch at least: more --crops, smaller --batch"
            )
        self.average_steps = min(AVERAGE_STEPS, max(self.steps // 4, 2))
        self.step = self.epoch = 0
        self.loss = math.nan
        self.checkpoint = out / "last.pt"
        state = self._read_checkpoint()
        kind, self.taught = architecture(recipe.arch), True
        if recipe.start is not None:
            if recipe.pretrained:
                raise TrainingError("--from and --pretrained exclude each other")
            network = load_network(recipe.start, recipe.stages, recipe.head, recipe.arch, classes)
        else:
            self.taught = kind.imagenet == "package" or recipe.pretrained
            # A checkpoint holds all weights: the hub is not asked again.
            size = {"stages": recipe.stages, "head": recipe.head}
            network = build(recipe.arch, classes, self.taught and state is None, **size)
        if isinstance(network, LeucoCyteNet):
            for part in (network.stem, *network.blocks[: recipe.frozen]) if recipe.frozen else ():
                part.requires_grad_(False)
        self.network = network.train().to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=recipe.rate, weight_decay=0.02)
        self._bfloat16 = self.device.type == "cpu" and kind.bfloat16 and fast_bfloat16()
        if state is not None:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.epoch, self.loss = state["step"], state["epoch"], state["loss"]

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch == self.recipe.epochs

    @property
    def initialisation(self) -> str:
        """Describe the weights before the first step."""
        if self.recipe.start is not None:
            return "given weights"
        return "ImageNet" if self.taught else "random"

    @property
    def computed(self) -> str:
        """Describe the precision and device of the training steps."""
        return f"{'bfloat16' if self._bfloat16 else 'float32'} on {self.device.type}"

    def _read_checkpoint(self) -> dict[str, Any] | None:
        if not self.checkpoint.exists():
            return None
        try:
            state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        except Exception as error:  # of several kinds, for a file that is not torch's own
            raise TrainingError(
                f"{self.checkpoint}: cannot be read; delete {self.out} to start over"
            ) from error
        check_same(self.recipe, state.get("recipe"), self.checkpoint)
        return dict(state)

    def _groups(self) -> list[dict[str, Any]]:
        """Have new layers learn faster than those that were taught before."""
        beginnings = architecture(self.recipe.arch).fresh
        fresh: list[nn.Parameter] = []
        taught: list[nn.Parameter] = []
        for name, value in self.network.named_parameters():
            if not value.requires_grad:
                continue
            (fresh if name.startswith(beginnings) else taught).append(value)
        scale = TAUGHT_RATE if self.taught else 1.0
        return [{"params": fresh, "scale": 1.0}, {"params": taught, "scale": scale}]

    def train(self, workers: int = 2) -> nn.Module:
        """Train to the end; returns the averaged network."""
        torch.set_num_threads(cores())
        with (
            run_folder(self.out),
            progress("train", self.steps, quiet=False, done=self.step) as tick,
        ):
            for epoch in range(self.epoch, self.recipe.epochs):
                self.data.epoch = epoch
                torch.manual_seed(epoch)  # a run that goes on drops the same features as one whole
                loader: DataLoader[Any] = DataLoader(
                    cast("Dataset[Any]", self.data),
                    self.recipe.batch,
                    num_workers=workers,
                    drop_last=True,
                )
                losses, begun = [], time.monotonic()
                for batch in loader:
                    losses.append(self._learn(batch["crop"], batch["label"]))
                    tick(f"loss {np.mean(losses):.3f}")
                self.epoch, self.loss = epoch + 1, float(np.mean(losses))
                self._save()
                took = time.monotonic() - begun
                left = took * (self.recipe.epochs - self.epoch) / 60
                tick.print(
                    f"epoch {self.epoch}/{self.recipe.epochs}  loss {self.loss:.4f}  "
                    f"{len(losses) * self.recipe.batch / took:.0f} crops a second, "
                    f"{left:.0f} min left"
                )
        return self.average

    def _learn(self, crops: torch.Tensor, labels: torch.Tensor) -> float:
        cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * self.step / self.steps))
        rate = self.recipe.rate * min(1.0, self.step / WARM_UP) * cosine
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.network.train()
        crops = crops.to(self.device, memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            logits = self.network(crops)
        labels = labels.to(self.device)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=0.05)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is no number any more in step {self.step + 1}; give a lower --rate and "
                "another --out"
            )
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        self._follow(1 / min(self.step + 1, self.average_steps))
        return float(loss.detach())

    def _follow(self, part: float) -> None:
        """Move the averaged network towards the trained one, statistics of its batches too."""
        with torch.no_grad():
            for mean, value in zip(
                chain(self.average.parameters(), self.average.buffers()),
                chain(self.network.parameters(), self.network.buffers()),
                strict=True,
            ):
                if value.is_floating_point():
                    mean.lerp_(value, part)
                else:
                    mean.copy_(value)

    def _save(self) -> None:
        part = self.checkpoint.with_suffix(".part")
        state = {
            "recipe": self.stamp,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
            "loss": self.loss,
        }
        # The file to use first: a run that is finished by its checkpoint has its weights.
        tensors = {k: v.contiguous() for k, v in self.average.state_dict().items()}
        weights = self.out / WEIGHTS
        save_file(tensors, weights.with_suffix(".part"))
        weights.with_suffix(".part").replace(weights)
        torch.save(state, part)
        part.replace(self.checkpoint)


def load_network(
    path: Path,
    stages: int = 5,
    head: int = 480,
    arch: str = "leucocytenet",
    classes: int = len(CLASSES),
) -> nn.Module:
    """Return a trained network from its safetensors, those of a run or the shipped ones.

    Raises:
        TrainingError: the file cannot be read, or is of another network.
    """
    network = build(arch, classes, stages=stages, head=head)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: is no readable safetensors file") from error
    # The counters of the normalisation are no part of the shipped file.
    given = {
        k: v
        for k, v in tensors.items()
        if not k.endswith("num_batches_tracked") and not k.startswith(DISTANCE_PREFIX)
    }
    other = TrainingError(f"{path}: is of another network, or one of another size")
    try:
        missing, unknown = network.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise other from error
    if unknown or any(not name.endswith("num_batches_tracked") for name in missing):
        raise other
    return network.eval()


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the divisor of the logits that makes their probabilities most likely (Guo et al.
    2017)."""
    return most_likely(logits, labels, np.exp(np.linspace(np.log(0.3), np.log(4), 120)))


def validation_logits(
    network: nn.Module, prepared: Path, leave_out: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and labels of the cells that the temperature is fitted on."""
    cells = load_cells(prepared, ("val",), leave_out=leave_out)
    logits = predict_logits(network, [plain_crop(c) for c in cells])
    return logits, np.array([c.label for c in cells])
