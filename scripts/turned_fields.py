"""Count the fields that give equal numbers of cells when turned, with and without --careful.

Each field is looked at as it is, turned by half, and mirrored. Prints the table of
docs/unknown-ground.md, with the time that a field takes.
"""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import cv2
import numpy as np
import typer

if TYPE_CHECKING:
    from wbcdet import Analyzer
    from wbcdet.records import FieldResult


def fields_of(prepared: Path) -> dict[str, list[Path]]:
    """Return the fields of each laboratory that the detector was not trained on."""
    fields: dict[str, list[Path]] = defaultdict(list)
    with (prepared / "fields.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["detect"] != "train":
                fields[row["laboratory"]].append(prepared / "fields" / row["field"])
    return dict(fields)


def names(result: FieldResult) -> list[str]:
    return sorted(str(cell.label) for cell in result.cells)


def look(analyzer: Analyzer, pixels: np.ndarray) -> tuple[FieldResult, float]:
    """Return what the analyzer says of a field, and the seconds of processor time that it took."""
    start = time.process_time()
    return analyzer.analyze(pixels), time.process_time() - start


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    most: Annotated[int, typer.Option(help="Fields of a laboratory, at most.")] = 100,
) -> None:
    """Look at fields in three positions, with and without --careful."""
    from wbcdet import Analyzer

    cv2.setNumThreads(1)
    plain, careful = (Analyzer(device="cpu", careful=value) for value in (False, True))
    rng = np.random.default_rng(0)
    print(
        "| laboratory | fields | equal when turned by half % | mirrored % | same names % | "
        "careful: turned | mirrored | same names | cells, careful | ms a field | careful |"
    )
    print(f"|{'---|' * 11}")
    total = np.zeros(11)
    for lab, paths in fields_of(prepared).items():
        chosen = [paths[i] for i in sorted(rng.permutation(len(paths))[:most])]
        sums = np.zeros(11)
        for path in chosen:
            pixels = cv2.imread(str(path))
            assert pixels is not None, path
            positions = [pixels, pixels[::-1, ::-1], pixels[:, ::-1]]
            row = [1.0]
            cells, spent = [], []
            for analyzer in (plain, careful):
                seen = [look(analyzer, np.ascontiguousarray(position)) for position in positions]
                first, turned, mirrored = (results for results, _ in seen)
                row += [
                    len(first.cells) == len(turned.cells),
                    len(first.cells) == len(mirrored.cells),
                    names(first) == names(turned),
                ]
                cells.append(len(first.cells))
                spent.append(1e3 * sum(seconds for _, seconds in seen) / len(seen))
            sums += [*row, *cells, *spent]
        total += sums
        print_row(lab, sums)
    print_row("all", total)


def print_row(lab: str, sums: np.ndarray) -> None:
    fields = sums[0]
    shares = [f"{100 * total / fields:.1f}" for total in sums[1:7]]
    cells = f"{sums[7]:.0f}, {sums[8]:.0f}"
    times = [f"{total / fields:.0f}" for total in sums[9:]]
    print(f"| {lab} | {fields:.0f} | {' | '.join((*shares, cells, *times))} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
