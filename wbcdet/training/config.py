"""Training recipes, in a form that a checkpoint can be checked against."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from wbcdet.utils.errors import WbcdetError


class TrainingError(WbcdetError, ValueError):
    """A training cannot begin or go on. The message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class ClassifierRecipe:
    """Recipe of a classifier: everything that decides how it comes out.

    Attributes:
        arch: name in :data:`wbcdet.training.architectures.ARCHITECTURES`.
        epochs, crops: epochs, and crops in each.
        batch: crops in a step.
        rate: highest learning rate of AdamW.
        stages, head: size of LeucoCyteNet, see :class:`wbcdet.training.leucocytenet.LeucoCyteNet`.
        frozen: its first blocks that keep their ImageNet weights: edges and blobs carry over, and
            a step takes half of the time.
        pretrained: ImageNet weights for a network that begins from chance otherwise.
        start: safetensors to go on from, such as the shipped ones.
        leave_out: laboratories to leave out.
        data: what is trained on, in words that change with it.
    """

    arch: str = "leucocytenet"
    epochs: int = 20
    crops: int = 4800
    batch: int = 32
    rate: float = 1e-3
    stages: int = 5
    head: int = 480
    frozen: int = 3
    pretrained: bool = False
    start: Path | None = None
    leave_out: tuple[str, ...] = ()
    data: str = ""


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """Recipe of a detector: everything that decides how it comes out.

    Attributes:
        model: network, an ultralytics YAML.
        start: ultralytics checkpoint or safetensors to start from.
        size: side of a validation scene in pixels.
        sizes: sides of the training scenes in pixels, those of a batch alike.
        epochs, scenes: epochs, and scenes in each.
        hours: train this long instead; the epochs are fitted to it.
        batch: scenes in a step.
        rate: learning rate of AdamW, which stays.
        mean_from: part of the steps whose weights do not count in the mean that is kept.
        leave_out: laboratories to leave out.
        data: what is trained on, in words that change with it.
    """

    model: str = "yolo26n.yaml"
    start: Path | None = None
    size: int = 320
    sizes: tuple[int, ...] = (256, 320, 320, 416)
    epochs: int = 8
    scenes: int = 6000
    hours: float | None = None
    batch: int = 16
    rate: float = 7e-4
    mean_from: float = 0.25
    leave_out: tuple[str, ...] = ()
    data: str = ""


Recipe = ClassifierRecipe | DetectorRecipe


def stamp(recipe: Recipe) -> dict[str, object]:
    """Return the recipe as plain JSON values; a file to start from is named by its content."""
    values = asdict(recipe)
    if recipe.start is not None:
        if not recipe.start.is_file():
            raise TrainingError(f"{recipe.start}: no such file to start from")
        values["start"] = hashlib.sha256(recipe.start.read_bytes()).hexdigest()
    # As a checkpoint gives them back: tuples become lists.
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def check_same(recipe: Recipe, written: object, checkpoint: Path) -> None:
    """Refuse to go on from a checkpoint of another recipe.

    Args:
        written: what :func:`stamp` gave when the checkpoint was written.

    Raises:
        TrainingError: the recipes differ; the message names the differences.
    """
    asked = stamp(recipe)
    if written == asked:
        return
    what = "another version of wbcdet"
    if isinstance(written, dict) and written.keys() == asked.keys():
        differing = [name for name in asked if written[name] != asked[name]]
        what = ", ".join(f"{n} {written[n]} (asked for: {asked[n]})" for n in differing)
    raise TrainingError(
        f"{checkpoint}: is of a training with {what}; repeat its command to go on with it, give "
        "another --out, or delete it to start over"
    )


def fingerprint(prepared: Path) -> str:
    """Describe the contents of a training folder, in words that change with its tables.

    Raises:
        TrainingError: it is no training folder; the message says how one is made.
    """
    digest = hashlib.sha256()
    for name in ("fields.csv", "boxes.csv", "cutouts.csv"):
        if not (prepared / name).is_file():
            raise TrainingError(
                f"{prepared}: no training data ({name} is missing); make it with 'wbcdet data "
                f"fetch' and 'wbcdet data prepare --into {prepared}'"
            )
        digest.update((prepared / name).read_bytes())
    return f"prepared tables, sha256 {digest.hexdigest()[:12]}"


def check_laboratories(prepared: Path, leave_out: tuple[str, ...]) -> None:
    """See that there is every laboratory that is to be left out.

    Raises:
        TrainingError: there is not; the message lists those there are.
    """
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        known = sorted({row["laboratory"] for row in csv.DictReader(stream)})
    for name in leave_out:
        if name not in known:
            raise TrainingError(
                f"--leave-out: {prepared} has no laboratory {name!r}; it has {', '.join(known)}"
            )
