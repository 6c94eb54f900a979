"""See whether enough is reviewed to learn from."""

from __future__ import annotations

from wbcdet.training.finetune.judge import FOLDS
from wbcdet.training.finetune.judge_detector import DETECTOR_FOLDS
from wbcdet.training.finetune.reviewed_cells import Reviewed
from wbcdet.training.finetune.reviewed_fields import ReviewedFields

#: Fewest cells to learn names from, and fewest of each of two types.
MIN_CELLS, MIN_OF_A_TYPE = 50, 5
#: Cells of a type below which little of it is learnt, which is said.
FEW_CELLS = 10
#: Fewest reviewed fields to learn finding from, and fewest cells drawn and boxes taken away.
MIN_FIELDS, MIN_CORRECTIONS = 10, 5


def check_cells(reviewed: Reviewed) -> str | None:
    """Return why there are too few cells to learn names from; None where there are enough."""
    counts = reviewed.by_class()
    total = sum(counts.values())
    if total < MIN_CELLS:
        also = f"; {reviewed.missing[0]}" if reviewed.missing else ""
        return (
            f"{total} reviewed cells to learn from, at least {MIN_CELLS} are needed: review more "
            f"of them (wbcdet review), names that are right too (Space){also}"
        )
    if sum(count >= MIN_OF_A_TYPE for count in counts.values()) < 2:
        return f"at least {MIN_OF_A_TYPE} cells of each of two types are needed: " + ", ".join(
            f"{count} {name}" for name, count in counts.items() if count
        )
    if len({cell.group for cell in reviewed.cells}) < FOLDS:
        return f"the cells must come from at least {FOLDS} fields, so that some can be held back"
    return None


def check_fields(fields: ReviewedFields) -> str | None:
    """Return why there is too little to learn finding from; None where there is enough."""
    corrections = fields.drawn + fields.taken
    also = ""
    if fields.missing:
        also = f"; {len(fields.missing)} more cannot be read: {fields.missing[0]}"
    if len(fields.fields) < MIN_FIELDS:
        return (
            f"{len(fields.fields)} fields in which every cell is reviewed, at least {MIN_FIELDS} "
            f"are needed ({fields.unfinished} more are reviewed in part){also}"
        )
    if fields.places < DETECTOR_FOLDS:
        return (
            f"the {len(fields.fields)} fields in which every cell is reviewed overlap with each "
            "other, so that none can be held back: review fields of another place or slide too"
        )
    if corrections < MIN_CORRECTIONS:
        return (
            f"{fields.drawn} cells drawn and {fields.taken} boxes taken away in "
            f"{len(fields.fields)} reviewed fields: there is nothing to learn, it finds these cells"
            f"{also}"
        )
    return None
