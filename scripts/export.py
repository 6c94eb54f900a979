"""Write the trained models and their cards to weights/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
Folder = Annotated[Path, typer.Option("--out", help="Folder for models and cards.")]
Recipe = Annotated[str, typer.Option(help="How it was trained, in a sentence for the card.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Write over the model that is in the folder.")
]
Prepared = Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")]


@app.command()
def detector(
    checkpoint: Annotated[Path, typer.Option(help="Checkpoint of the run.")] = Path(
        "runs/detector/weights/last.pt"
    ),
    size: Annotated[int, typer.Option(help="Longer side of the input, px.")] = 320,
    confidence: Annotated[float, typer.Option(help="Threshold on the card.")] = 0.25,
    recipe: Recipe = "",
    out: Folder = Path("weights"),
    replace: Replace = False,
) -> None:
    """Export the detector."""
    _check(out, "detector", replace=replace)
    from wbcdet.training.export import export_detector

    export_detector(checkpoint, out, size, confidence, recipe)


@app.command()
def classifier(
    run: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/classifier"),
    thresholds: Annotated[
        Path, typer.Option(help="What scripts/thresholds.py chose on left-out laboratories.")
    ] = Path("runs/thresholds.json"),
    recipe: Recipe = "",
    prepared: Prepared = Path("prepared"),
    out: Folder = Path("weights"),
    replace: Replace = False,
) -> None:
    """Export the classifier, with its distance from the training cells of the prepared folder."""
    _check(out, "classifier", replace=replace)
    from wbcdet.training.classifier_training import load_network
    from wbcdet.training.distance import training_distance
    from wbcdet.training.export import export_classifier

    weights = run / "classifier.safetensors"
    chosen = json.loads(thresholds.read_text(encoding="utf-8"))
    distance = training_distance(load_network(weights), prepared)
    unlike = {"output": "distance", "threshold": chosen["distance"]}
    export_classifier(
        weights,
        out,
        chosen["temperature"],
        chosen["min_score"],
        recipe,
        distance=distance,
        extra={"unlike_trained": unlike},
        offsets=chosen["offsets"],
    )


def _check(out: Path, role: str, *, replace: bool) -> None:
    """End where a model would be written over unasked."""
    there = [path for path in sorted(out.glob(f"{role}.*")) if path.is_file()]
    if there and not replace:
        typer.echo(f"{there[0]} is there already; name another --out, or give --replace", err=True)
        raise typer.Exit(2)


if __name__ == "__main__":
    app()
