"""Make the replay set that ships beside the classifier, from the prepared folder."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from wbcdet.datasets.cells import LabelledCell

#: Cells of a laboratory and class.
MOST = 40


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    weights: Annotated[
        Path, typer.Option(help="Folder with classifier.json and classifier.safetensors.")
    ] = Path("weights"),
    most: Annotated[int, typer.Option(help="Cells of a laboratory and class, at most.")] = MOST,
) -> None:
    """Write replay.safetensors into the folder of the weights."""
    import json

    from wbcdet.datasets.cells import CLASSES
    from wbcdet.training.classifier_training import load_network
    from wbcdet.training.finetune import replay, tune
    from wbcdet.training.leucocytenet import LeucoCyteNet

    card = json.loads((weights / "classifier.json").read_text(encoding="utf-8"))
    path = weights / card["training_file"]
    network = load_network(path, card["stages"], card["head"])
    assert isinstance(network, LeucoCyteNet)
    kept = replayed_cells(prepared, most=most)
    made = tune.FeatureMaps(network, kept, views=1)
    found = replay.Replay(made.maps[:, 0], made.labels, tuple(cell.laboratory for cell in kept))
    file = weights / replay.FILE
    replay.save_replay(found, file, hashlib.sha256(path.read_bytes()).hexdigest())
    print(f"{file}: {len(kept)} cells, {file.stat().st_size / 1e6:.1f} MB")
    print(", ".join(f"{n} {name}" for name, n in replay.numbers(found).items()))
    counts = Counter(cell.label for cell in kept)
    print(", ".join(f"{counts[k]} {name}" for k, name in enumerate(CLASSES)))


def replayed_cells(
    prepared: Path, leave_out: tuple[str, ...] = (), most: int = MOST
) -> list[LabelledCell]:
    """Return the cells that stand for what a classifier was trained on."""
    from wbcdet.datasets.cells import load_cells

    kept = []
    met: Counter[tuple[str, int]] = Counter()
    cells = load_cells(prepared, ("train",), leave_out=leave_out, artefacts=1, most=most)
    for cell in cells:  # artefacts are not among what `most` counts
        met[cell.laboratory, cell.label] += 1
        if met[cell.laboratory, cell.label] <= most:
            kept.append(cell)
    return kept


if __name__ == "__main__":
    typer.run(main)
