"""Print how many cells of other types are declined, and for which reason.

Judges the shipped classifier on the test part of PBC and on pictures of its second camera, which
nothing was trained on.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer


def main(
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
) -> None:
    """Print one row for each class of each list."""
    from wbcdet.datasets.cells import CLASSES, load_cells
    from wbcdet.inference.classifier import Classifier
    from wbcdet.records import LABELS

    classifier = Classifier("cpu")
    print("| list | class | cells | declined % | right name % | as what |")
    print("|---|---|---|---|---|---|")
    for title, laboratory, part in (
        ("PBC test", "pbc", "test"),
        ("PBC, its second camera", "pbc-second", "crosslab"),
    ):
        cells = load_cells(prepared, (part,), laboratories=(laboratory,))
        said: dict[str, Counter[str]] = {}
        for cell in cells:
            crop = classifier.crop(cell.patch, np.array(cell.box))
            [verdict] = classifier.classify([crop])
            said.setdefault(CLASSES[cell.label], Counter())[
                verdict.reason or str(verdict.label)
            ] += 1
        for name in (c for c in CLASSES if c in said):
            found, number = said[name], sum(said[name].values())
            named = sum(found[str(label)] for label in LABELS)
            right = f"{100 * found[name] / number:.1f}" if name in map(str, LABELS) else "-"
            what = ", ".join(f"{k} {v}" for k, v in found.most_common())
            print(
                f"| {title} | {name} | {number} | {100 * (number - named) / number:.1f} "
                f"| {right} | {what} |"
            )


if __name__ == "__main__":
    typer.run(main)
