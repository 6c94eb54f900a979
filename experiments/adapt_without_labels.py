"""Measure adaptation of the detector without labels, on laboratories it was trained without.

Fifty fields are looked at without their labels: the colours of ground and red cells that they
agree on take the place of each field's own, the input size is chosen at which boxes are most
decided, and the threshold is read from their scores. The rest of the fields is judged. What each
field shows is kept in a file, so that a rule can be tried in seconds.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

#: Laboratories whose detector was trained without them, and those that no detector was trained on.
LEFT_OUT = ("bccd", "bcisc", "chula-ee", "pbc", "tecom", "txl-raabin")
NEVER_TRAINED = ("pbc-second", "cellavision")
#: Unlabelled fields, and most that are judged.
FIELDS, JUDGED = 50, 60
#: Input sizes that are tried; the shipped one and the shipped threshold; the least score kept.
SIZES, SIZE, SHIPPED, LEAST = (256, 320, 416), 320, 0.25, 0.02
#: Thresholds that a rule may choose.
THRESHOLDS = np.round(np.arange(0.1, 0.61, 0.01), 2)
#: Part of the boxes that the mirrored field must repeat.
REPEATED = 0.9

Boxes = tuple[np.ndarray, np.ndarray]  # (N, 4) and scores (N,)
Seen = dict[str, Any]  # a field: "truth" and, by look, Boxes


def main(
    detectors: Annotated[
        list[Path] | None, typer.Option(help="Folder of `left_out.py detector`; may be repeated.")
    ] = None,
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    kept: Annotated[Path, typer.Option(help="Folder for what the fields show.")] = Path(
        "runs/adapt"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Laboratory; may be repeated.")] = None,
) -> None:
    """Print what each way of adapting changes on each laboratory."""
    kept.mkdir(parents=True, exist_ok=True)
    print("| laboratory | cells | way | threshold | found % | false a field | F1 |")
    print("|---|---|---|---|---|---|---|")
    for laboratory in only or (*LEFT_OUT, *NEVER_TRAINED):
        file = kept / f"{laboratory}.pkl"
        if not file.exists():
            seen = look(laboratory, detectors or [Path("runs/left-out-detector")], prepared)
            file.write_bytes(pickle.dumps(seen))
        adapted, judged = pickle.loads(file.read_bytes())
        cells = sum(len(one["truth"]) for one in judged)
        for way, (view, threshold) in ways(adapted).items():
            recall, false, f1 = judge(judged, view, threshold)
            print(
                f"| {laboratory} | {cells} | {way} | {threshold:.2f} | {100 * recall:.1f} "
                f"| {false:.3f} | {100 * f1:.1f} |",
                flush=True,
            )


def ways(fields: list[Seen]) -> dict[str, tuple[str, float]]:
    """Return the look and the threshold of each way, as unlabelled fields give them."""
    usual = f"size {SIZE}"
    rules: dict[str, Callable[[list[Seen]], float]] = {
        "valley of the scores": valley,
        "expected number": expected_number,
        "repeated when mirrored": repeated,
    }
    found = {"as shipped": (usual, SHIPPED), "stain of the laboratory": ("stain", SHIPPED)}
    found["size of most decided boxes"] = (most_decided(fields), SHIPPED)
    found |= {name: (usual, rule(fields)) for name, rule in rules.items()}
    return found | {
        f"{name}, half way": (usual, (rule(fields) + SHIPPED) / 2) for name, rule in rules.items()
    }


def scores_of(fields: list[Seen], view: str) -> np.ndarray:
    """Return the scores of all boxes."""
    return np.concatenate([np.zeros(0), *(one[view][1] for one in fields)])


def valley(fields: list[Seen]) -> float:
    """Return the threshold at which boxes are rarest, on the scale of log-odds."""
    scores = scores_of(fields, f"size {SIZE}").clip(1e-3, 1 - 1e-3)
    odds, places = np.log(scores / (1 - scores)), np.log(THRESHOLDS / (1 - THRESHOLDS))
    density = np.exp(-0.5 * ((places[:, None] - odds) / 0.4) ** 2).sum(1)
    return float(THRESHOLDS[density.argmin()])


def expected_number(fields: list[Seen]) -> float:
    """Return the threshold above which there are as many boxes as the scores add up to."""
    scores = scores_of(fields, f"size {SIZE}")
    above = (scores[:, None] >= THRESHOLDS).sum(0)
    return float(THRESHOLDS[np.abs(above - scores.sum()).argmin()])


def repeated(fields: list[Seen]) -> float:
    """Return the least threshold above which the mirrored field repeats nearly all boxes."""
    from wbcdet.evaluation.detection import match

    for threshold in THRESHOLDS:
        boxes = again = 0
        for one in fields:
            here, scores = one[f"size {SIZE}"]
            there, others = one["mirrored"]
            shown = here[scores >= threshold]
            boxes += len(shown)
            again += len(match(shown, there[others >= threshold]))
        if again >= REPEATED * boxes:
            return float(threshold)
    return float(THRESHOLDS[-1])


def most_decided(fields: list[Seen]) -> str:
    """Return the input size at which most of the boxes are sure."""

    def decided(size: int) -> float:
        scores = scores_of(fields, f"size {size}")
        return float((scores >= 0.5).sum() / max((scores >= 0.1).sum(), 1))

    return f"size {max(SIZES, key=decided)}"


def judge(fields: list[Seen], view: str, threshold: float) -> tuple[float, float, float]:
    """Return the share of cells found, false boxes a field and F1."""
    from wbcdet.evaluation.detection import match

    hits = cells = shown = 0
    for one in fields:
        boxes = one[view][0][one[view][1] >= threshold]
        hits += len(match(one["truth"], boxes))
        cells, shown = cells + len(one["truth"]), shown + len(boxes)
    return hits / max(cells, 1), (shown - hits) / len(fields), 2 * hits / max(cells + shown, 1)


def look(laboratory: str, detectors: list[Path], prepared: Path) -> tuple[list[Seen], list[Seen]]:
    """Return what the detector shows of the unlabelled fields and of the judged ones."""
    from wbcdet.evaluation.benchmarks import prepared_fields
    from wbcdet.evaluation.detection import counting
    from wbcdet.inference import field_stain
    from wbcdet.inference.detector import Detector
    from wbcdet.inference.flipped_views import mirrored, mirrored_boxes

    parts = ("train", "val", "test", "heldout", "crosslab")
    fields = prepared_fields(
        prepared,
        lambda row: (
            row["laboratory"] == laboratory and (row["detect"] in parts or row["classify"] in parts)
        ),
        completed=True,
    )
    drawn = np.random.default_rng(0).permutation(len(fields))
    number = min(FIELDS, len(fields) // 2)
    runs = [run / laboratory / f"models-{SIZE}" for run in detectors]
    weights = next((run for run in runs if run.exists()), None)
    detector = Detector("cpu", weights=weights)
    pictures = [fields[at].read() for at in drawn[:number]]
    measured = [one for one in map(field_stain.measure_stain, pictures) if one is not None]
    constant = tuple(np.median(np.array(measured), 0)) if measured else None

    def seen(at: int) -> Seen:
        labelled = fields[at]
        pixels = labelled.read()

        def kept(found: Boxes) -> Boxes:
            inside = counting(found[0], labelled.boxes, labelled.ignored)
            return found[0][inside], found[1][inside]

        shown: Seen = {"truth": labelled.boxes}
        for size in SIZES:
            detector.card["input_size"] = size
            shown[f"size {size}"] = kept(detector.detect(pixels, LEAST))
        detector.card["input_size"] = SIZE
        boxes, scores = detector.detect(mirrored(pixels, True, False), LEAST)
        height, width = pixels.shape[:2]
        shown["mirrored"] = kept((mirrored_boxes(boxes, True, False, width, height), scores))
        own = field_stain.measure_stain
        field_stain.measure_stain = lambda _: constant  # type: ignore[assignment]
        try:
            shown["stain"] = kept(detector.detect(pixels, LEAST))
        finally:
            field_stain.measure_stain = own
        return shown

    every = [seen(at) for at in drawn[: number + JUDGED]]
    return every[:number], every[number:]


if __name__ == "__main__":
    typer.run(main)
