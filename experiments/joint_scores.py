"""Compare finding by the detector alone with finding by both stages (wbcdet/inference/joint_score).

Takes models that never saw a laboratory, as ``scripts/left_out.py models LABORATORY --out FOLDER``
puts them into a folder, and judges them on that laboratory's fields. Prints a table of
docs/results.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from left_out import _MAX_FIELDS, ALLOWED_FALSE, fields_of, find_cells, judge_finding


def main(
    left_out: Annotated[
        list[str], typer.Argument(metavar="LABORATORY=FOLDER", help="Models without a laboratory.")
    ],
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
) -> None:
    """Judge left-out models on their laboratory, by the detector alone and by both stages."""
    from wbcdet import Analyzer
    from wbcdet.evaluation.infer import FINDING, observe

    print(
        f"| laboratory | scored by | cells | found % at threshold | false a field | found % at"
        f" {ALLOWED_FALSE} false | its threshold |\n|---|---|---|---|---|---|---|"
    )
    for pair in left_out:
        laboratory, folder = pair.split("=", 1)
        analyzer = Analyzer(weights=Path(folder))
        fields = fields_of(prepared, laboratory)
        fields = fields[:: max(1, len(fields) // _MAX_FIELDS)]
        seen = [one.found for one, _ in observe(fields, analyzer, (FINDING,), [])]
        for name, found in (
            ("detector", find_cells(Path(folder), prepared, laboratory)),
            ("both stages", seen),
        ):
            row = judge_finding(found, analyzer.detector.threshold())
            print(
                f"| {laboratory} | {name} | {row['cells']} | {100 * row['recall']:.1f} "
                f"| {row['false_per_field']:.3f} | {100 * row['recall_at_allowed']:.1f} "
                f"| {row['threshold_at_allowed']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
