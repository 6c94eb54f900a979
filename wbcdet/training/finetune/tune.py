"""Fine-tune the head of the classifier, held close to its old weights (L2-SP).

A few dozen cells of one laboratory say how its cells look, not how cells look in general. So the
blocks stay as they are, and the head, a 1x1 convolution and the dense layer, is pulled back to
its old weights by a penalty (L2-SP: Li, Grandvalet and Davoine 2018), so that a type which the
laboratory has not shown is not forgotten. What the blocks make of a crop and its variations is
computed once; that is why minutes on two cores are enough, cross-validation included.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from wbcdet.datasets.cells import CLASSES, MEAN, STD, LabelledCell
from wbcdet.inference.preprocess import normalise
from wbcdet.training.augment_cells import plain_crop, varied_crop
from wbcdet.training.leucocytenet import LeucoCyteNet

#: Variations of a cell, the first of them the crop as it is.
VIEWS = 8
STEPS, BATCH, RATE = 120, 32, 2e-3
#: Weight of the pull back to the old weights.
PULL = 1.0
_SMOOTHING = 0.05
#: Cells that go through the blocks at once.
_AT_ONCE = 8
_WARM_UP = 10


class Features:
    """Features of every cell and its variations: the output of the network's blocks.

    Args:
        network: the classifier to start from.
        cells: the cells.
        tick: called after every cell.

    Attributes:
        labels: (N,) classes.
        views: (N, VIEWS, channels, height, width); the first view is the crop as it is.
    """

    def __init__(
        self, network: LeucoCyteNet, cells: Sequence[LabelledCell], tick: Callable[[], None]
    ) -> None:
        rng = np.random.default_rng(0)
        self.labels = torch.tensor([cell.label for cell in cells], dtype=torch.long)
        made = []
        with torch.no_grad():
            for start in range(0, len(cells), _AT_ONCE):
                crops = []
                for cell in cells[start : start + _AT_ONCE]:
                    crops += [plain_crop(cell)]
                    crops += [varied_crop(cell, rng) for _ in range(VIEWS - 1)]
                    tick()
                batch = torch.from_numpy(normalise(crops, MEAN, STD))
                seen = network.blocks(network.stem(batch))
                made.append(seen.unflatten(0, (-1, VIEWS)))
        self.views = torch.cat(made)

    def averaged(self) -> np.ndarray:
        """Return (N, channels) of the plain crops, averaged over each."""
        return np.asarray(self.views[:, 0].mean((2, 3)).numpy())

    def logits(self, network: LeucoCyteNet, which: np.ndarray) -> np.ndarray:
        """Return logits (n, classes) of the plain crops of some cells, by a tuned network."""
        network.eval()
        with torch.no_grad():
            return np.asarray(_head(network, self.views[torch.from_numpy(which), 0]).numpy())


def tune(network: LeucoCyteNet, features: Features, which: np.ndarray) -> LeucoCyteNet:
    """Return a copy of a network, fine-tuned on some of the cells.

    Args:
        network: the classifier to start from.
        features: of all cells.
        which: indices of those to learn from.
    """
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tuned = copy.deepcopy(network)
    learning = [*tuned.head.parameters(), *tuned.classify.parameters()]
    start = [value.detach().clone() for value in learning]
    optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.0)
    odds = _odds(features.labels.numpy()[which])
    tuned.train()
    for step in range(STEPS):
        cosine = 0.5 * (1 + math.cos(math.pi * step / STEPS))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / _WARM_UP) * cosine
        drawn = torch.from_numpy(rng.choice(which, BATCH, p=odds))
        view = torch.from_numpy(rng.integers(0, VIEWS, BATCH))
        logits = _head(tuned, features.views[drawn, view])
        loss = functional.cross_entropy(logits, features.labels[drawn], label_smoothing=_SMOOTHING)
        away = torch.stack(
            [((now - old) ** 2).sum() for now, old in zip(learning, start, strict=True)]
        ).sum()
        optimizer.zero_grad()
        (loss + PULL * away).backward()
        optimizer.step()
    return tuned.eval()


def _head(network: LeucoCyteNet, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = network.classify(network.dropout(network.head(x).mean((2, 3))))
    return result


def _odds(labels: np.ndarray) -> np.ndarray:
    """Return the sampling weight of each cell: half way between all cells alike and all types
    alike."""
    count = np.bincount(labels, minlength=len(CLASSES))
    weights = 1 / np.sqrt(count[labels])
    return np.asarray(weights / weights.sum())
