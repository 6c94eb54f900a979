"""What the first looks of the detector spare and cost, on the test lists: every field seen at the
full input at once, and with first looks before it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import numpy as np
import typer

#: Lists on which cells are to be found.
LISTS = (
    "bccd", "raabin", "pbc", "pbc-experts", "chula-ee", "bcisc", "tecom", "cellavision",
    "pbc-second", "empty", "telephone",
)  # fmt: skip


def main(
    names: Annotated[list[str] | None, typer.Option("--list", help="Test list.")] = None,
    prepared: Annotated[Path, typer.Option(help="Folder of `wbcdet data prepare`.")] = Path(
        "prepared"
    ),
) -> None:
    """Print found cells, false boxes, how well boxes fit, and where each field ends."""
    from wbcdet.evaluation.benchmarks import load_lists
    from wbcdet.evaluation.infer import FINDING

    print("| list | full input at once | first looks | IoU: full, first | AP50-95: full, first |"
          " ends at 128, 256 px | second look | graph, ms: full, first |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for labelled in load_lists(names or LISTS, prepared, None):
        if FINDING not in labelled.tasks:
            continue
        full, first = (_measure(labelled.fields, looks) for looks in (False, True))
        ends, number = first["ends"], len(labelled.fields)
        share = ", ".join(f"{100 * ends[size] / number:.0f}" for size in (128, 256))
        print(
            f"| {labelled.title} "
            f"| {full['found']}; {full['false']} | {first['found']}; {first['false']} "
            f"| {_pair(full['iou'], first['iou'])} | {_pair(full['ap'], first['ap'])} | {share} % "
            f"| {100 * first['doubtful'] / number:.0f} % | {full['ms']:.1f}, {first['ms']:.1f} |",
            flush=True,
        )


def _pair(full: str, first: str) -> str:
    return f"{full}, {first}" if full != "-" else "-"


def _measure(fields: Any, looks: bool) -> dict[str, Any]:
    """Return the figures of a list, with first looks or without; times are those of one thread."""
    from wbcdet.evaluation.detection import judge_detector, match
    from wbcdet.evaluation.infer import FINDING, box_threshold, observe
    from wbcdet.inference import detector as module
    from wbcdet.inference import first_look as first_look_module
    from wbcdet.inference.analyzer import Analyzer

    analyzer = Analyzer(threads=1)
    backend, ends, spent = analyzer.detector._backend, Counter(), [0.0]
    run, settle = backend.run, module.settle_doubts
    sides: list[int] = []

    def timed(tensor: np.ndarray) -> Any:
        begun = time.thread_time()
        rows = run(tensor)
        spent[0] += time.thread_time() - begun
        sides.append(max(tensor.shape[2:]))
        return rows

    def settled(*given: Any) -> Any:
        ends["doubtful"] += 1
        return settle(*given)

    found = []
    with (
        patch.object(backend, "run", timed),
        patch.object(module, "settle_doubts", settled),
        patch.object(first_look_module, "LOOKS", first_look_module.LOOKS if looks else ()),
    ):
        problems: list[Any] = []
        for observation, _ in observe(fields, analyzer, (FINDING,), problems):
            found.append(observation.found)
            ends[max(sides)] += 1
            sides.clear()
    assert not problems, problems
    threshold = box_threshold(analyzer)
    row = judge_detector(found, threshold)
    fits = [
        _iou(f.truth[t], f.boxes[f.scores >= threshold][b])
        for f in found
        for t, b in match(f.truth, f.boxes[f.scores >= threshold])
    ]
    return {
        "found": f"{row['found']} of {row['cells']}" if row["cells"] else "-",
        "false": row["false_boxes"],
        "iou": f"{np.mean(fits):.3f}" if fits else "-",
        "ap": f"{row['ap50_95']:.3f}" if "ap50_95" in row else "-",
        "ends": ends,
        "doubtful": ends["doubtful"],
        "ms": 1000 * spent[0] / max(len(found), 1),
    }


def _iou(cell: np.ndarray, box: np.ndarray) -> float:
    from wbcdet.utils.boxes import iou_matrix

    return float(iou_matrix(cell[None], box[None])[0, 0])


if __name__ == "__main__":
    typer.run(main)
