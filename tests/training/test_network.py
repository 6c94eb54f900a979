"""LeucoCyteNet: its form, its size, and normalisation that knows of no batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wbcdet.training.leucocytenet import LeucoCyteNet


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("stages", [5, 6, 7])
@pytest.mark.parametrize("batch", [1, 3])
def test_shape(stages: int, batch: int) -> None:
    network = LeucoCyteNet(6, stages).eval()
    assert network(torch.randn(batch, 3, 96, 96)).shape == (batch, 6)


def test_any_side_is_taken() -> None:
    network = LeucoCyteNet(4).eval()
    assert network(torch.randn(1, 3, 67, 67)).shape == (1, 4)


def test_five_stages_are_small_and_separable() -> None:
    network = LeucoCyteNet(6)
    assert 0.7e6 < sum(p.numel() for p in network.parameters()) < 1.0e6
    spatial = [m for m in network.blocks.modules() if isinstance(m, nn.Conv2d)]
    spatial = [m for m in spatial if m.kernel_size != (1, 1)]
    assert spatial and all(m.groups == m.in_channels for m in spatial)


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def test_a_step_teaches_scale_and_shift_but_no_statistics() -> None:
    network = LeucoCyteNet(6).train()
    before = [(m.running_mean.clone(), m.running_var.clone()) for m in norms(network)]
    weights = [m.weight.detach().clone() for m in norms(network)]
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    nn.functional.cross_entropy(
        network(5 + torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 2, 3])
    ).backward()
    optimizer.step()
    for (mean, var), m in zip(before, norms(network), strict=True):
        assert torch.equal(mean, m.running_mean) and torch.equal(var, m.running_var)
        assert m.num_batches_tracked == 0
    moved = [not torch.equal(w, m.weight) for w, m in zip(weights, norms(network), strict=True)]
    assert any(moved)


def test_training_mode_leaves_normalisation_fixed() -> None:
    network = LeucoCyteNet(6)
    assert network.train() is network
    assert network.training and network.dropout.training
    assert not any(m.training for m in norms(network))
    assert not network.eval().dropout.training


def test_cells_of_a_batch_do_not_see_each_other_even_in_training() -> None:
    network = LeucoCyteNet(6, dropout=0.0).train()
    crops = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        together = network(crops)
        alone = torch.cat([network(crop[None]) for crop in crops])
    assert torch.allclose(together, alone, atol=1e-5)
