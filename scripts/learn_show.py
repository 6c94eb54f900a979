"""Show what `wbcdet learn` brings: laboratories that the models have never seen, some of their
cells and fields reviewed, and the rest judged before and after.

Needs the prepared folder and the runs of `python scripts/left_out.py` (networks that were trained
without each laboratory); PBC's second camera and CellaVision were never trained on, so the shipped
models stand for theirs. Three fifths of the groups (slides, overlapping fields) of a laboratory are
learnt from, its types spread over both parts, and the rest is judged, so that no slide is on both
sides; of a type as many cells are drawn as of the others, as far as there are so many. Every row is
appended to a file as soon as it is there, and an interrupted call goes on where it was; at the end
the tables are printed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from learn_show_finding import FIELDS, FINDING, find_after
from learn_show_names import NAMES, Laboratory, adapt, compare_choice, name_after, own_label
from learn_show_tables import print_tables

PARTS = ("names", "finding", "useful", "own", "adapt")
#: Cells of one type that is learnt as a label of its own.
OWN_CELLS = 30


def main(
    classifiers: Annotated[
        Path, typer.Option(help="Folder of `left_out.py classifier`, a run each.")
    ] = Path("runs/left-out-classifier"),
    models: Annotated[
        Path, typer.Option(help="Folder of `left_out.py models`, a folder for each laboratory.")
    ] = Path("runs/left-out-models"),
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
    only: Annotated[list[str] | None, typer.Option(help="Laboratory; may be repeated.")] = None,
    part: Annotated[
        list[str] | None, typer.Option(help=f"Part of {', '.join(PARTS)}; may be repeated.")
    ] = None,
    sizes: Annotated[str, typer.Option(help="Numbers of reviewed cells.")] = "100,20,50,200,500",
    draws: Annotated[int, typer.Option(help="Random draws of each number.")] = 1,
    out: Annotated[Path, typer.Option(help="File that the rows are appended to.")] = Path(
        "runs/learn.jsonl"
    ),
) -> None:
    """Make the rows that are missing, then print the tables."""
    import torch

    from wbcdet.utils.parallel import cores

    torch.set_num_threads(cores())
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    rows = list({row["key"]: row for row in map(json.loads, lines)}.values())
    keys = {row["key"] for row in rows}
    for work in _works(only, part or list(PARTS), [int(size) for size in sizes.split(",")], draws):
        if work.key in keys:
            continue
        made = work.run(classifiers, models, prepared, out.parent / "learn-maps")
        if made is not None:
            rows.append({"key": work.key, **made})
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(json.dumps(rows[-1]), flush=True)
    print_tables(rows)


@dataclass(frozen=True, slots=True)
class Work:
    """One row to be made."""

    part: str
    laboratory: str
    size: int = 0
    draw: int = 0

    @property
    def key(self) -> str:
        return f"{self.part} {self.laboratory} {self.size} {self.draw}"

    def run(
        self, classifiers: Path, models: Path, prepared: Path, kept: Path
    ) -> dict[str, Any] | None:
        """Return the figures of the row; None where the laboratory is too small for it."""
        head = {"part": self.part, "laboratory": self.laboratory, "size": self.size}
        if self.part == "finding":
            figures = find_after(self.laboratory, self.draw, models, prepared)
            return {**head, **figures}
        lab = Laboratory(self.laboratory, classifiers, prepared, kept)
        figures_or_none = {
            "names": name_after, "useful": compare_choice, "own": own_label, "adapt": adapt,
        }[self.part](lab, self.size, self.draw)  # fmt: skip
        return None if figures_or_none is None else {**head, **figures_or_none}


def _works(
    only: list[str] | None, parts: list[str], sizes: list[int], draws: int
) -> Iterator[Work]:
    labs = [name for name in NAMES if not only or name in only]
    if "names" in parts:
        yield from (Work("names", lab, sizes[0], 0) for lab in labs)
    if "finding" in parts:
        yield from (Work("finding", lab, FIELDS) for lab in FINDING if not only or lab in only)
    if "adapt" in parts:
        yield from (Work("adapt", lab, 50) for lab in labs)
    if "names" in parts:
        yield from (Work("names", lab, size, 0) for size in sizes[1:] for lab in labs)
    if "useful" in parts:
        yield from (Work("useful", lab, 50) for lab in labs[:5])
    if "own" in parts:
        yield from (Work("own", lab, OWN_CELLS) for lab in labs)
    if "names" in parts:
        for draw in range(1, draws):
            yield from (Work("names", lab, size, draw) for size in sizes for lab in labs)


if __name__ == "__main__":
    typer.run(main)
