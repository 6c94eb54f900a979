"""The replay set: feature maps of cells that the classifier was trained on.

No picture ships. What ships is what the frozen blocks of the classifier make of some cells of each
laboratory and class, at 7 x 7 places and in 256 levels, so that ``wbcdet learn`` can check and
keep what the classifier knows. ``scripts/replay.py`` makes it from the prepared folder; it is of
one classifier and fits no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from wbcdet.training.config import TrainingError

#: Name of the file, beside the classifier.
FILE = "replay.safetensors"
#: Part of the values of a channel that is cut off at the top: few are so large.
_CUT = 0.001
#: Values of which a quantile is taken, at most, about.
_MAX_VALUES = 1_000_000


@dataclass(frozen=True, slots=True)
class Replay:
    """Maps of known cells.

    Attributes:
        maps: (N, channels, height, width) half precision.
        labels: (N,) classes.
        laboratories: of each cell.
    """

    maps: torch.Tensor
    labels: torch.Tensor
    laboratories: tuple[str, ...]

    def split(self, part: int) -> tuple[Replay, Replay]:
        """Return the replay without every ``part``-th cell, and those cells alone."""
        held = torch.arange(len(self.labels)) % part == part - 1
        return self._of(~held), self._of(held)

    def _of(self, chosen: torch.Tensor) -> Replay:
        names = tuple(
            name for name, take in zip(self.laboratories, chosen.tolist(), strict=True) if take
        )
        return Replay(self.maps[chosen], self.labels[chosen], names)


def save_replay(replay: Replay, path: Path, training_sha256: str) -> None:
    """Write a replay set, in 256 levels a channel.

    Args:
        replay: the maps.
        path: the file.
        training_sha256: of the classifier's safetensors that it was made with.
    """
    values = replay.maps.float().transpose(0, 1).flatten(1)  # (channels, values)
    some = values[:, :: 1 + values.numel() // _MAX_VALUES]
    low, high = torch.quantile(some, torch.tensor([_CUT, 1 - _CUT]), dim=1)
    step = ((high - low) / 255).clamp_min(1e-6)
    shape = (1, -1, 1, 1)
    levels = ((replay.maps.float() - low.view(shape)) / step.view(shape)).round().clamp(0, 255)
    names = sorted(set(replay.laboratories))
    of = torch.tensor([names.index(name) for name in replay.laboratories], dtype=torch.uint8)
    tensors = {
        "maps": levels.to(torch.uint8).contiguous(),
        "low": low.contiguous(),
        "step": step.contiguous(),
        "labels": replay.labels.to(torch.uint8),
        "laboratories": of,
    }
    save_file(tensors, path, {"training_sha256": training_sha256, "laboratories": ",".join(names)})
    path.chmod(0o644)


def load_replay(path: Path, training_sha256: str) -> Replay:
    """Read a replay set.

    Args:
        path: the file.
        training_sha256: of the classifier's safetensors that it must have been made with.

    Raises:
        TrainingError: it is missing, cannot be read, or is of another classifier.
    """
    try:
        with safe_open(path, "pt") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        names = said["laboratories"].split(",")
        shape = (1, -1, 1, 1)
        maps = tensors["maps"].float() * tensors["step"].view(shape) + tensors["low"].view(shape)
        labels = tensors["labels"].long()
        laboratories = tuple(names[number] for number in tensors["laboratories"].tolist())
    except (OSError, SafetensorError, KeyError, IndexError, RuntimeError) as error:
        raise TrainingError(
            f"{path}: the replay set is missing or damaged, and without it learning would forget "
            "other laboratories; reinstall wbcdet"
        ) from error
    if said.get("training_sha256") != training_sha256:
        raise TrainingError(
            f"{path}: is the replay set of another classifier; make it with scripts/replay.py"
        )
    return Replay(maps.half(), labels, laboratories)


def numbers(replay: Replay) -> dict[str, int]:
    """Return the number of cells of each laboratory."""
    names: Sequence[str] = sorted(set(replay.laboratories))
    return {name: replay.laboratories.count(name) for name in names}


def as_arrays(replay: Replay) -> tuple[np.ndarray, list[str]]:
    """Return labels (N,) and laboratories, as :func:`wbcdet.training.distance.fit_distance` takes
    them."""
    return replay.labels.numpy(), list(replay.laboratories)
