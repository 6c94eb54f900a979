"""Run the leaky protocol, to show how much it flatters (see experiments/leaky_protocol.py).

The same network, the same copies of BCCD cells, the same budget: once split at random over the
copies, once by group of near-duplicate fields. Stopped, the same command goes on where it was.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

HEAD = (
    "| network | split | test copies (cells) | of cells trained on % | accuracy % (95 %) | "
    "macro precision % | macro recall % | macro F1 % |\n|---|---|---|---|---|---|---|---|"
)
TITLES = {"random": "random over copies (leaky)", "groups": "by group (leak-free)"}
KEYS = ("accuracy", "precision", "recall", "f1")


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    runs: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("runs/leaky"),
    arch: Annotated[
        list[str] | None, typer.Option(help="Network; default: leucocytenet-v1, leucocytenet.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 12,
    copies: Annotated[int, typer.Option(help="Copies of each class.")] = 600,
    seed: Annotated[int, typer.Option(help="Of the copies and of the splits.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(help="Processes that read the copies.")] = 2,
) -> None:
    """Train and judge under both splits."""
    from leaky_protocol import SPLITS, TEST_PART, bccd_cells, make_copies, measure
    from network_comparison import write_json

    from wbcdet.training.architectures import architecture
    from wbcdet.training.config import ClassifierRecipe, TrainingError, fingerprint
    from wbcdet.training.devices import pick_device

    try:
        data = f"{fingerprint(prepared)}; {copies} copies a class, seed {seed}"
        made = make_copies(bccd_cells(prepared), copies, seed)
        length = round((1 - TEST_PART) * len(made.labels))
        results: dict[str, Any] = {"data": data, "epochs": epochs, "crops": length}
        print(HEAD)
        for name in arch or ("leucocytenet-v1", "leucocytenet"):
            title = architecture(name).title
            figures = {}
            for split in SPLITS:
                recipe = ClassifierRecipe(name, epochs, length, data=f"{data}, split {split}")
                figures[split] = measure(
                    runs / f"{name}-{split}-{seed}", made, split, recipe, seed,
                    device=pick_device(device), workers=workers,
                )  # fmt: skip
                print(row(title, TITLES[split], figures[split]), flush=True)
            print(difference(title, figures["random"], figures["groups"]), flush=True)
            results[name] = figures
            write_json(runs / f"leaky-{seed}.json", results)
    except TrainingError as error:
        raise SystemExit(f"leaky: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("leaky: stopped; the same command goes on") from None


def row(title: str, split: str, f: dict[str, Any]) -> str:
    """Return the line of one split."""
    low, high = f["accuracy_ci"]
    rest = " | ".join(f"{100 * f[key]:.1f}" for key in KEYS[1:])
    return (
        f"| {title} | {split} | {f['test_copies']} ({f['test_cells']}) | "
        f"{100 * f['trained_on']:.0f} | {100 * f['accuracy']:.1f} "
        f"({100 * low:.1f}-{100 * high:.1f}) | {rest} |"
    )


def difference(title: str, leaky: dict[str, Any], clean: dict[str, Any]) -> str:
    """Return the line that says by how much the leaky split flatters."""
    points = " | ".join(f"{100 * (leaky[key] - clean[key]):+.1f}" for key in KEYS)
    return f"| {title} | flattery, points | | | {points} |"


if __name__ == "__main__":
    typer.run(main)
