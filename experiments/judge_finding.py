"""Compare ways to choose the threshold of a detector that `wbcdet learn` has tuned, on simulated
laboratories.

Fields are drawn with cells and other things that a detector scores before and after learning; the
true gain is known. The threshold afterwards is chosen on the same fields: near the one before, as
`learn` does, or wherever most is found at no more false boxes. Each way says how often the tuned
one is taken, how often of these it makes more errors in truth, and how many more (or fewer).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np
import typer

from wbcdet.training.finetune.judge import ALPHA, sign_test
from wbcdet.training.finetune.judge_detector import (
    FieldDetections,
    Finding,
    compare,
    judge_detector,
)

#: Threshold before; spread of the scores, and how much of it is the same after learning, in logits.
BEFORE, SPREAD, SAME = 0.25, 1.5, 0.8
#: Things in a field that may be taken for a cell, to one that is.
THINGS = 4
#: Thresholds that are tried where the choice is free.
TRIED = np.round(np.arange(0.15, 0.61, 0.05), 2).tolist()


@dataclass(frozen=True)
class Laboratory:
    """What is true of a laboratory.

    Attributes:
        fields: reviewed ones.
        cells: in a field, in the mean.
        found: share of them found before.
        false: false boxes a field before.
        gain, gain_false: what learning adds to the scores of cells, and of other things, in logits.
    """

    name: str
    fields: int
    cells: float
    found: float
    false: float
    gain: float
    gain_false: float

    def draw(self, rng: np.random.Generator) -> list[tuple[FieldDetections, FieldDetections]]:
        """Return what is seen in its fields before and after."""
        pairs = []
        for number in range(self.fields):
            cells = rng.poisson(self.cells)
            # Other things stand together: many in one field, none in the next.
            things = rng.poisson(rng.gamma(1, 1) * self.false * THINGS)
            middle = np.r_[np.full(cells, _logit(self.found)), np.full(things, _logit(1 / THINGS))]
            gain = np.r_[np.full(cells, self.gain), np.full(things, self.gain_false)]
            first, other = rng.normal(0, SPREAD, (2, cells + things))
            second = SAME * first + (1 - SAME**2) ** 0.5 * other
            left = 20.0 * np.arange(cells + things)
            boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], 1).astype(np.float32)
            seen = [
                FieldDetections(boxes[:cells], boxes, 1 / (1 + np.exp(-scores)), str(number))
                for scores in (middle + first, middle + gain + second)
            ]
            pairs.append((seen[0], seen[1]))
        return pairs

    def change(self, threshold: float) -> float:
        """Return how many errors a field there are more, in truth, after than before."""
        shift = float(np.log(threshold / (1 - threshold)) - np.log(BEFORE / (1 - BEFORE)))
        normal = NormalDist(0, SPREAD)
        start, other = (_logit(share) - _logit(0.5) for share in (self.found, 1 / THINGS))
        found = normal.cdf(start + self.gain - shift)
        false = THINGS * self.false * normal.cdf(other + self.gain_false - shift)
        return self.cells * (self.found - found) + false - self.false


def _logit(share: float) -> float:
    """Return the mean of scores of which this share is above the threshold before."""
    return float(np.log(BEFORE / (1 - BEFORE)) + SPREAD * NormalDist().inv_cdf(share))


LABORATORIES = (
    Laboratory("nothing gained, many false boxes", 20, 1.15, 0.88, 0.8, 0, 0),
    Laboratory("nothing gained, many cells missed", 20, 1.15, 0.73, 0.06, 0, 0),
    Laboratory("lost", 20, 1.15, 0.85, 0.8, -0.5, 0.3),
    Laboratory("like BCISC", 20, 1.15, 0.85, 1.0, 0.5, -0.9),
    Laboratory("half of that", 20, 1.15, 0.88, 0.6, 0.4, -0.3),
    Laboratory("like Chula EE", 20, 1.15, 0.73, 0.06, 1.2, -0.5),
)


def together(own: Finding) -> bool:
    """Decide by both kinds of error together, as `learn` does."""
    no_worse = own.after >= own.before and own.false_after <= own.false_before
    return no_worse and sign_test(own.went, own.came) <= ALPHA


def most_found(pairs: list[tuple[FieldDetections, FieldDetections]]) -> tuple[float, Finding]:
    """Choose the threshold that finds most at no more false boxes, however far away it is."""
    tried = {one: compare(pairs, BEFORE, one) for one in TRIED}
    fewest = min(seen.false_after for seen in tried.values())
    allowed = {
        one: seen for one, seen in tried.items()
        if seen.false_after <= max(seen.false_before, fewest)
    }  # fmt: skip
    best = max(
        allowed,
        key=lambda one: (allowed[one].after, -allowed[one].false_after, -abs(one - BEFORE)),
    )
    return best, allowed[best]


def main(
    draws: Annotated[int, typer.Option(help="Draws of each laboratory.")] = 150,
) -> None:
    """Print how often the tuned detector is taken with either threshold, and what it brings."""
    heads = "".join(
        f" {way}: taken, % | of these worse | errors a field | threshold |"
        for way in ("free", "near the one before")
    )
    print(f"| laboratory |{heads}\n|---|{'---|' * 8}")
    for laboratory in LABORATORIES:
        rng = np.random.default_rng(0)
        ways: tuple[list[float], list[float]] = ([], [])
        for _ in range(draws):
            pairs = laboratory.draw(rng)
            threshold, own = most_found(pairs)
            if together(own):
                ways[0].append(threshold)
            judged = judge_detector(pairs, [], BEFORE)
            if judged.better:
                ways[1].append(judged.confidence)
        shown = "".join(_shown(laboratory, taken, draws) for taken in ways)
        print(f"| {laboratory.name} |{shown}", flush=True)


def _shown(laboratory: Laboratory, taken: list[float], draws: int) -> str:
    """Return four columns of the table, of the thresholds at which it was taken."""
    if not taken:
        return " 0 | 0 | | |"
    more = [laboratory.change(threshold) for threshold in taken]
    worse = sum(one > 1e-9 for one in more)
    return (
        f" {100 * len(taken) / draws:.0f} | {worse} | {np.mean(more):+.2f} | {np.mean(taken):.2f} |"
    )


if __name__ == "__main__":
    typer.run(main)
