"""Compare input sizes and devices of the detector: on validation fields, then on the test lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Laboratories with a validation part.
VALIDATION = {"raabin": "txl-raabin", "pbc": "txl-pbc"}
TEST = ("bccd", "raabin", "pbc", "bcisc", "tecom", "cellavision", "telephone", "empty")


def main(
    sizes: Annotated[list[int] | None, typer.Option("--size", help="Input size, px.")] = None,
    names: Annotated[list[str] | None, typer.Option("--list", help="Test list.")] = None,
    device: Annotated[str, typer.Option(help="Where the detector runs.")] = "cpu",
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
) -> None:
    """Print recall, false boxes and average precision of every size on every list."""
    from wbcdet.evaluation.benchmarks import load_lists, prepared_fields
    from wbcdet.evaluation.evaluate import TestList, evaluate_list
    from wbcdet.evaluation.infer import FINDING
    from wbcdet.inference.analyzer import Analyzer

    lists = []
    for name, laboratory in VALIDATION.items() if not names else ():
        fields = prepared_fields(
            prepared,
            lambda row, of=laboratory: row["laboratory"] == of and row["detect"] == "val",
        )
        lists.append(TestList(name, f"{name}, validation", (FINDING,), fields))
    lists += [
        labelled
        for labelled in load_lists(names or TEST, prepared, None)
        if FINDING in labelled.tasks
    ]
    analyzer = Analyzer(device=device)
    sizes = sizes or [analyzer.detector.card["input_size"]]
    print("| list | input px | found | false boxes | AP50 | AP50-95 |")
    print("|---|---|---|---|---|---|")
    for labelled in lists:
        for size in sizes:
            analyzer.detector.card["input_size"] = size
            found = evaluate_list(labelled, analyzer, most_pictures=0)[0].figures["finding"]
            precision = [
                f"{found[key]:.3f}" if key in found else "-" for key in ("ap50", "ap50_95")
            ]
            print(
                f"| {labelled.title} | {size} | {found['found']} of {found['cells']} "
                f"| {found['false_boxes']} | {' | '.join(precision)} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
