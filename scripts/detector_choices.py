"""Compare input sizes and backends of the detector on validation fields, then on the test lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: Laboratories with a validation part.
VALIDATION = {"raabin": "txl-raabin", "pbc": "txl-pbc"}
TEST = ("bccd", "raabin", "pbc", "bcisc", "tecom", "cellavision", "empty", "telephone")


def main(
    sizes: Annotated[list[int] | None, typer.Option("--size", help="Input size, px.")] = None,
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
) -> None:
    """Print recall, false boxes a field and average precision of every choice on every list."""
    from wbcdet.analyzer import Analyzer
    from wbcdet.evaluation.lists import load_lists, prepared_fields
    from wbcdet.evaluation.observe import FINDING
    from wbcdet.evaluation.run import TestList, evaluate_list

    lists = []
    for name, laboratory in VALIDATION.items():
        fields = prepared_fields(
            prepared,
            lambda row, of=laboratory: row["laboratory"] == of and row["detect"] == "val",
        )
        lists.append(TestList(name, f"{name}, validation", (FINDING,), fields))
    lists += [one for one in load_lists(TEST, prepared, None) if FINDING in one.tasks]
    analyzer = Analyzer(device="cpu")
    shipped = analyzer.detector.card["input_size"]
    print("| list | input px | recall % | false boxes a field | AP50 | AP50-95 |")
    print("|---|---|---|---|---|---|")
    for one in lists:
        for size in sizes or [shipped]:
            analyzer.detector.card["input_size"] = size
            found = evaluate_list(one, analyzer, most_pictures=0)[0].figures["finding"]
            print(one.title, size, found, flush=True)


if __name__ == "__main__":
    typer.run(main)
