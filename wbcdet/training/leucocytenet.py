"""LeucoCyteNet: depthwise-separable convolutions that name a white blood cell.

After Shchetinin 2022, "Classification of cytological images of white blood cells by deep
learning": separable convolutions, normalisation, augmentation. The blocks are inverted residuals
(expand 1x1, depthwise, project 1x1), whose widths and depths follow EfficientNet-Lite0 (Tan and
Le 2019, arXiv 1905.11946), so that ImageNet weights of that network can start the training.

Normalisation must survive a change of laboratory: statistics of a batch belong to the
laboratories in it. So the statistics stay those of ImageNet, fixed, through training and
inference, and only scale and shift of each channel are learnt; at export they vanish into the
convolutions.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

#: (expansion, channels, repeats, stride, kernel) of each stage.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


class ConvNorm(nn.Module):
    """Convolution, fixed normalisation, optional ReLU6; padded as ImageNet's weights expect."""

    def __init__(
        self, inside: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3)
        total = kernel - stride if stride > 1 else kernel - 1
        self.padding = (total // 2, total - total // 2) * 2
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, inside, H, W) → (B, out, H / stride, W / stride)."""
        if self.padding[1]:
            x = functional.pad(x, self.padding)
        x = self.norm(self.conv(x))
        return functional.relu6(x) if self.act else x


class SeparableBlock(nn.Module):
    """Inverted residual: expand, depthwise convolution, project; added to its input if it fits."""

    def __init__(self, inside: int, out: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        wide = inside * expansion
        layers = [ConvNorm(inside, wide, 1)] if expansion > 1 else []
        layers += [
            ConvNorm(wide, wide, kernel, stride, groups=wide),
            ConvNorm(wide, out, 1, act=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inside == out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, inside, H, W) → (B, out, H / stride, W / stride)."""
        y = self.layers(x)
        result: torch.Tensor = x + y if self.residual else y
        return result


class LeucoCyteNet(nn.Module):
    """Crops to class scores.

    Args:
        classes: number of classes.
        stages: how many of the seven stages to keep; five make LeucoCyteNet (0.8 million
            parameters), seven the larger network that teaches it.
        head: channels of the last 1x1 convolution.
        dropout: part of the features dropped in training.
    """

    def __init__(
        self, classes: int, stages: int = 5, head: int = 480, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        inside = 32
        for expansion, out, repeats, stride, kernel in STAGES[:stages]:
            for number in range(repeats):
                step = stride if number == 0 else 1
                blocks.append(SeparableBlock(inside, out, expansion, step, kernel))
                inside = out
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(inside, head, 1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(head, classes)

    def decide(self, maps: torch.Tensor) -> torch.Tensor:
        """Map the features of the blocks (B, C, H, W) → (B, classes) logits."""
        result: torch.Tensor = self.classify(self.dropout(self.head(maps).mean((2, 3))))
        return result

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 3, S, S) normalised RGB → (B, classes) logits."""
        return self.decide(self.blocks(self.stem(x)))

    def train(self, mode: bool = True) -> LeucoCyteNet:
        """Return training mode; the normalisation's statistics stay fixed in it."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


#: How the tensors of the distance are called beside the network's in ``classifier.safetensors``.
DISTANCE_PREFIX = "distance."


class FeatureDistance(nn.Module):
    """Distance of the features of a crop from those of the training cells.

    The squared Mahalanobis distance to the nearest centre, with one covariance for all, divided by
    the number of dimensions (after Lee et al. 2018, arXiv 1807.03888): 1 is what a cell of a
    trained laboratory is apart from its centre on average.

    Args:
        project: (F, D) whitening of the features.
        centres: (K, D) whitened centres, one for each class of each laboratory.
    """

    project: torch.Tensor
    centres: torch.Tensor

    def __init__(self, project: torch.Tensor, centres: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("project", project)
        self.register_buffer("centres", centres)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (B, F) features → (B,) distances."""
        white = features @ self.project
        # Written out: one matrix product, no (B, K, D) intermediate.
        apart = (
            (white * white).sum(1, keepdim=True)
            - 2 * white @ self.centres.T
            + (self.centres * self.centres).sum(1)
        )
        result: torch.Tensor = apart.amin(1).clamp_min(0) / self.centres.shape[1]
        return result


class NamedCells(nn.Module):
    """The graph that ships: crops to logits and to the distance from what was trained on."""

    def __init__(self, network: LeucoCyteNet, distance: FeatureDistance) -> None:
        super().__init__()
        self.network, self.distance = network, distance

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map (B, 3, S, S) normalised RGB → logits (B, classes) and distances (B,)."""
        maps = self.network.blocks(self.network.stem(x))
        return self.network.decide(maps), self.distance(maps.mean((2, 3)))
