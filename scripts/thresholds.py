"""Choose temperature and thresholds of the classifier on laboratories left out of training.

Reads what ``scripts/left_out.py classifier`` wrote. Every laboratory counts alike. What holds in
the laboratories trained on says nothing about the next one, so nothing is chosen there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.special import softmax

#: Share of right names that all refusals together may cost, half to each.
LOST = 0.02
#: What may be added to the logits of the classes that are declined: of cells, and of platelets and
#: artefacts. The detector has seen that a crop shows a cell, and most cells are of the four types.
CELLS, ARTEFACTS = (0.0, -0.5, -1.0, -1.5), (0.0, -1.0, -2.0)
#: Share of the declined that all offsets together may give back to the four types.
GIVEN_BACK = 0.05


def main(
    runs: Annotated[Path, typer.Option(help="Folder with one run a laboratory.")] = Path(
        "runs/left-out-classifier"
    ),
    out: Annotated[Path, typer.Option(help="JSON file for what was chosen.")] = Path(
        "runs/thresholds.json"
    ),
    chosen_earlier: Annotated[
        Path | None,
        typer.Option("--chosen", help="Show what this file, of an earlier call, does instead."),
    ] = None,
) -> None:
    """Choose temperature, least score and greatest distance, and show what they do."""
    from wbcdet.datasets.cells import CLASSES

    labs = {p.parent.name: np.load(p) for p in sorted(runs.glob("*/*/scores.npz"))}
    if not labs:
        raise typer.BadParameter(f"{runs} holds no scores.npz: run scripts/left_out.py classifier")
    if chosen_earlier:
        chosen = json.loads(chosen_earlier.read_text(encoding="utf-8"))
    else:
        chosen = _choose(labs)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(chosen, indent=2) + "\n", encoding="utf-8")
    print("| laboratory left out | cells | right % | wrong % | open % | calibration error |"
          " declined: " + " | ".join(CLASSES[4:]) + " |")  # fmt: skip
    print("|" + "---|" * (6 + len(CLASSES) - 4))
    for lab, s in labs.items():
        scores = softmax((s["logits"] + chosen["offsets"]) / chosen["temperature"], axis=1)
        named, four = _named(scores, s["distance"], chosen), s["labels"] < 4
        good = named == s["labels"]
        cells = [
            f"{100 * (named < 0)[s['labels'] == k].mean():.0f} of {(s['labels'] == k).sum()}"
            if (s["labels"] == k).any()
            else "-"
            for k in range(4, len(CLASSES))
        ]
        print(
            f"| {lab} | {four.sum()} | {100 * good[four].mean():.1f} "
            f"| {100 * (~good & (named >= 0))[four].mean():.1f} "
            f"| {100 * (named < 0)[four].mean():.1f} "
            f"| {expected_calibration_error(scores, s['labels']):.3f} | " + " | ".join(cells) + " |"
        )


def _choose(labs: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """Return offsets, temperature, least score and greatest distance, and print them."""
    from wbcdet.datasets.cells import CLASSES
    from wbcdet.training.classifier_training import fit_temperature

    offsets = _choose_offsets(list(labs.values()))
    logits = {lab: s["logits"] + offsets for lab, s in labs.items()}
    # The temperature of the laboratory that needs the most caution would blur all others; the
    # geometric mean holds for most.
    each = {lab: fit_temperature(logits[lab], s["labels"]) for lab, s in labs.items()}
    temperature = float(np.exp(np.mean(np.log(list(each.values())))))
    scores = {lab: softmax(logits[lab] / temperature, axis=1) for lab in labs}
    right = {lab: _right(scores[lab], s["labels"]) for lab, s in labs.items()}
    min_score = _pooled_quantile([scores[k][right[k], :4].max(1) for k in labs], LOST / 2)
    distance = _pooled_quantile([labs[k]["distance"][right[k]] for k in labs], 1 - LOST / 2)
    print("offsets " + ", ".join(f"{n} {o:g}" for n, o in zip(CLASSES, offsets, strict=True)))
    print(f"temperature {temperature:.3f} (by laboratory: "
          + ", ".join(f"{k} {v:.2f}" for k, v in each.items()) + ")")  # fmt: skip
    print(f"least score {min_score:.3f}, greatest distance {distance:.3f}\n")
    return {
        "offsets": offsets.tolist(),
        "temperature": round(temperature, 4),
        "min_score": round(min_score, 3),
        "distance": round(distance, 3),
    }


def _choose_offsets(labs: list[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Return what is added to the logits so that most of the four types are named right."""
    four, artefact = 4, 8

    def judged(offsets: np.ndarray) -> tuple[float, float]:
        right, declined = [], []
        for s in labs:
            named, labels = (s["logits"] + offsets).argmax(1), s["labels"]
            right.append((named == labels)[labels < four].mean())
            for group in ((labels >= four) & (labels < artefact), labels >= artefact):
                if group.sum() >= 10:
                    declined.append((named[group] >= four).mean())
        return float(np.mean(right)), float(np.mean(declined))

    classes = labs[0]["logits"].shape[1]
    every = [
        np.repeat([0.0, cells, artefacts], [four, artefact - four, classes - artefact])
        for cells in CELLS
        for artefacts in ARTEFACTS
    ]
    least = judged(every[0])[1] - GIVEN_BACK
    return max((o for o in every if judged(o)[1] >= least), key=lambda o: judged(o)[0])


def _right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray((labels < 4) & (scores.argmax(1) == labels))


def _pooled_quantile(values: list[np.ndarray], q: float) -> float:
    """Return a quantile of all values together in which every array weighs the same."""
    pooled = np.concatenate(values)
    weights = np.concatenate([np.full(len(v), 1 / max(len(v), 1)) for v in values])
    order = np.argsort(pooled)
    share = np.cumsum(weights[order]) / weights.sum()
    return float(pooled[order][np.searchsorted(share, q)])


def _named(scores: np.ndarray, distance: np.ndarray, chosen: dict[str, Any]) -> np.ndarray:
    """Return the class of each cell as the program names it, -1 where it declines."""
    named = scores.argmax(1)
    open_ = (
        (named >= 4)
        | (scores[:, :4].max(1) < chosen["min_score"])
        | (distance > chosen["distance"])
    )
    return np.where(open_, -1, named)


def expected_calibration_error(scores: np.ndarray, labels: np.ndarray, bins: int = 10) -> float:
    """Return the mean distance of score and share right over equally filled bins, for all
    classes."""
    best, right = scores.max(1), scores.argmax(1) == labels
    parts = np.array_split(np.argsort(best), bins)
    return float(sum(len(p) * abs(best[p].mean() - right[p].mean()) for p in parts) / len(best))


if __name__ == "__main__":
    typer.run(main)
