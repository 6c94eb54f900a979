"""One score of a box, of what both stages say: is this a white cell?

The classifier knows platelets and artefacts from cells, and it has learnt that from other pictures
than the detector. So in a laboratory unknown to both, a box that the detector is not sure of is a
cell where the classifier sees one, and a box that is barely above the threshold is none where it
sees a platelet. docs/results.md has what that gives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from wbcdet.inference.classifier import Classification
from wbcdet.utils.boxes import Box, part_of_smaller

#: What the classifier's log odds of "no white cell" weigh beside the detector's of a cell.
_WEIGHT = 0.35
#: Log odds of "no white cell" that say nothing either way: a probability of 0.12.
_NEUTRAL = -2.0
#: Probabilities nearer to 0 and 1 are taken for this.
_LEAST = 1e-4
#: A box below the detector's own threshold that shares more than this, of the smaller of both, with
#: a better one is a part of that cell, or of a clump.
_SHARED = 0.5

Named = tuple[Box, float, Classification]


def joint_score(score: float, no_cell: float | None) -> float:
    """Return how sure both stages are that a box is a white cell, 0..1.

    Args:
        score: the detector's.
        no_cell: the classifier's probability that it is a platelet or an artefact; None where it
            does not tell.
    """
    if no_cell is None:
        return score
    return 1 / (1 + math.exp(_WEIGHT * (_log_odds(no_cell) - _NEUTRAL) - _log_odds(score)))


def settle(
    found: Sequence[Named], least: float, own: float, weakest: float
) -> tuple[list[Named], list[float]]:
    """Return the cells of a field with their joint scores, best first, and the scores of the boxes
    that are nearly cells.

    Args:
        found: box, detector's score and verdict of the classifier, of all that may be cells.
        least: score from which a box is a cell.
        own: the detector's own threshold.
        weakest: a box of which the detector sees less stays below this.
    """
    scored = []
    for box, score, verdict in found:
        joint = joint_score(score, verdict.no_cell)
        scored.append((min(joint, score) if score < weakest else joint, score, box, verdict))
    scored.sort(key=lambda one: (-one[0], one[2]))
    cells: list[Named] = []
    nearly: list[float] = []
    for joint, score, box, verdict in scored:
        is_part = score < own and any(part_of_smaller(box, cell[0]) > _SHARED for cell in cells)
        if is_part:
            continue
        if joint >= least:
            cells.append((box, joint, verdict))
        elif joint >= weakest:
            nearly.append(joint)
    return cells, nearly


def _log_odds(probability: float) -> float:
    inside = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(inside / (1 - inside))
