"""LeucoCyteNetv1, as far as its publication describes it.

E. Yu. Shchetinin, "Classification of cytological images of white blood cells using deep learning",
Vestnik komp'iuternykh i informatsionnykh tekhnologii 2022, 12, 46-52,
doi 10.14489/vkit.2022.12.pp.046-052. Its abstract says: a custom network of separable
convolutional blocks (``SeparableConv2D`` of Keras: depthwise, then pointwise, nothing in between),
optimised by normalisation and data augmentation, four classes. The full text is not public. What
the abstract leaves open is chosen here as the plainest network of that kind:

- blocks: five, each of two separable 3x3 convolutions and a 2x2 maximum pooling, as in VGG16, with
  which the paper compares it;
- widths: 32, 64, 128, 256, 512, doubled where the side is halved, as there;
- normalisation: of the batch, after each pointwise convolution, with statistics of its own
  training; then ReLU (the abstract's "normalisation" may mean the pixels' alone; both are here);
- the first convolution is separable too;
- head: global average pooling, dropout of 0.3 (that of our LeucoCyteNet), one dense layer;
  softmax is left to the loss and to those who read the scores;
- weights: He's at the start (none were published);
- input, classes, augmentation, optimiser and budget: those of every network compared here.
"""

from __future__ import annotations

import torch
from torch import nn

#: Channels of each block.
WIDTHS = (32, 64, 128, 256, 512)


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and pointwise 1x1 convolution, batch normalisation, ReLU."""

    def __init__(self, inside: int, out: int) -> None:
        super().__init__(
            nn.Conv2d(inside, inside, 3, padding=1, groups=inside, bias=False),
            nn.Conv2d(inside, out, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )


class LeucoCyteNetV1(nn.Module):
    """Crops to class scores, with plain separable convolutions.

    Args:
        classes: number of classes.
        dropout: part of the features dropped in training.
    """

    def __init__(self, classes: int, dropout: float = 0.3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 3
        for width in WIDTHS:
            layers += [SeparableConv(inside, width), SeparableConv(width, width), nn.MaxPool2d(2)]
            inside = width
        self.blocks = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(inside, classes)
        for module in self.blocks.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, 3, S, S) normalised RGB, S at least 32 → (B, classes) logits."""
        result: torch.Tensor = self.classify(self.dropout(self.blocks(x).mean((2, 3))))
        return result
