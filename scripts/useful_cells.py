"""Compare ways to choose the cells that are reviewed, over several draws of each laboratory.

Needs what `learn_show.py` needs and shares what it keeps. Only the last layer of the classifier
learns here, beside the replay set, so that hundreds of choices cost minutes: the figures compare
ways to choose, they are not those of `wbcdet learn`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from learn_show import NAMES, Laboratory

#: Cells that are chosen, and numbers drawn by chance beside them.
CHOSEN, BY_CHANCE = 50, (50, 100)
#: Draws of the part that is learnt from, and choices by chance in each.
DRAWS, SEEDS = 5, 2
#: Variations of a cell that are learnt from; weight of the distance from the shipped weights.
VIEWS, PULL = 2, 0.1


def main(
    classifiers: Annotated[
        Path, typer.Option(help="Folder of `left_out.py classifier`, a run each.")
    ] = Path("runs/left-out-classifier"),
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    kept: Annotated[Path, typer.Option(help="Folder of what `learn_show.py` keeps.")] = Path(
        "runs/learn-maps"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Laboratory; may be repeated.")] = None,
) -> None:
    """Print the share of right names after each choice, means over the draws."""
    ways = [*(f"{number} by chance" for number in BY_CHANCE), f"{CHOSEN} most useful"]
    print(f"| laboratory | before | {' | '.join(ways)} |")
    print("|---" * (len(ways) + 2) + "|")
    for name in only or [one for one, run in NAMES.items() if run]:
        lab = Laboratory(name, classifiers, prepared, kept)
        rows = [row for draw in range(DRAWS) for row in compare(lab, draw)]
        mean = 100 * np.mean(rows, 0)
        print(f"| {name} | {' | '.join(f'{one:.1f}' for one in mean)} |", flush=True)


def compare(lab: Laboratory, draw: int) -> list[list[float]]:
    """Return rows of shares: before, after each number by chance, after the most useful."""
    from wbcdet.training.finetune.most_useful import choose
    from wbcdet.utils.calibration import softmax

    pool, rest = lab.halves(draw)
    own, logits = head_outputs(lab, lab.own["maps"][:, :VIEWS].flatten(0, 1))
    own, logits = own.unflatten(0, (-1, VIEWS)), logits.unflatten(0, (-1, VIEWS))
    known = head_outputs(lab, lab.replay["maps"][:, 0])

    def right(chosen: np.ndarray | None) -> float:
        from wbcdet.training.finetune.judge import is_right

        said = logits[rest, 0]
        if chosen is not None:
            weight, offset = learn_head(lab, (own[chosen], logits[chosen]), chosen, known)
            said = said + own[rest, 0] @ weight + offset
        hits = is_right(said.numpy(), lab.labels[rest], lab.temperature, lab.least)
        return float(hits.mean())

    first = logits[pool, 0].numpy()
    useful = pool[choose(softmax(first / lab.temperature), own[pool, 0].numpy(), CHOSEN)]
    shown = [right(None), right(useful)]
    rows = []
    for seed in range(SEEDS):
        order = np.random.default_rng((draw, seed)).permutation(pool)
        rows.append([shown[0], *(right(order[:number]) for number in BY_CHANCE), shown[1]])
    return rows


def head_outputs(lab: Laboratory, maps: Any) -> tuple[Any, Any]:
    """Return averaged features of the head (N, F) and logits (N, classes) of maps."""
    import torch

    from wbcdet.training.finetune.tune import outputs

    features: list[Any] = []
    handle = lab.network.head.register_forward_hook(  # type: ignore[operator]
        lambda _, __, out: features.append(out.mean((2, 3)))
    )
    logits = torch.from_numpy(outputs(lab.network, maps)[0])  # type: ignore[arg-type]
    handle.remove()
    return torch.cat(features), logits


def learn_head(
    lab: Laboratory, own: tuple[Any, Any], chosen: np.ndarray, known: tuple[Any, Any]
) -> tuple[Any, Any]:
    """Return what is added to weights (F, classes) and offsets (classes,) of the last layer."""
    import torch
    from torch.nn import functional

    labels = torch.from_numpy(lab.labels[chosen]).repeat_interleave(VIEWS)
    features, logits = (one.flatten(0, 1) for one in own)
    replayed = lab.replay["labels"]
    taught = functional.softmax(known[1], 1)
    scale = known[0].std(0) + 1e-3
    change = torch.zeros(features.shape[1], logits.shape[1], requires_grad=True)
    offset = torch.zeros(logits.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([change, offset], max_iter=25, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        weight = change / scale[:, None] / len(scale) ** 0.5
        here = logits + features @ weight + offset
        there = known[1] + known[0] @ weight + offset
        total = functional.cross_entropy(here, labels, label_smoothing=0.05)
        total = total + functional.cross_entropy(there, replayed, label_smoothing=0.05)
        total = total + 2 * functional.kl_div(
            functional.log_softmax(there, 1), taught, reduction="batchmean"
        )
        total = total + PULL * (change.square().mean() + offset.square().sum() / len(scale))
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)
    weight = (change / scale[:, None] / len(scale) ** 0.5).detach()
    return weight, offset.detach()


if __name__ == "__main__":
    typer.run(main)
