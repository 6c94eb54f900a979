"""Start a training from another detector's weights: those that fit are taken, the rest is fresh."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from wbcdet.training.config import TrainingError

#: What ``--from`` takes for ultralytics' own weights.
COCO = "coco"


def coco_weights(model: str) -> Path:
    """Return ultralytics' checkpoint of a network trained on COCO, downloaded where it is not at
    hand.

    Args:
        model: the network's YAML, such as ``yolo26n.yaml``.

    Raises:
        TrainingError: it cannot be had; the message says what to do instead.
    """
    from ultralytics.utils.downloads import attempt_download_asset

    name = Path(model).stem + ".pt"
    try:
        path = Path(attempt_download_asset(name))
    except Exception as error:  # whatever ultralytics, its HTTP library or a proxy raises
        raise _no_coco(name) from error
    if not path.is_file():
        raise _no_coco(name)
    return path


def _no_coco(name: str) -> TrainingError:
    return TrainingError(
        f"--from coco: {name} cannot be downloaded from ultralytics; bring the file into this "
        "folder, or give --from FILE with a .pt or .safetensors of the network"
    )


def load_tensors(model: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """Fill a detector with the tensors of a file that have its names and shapes, in place.

    Returns:
        the tensors that were taken.

    Raises:
        TrainingError: the file cannot be read, or nothing in it fits.
    """
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: is no readable safetensors file") from error
    own = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
    fitting = {k: v.float() for k, v in given.items() if k in own and v.shape == own[k].shape}
    if len(fitting) < len(own) / 2:
        raise TrainingError(
            f"{path}: is of another network ({len(fitting)} of {len(own)} tensors fit)"
        )
    model.load_state_dict(fitting, strict=False)
    return fitting


def start_from(model: nn.Module, path: Path, pictures: Iterable[torch.Tensor]) -> str:
    """Fill a detector from safetensors, in place.

    Tensors are taken as by :func:`load_tensors`. Normalisations that the file holds folded into
    their convolutions (mean 0, variance 1) get the statistics of ``pictures``, and weights that
    leave the network's function as it is: training needs true statistics.

    Args:
        pictures: batches (B, 3, H, W) in 0..1 of what will be trained on.

    Returns:
        What was taken and what starts fresh, in a sentence.

    Raises:
        TrainingError: the file cannot be read, or nothing in it fits.
    """
    fitting = load_tensors(model, path)
    own = [v for v in model.state_dict().values() if v.is_floating_point()]
    folded = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        and f"{name}.running_mean" in fitting
        and not fitting[f"{name}.running_mean"].any()
        and bool((fitting[f"{name}.running_var"] == 1).all())
    ]
    if folded:
        unfold_normalisation(model, folded, pictures)
    fresh = len(own) - len(fitting)
    return f"{path.name}: {len(fitting)} of {len(own)} tensors taken, {fresh} start fresh" + (
        f"; statistics of {len(folded)} folded normalisations taken again" if folded else ""
    )


@torch.inference_mode()
def unfold_normalisation(
    model: nn.Module, names: list[str], pictures: Iterable[torch.Tensor]
) -> None:
    """Give folded normalisations the statistics of their input and the same function, in place.

    Args:
        names: of ``BatchNorm2d`` modules with mean 0 and variance 1.
        pictures: batches (B, 3, H, W).
    """
    modules = {name: model.get_submodule(name) for name in names}
    sums = {name: [torch.zeros(()), torch.zeros(())] for name in names}
    numbers = dict.fromkeys(names, 0)

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].double()
            sums[name][0] = sums[name][0] + x.sum((0, 2, 3))
            sums[name][1] = sums[name][1] + (x * x).sum((0, 2, 3))
            numbers[name] += x.numel() // x.shape[1]

        return hook

    handles = [m.register_forward_pre_hook(watch(n)) for n, m in modules.items()]
    training = model.training
    model.eval()
    for batch in pictures:
        model(batch)
    for handle in handles:
        handle.remove()
    model.train(training)
    for name, module in modules.items():
        assert isinstance(module, nn.BatchNorm2d)
        assert module.running_mean is not None and module.running_var is not None
        (first, second), number = sums[name], numbers[name]
        mean = first / number
        # A channel that is dead on these scenes must not divide by nothing later.
        variance = (second / number - mean * mean).clamp_min(1e-4)
        scale = module.weight.double() / (1 + module.eps) ** 0.5
        module.bias.add_((scale * mean).to(module.bias.dtype))
        module.weight.copy_(scale * (variance + module.eps).sqrt())
        module.running_mean.copy_(mean)
        module.running_var.copy_(variance)
