"""Choose the cells whose review teaches the classifier most: of all types, unlike each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch

from wbcdet.datasets.cells import CLASSES, LabelledCell
from wbcdet.inference.cards import ClassifierCard
from wbcdet.inference.weights import Model
from wbcdet.io.errors import FieldError
from wbcdet.records import LABELS
from wbcdet.review.cell_state import Key
from wbcdet.review.images import PictureError
from wbcdet.review.session import Session
from wbcdet.training.augment_cells import plain_crop
from wbcdet.training.classifier_training import load_network, predict_outputs
from wbcdet.training.finetune.reviewed_cells import patch_of
from wbcdet.utils.calibration import softmax
from wbcdet.utils.parallel import cores

#: Cells among which is chosen, at most; more are drawn by chance.
MAX_CANDIDATES = 4000


def choose(
    probabilities: np.ndarray, features: np.ndarray, number: int, known: np.ndarray | None = None
) -> list[int]:
    """Return indices of the cells to review, the most useful first.

    One cell of each type in turn, as the classifier sees them, so that rare types are there too;
    of a type always the one that is farthest from all that were chosen before (the k-centre rule:
    Sener and Savarese 2018). Doubt decides the first cell alone: to follow it costs more cells
    than chance where the classifier is often wrong and sure of it (``docs/learn.md``).

    Args:
        probabilities: (N, classes) of the candidates.
        features: (N, F) of the candidates.
        number: how many to choose.
        known: (M, F) features of cells that are reviewed already.
    """
    if not len(probabilities):
        return []
    top = np.sort(probabilities, 1)
    doubt = 1 - (top[:, -1] - top[:, -2])
    said = probabilities[:, : len(LABELS)].argmax(1)
    spread = features.std(0) + 1e-6
    points = features / spread
    away = np.full(len(points), np.inf)
    for point in () if known is None else known / spread:
        away = np.minimum(away, ((points - point) ** 2).sum(1))
    # Types in the order of their most doubtful cell.
    kinds = sorted(set(said.tolist()), key=lambda kind: -doubt[said == kind].max())
    left = np.ones(len(points), bool)
    chosen: list[int] = []
    while left.any() and len(chosen) < number:
        for kind in kinds:
            of_kind = np.flatnonzero(left & (said == kind))
            if not len(of_kind) or len(chosen) == number:
                continue
            # Before there is anything to be away from, the most doubtful cell.
            worth = doubt if np.isinf(away).all() else away
            best = int(of_kind[worth[of_kind].argmax()])
            chosen.append(best)
            left[best] = False
            away = np.minimum(away, ((points - points[best]) ** 2).sum(1))
    return chosen


def most_useful(
    session: Session, model: Model, number: int, tick: Callable[[], object] = lambda: None
) -> list[Key]:
    """Return the cells of a report to review first.

    Args:
        session: the review.
        model: the shipped classifier, which learning starts from.
        number: how many to choose.
        tick: called after every cell.

    Raises:
        TrainingError: the classifier has no weights to look into.
    """
    torch.set_num_threads(cores())
    state = session.state
    keys = [key for key, cell in state.cells.items() if cell.is_present and state.counts(key)]
    if len(keys) > MAX_CANDIDATES:
        drawn = np.random.default_rng(0).choice(len(keys), MAX_CANDIDATES, replace=False)
        keys = [keys[place] for place in sorted(drawn)]
    cells: list[LabelledCell] = []
    there: list[Key] = []
    for key in sorted(keys):
        tick()
        try:
            patch, box = patch_of(session.pictures.field(key[0]), state.cells[key].box)
        except (PictureError, FieldError):
            continue  # the page says which fields cannot be shown
        cells.append(LabelledCell("", "", "", "", patch, box, 0, False))
        there.append(key)
    card = cast("ClassifierCard", model.card)
    network = load_network(model.training_path, card.get("stages", 5), card.get("head", 320))
    logits, features = predict_outputs(network, (plain_crop(cell) for cell in cells))
    open_ = np.array([not state.cells[key].reviewed for key in there], bool)
    odds = softmax(logits / card["temperature"]) if len(logits) else np.zeros((0, len(CLASSES)))
    chosen = choose(odds[open_], features[open_], number, features[~open_])
    places = np.flatnonzero(open_)
    return [there[places[place]] for place in chosen]
