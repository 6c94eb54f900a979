"""Show what `wbcdet learn` brings: a laboratory that the classifier has never seen, some of its
cells reviewed, and the rest named before and after.

Needs the networks of `python scripts/left_out.py` (one a laboratory, trained without it) and the
prepared folder. Cells are drawn by whole groups (slides, overlapping fields), so that what is
judged shares no field with what was learnt.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

LABORATORIES = ("bccd", "bcisc", "tecom", "txl-raabin", "txl-pbc")
EVERY = ("train", "val", "test", "heldout")


def draw(groups: list[str], number: int, seed: int) -> np.ndarray:
    """Draw whole groups by chance until there are so many cells; (N,) which cells they are."""
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.array(groups, dtype=str), return_inverse=True)
    size = np.bincount(index)
    taken = np.zeros(len(names), bool)
    for group in rng.permutation(len(names)):
        if size[taken].sum() + size[group] <= number:
            taken[group] = True
    return taken[index]


def main(
    runs: Annotated[Path, typer.Option(help="Folder with one run a laboratory.")] = Path(
        "runs/left-out"
    ),
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Laboratory; may be repeated.")] = None,
    sizes: Annotated[str, typer.Option(help="Numbers of reviewed cells.")] = "50,100,200",
    draws: Annotated[int, typer.Option(help="Random draws of each number.")] = 5,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """Print a row for each laboratory and number of reviewed cells, means over the draws."""
    from wbcdet.datasets.cells import load_cells
    from wbcdet.inference.classifier import Classifier
    from wbcdet.training import classifier_training as training
    from wbcdet.training.augment_cells import plain_crop
    from wbcdet.training.finetune import tune
    from wbcdet.training.finetune.judge import cross_validated, fit_temperature, is_right, judge

    least = Classifier("cpu").card["min_score"]
    figures: dict[str, Any] = {}
    print(
        "| laboratory | reviewed | judged | right before % | right after % (least, most) | "
        "installed | other laboratories before %, after % |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for laboratory in only or LABORATORIES:
        weights = runs / laboratory / "classifier.safetensors"
        if not weights.is_file():
            print(f"| {laboratory} | no network in {weights.parent} |", flush=True)
            continue
        network = training.load_network(weights)
        start = training.fit_temperature(
            *training.validation_logits(network, prepared, (laboratory,))
        )
        cells = load_cells(prepared, EVERY, laboratories=(laboratory,), artefacts=0)
        labels = np.array([cell.label for cell in cells])
        groups = [cell.group for cell in cells]
        features = tune.Features(network, cells, lambda: None)  # type: ignore[arg-type]
        every = np.arange(len(cells))
        before = is_right(features.logits(network, every), labels, start, least)  # type: ignore[arg-type]
        four = labels < 4
        others = load_cells(prepared, ("test",), leave_out=(laboratory, "cellavision"), artefacts=0)
        crops, truth = [plain_crop(cell) for cell in others], np.array([c.label for c in others])
        known = is_right(training.predict_logits(network, crops), truth, start, least)
        for size in map(int, sizes.split(",")):
            rows = []
            for seed in range(draws):
                which = draw(groups, size, seed)
                chosen, rest = np.flatnonzero(which), np.flatnonzero(~which & four)
                part = [groups[i] for i in chosen]

                def held_back(learn: np.ndarray, rest: np.ndarray) -> np.ndarray:
                    index = chosen  # noqa: B023 - called at once
                    tuned = tune.tune(network, features, index[learn])  # type: ignore[arg-type]  # noqa: B023
                    return features.logits(tuned, index[rest])  # noqa: B023

                logits = cross_validated(held_back, part, labels[chosen])
                temperature = fit_temperature(logits, labels[chosen], start)
                after = is_right(logits, labels[chosen], temperature, least)
                found = judge(before[chosen], after, labels[chosen], part)
                tuned = tune.tune(network, features, chosen)  # type: ignore[arg-type]
                right = is_right(features.logits(tuned, rest), labels[rest], temperature, least)
                elsewhere = is_right(
                    training.predict_logits(tuned, crops), truth, temperature, least
                )
                rows.append(
                    {
                        "reviewed": len(chosen),
                        "judged": len(rest),
                        "before": float(before[rest].mean()),
                        "after": float(right.mean()),
                        "installed": found.better,
                        "p": found.p,
                        "others_before": float(known.mean()),
                        "others_after": float(elsewhere.mean()),
                    }
                )
            figures[f"{laboratory} {size}"] = rows

            def mean(name: str) -> float:
                return 100 * float(np.mean([row[name] for row in rows]))  # noqa: B023

            shares = [100 * row["after"] for row in rows]
            print(
                f"| {laboratory} | {size} | {round(mean('judged') / 100)} | {mean('before'):.1f} | "
                f"{mean('after'):.1f} ({min(shares):.1f}, {max(shares):.1f}) | "
                f"{sum(row['installed'] for row in rows)} of {draws} | "
                f"{mean('others_before'):.1f}, {mean('others_after'):.1f} |",
                flush=True,
            )
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
