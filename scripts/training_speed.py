"""Time training steps: wbcdet's scenes and crops beside ultralytics' own loader, same networks.

Both train from chance on the same fields and cells, on the processor, in batches of one size.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated, Any

import typer

#: Pictures in a step, longer side of a scene or field in pixels, and pictures that ultralytics' own
#: loader goes round on.
BATCH, SIZE, PICTURES = 16, 320, 160
#: Whose fields both train on; all would take minutes to load.
LABORATORIES = ("bccd", "txl-raabin")


class _Enough(Exception):
    """Ends a training after the steps that were to be timed."""


def detector(prepared: Path, work: Path, steps: int, own: bool) -> tuple[float, float]:
    """Train a YOLO26n, with wbcdet's trainer or ultralytics' own.

    Returns:
        processor milliseconds that a picture takes to load, and in the network.
    """
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer

    from wbcdet.training.detector_run import SETTINGS
    from wbcdet.training.detector_training import SceneTrainer

    marks: list[float] = []
    model = YOLO("yolo26n.yaml")

    def mark(_: Any) -> None:
        marks.append(time.process_time())
        if len(marks) == 2 * (steps + 1):
            raise _Enough

    for event in ("on_train_batch_start", "on_train_batch_end"):
        model.add_callback(event, mark)
    SceneTrainer.prepared, SceneTrainer.scenes, SceneTrainer.sizes = prepared, 5000, (SIZE,)
    settings: dict[str, Any] = {**SETTINGS} if own else {"optimizer": "AdamW", "plots": False}
    data = work / "fields.yaml" if not own else work / "scenes.yaml"
    with suppress(_Enough):
        model.train(
            trainer=SceneTrainer if own else DetectionTrainer, data=str(data), device="cpu",
            workers=0, epochs=100, imgsz=SIZE, batch=BATCH, project=str(work), name=str(own),
            pretrained=False, verbose=False, **settings,
        )  # fmt: skip
    return _loading_and_step(marks)


def classifier(prepared: Path, work: Path, steps: int, own: bool) -> tuple[float, float]:
    """Train LeucoCyteNet on wbcdet's crops, or on those of ultralytics' loader.

    Returns:
        processor milliseconds that a crop takes to load, and in the network.
    """
    import torch
    from ultralytics.cfg import get_cfg
    from ultralytics.data.dataset import ClassificationDataset

    from wbcdet.training.classifier_run import begin
    from wbcdet.training.config import ClassifierRecipe

    run = begin(prepared, work / "run", ClassifierRecipe(batch=BATCH), "cpu")
    run.network.train()
    if own:
        loader = torch.utils.data.DataLoader(run.data, BATCH)  # type: ignore[arg-type]
        given: Iterable[Any] = ((batch["crop"], batch["label"]) for batch in loader)
    else:
        options = get_cfg(overrides={"imgsz": 112})
        files = ClassificationDataset(str(work / "cells"), options, augment=True)
        other = torch.utils.data.DataLoader(files, BATCH, shuffle=True, drop_last=True)
        given = ((batch["img"], batch["cls"]) for _ in cycle([0]) for batch in other)
    marks: list[float] = []
    for crops, labels in islice(given, steps + 1):
        marks.append(time.process_time())
        run._learn(crops, labels)
        marks.append(time.process_time())
    return _loading_and_step(marks)


def _loading_and_step(marks: list[float]) -> tuple[float, float]:
    """Return both in milliseconds a picture; the first step warms up."""
    starts, ends = marks[0::2], marks[1::2]
    each = 1e3 / BATCH / (len(ends) - 1)
    loading = sum(start - end for start, end in zip(starts[1:], ends[:-1], strict=True))
    return loading * each, sum(b - a for a, b in zip(starts[1:], ends[1:], strict=True)) * each


def part_of(prepared: Path, work: Path) -> Path:
    """Return a prepared folder with the fields of some laboratories alone."""
    part = work / "prepared"
    part.mkdir()
    for name in ("fields", "cutouts"):
        (part / name).symlink_to((prepared / name).resolve())
    for name, column in (("fields", "field"), ("boxes", "field"), ("cutouts", "cutout")):
        head, *rows = (prepared / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        assert head.startswith(column)
        chosen = [row for row in rows if row.split("/", 1)[0] in LABORATORIES]
        (part / f"{name}.csv").write_text("\n".join([head, *chosen, ""]), encoding="utf-8")
    return part


def fields_for_ultralytics(prepared: Path, work: Path) -> None:
    """Write training fields with their white cells in the form that ultralytics reads."""
    (work / "scenes.yaml").write_text(f"train: {work}\nval: {work}\nnc: 1\nnames: [wbc]\n")
    (work / "images").mkdir()
    (work / "labels").mkdir()
    boxes: dict[str, list[dict[str, str]]] = {}
    for row in _rows(prepared / "boxes.csv"):
        if row["kind"] == "wbc":
            boxes.setdefault(row["field"], []).append(row)
    training = [row for row in _rows(prepared / "fields.csv") if row["detect"] == "train"]
    for number, row in enumerate(training[:: max(1, len(training) // PICTURES)]):
        field = prepared / "fields" / row["field"]
        (work / "images" / f"{number}{field.suffix}").symlink_to(field.resolve())
        width, height = float(row["width"]), float(row["height"])
        lines = []
        for box in boxes.get(row["field"], []):
            x0, y0, x1, y1 = (float(box[side]) for side in ("x_min", "y_min", "x_max", "y_max"))
            centre = (x0 + x1) / 2 / width, (y0 + y1) / 2 / height
            span = (x1 - x0) / width, (y1 - y0) / height
            lines.append(" ".join(map(str, (0, *centre, *span))))
        (work / "labels" / f"{number}.txt").write_text("\n".join(lines))
    text = f"path: {work}\ntrain: images\nval: images\nnc: 1\nnames: [wbc]\n"
    (work / "fields.yaml").write_text(text)


def cells_for_ultralytics(prepared: Path, work: Path) -> None:
    """Write training cells as crops, in a folder for each class."""
    import cv2

    from wbcdet.datasets.cells import load_cells
    from wbcdet.training.augment_cells import plain_crop

    cells = load_cells(prepared, ("train",))
    for number, cell in enumerate(cells[:: max(1, len(cells) // PICTURES)]):
        folder = work / "cells" / str(cell.label)
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number}.jpg"), plain_crop(cell))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream)


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 6,
) -> None:
    """Print processor milliseconds a picture, and pictures a second of one core."""
    import torch

    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory(prefix="wbcdet-training-") as folder:
        work = Path(folder)
        prepared = part_of(prepared, work)
        fields_for_ultralytics(prepared, work)
        cells_for_ultralytics(prepared, work)
        kinds: dict[str, Callable[[Path, Path, int, bool], tuple[float, float]]] = {
            f"detector, {SIZE} px": detector,
            "classifier, 112 px": classifier,
        }
        for title, train in kinds.items():
            for own in (True, False):
                loading, network = train(prepared, work, steps, own)
                lines.append(
                    f"| {title}, {'wbcdet' if own else 'ultralytics'} | {loading:.1f} "
                    f"| {network:.1f} | {1e3 / (loading + network):.1f} |"
                )
    print("\n| | loading, ms | network, ms | pictures a second |\n|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    typer.run(main)
