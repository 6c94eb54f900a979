"""Starting from another network's weights: what fits is taken, folded statistics come back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from wbcdet.training.config import TrainingError
from wbcdet.training.start_weights import start_from, unfold_normalisation


def network(classes: int = 1) -> nn.Sequential:
    """Two normalised convolutions and a head."""
    torch.manual_seed(classes)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, eps=1e-3), nn.SiLU(),
        nn.Conv2d(6, 8, 3, bias=False), nn.BatchNorm2d(8, eps=1e-3), nn.SiLU(),
        nn.Conv2d(8, classes, 1),
    )  # fmt: skip


def pictures() -> list[torch.Tensor]:
    torch.manual_seed(5)
    return [torch.rand(4, 3, 24, 24) * 2 for _ in range(3)]


def test_unfolding_keeps_the_function_and_gives_true_statistics() -> None:
    folded = network().eval()
    for index in (1, 4):
        nn.init.normal_(folded[index].bias)
    before = [folded(x) for x in pictures()]
    seen = torch.cat([folded[0](x) for x in pictures()]).transpose(0, 1).flatten(1)
    unfold_normalisation(folded, ["1", "4"], pictures())
    for x, old in zip(pictures(), before, strict=True):
        assert torch.allclose(folded(x), old, atol=1e-4)
    assert torch.allclose(folded[1].running_mean, seen.mean(1), atol=1e-4)
    assert torch.allclose(folded[1].running_var, seen.var(1, unbiased=False), rtol=1e-2, atol=2e-4)


def test_another_head_starts_fresh_and_it_is_said(tmp_path: Path) -> None:
    given, own = network(80), network(1)
    save_file(given.state_dict(), tmp_path / "other.safetensors")
    head = own[6].weight.detach().clone()
    said = start_from(own, tmp_path / "other.safetensors", pictures())
    assert torch.equal(own[0].weight, given[0].weight) and torch.equal(own[6].weight, head)
    assert "10 of 12 tensors taken, 2 start fresh" in said
    assert "statistics of 2 folded" in said  # mean 0 and variance 1, as a fresh network has too
    assert not (own[1].running_mean == 0).all()


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(3)}, tmp_path / "strange.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    for name, why in (("strange", "another network"), ("broken", "no readable")):
        with pytest.raises(TrainingError, match=why) as caught:
            start_from(network(), tmp_path / f"{name}.safetensors", [])
        assert "\n" not in str(caught.value) and name in str(caught.value)
