"""Train LeucoCyteNet; an interrupted run goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    out: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("runs/classifier"),
    weights: Annotated[
        Path | None,
        typer.Option(help="Safetensors to go on from, as weights/classifier.safetensors."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs.")] = 16,
    crops: Annotated[int, typer.Option(help="Crops in an epoch.")] = 2400,
    stages: Annotated[int, typer.Option(help="Stages of the network, 5 to 7.")] = 5,
    head: Annotated[int, typer.Option(help="Channels of the head.")] = 320,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    workers: Annotated[int, typer.Option(help="Processes that vary the crops.")] = 2,
    leave_out: Annotated[list[str] | None, typer.Option(help="Laboratory to leave out.")] = None,
) -> None:
    """Train LeucoCyteNet."""
    from wbcdet.training.cells import load_cells
    from wbcdet.training.classifier_training import Run

    cells = load_cells(prepared, ("train",), leave_out=tuple(leave_out or ()))
    Run(out, cells, epochs, crops, stages, head, rate, weights).train(workers)


if __name__ == "__main__":
    typer.run(main)
