"""Fit the distance of a crop from everything that was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from wbcdet.datasets.cells import load_cells
from wbcdet.training.augment_cells import plain_crop
from wbcdet.training.classifier_training import predict_outputs
from wbcdet.training.leucocytenet import DISTANCE_PREFIX, FeatureDistance

#: Share of the mean variance that is added to every direction, against those with next to none.
_SHRINKAGE = 0.05
#: Cells that a laboratory must show of a class for a centre in its name.
_MIN_CELLS = 5
#: Cells of a laboratory and class that it is fitted to at most.
_MAX_CELLS = 200


def fit_distance(
    features: np.ndarray, labels: np.ndarray, laboratories: Sequence[str]
) -> FeatureDistance:
    """Fit :class:`wbcdet.training.leucocytenet.FeatureDistance`.

    Args:
        features: (N, F) of the network's blocks, averaged over each crop.
        labels: (N,) classes.
        laboratories: of each cell.
    """
    of = np.array([f"{label} {lab}" for label, lab in zip(labels, laboratories, strict=True)])
    centres, rest = [], []
    for name in np.unique(of):
        own = features[of == name].astype(np.float64)
        if len(own) >= _MIN_CELLS:
            centres.append(own.mean(0))
            # A large laboratory must not outvote the others in the shape of the cloud.
            rest.append((own - own.mean(0)) * min(1.0, (200 / len(own)) ** 0.5))
    apart = np.concatenate(rest)
    covariance = apart.T @ apart / sum(min(len(r), 200) for r in rest)
    values, vectors = np.linalg.eigh(covariance)
    values = values + _SHRINKAGE * values.mean()
    project = vectors / np.sqrt(values)
    white = np.stack(centres) @ project
    return FeatureDistance(
        torch.from_numpy(project.astype(np.float32)), torch.from_numpy(white.astype(np.float32))
    )


def training_distance(
    network: nn.Module, prepared: Path, leave_out: tuple[str, ...] = ()
) -> FeatureDistance:
    """Return the distance from the training cells of the prepared folder.

    Args:
        network: the trained LeucoCyteNet.
        prepared: folder of ``wbcdet data prepare``.
        leave_out: laboratories that it was not trained on.
    """
    cells = load_cells(prepared, ("train",), leave_out=leave_out, artefacts=1, most=_MAX_CELLS)
    _, features = predict_outputs(network, (plain_crop(c) for c in cells))
    labels = np.array([c.label for c in cells])
    return fit_distance(features, labels, [c.laboratory for c in cells])


def add_centres(
    distance: FeatureDistance, features: np.ndarray, labels: np.ndarray
) -> FeatureDistance:
    """Return the same distance with centres for the cells of one more laboratory.

    Args:
        features: (N, F), as for :func:`fit_distance`.
        labels: (N,) classes.
    """
    white = torch.from_numpy(features.astype(np.float32)) @ distance.project
    new = [
        white[torch.from_numpy(labels == label)].mean(0)
        for label in np.unique(labels)
        if (labels == label).sum() >= _MIN_CELLS
    ]
    return FeatureDistance(distance.project, torch.cat([distance.centres, *(c[None] for c in new)]))


def load_distance(path: Path) -> FeatureDistance | None:
    """Return the distance in a ``classifier.safetensors``; None where it has none."""
    tensors = load_file(path)
    names = [DISTANCE_PREFIX + "project", DISTANCE_PREFIX + "centres"]
    if not all(name in tensors for name in names):
        return None
    return FeatureDistance(*(tensors[name].float() for name in names))
