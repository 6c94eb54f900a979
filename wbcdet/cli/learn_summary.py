"""Say what ``wbcdet learn`` learns from, and what came of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from wbcdet.inference.weights import Model
    from wbcdet.training.finetune.judge import Judgement
    from wbcdet.training.finetune.judge_detector import DetectorJudgement
    from wbcdet.training.finetune.learn_names import LearnedClassifier
    from wbcdet.training.finetune.reviewed_cells import Reviewed
    from wbcdet.training.finetune.reviewed_fields import ReviewedFields

#: Files that are named when they are missing; the rest are counted.
_MAX_NAMED = 3


def print_data(
    reviewed: Reviewed,
    fields: ReviewedFields,
    shipped: tuple[Model, Model],
    no_names: str | None,
    no_finding: str | None,
    *,
    quiet: bool,
) -> None:
    """Say what is learnt from, and what there is too little of, before the minutes of learning."""
    from wbcdet.training.finetune.enough import FEW_CELLS
    from wbcdet.training.finetune.reviewed_cells import DECLINED, MAX_CELLS, MIN_OWN

    for line in reviewed.missing[:_MAX_NAMED]:
        typer.echo(f"wbcdet: left out: {line}", err=True)
    if len(reviewed.missing) > _MAX_NAMED:
        more = len(reviewed.missing) - _MAX_NAMED
        typer.echo(f"wbcdet: and {more} more fields left out", err=True)
    if quiet:
        return
    counts = reviewed.by_class()
    if no_names is None:
        listed = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        number = f"{len(reviewed.cells)} reviewed cells"
        if reviewed.offered > MAX_CELLS:
            number = f"{len(reviewed.cells)} of {reviewed.offered} reviewed cells, drawn by chance"
        print(f"Learning from {number} ({listed}), starting at {shipped[1].name}.")
        if reviewed.own_labels:
            print(f"New labels: {', '.join(reviewed.own_labels)}.")
        four = list(counts)[:4]
        if few := [f"{counts[label]} {label}" for label in four if 0 < counts[label] < FEW_CELLS]:
            print(f"Few cells, of which little is learnt: {', '.join(few)}; {FEW_CELLS} or more "
                  "are better.")  # fmt: skip
        if none := [label for label in four if not counts[label]]:
            print(f"No cell of these, which stay as they are: {', '.join(none)}.")
        if few := [f"{counts[label]} {label}" for label in DECLINED if 0 < counts[label] < MIN_OWN]:
            print(f"Learnt to be declined as before: {', '.join(few)}; to become a label of your "
                  f"own a type needs {MIN_OWN} cells.")  # fmt: skip
    else:
        print(f"Names are not learnt: {no_names}.")
    if reviewed.unknown:
        others = ", ".join(f"{count} {label}" for label, count in reviewed.unknown.most_common())
        print(f"Not learnt: {others}; a label of your own needs {MIN_OWN} cells.")
    if no_finding is None:
        number = f"{len(fields.fields)} reviewed fields"
        if fields.places < len(fields.fields):
            number += f" of {fields.places} places, since some overlap"
        print(
            f"Learning to find from {number} ({fields.drawn} cells drawn, {fields.taken} boxes "
            f"taken away), starting at {shipped[0].name}."
        )
    else:
        print(f"Finding is not learnt: {no_finding}.")
    sys.stdout.flush()


def print_names(learned: LearnedClassifier) -> None:
    """Print how the names of held-back cells came out before and after."""
    from wbcdet.training.finetune.tables import naming_rows
    from wbcdet.utils.tables import Row, print_table, terminal

    heads = ("type", "cells", "right before (95 %)", "right after (95 %)", "gained", "lost")
    rows = [
        Row([str(value) for value in row.values()], "bold" if row["type"] == "all" else "")
        for row in naming_rows(learned.judgement)
    ]
    print_table(terminal(), heads, rows)
    before, after = (100 * share for share in learned.others)
    print(
        "On held-back fields (cross-validation); a type that is no label is right when it is left "
        f"unclassified. Cells of other laboratories (replay set): {before:.1f} % right before, "
        f"{after:.1f} % after."
    )
    print_decision(learned.judgement, "names")


def print_finding(judgement: DetectorJudgement) -> None:
    """Print what was found on held-back fields before and after."""
    from wbcdet.training.finetune.tables import finding_rows
    from wbcdet.utils.tables import Row, print_table, terminal

    rows = [Row(list(row.values())) for row in finding_rows(judgement)]
    heads = (
        "fields",
        "cells",
        "found before (95 %)",
        "found after (95 %)",
        "false before",
        "after",
    )
    print_table(terminal(), heads, rows)
    print_decision(judgement, "finding")


def print_decision(judgement: Judgement | DetectorJudgement, what: str) -> None:
    """Print whether what was learnt is better, and why."""
    if judgement.better:
        print(f"Better on held-back fields ({what}): {judgement.why}.")
    else:
        print(f"Not better than the shipped one ({what}): {judgement.why}.")
