"""Fine-tune the classifier on reviewed cells, and judge it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from wbcdet.inference.cards import ClassifierCard
from wbcdet.inference.weights import Model
from wbcdet.training.classifier_training import load_network
from wbcdet.training.finetune import tune
from wbcdet.training.finetune.judge import (
    FOLDS,
    Judgement,
    cross_validated,
    fit_temperature,
    is_right,
    judge,
)
from wbcdet.training.finetune.kept import Kept
from wbcdet.training.finetune.learnt_distance import LearntDistance, LearntDistances
from wbcdet.training.finetune.replay import FILE, Replay, load_replay
from wbcdet.training.finetune.reviewed_cells import Reviewed
from wbcdet.training.leucocytenet import FeatureDistance, LeucoCyteNet
from wbcdet.utils.parallel import cores
from wbcdet.utils.progress import progress

#: Every so manieth cell of the replay is held back to see what is forgotten.
REPLAY_PART = 4
#: Share of right names of other laboratories that learning may cost.
MAX_FORGOTTEN = 0.01


@dataclass(frozen=True, slots=True)
class LearnedClassifier:
    """A fine-tuned classifier and the judgement on it.

    Attributes:
        network: learnt from all cells.
        temperature: divisor of its logits.
        judgement: by cross-validation.
        distance: from the cells of the replay and the laboratory's; None where the classifier that
            it was made from has none.
        distance_limit: the greatest distance of a cell that gets a name.
        others: share of the held-back replay named right, before and after.
    """

    network: LeucoCyteNet
    temperature: float
    judgement: Judgement
    distance: FeatureDistance | None
    distance_limit: float
    others: tuple[float, float]


def learn_names(model: Model, reviewed: Reviewed, kept: Kept, *, quiet: bool) -> LearnedClassifier:
    """Fine-tune a classifier and judge it on held-back cells.

    Args:
        model: the classifier to start from; its safetensors and replay set stand beside it.
        reviewed: the cells.
        kept: what an interrupted run has done.
        quiet: show no progress.

    Raises:
        TrainingError: there are no weights to start from.
    """
    torch.set_num_threads(cores())
    card = cast("ClassifierCard", model.card)
    path = model.training_path
    network = load_network(path, card.get("stages", 5), card.get("head", 320))
    assert isinstance(network, LeucoCyteNet)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    replay, held = load_replay(path.with_name(FILE), digest).split(REPLAY_PART)
    labels = np.array([cell.label for cell in reviewed.cells])
    groups = [cell.group for cell in reviewed.cells]
    with progress("Cutting cells", len(reviewed.cells), quiet) as tick:
        maps = tune.FeatureMaps(network, reviewed.cells, tick)
    every = np.arange(len(labels))
    own, own_labels = reviewed.own, reviewed.own_labels
    taught, known = tune.outputs(network, replay.maps)
    distances = LearntDistances(path, card, known, replay, maps)
    with progress("Learning names", (FOLDS + 1) * tune.STEPS, quiet) as tick:
        learnt_all = _tuned(network, maps, every, replay, taught, kept.path("names"), tick)
        share = kept_share(network, learnt_all, held, card, own, own_labels)
        tuned = tune.averaged(network, learnt_all, share)
        away = np.zeros(len(labels))

        def held_back(learnt: np.ndarray, rest: np.ndarray, part: int) -> np.ndarray:
            file = kept.path(f"names-{part}")
            one = _tuned(network, maps, learnt, replay, taught, file, tick)
            mixed = tune.averaged(network, one, share)
            logits, features = tune.outputs(mixed, maps.plain(rest))
            away[rest] = distances.after(mixed, learnt).away(features)
            return logits

        after = cross_validated(held_back, groups, labels)
    temperature = fit_temperature(after, labels, card["temperature"])
    least, reasons = card["min_score"], card.get("reasons")
    before, features = tune.outputs(network, maps.plain(every))
    new_distance = distances.after(tuned, every)
    # Each as the classifier names them that is in use before, or the one that is installed after.
    first = (card["temperature"], least, (), (), reasons, distances.before.away(features))
    then = (temperature, least, own, own_labels, reasons, away)
    judgement = judge(
        is_right(before, labels, *first), is_right(after, labels, *then), labels, groups, own
    )
    others = [
        _known_right(network, held, card, card["temperature"], distance=distances.before),
        _known_right(tuned, held, card, temperature, own, own_labels, new_distance),
    ]
    if judgement.better and others[1] < others[0] - MAX_FORGOTTEN:
        why = (
            f"it would forget other laboratories: {100 * others[0]:.1f} % of their cells are named "
            f"right before, {100 * others[1]:.1f} % after"
        )
        judgement = Judgement(judgement.rows, judgement.p, False, why)
    return LearnedClassifier(
        tuned,
        temperature,
        judgement,
        new_distance.distance,
        new_distance.limit,
        (others[0], others[1]),
    )


def kept_share(
    network: LeucoCyteNet,
    tuned: LeucoCyteNet,
    held: Replay,
    card: ClassifierCard,
    own: Sequence[str] = (),
    own_labels: Sequence[str] = (),
) -> float:
    """Return the largest share of what was learnt that costs known cells at most
    ``MAX_FORGOTTEN``, by their names alone: distances are fitted to the share that is taken."""
    before = _known_right(network, held, card, card["temperature"])
    for share in tune.SHARES:
        mixed = tune.averaged(network, tuned, share)
        after = _known_right(mixed, held, card, card["temperature"], own, own_labels)
        if after >= before - MAX_FORGOTTEN:
            break
    return share


def _known_right(
    network: LeucoCyteNet,
    held: Replay,
    card: ClassifierCard,
    temperature: float,
    own: Sequence[str] = (),
    own_labels: Sequence[str] = (),
    distance: LearntDistance | None = None,
) -> float:
    """Return the share of known cells named right, of the four types alone: a basophil that is
    named one now is no mistake elsewhere."""
    labels = held.labels.numpy()
    four = np.flatnonzero(labels < 4)
    logits, features = tune.outputs(network, held.maps[four])
    away = None if distance is None else distance.away(features)
    given = (own, own_labels, card.get("reasons"), away)
    return float(is_right(logits, labels[four], temperature, card["min_score"], *given).mean())


def _tuned(
    network: LeucoCyteNet,
    maps: tune.FeatureMaps,
    which: np.ndarray,
    replay: Replay,
    taught: np.ndarray,
    kept: Path,
    tick: Callable[[], object],
) -> LeucoCyteNet:
    """Tune, or take what an interrupted run has tuned."""
    file = kept.with_suffix(".safetensors")
    if file.exists():
        with suppress(Exception):  # of several kinds, for a damaged file
            tensors = load_file(file)
            tuned = tune.widened(network, tensors["classify.weight"].shape[0])
            tuned.load_state_dict(tensors)
            for _ in range(tune.STEPS):
                tick()
            return tuned.eval()
    tuned = tune.tune(network, maps, which, replay, tick, taught)
    part = file.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tuned.state_dict().items()}, part)
    part.replace(file)
    return tuned
