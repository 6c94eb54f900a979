"""Compare rules by which `wbcdet learn` takes a tuned detector, on simulated laboratories.

Fields are drawn with cells and other things that a detector scores before and after learning; the
true gain is known. Each rule says how often the tuned one is taken, and how often of these it makes
more errors in truth. The threshold afterwards is chosen on the same fields, as `learn` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Annotated

import numpy as np
import typer

from wbcdet.training.finetune.judge import ALPHA, sign_test
from wbcdet.training.finetune.judge_detector import FieldDetections, Finding, judge_detector

#: Threshold before; spread of the scores, and how much of it is the same after learning, in logits.
BEFORE, SPREAD, SAME = 0.25, 1.5, 0.8
#: Things in a field that may be taken for a cell, to one that is.
THINGS = 4


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


def either(own: Finding) -> bool:
    """Decide by one kind of error alone, as before."""
    if own.false_after > own.false_before:
        return False
    fewer = sign_test(own.false_before, own.false_after) <= ALPHA
    more = own.after > own.before and sign_test(own.gained, own.lost) <= ALPHA
    return more or (fewer and sign_test(own.lost, own.gained) > ALPHA)


def main(
    draws: Annotated[int, typer.Option(help="Draws of each laboratory.")] = 300,
) -> None:
    """Print how often each rule takes the tuned detector, and how often that does harm."""
    print("| laboratory | taken by one kind of error, % | of these worse | by both | worse |")
    print("|---|---|---|---|---|")
    for laboratory in LABORATORIES:
        rng = np.random.default_rng(0)
        taken: list[list[bool]] = [[], []]
        for _ in range(draws):
            judged = judge_detector(laboratory.draw(rng), [], BEFORE)
            worse = laboratory.change(judged.confidence) > 0
            for rule, takes in zip(taken, (either(judged.own), judged.better), strict=True):
                if takes:
                    rule.append(worse)
        shown = [f"{100 * len(rule) / draws:.0f} | {sum(rule)}" for rule in taken]
        print(f"| {laboratory.name} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
