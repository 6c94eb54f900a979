"""Fine-tune the detector on reviewed fields, beside synthetic ones.

Scenes are composed as in the training (:mod:`wbcdet.training.compose_scenes`): three fifths of the
laboratory's own fields, the rest of synthetic fields, which stand for all that is no field of this
laboratory, as no picture of the training data ships. The first layers, edges and blobs, and the
statistics of all normalisations stay as they are. The result is half way between the weights it
started from and those that were learnt (Wortsman et al. 2022, arXiv 2109.01903), which finds most
of what was learnt and forgets less of the rest.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from ultralytics.cfg import get_cfg

from wbcdet.datasets.scene_sources import LONGEST_SOURCE, Source, make_source
from wbcdet.datasets.synthetic import SmearField, render_field
from wbcdet.inference.cards import FieldStainCard
from wbcdet.inference.detector import Detector
from wbcdet.training.compose_scenes import SceneMaker
from wbcdet.training.detector_training import FastModel, SceneDataset
from wbcdet.training.finetune.reviewed_fields import ReviewedField
from wbcdet.training.start_weights import load_tensors

STEPS, BATCH, SIDE, RATE = 60, 8, 320, 4e-4
#: Share of what was learnt in the weights that are returned; the rest is what it started from.
LEARNT_SHARE = 0.5
#: Layers of the network that stay as they are.
FROZEN_LAYERS = 5
#: Share of the scenes that are of the laboratory's own fields.
OWN_SHARE = 0.6
#: Synthetic fields that scenes are composed of, and others that the result is judged on.
SYNTHETIC, JUDGED_SYNTHETIC = 40, 30
_WARM_UP = 10
#: Seeds of the synthetic fields that are judged: none of those that are learnt from.
_JUDGED_SEED = 100_000
#: Steps after which the state is kept.
_KEEP_EVERY = 20
_MODEL = "yolo26n.yaml"
_OWN, _OTHER = "own", "synthetic"


class TorchBackend:
    """Runs a network of torch where :class:`Detector` runs its graph: no export in between."""

    outputs = ("output0",)

    def __init__(self, network: FastModel) -> None:
        self.network = network

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """Return (1, 5, N) boxes and scores of a picture (1, 3, H, W)."""
        self.network.eval()
        with torch.no_grad():
            output = self.network(torch.from_numpy(tensor))
        output = output[0] if isinstance(output, tuple | list) else output
        return np.ascontiguousarray(output.numpy(), np.float32)

    def run_outputs(self, tensor: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """Return its one output."""
        return [self.run(tensor) for _ in names]


def load_detector(weights: Path) -> FastModel:
    """Return the network of a ``detector.safetensors``.

    Raises:
        TrainingError: the file cannot be read, or is of another network.
    """
    network = FastModel(_MODEL, nc=1, ch=3, verbose=False)
    load_tensors(network, weights)
    network.args = get_cfg()
    network.names = {0: "wbc"}
    network.eval()
    return network


def detector_with(network: FastModel, folder: Path | None) -> Detector:
    """Return the detector of a folder (None: the shipped one) with another network in it."""
    from wbcdet.inference.weights import weights_folder

    detector = Detector("cpu", weights=folder or weights_folder())
    detector._backend = TorchBackend(network)
    return detector


def judged_synthetic() -> list[SmearField]:
    """Return synthetic fields that no detector learns from, of other sizes and stains."""
    return [_synthetic(_JUDGED_SEED + number) for number in range(JUDGED_SYNTHETIC)]


def tune_detector(
    start: Path,
    fields: Sequence[ReviewedField],
    keep: Path,
    tick: Callable[[], object] = lambda: None,
    stain: FieldStainCard | None = None,
) -> FastModel:
    """Return the network of ``start``, fine-tuned on fields; goes on where it was stopped.

    Args:
        start: safetensors of the detector to start from.
        fields: the fields to learn from.
        keep: file for the state, to go on from.
        tick: called after every step, also for those done before.
        stain: colours that the detector brings a field to, as its card says; None for none.
    """
    torch.manual_seed(0)
    network = load_detector(start)
    for module in list(network.model)[:FROZEN_LAYERS]:
        module.requires_grad_(False)
    learning = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.01)
    data = SceneDataset(_scenes(fields, stain), STEPS * BATCH, False, (SIDE,), BATCH)
    begun = _begun(keep, network, optimizer)
    for _ in range(begun):
        tick()
    for step in range(begun, STEPS):
        _train_mode(network)
        cosine = 0.02 + 0.49 * (1 + math.cos(math.pi * step / STEPS))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / _WARM_UP) * cosine
        batch = data.collate_fn([data[step * BATCH + place] for place in range(BATCH)])
        batch["img"] = batch["img"].float() / 255
        loss, _ = network.loss(batch)
        optimizer.zero_grad()
        loss.sum().backward()
        nn.utils.clip_grad_norm_(learning, 10.0)
        optimizer.step()
        tick()
        if (step + 1) % _KEEP_EVERY == 0 or step + 1 == STEPS:
            _keep(keep, network, optimizer, step + 1)
    _bring_back(network, load_detector(start))
    network.eval()
    return network


def _bring_back(network: nn.Module, start: nn.Module) -> None:
    """Move all weights towards those that learning started from, in place."""
    with torch.no_grad():
        for value, before in zip(network.parameters(), start.parameters(), strict=True):
            value.copy_(torch.lerp(before, value, LEARNT_SHARE))


def _begun(keep: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Bring network and optimizer to the state that was kept; return the steps done by then.

    Of a damaged state nothing is taken: both stay as they were.
    """
    if not keep.exists():
        return 0
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    try:
        state = torch.load(keep, weights_only=True)
        step = int(state["step"])
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        for value, moments in optimizer.state.items():
            if not all(moments[name].shape == value.shape for name in ("exp_avg", "exp_avg_sq")):
                raise ValueError(f"{keep}: moments of another network")
    except Exception:  # of several kinds
        network.load_state_dict(before[0])
        optimizer.load_state_dict(before[1])
        return 0
    return step


def _keep(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    part = path.with_suffix(".part")
    state: dict[str, Any] = {
        "network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step,
    }  # fmt: skip
    torch.save(state, part)
    part.replace(path)


def _train_mode(network: FastModel) -> None:
    """Training mode, in which the statistics of the normalisations stay as they are."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _scenes(fields: Sequence[ReviewedField], stain: FieldStainCard | None) -> SceneMaker:
    own = [_source(field.pixels, field.cells) for field in fields]
    other = []
    for seed in range(SYNTHETIC):
        drawn = _synthetic(seed)
        boxes = np.array([cell.box for cell in drawn.cells], np.float32).reshape(-1, 4)
        other.append(_source(drawn.pixels, boxes))
    maker = SceneMaker({_OWN: own, _OTHER: other}, {}, SIDE, stain)
    share = {_OWN: OWN_SHARE, _OTHER: 1 - OWN_SHARE}
    maker.weights = np.array([share[name] for name in maker.laboratories])
    return maker


def _source(pixels: np.ndarray, cells: np.ndarray) -> Source:
    factor = min(1.0, LONGEST_SOURCE / max(pixels.shape[:2]))
    if factor < 1:
        pixels = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return make_source(pixels, cells * factor, np.zeros((0, 4), np.float32))


def _synthetic(seed: int) -> SmearField:
    rng = np.random.default_rng(seed)
    return render_field(seed, 480, 360, cell_px=float(np.exp(rng.uniform(np.log(35), np.log(110)))))
