"""Fine-tune the last stage and the head of the classifier, beside a replay of what it knows.

A few dozen cells of one laboratory say how its cells look, not how cells look in general. So the
first four stages stay as they are; what they make of a crop and its variations is computed once
(the feature maps), which is why minutes on two cores are enough, cross-validation included. The
last stage and the head learn from these maps and, in every step, from maps of the cells that the
classifier was trained on (:mod:`wbcdet.training.finetune.replay`), of which it must say what it
said before (distillation: Li and Hoiem 2016). Where known cells lose all the same, the weights are
taken part of the way back (Wortsman et al. 2022, arXiv 2109.01903).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from wbcdet.datasets.cells import CLASSES, MEAN, STD, LabelledCell
from wbcdet.inference.preprocess import normalise
from wbcdet.training.augment_cells import plain_crop, varied_crop
from wbcdet.training.finetune.replay import Replay
from wbcdet.training.leucocytenet import LeucoCyteNet

#: Blocks of the network that stay as they are: the first four stages.
FROZEN_BLOCKS = 8
#: Variations of a cell, the first of them the crop as it is.
VIEWS = 8
STEPS, RATE = 80, 2e-3
#: Shares of what was learnt that are tried, the largest first (:func:`averaged`).
SHARES = (1.0, 0.75, 0.5, 0.25)
#: Maps in a step: of the laboratory's cells, and of the replay.
BATCH, REPLAYED = 32, 24
#: Weight of what was said of the replayed cells before, beside their true class.
DISTILLATION = 2.0
_SMOOTHING = 0.05
#: Cells that go through the frozen blocks at once, and maps through the rest.
_AT_ONCE, _MAPS_AT_ONCE = 8, 256
_WARM_UP = 15
#: What a new class is less likely than the one whose weights it starts from, in logits.
_NEW_CLASS_OFFSET = -1.0


class FeatureMaps:
    """What the frozen blocks make of every cell and its variations.

    Args:
        network: the classifier to start from.
        cells: the cells.
        tick: called after every cell.
        views: variations of a cell, the first of them the crop as it is; ``VIEWS`` by default.

    Attributes:
        labels: (N,) classes.
        maps: (N, views, channels, height, width) half precision.
    """

    def __init__(
        self,
        network: LeucoCyteNet,
        cells: Sequence[LabelledCell],
        tick: Callable[[], object] = lambda: None,
        views: int | None = None,
    ) -> None:
        views = views or VIEWS
        rng = np.random.default_rng(0)
        self.labels = torch.tensor([cell.label for cell in cells], dtype=torch.long)
        made = []
        for start in range(0, len(cells), _AT_ONCE):
            crops = []
            for cell in cells[start : start + _AT_ONCE]:
                crops += [plain_crop(cell)]
                crops += [varied_crop(cell, rng) for _ in range(views - 1)]
                tick()
            made.append(frozen_part(network, crops).unflatten(0, (-1, views)))
        self.maps = torch.cat(made)

    def plain(self, which: np.ndarray) -> torch.Tensor:
        """Return (n, channels, height, width) of the crops of some cells as they are."""
        return self.maps[torch.from_numpy(which), 0]


def frozen_part(network: LeucoCyteNet, crops: Sequence[np.ndarray]) -> torch.Tensor:
    """Map crops (S, S, 3) uint8 BGR → (N, C, H, W) half precision, behind the frozen blocks."""
    with torch.no_grad():
        x = network.stem(torch.from_numpy(normalise(crops, MEAN, STD)))
        for block in _blocks(network)[:FROZEN_BLOCKS]:
            x = block(x)
        half: torch.Tensor = x.half()
        return half


def outputs(network: LeucoCyteNet, maps: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (N, classes) and averaged features (N, F) of maps, by a tuned network."""
    network.eval()
    logits, features = [], []
    with torch.no_grad():
        for part in maps.split(_MAPS_AT_ONCE):
            behind = _learning_part(network, part)
            logits.append(network.decide(behind))
            features.append(behind.mean((2, 3)))
    return np.asarray(torch.cat(logits).numpy()), np.asarray(torch.cat(features).numpy())


def tune(
    network: LeucoCyteNet,
    maps: FeatureMaps,
    which: np.ndarray,
    replay: Replay,
    tick: Callable[[], object] = lambda: None,
    taught: np.ndarray | None = None,
) -> LeucoCyteNet:
    """Return a copy of a network, fine-tuned on some of the cells.

    Labels from ``len(CLASSES)`` on are classes of the laboratory's own; the network gets an output
    for each.

    Args:
        network: the classifier to start from.
        maps: of all cells.
        which: indices of those to learn from.
        replay: of the cells that it was trained on.
        tick: called after every step.
        taught: what the network says of the replay (logits), where that is known already.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    said = torch.from_numpy(outputs(network, replay.maps)[0] if taught is None else taught)
    labels = maps.labels
    tuned = copy.deepcopy(network).to(memory_format=torch.channels_last)
    _add_classes(tuned, maps, which)
    tuned.requires_grad_(False)
    for part in (*_blocks(tuned)[FROZEN_BLOCKS:], tuned.head, tuned.classify):
        part.requires_grad_(True)
    learning = [value for value in tuned.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.0)
    odds = _odds(labels.numpy()[which])
    tuned.train()
    for step in range(STEPS):
        cosine = 0.5 * (1 + math.cos(math.pi * step / STEPS))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / _WARM_UP) * cosine
        drawn = torch.from_numpy(rng.choice(which, BATCH, p=odds))
        view = torch.from_numpy(rng.integers(0, maps.maps.shape[1], BATCH))
        again = torch.from_numpy(rng.integers(0, len(replay.labels), REPLAYED))
        inputs = torch.cat([maps.maps[drawn, view], replay.maps[again]])
        logits = tuned.decide(_learning_part(tuned, inputs))
        own, known = logits[:BATCH], logits[BATCH:]
        loss = functional.cross_entropy(own, labels[drawn], label_smoothing=_SMOOTHING)
        loss = loss + functional.cross_entropy(
            known, replay.labels[again], label_smoothing=_SMOOTHING
        )
        # Of the classes that the classifier had: it had nothing to say of the others.
        loss = loss + DISTILLATION * functional.kl_div(
            functional.log_softmax(known[:, : said.shape[1]], 1),
            functional.softmax(said[again], 1),
            reduction="batchmean",
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        tick()
    return tuned.eval()


def averaged(network: LeucoCyteNet, tuned: LeucoCyteNet, share: float) -> LeucoCyteNet:
    """Return a network whose weights are between those before (0) and after learning (1).

    A class of the laboratory's own has no weights before: it keeps what was learnt.
    """
    mixed = copy.deepcopy(tuned)
    before = dict(network.named_parameters())
    with torch.no_grad():
        for name, value in mixed.named_parameters():
            known = value[: len(before[name])]
            known.copy_(torch.lerp(before[name], known, share))
    return mixed.eval()


def _add_classes(network: LeucoCyteNet, maps: FeatureMaps, which: np.ndarray) -> None:
    """Give the network an output for every class of the laboratory's own, in place.

    Each starts as the class that the network takes most of its cells for.
    """
    labels = maps.labels.numpy()
    number = max(int(labels.max(initial=0)) + 1, len(CLASSES)) - len(CLASSES)
    if not number:
        return
    old = network.classify
    new = widened(network, len(CLASSES) + number).classify
    with torch.no_grad():
        for label in range(len(CLASSES), len(CLASSES) + number):
            own = which[labels[which] == label]
            nearest = 0
            if len(own):
                logits, _ = outputs(network, maps.plain(own))
                nearest = int(np.bincount(logits.argmax(1)).argmax())
            new.weight[label] = old.weight[nearest]
            new.bias[label] = old.bias[nearest] + _NEW_CLASS_OFFSET
    network.classify = new


def widened(network: LeucoCyteNet, classes: int) -> LeucoCyteNet:
    """Return a copy of a network with so many outputs; the new ones say nothing yet."""
    wide = copy.deepcopy(network)
    old = wide.classify
    if classes != old.out_features:
        wide.classify = nn.Linear(old.in_features, classes)
        with torch.no_grad():
            wide.classify.weight.zero_()
            wide.classify.bias.zero_()
            wide.classify.weight[: old.out_features] = old.weight
            wide.classify.bias[: old.out_features] = old.bias
    return wide


def _blocks(network: LeucoCyteNet) -> list[nn.Module]:
    return list(network.blocks.children())


def _learning_part(network: LeucoCyteNet, maps: torch.Tensor) -> torch.Tensor:
    x = maps.float().contiguous(memory_format=torch.channels_last)  # a third faster
    for block in _blocks(network)[FROZEN_BLOCKS:]:
        x = block(x)
    return x


def _odds(labels: np.ndarray) -> np.ndarray:
    """Return the sampling weight of each cell: half way between all cells alike and all types
    alike."""
    count = np.bincount(labels)
    weights = 1 / np.sqrt(count[labels])
    return np.asarray(weights / weights.sum())
