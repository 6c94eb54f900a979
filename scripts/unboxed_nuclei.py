"""Say how well nuclei outside the boxes point at missed cells (wbcdet/inference/unboxed_nuclei).

Judges the shipped models on fields that were not trained on, and models that never saw a
laboratory, as ``scripts/left_out.py models LABORATORY --out FOLDER`` puts them into a folder, on
all of that laboratory's fields. Prints a table of docs/unknown-ground.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from left_out import _MAX_FIELDS, fields_of

#: Laboratories that the shipped models are judged on.
SHIPPED = ("bccd", "bcisc", "chula-ee", "pbc", "tecom", "txl-raabin", "pbc-second", "cellavision")
#: Those of them that nothing was trained on.
NEVER_TRAINED = ("pbc-second", "cellavision")


def main(
    left_out: Annotated[
        list[str] | None,
        typer.Argument(metavar="LABORATORY=FOLDER", help="Models without a laboratory."),
    ] = None,
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    shipped: Annotated[bool, typer.Option(help="Judge the shipped models, too.")] = True,
) -> None:
    """Judge what is said of missed cells on each laboratory."""
    print(
        "| laboratory | judged | fields | cells | missed | nuclei outside the boxes | on a missed "
        "cell | elsewhere |\n|---|---|---|---|---|---|---|---|"
    )
    for pair in left_out or []:
        laboratory, folder = pair.split("=", 1)
        fields = fields_of(prepared, laboratory)
        fields = fields[:: max(1, len(fields) // _MAX_FIELDS)]
        _print_row(laboratory, "left out of both stages", fields, Path(folder))
    for laboratory in SHIPPED if shipped else ():
        how = "never trained on" if laboratory in NEVER_TRAINED else "test fields"
        _print_row(laboratory, how, _test_fields(prepared, laboratory), None)


def _test_fields(prepared: Path, laboratory: str) -> list[Any]:
    from wbcdet.evaluation.benchmarks import prepared_fields

    parts = ("test", "heldout")
    return prepared_fields(
        prepared,
        lambda row: (
            row["laboratory"] == laboratory
            and (
                laboratory in NEVER_TRAINED
                or row["detect"] in parts
                or (laboratory == "tecom" and row["classify"] in parts)
            )
        ),
        completed=True,
    )


def _print_row(laboratory: str, how: str, fields: list[Any], weights: Path | None) -> None:
    from wbcdet import Analyzer
    from wbcdet.evaluation.detection import counting, match
    from wbcdet.inference.unboxed_nuclei import unboxed_nuclei

    analyzer = Analyzer(weights=weights)
    results = [replace(analyzer.analyze(one.read()), file=one.name) for one in fields]
    nuclei, _ = unboxed_nuclei(results)
    cells = missed = on_missed = elsewhere = 0
    for labelled, result in zip(fields, results, strict=True):
        boxes = np.array([cell.box for cell in result.cells]).reshape(-1, 4)
        boxes = boxes[counting(boxes, labelled.boxes, labelled.ignored)]
        found = {cell for cell, _ in match(labelled.boxes, boxes)}
        rest = np.delete(labelled.boxes, list(found), 0)
        pointed: set[int] = set()
        for nucleus in nuclei:
            if nucleus.file == labelled.name:
                x0, y0, x1, y1 = nucleus.box
                x, y = (x0 + x1) / 2, (y0 + y1) / 2
                inside = (rest[:, 0] <= x) & (x <= rest[:, 2])
                inside &= (rest[:, 1] <= y) & (y <= rest[:, 3])
                pointed.update(np.flatnonzero(inside).tolist())
                elsewhere += not inside.any()
        cells, missed = cells + len(labelled.boxes), missed + len(rest)
        on_missed += len(pointed)
    print(
        f"| {laboratory} | {how} | {len(fields)} | {cells} | {missed} | {len(nuclei)} "
        f"| {on_missed} | {elsewhere} |",
        flush=True,
    )


if __name__ == "__main__":
    typer.run(main)
