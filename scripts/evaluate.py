"""Figures of the shipped models on every test list, printed as tables and kept as JSON.

Test lists are those of datasets/splits.csv; no field of them was trained on. TXL cell types were
read by eye for this project ("silver"), all others come with their data sets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
Prepared = Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")]
Out = Annotated[Path | None, typer.Option(help="JSON file for the figures.")]


def _keep(out: Path | None, figures: dict[str, Any]) -> None:
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _percent(value: float | None, ci: tuple[float, float] | None = None) -> str:
    if value is None:
        return "-"
    text = f"{100 * value:.1f}"
    return text if ci is None else f"{text} ({100 * ci[0]:.1f}-{100 * ci[1]:.1f})"


@app.command()
def detector(
    prepared: Prepared = Path("prepared"),
    out: Out = None,
    confidence: Annotated[float | None, typer.Option(help="Threshold; default: card.")] = None,
) -> None:
    """White cells found, box quality and false boxes on each test list."""
    from wbcdet.detector import Detector
    from wbcdet.training.evaluation import (
        TestField,
        empty_windows,
        judge_detector,
        load_test_fields,
    )
    from wbcdet.training.scenes import SceneMaker
    from wbcdet.training.sources import load_sources

    model = Detector()
    least = model.card["confidence"] if confidence is None else confidence

    def of(laboratory: str, split: str = "test") -> list[TestField]:
        return load_test_fields(
            prepared, lambda r: r["laboratory"] == laboratory and r["detect"] == split
        )

    lists = {
        "BCCD official test": of("bccd"),
        "TXL Raabin test": of("txl-raabin"),
        "TXL PBC test": of("txl-pbc"),
        "BCISC test": of("bcisc"),
        "Tecom test crops": load_test_fields(
            prepared, lambda r: r["laboratory"] == "tecom" and r["classify"] == "test"
        ),
        "CellaVision crops (never trained on)": load_test_fields(
            prepared, lambda r: r["laboratory"] == "cellavision"
        ),
    }
    bccd, bcisc = lists["BCCD official test"], lists["BCISC test"]
    lists["empty windows 512x384 of BCISC test"] = empty_windows(bcisc, 512, 384)
    lists["empty windows 320x240 of BCCD test"] = empty_windows(bccd, 320, 240)
    nothing = np.zeros((0, 4))
    maker = SceneMaker(load_sources(prepared, ("test",)), [], 416)
    phone = [maker.telephone((7, n)) for n in range(100)]
    lists["telephone views 416 px composed of test fields"] = [
        TestField(f"telephone-{n}", image, boxes.astype(float), [""] * len(boxes), nothing)
        for n, (image, boxes) in enumerate(phone)
    ]
    figures: dict[str, Any] = {"model": model.name, "sha256": model.sha256, "confidence": least}
    print(f"{model.name}  sha256 {model.sha256[:12]}  confidence {least}")
    print(
        "| list | fields | cells | AP50 | AP50-95 | recall % (95 %) | precision % | F1 | "
        "false boxes a field |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, fields in lists.items():
        r = figures[name] = judge_detector(model.detect, fields, least)
        if r["cells"]:
            middle = (
                f"{r['ap50']:.3f} | {r['ap50_95']:.3f} | {_percent(r['recall'], r['recall_ci'])} | "
                f"{_percent(r['precision'])} | {r['f1']:.3f}"
            )
        else:
            middle = "- | - | - | - | -"
        print(
            f"| {name} | {r['fields']} | {r['cells']} | {middle} | "
            f"{r['false_per_field']:.3f} ({r['false_boxes']}) |",
            flush=True,
        )
    _keep(out, figures)


def _print_labels(name: str, r: dict[str, Any]) -> None:
    classes = " | ".join(
        f"{_percent(c['precision'])} / {_percent(c['recall'])} / {_percent(c['f1'])} ({c['cells']})"
        for c in r["classes"].values()
    )
    print(
        f"| {name} | {r['cells']} | {_percent(r['accuracy'], r['accuracy_ci'])} | "
        f"{_percent(r['unclassified'])} | {classes} | "
        f"{_percent(r['basophil']['unclassified'])} of {r['basophil']['cells']} | "
        f"{_percent(r['artefact']['unclassified'])} of {r['artefact']['cells']} |",
        flush=True,
    )


LABEL_HEAD = (
    "| list | cells | accuracy % (95 %) | unclassified % | eosinophil P / R / F1 (n) | "
    "lymphocyte | monocyte | neutrophil | basophils unclassified % | artefacts unclassified % |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@app.command()
def classifier(
    prepared: Prepared = Path("prepared"),
    out: Out = None,
    min_score: Annotated[float | None, typer.Option(help="Threshold; default: card.")] = None,
) -> None:
    """Labels of cells cut by their labelled boxes, on each test list."""
    from wbcdet.classifier import Classifier
    from wbcdet.training.cells import load_cells, plain_crop
    from wbcdet.training.evaluation import judge_labels

    model = Classifier()
    least = model.card["min_score"] if min_score is None else min_score
    figures: dict[str, Any] = {"model": model.name, "sha256": model.sha256, "min_score": least}
    print(f"{model.name}  sha256 {model.sha256[:12]}  min_score {least}")
    print(LABEL_HEAD)
    lists = {
        "BCCD": ("bccd", "test"),
        "BCISC": ("bcisc", "test"),
        "Tecom": ("tecom", "test"),
        "TXL Raabin (silver)": ("txl-raabin", "test"),
        "TXL PBC (silver)": ("txl-pbc", "test"),
        "CellaVision (never trained on)": ("cellavision", "crosslab"),
    }
    for name, (laboratory, split) in lists.items():
        cells = load_cells(prepared, (split,), laboratories=(laboratory,))
        odds = model.probabilities([plain_crop(c) for c in cells])
        labels = np.array([c.label for c in cells])
        figures[name] = judge_labels(odds, labels, least)
        _print_labels(name, figures[name])
    _keep(out, figures)


@app.command()
def left_out(
    runs: Annotated[Path, typer.Option(help="Folder with one run a laboratory.")] = Path(
        "runs/left-out"
    ),
    prepared: Prepared = Path("prepared"),
    out: Out = None,
    stages: Annotated[int, typer.Option(help="Stages of the networks.")] = 5,
    head: Annotated[int, typer.Option(help="Channels of their heads.")] = 320,
) -> None:
    """Each laboratory judged by a classifier that was trained on the others alone.

    Temperature comes from the validation cells of the other laboratories; the threshold is that of
    the shipped card.
    """
    from wbcdet.classifier import Classifier
    from wbcdet.training.cells import load_cells, plain_crop
    from wbcdet.training.classifier_training import (
        fit_temperature,
        load_network,
        predict_logits,
        validation_logits,
    )
    from wbcdet.training.evaluation import judge_labels

    least = Classifier().card["min_score"]
    figures: dict[str, Any] = {"min_score": least}
    print(LABEL_HEAD)
    for laboratory in ("bccd", "bcisc", "tecom", "txl-raabin", "txl-pbc"):
        network = load_network(runs / laboratory / "classifier.safetensors", stages, head)
        temperature = fit_temperature(*validation_logits(network, prepared, (laboratory,)))
        every = ("train", "val", "test", "heldout")
        cells = load_cells(prepared, every, laboratories=(laboratory,))
        logits = predict_logits(network, [plain_crop(c) for c in cells]) / temperature
        odds = np.exp(logits - logits.max(1, keepdims=True))
        odds /= odds.sum(1, keepdims=True)
        labels = np.array([c.label for c in cells])
        figures[laboratory] = judge_labels(odds, labels, least)
        _print_labels(laboratory, figures[laboratory])
    mean = float(np.mean([r["accuracy"] for r in figures.values() if isinstance(r, dict)]))
    figures["mean_accuracy"] = mean
    print(f"mean accuracy of the four classes: {_percent(mean)} %")
    _keep(out, figures)


@app.command()
def pipeline(prepared: Prepared = Path("prepared"), out: Out = None) -> None:
    """Both stages together on the BCCD fields that neither stage has seen."""
    from wbcdet import Analyzer
    from wbcdet.training.evaluation import interval, load_test_fields, match

    def unseen(row: dict[str, str]) -> bool:
        return (
            row["laboratory"] == "bccd"
            and row["classify"] in ("test", "heldout")
            and row["detect"] in ("test", "heldout")
        )

    analyzer = Analyzer()
    fields = load_test_fields(prepared, unseen)
    cells = found = false = known = right = open_ = exact = 0
    for f in fields:
        result = analyzer.analyze(f.image)
        boxes = np.array([c.box for c in result.cells]).reshape(-1, 4)
        pairs = match(f.truth, boxes)
        cells += len(f.truth)
        found += len(pairs)
        false += len(boxes) - len(pairs)
        exact += len(boxes) == len(f.truth)
        for t, kind in enumerate(f.types):
            if kind in ("eosinophil", "lymphocyte", "monocyte", "neutrophil"):
                known += 1
                said = [str(result.cells[b].label) for a, b in pairs if a == t]
                right += said == [kind]
                open_ += said == ["unclassified"]
    figures = {
        "fields": len(fields), "cells": cells, "found": found, "false_boxes": false,
        "exact_counts": exact, "typed_cells": known, "found_and_named": right,
        "unclassified": open_,
    }  # fmt: skip
    print(
        "| fields | cells | found % (95 %) | false boxes a field | fields counted exactly % | "
        "found and named % (95 %) | unclassified |"
    )
    print("|---|---|---|---|---|---|---|")
    print(
        f"| {len(fields)} | {cells} | {_percent(found / cells, interval(found, cells))} | "
        f"{false / len(fields):.3f} ({false}) | {_percent(exact / len(fields))} | "
        f"{_percent(right / known, interval(right, known))} of {known} | {open_} |"
    )
    _keep(out, figures)


if __name__ == "__main__":
    app()
