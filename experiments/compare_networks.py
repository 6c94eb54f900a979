"""Compare the paper's networks with ours: same data, splits, budget and test lists.

Trains whichever is not yet trained, one after another, all on the same crops, and prints Markdown
tables at the end. They stand in ``comparison.md`` beside the runs as soon as a network is judged.
Stopped, the same command goes on where it was.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    runs: Annotated[Path, typer.Option(help="Folder with one run a network.")] = Path(
        "runs/networks"
    ),
    epochs: Annotated[int, typer.Option(help="Epochs of each.")] = 12,
    crops: Annotated[int, typer.Option(help="Crops in an epoch.")] = 1600,
    arch: Annotated[list[str] | None, typer.Option(help="Network; default: all.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained", help="ImageNet weights for timm's networks, of its hub.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda, to train on.")] = "auto",
    workers: Annotated[
        int,
        typer.Option(help="Processes that vary the crops; with 0 each crop is made once for all."),
    ] = 2,
) -> None:
    """Train, judge and time the networks."""
    from network_comparison import (
        SharedCrops,
        compare_one,
        naming_lists,
        tables,
        time_networks,
        write_json,
    )

    from wbcdet.datasets.cells import CLASSES
    from wbcdet.inference.weights import load_model
    from wbcdet.training.architectures import ARCHITECTURES, build
    from wbcdet.training.classifier_run import training_cells
    from wbcdet.training.config import ClassifierRecipe, TrainingError, fingerprint
    from wbcdet.utils.files import atomic_write

    names = arch or list(ARCHITECTURES)
    min_score = load_model("classifier").card["min_score"]
    results: dict[str, Any] = {}
    try:
        fingerprint(prepared)  # complains of a missing folder before a minute is spent on timing
        networks = {name: build(name, len(CLASSES)) for name in names}
        speed = time_networks(networks)
        del networks
        gc.collect()
        lists = naming_lists(prepared)
        shared = SharedCrops(training_cells(prepared), crops)
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            timm = ARCHITECTURES[name].imagenet == "hub"
            recipe = ClassifierRecipe(name, epochs, crops, pretrained=pretrained and timm)
            card, figures = compare_one(
                recipe, prepared, runs / name, shared, lists, min_score, device, workers
            )
            results[name] = {"card": card, "milliseconds": speed[name], "lists": figures}
            write_json(runs / "comparison.json", results)
            atomic_write(runs / "comparison.md", f"{tables(results)}\n".encode())
            gc.collect()
    except TrainingError as error:
        raise SystemExit(f"compare_networks: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit("compare_networks: stopped; the same command goes on") from None
    finally:
        if results:
            print(tables(results))


if __name__ == "__main__":
    typer.run(main)
