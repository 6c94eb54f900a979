"""Count the labelled white cells that were found or missed, and named or declined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wbcdet.evaluation.classification import FOUR, NOT_FOUND, UNCLASSIFIED, is_right
from wbcdet.evaluation.figures import Outcome
from wbcdet.evaluation.infer import Observation


def judge_outcome(observations: Sequence[Observation]) -> Outcome | None:
    """Count the white cells that both stages found and missed, named and declined.

    Returns:
        ``cells`` = ``found`` + ``missed``; ``found`` = ``named`` + ``declined``;
        ``named_of_known_type``, of how many of those named a label tells the type; ``right``, how
        many of these have the right name (None where no label names one of the four types). None
        where both stages did not look at any labelled cell.
    """
    cells = list(_cells(observations))
    if not cells:
        return None
    found = [(truth, said) for truth, said in cells if said is not None]
    named = [(truth, said) for truth, said in found if said != UNCLASSIFIED]
    # Of a cell labelled as a white cell alone nobody knows whether its name is right.
    known = [(truth, said) for truth, said in named if truth]
    typed = any(truth in FOUR for truth, _ in cells)
    return {
        "cells": len(cells),
        "found": len(found),
        "named": len(named),
        "named_of_known_type": len(known),
        "right": sum(is_right(truth, said) for truth, said in known) if typed else None,
        "declined": len(found) - len(named),
        "missed": len(cells) - len(found),
    }


def in_words(r: Outcome) -> str:
    """Return the numbers in one sentence."""
    right = "" if r["right"] is None else f" ({right_of(r, 'them')} right)"
    return (
        f"Of {r['cells']} labelled white cells, {r['found']} were found and {r['missed']} missed; "
        f"of those found, {r['named']} were named{right} and {r['declined']} declined."
    )


def right_of(r: Outcome, all_of_them: str = "") -> str:
    """Return how many names are right, with the number of cells that this is of where the type of
    some named cells is unknown, else with what is said of all."""
    known = r["named_of_known_type"]
    of = f"{known} of known type" if known < r["named"] else all_of_them
    return f"{r['right']} of {of}" if of else str(r["right"])


def _cells(observations: Sequence[Observation]) -> Iterator[tuple[str, str | None]]:
    """Yield type and given label of each labelled white cell; None where it was not found."""
    for observation in observations:
        if observation.labelled.picture_type is not None:
            for cell in observation.named:
                if cell.truth != "artefact":
                    yield cell.truth, None if cell.named == NOT_FOUND else cell.named
        elif observation.analysed is not None:
            said = {
                t: str(observation.analysed.cells[c].label) for t, c in observation.analysed.pairs()
            }
            for number, kind in enumerate(observation.analysed.types):
                yield kind, said.get(number)
