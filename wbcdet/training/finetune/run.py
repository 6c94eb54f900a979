"""Fine-tune both models on reviewed reports, judge them, and write them as one folder."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from wbcdet.inference.cards import ClassifierCard, DetectorCard
from wbcdet.inference.weights import Model
from wbcdet.io.field import Field
from wbcdet.training.classifier_training import load_network
from wbcdet.training.detector_training import FastModel
from wbcdet.training.distance import fit_distance, load_distance
from wbcdet.training.finetune import tune, tune_detector
from wbcdet.training.finetune.judge import (
    FOLDS,
    Judgement,
    cross_validated,
    fit_temperature,
    is_right,
    judge,
)
from wbcdet.training.finetune.judge_detector import (
    DetectorJudgement,
    FieldDetections,
    detect_field,
    judge_detector,
)
from wbcdet.training.finetune.replay import FILE, Replay, as_arrays, load_replay
from wbcdet.training.finetune.reviewed_cells import Reviewed
from wbcdet.training.finetune.reviewed_fields import ReviewedField, ReviewedFields
from wbcdet.training.leucocytenet import FeatureDistance, LeucoCyteNet
from wbcdet.utils.lock import LOCK, LockedError, locked
from wbcdet.utils.parallel import cores
from wbcdet.utils.progress import progress
from wbcdet.utils.user_folder import user_folder
from wbcdet.utils.version import __version__

#: Fewest cells to learn names from, and fewest of each of two types.
MIN_CELLS, MIN_OF_A_TYPE = 50, 5
#: Cells of a type below which little of it is learnt, which is said.
FEW_CELLS = 10
#: Fewest reviewed fields to learn finding from, and fewest cells drawn and boxes taken away.
MIN_FIELDS, MIN_CORRECTIONS = 10, 5
#: Parts of the cross-validation of the detector.
DETECTOR_FOLDS = 2
#: Every so manieth cell of the replay is held back to see what is forgotten.
REPLAY_PART = 4
#: Share of right names of other laboratories that learning may cost.
MAX_FORGOTTEN = 0.01
#: Days for which what an interrupted run has done is kept.
KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class LearnedClassifier:
    """A fine-tuned classifier and the judgement on it.

    Attributes:
        network: learnt from all cells.
        temperature: divisor of its logits.
        judgement: by cross-validation.
        distance: from the cells of the replay and the laboratory's; None where the classifier that
            it was made from has none.
        distance_scale: what its threshold is multiplied by.
        others: share of the held-back replay named right, before and after.
    """

    network: LeucoCyteNet
    temperature: float
    judgement: Judgement
    distance: FeatureDistance | None
    distance_scale: float
    others: tuple[float, float]


@dataclass(frozen=True, slots=True)
class LearnedDetector:
    """A fine-tuned detector and the judgement on it."""

    network: FastModel
    judgement: DetectorJudgement


class Kept:
    """What an interrupted run has done already, kept for the same command.

    Args:
        parts: everything that decides what is learnt.
    """

    def __init__(self, *parts: str) -> None:
        self.fingerprint = hashlib.sha256("\n".join((*parts, __version__)).encode()).hexdigest()
        self.folder = _learning() / self.fingerprint[:16]

    @staticmethod
    @contextmanager
    def held() -> Iterator[None]:
        """Hold what is kept, and what will be installed, against another learning of this user.

        Raises:
            LockedError: there is one.
        """
        with ExitStack() as lock:
            try:
                lock.enter_context(locked(_learning(), LOCK))
            except LockedError as error:
                raise LockedError("another wbcdet learn is under way; wait for its end") from error
            for folder in _learning().iterdir():  # nobody goes on with these
                if folder.is_dir() and time.time() - folder.stat().st_mtime > KEPT_DAYS * 86400:
                    shutil.rmtree(folder, ignore_errors=True)
            yield

    def path(self, name: str) -> Path:
        """Return the path of a file, its folder made."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / name

    def done(self) -> None:
        """Forget it all: it stands elsewhere now."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _learning() -> Path:
    return user_folder() / "learning"


def data_fingerprint(cells: Reviewed, fields: ReviewedFields) -> str:
    """Return a sha256 that stands for everything that is learnt from."""
    digest = hashlib.sha256()
    for cell in cells.cells:
        name = cells.classes[cell.label]
        digest.update(f"{cell.group} {cell.box} {name}\n".encode())
        digest.update(cell.patch.tobytes())
    for field in fields.fields:
        digest.update(f"{field.group} {field.cells.tolist()}\n".encode())
    return digest.hexdigest()


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
    if len(fields.fields) < MIN_FIELDS:
        return (
            f"{len(fields.fields)} fields in which every cell is reviewed, at least {MIN_FIELDS} "
            f"are needed ({fields.unfinished} more are reviewed in part)"
        )
    if corrections < MIN_CORRECTIONS:
        return (
            f"{fields.drawn} cells drawn and {fields.taken} boxes taken away in "
            f"{len(fields.fields)} reviewed fields: there is nothing to learn, it finds these cells"
        )
    return None


def learn_names(model: Model, reviewed: Reviewed, kept: Kept, *, quiet: bool) -> LearnedClassifier:
    """Fine-tune a classifier and judge it on held-back cells.

    Args:
        model: the classifier to start from; its safetensors and replay set stand beside it.
        found: the cells.
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
    taught = tune.outputs(network, replay.maps)[0]
    with progress("Learning names", (FOLDS + 1) * tune.STEPS, quiet) as tick:
        learnt_all = _tuned(network, maps, every, replay, taught, kept.path("names"), tick)
        share = kept_share(network, learnt_all, held, card, own, own_labels)
        tuned = tune.averaged(network, learnt_all, share)

        def held_back(learnt: np.ndarray, rest: np.ndarray, part: int) -> np.ndarray:
            file = kept.path(f"names-{part}")
            one = _tuned(network, maps, learnt, replay, taught, file, tick)
            return tune.outputs(tune.averaged(network, one, share), maps.plain(rest))[0]

        after = cross_validated(held_back, groups, labels)
    temperature = fit_temperature(after, labels, card["temperature"])
    least = card["min_score"]
    before = tune.outputs(network, maps.plain(every))[0]
    judgement = judge(
        is_right(before, labels, card["temperature"], least),
        is_right(after, labels, temperature, least, own, own_labels),
        labels,
        groups,
        own,
    )
    others = [
        _known_right(network, held, card["temperature"], least),
        _known_right(tuned, held, temperature, least, own, own_labels),
    ]
    if judgement.better and others[1] < others[0] - MAX_FORGOTTEN:
        why = (
            f"it would forget other laboratories: {100 * others[0]:.1f} % of their cells are named "
            f"right before, {100 * others[1]:.1f} % after"
        )
        judgement = Judgement(judgement.rows, judgement.p, False, why)
    distance, scale = _distance(path, network, tuned, maps, replay)
    return LearnedClassifier(tuned, temperature, judgement, distance, scale, (others[0], others[1]))


def kept_share(
    network: LeucoCyteNet,
    tuned: LeucoCyteNet,
    held: Replay,
    card: ClassifierCard,
    own: Sequence[str] = (),
    own_labels: Sequence[str] = (),
) -> float:
    """Return the largest share of what was learnt that costs known cells at most
    ``MAX_FORGOTTEN``."""
    heat, least = card["temperature"], card["min_score"]
    before = _known_right(network, held, heat, least)
    for share in tune.SHARES:
        mixed = tune.averaged(network, tuned, share)
        after = _known_right(mixed, held, heat, least, own, own_labels)
        if after >= before - MAX_FORGOTTEN:
            break
    return share


def _known_right(
    network: LeucoCyteNet,
    held: Replay,
    temperature: float,
    least: float,
    own: Sequence[str] = (),
    own_labels: Sequence[str] = (),
) -> float:
    """Return the share of known cells named right, of the four types alone: a basophil that is
    named one now is no mistake elsewhere."""
    labels = held.labels.numpy()
    four = np.flatnonzero(labels < 4)
    logits = tune.outputs(network, held.maps[four])[0]
    return float(is_right(logits, labels[four], temperature, least, own, own_labels).mean())


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


def _distance(
    path: Path,
    network: LeucoCyteNet,
    tuned: LeucoCyteNet,
    maps: tune.FeatureMaps,
    replay: Replay,
) -> tuple[FeatureDistance | None, float]:
    """Return the distance in the features of the tuned network, and how much larger it is."""
    old = load_distance(path)
    if old is None:
        return None, 1.0
    labels, laboratories = as_arrays(replay)
    features = tune.outputs(tuned, replay.maps)[1]
    own = tune.outputs(tuned, maps.maps[:, 0])[1]
    new = fit_distance(
        np.concatenate([features, own]),
        np.concatenate([labels, maps.labels.numpy()]),
        [*laboratories, *("its own laboratory" for _ in own)],
    )
    before = torch.from_numpy(tune.outputs(network, replay.maps)[1])
    with torch.no_grad():
        far = [
            float(torch.quantile(distance(values), 0.95))
            for distance, values in ((old, before), (new, torch.from_numpy(features)))
        ]
    return new, far[1] / max(far[0], 1e-6)


def learn_finding(
    model: Model, fields: ReviewedFields, kept: Kept, *, quiet: bool
) -> LearnedDetector:
    """Fine-tune a detector and judge it on held-back fields and on synthetic ones.

    Args:
        model: the detector to start from; its safetensors stand beside it.
        fields: the reviewed fields.
        kept: what an interrupted run has done.
        quiet: show no progress.

    Raises:
        TrainingError: there are no weights to start from.
    """
    torch.set_num_threads(cores())
    path, card = model.training_path, cast("DetectorCard", model.card)
    folder = model.path.parent
    parts = detector_folds(fields.fields)
    before = tune_detector.detector_with(tune_detector.load_detector(path), folder)
    pairs: list[tuple[FieldDetections, FieldDetections]] = []
    with progress("Learning to find", (DETECTOR_FOLDS + 1) * tune_detector.STEPS, quiet) as tick:
        for part in range(DETECTOR_FOLDS):
            learnt = [field for field, of in zip(fields.fields, parts, strict=True) if of != part]
            rest = [field for field, of in zip(fields.fields, parts, strict=True) if of == part]
            keep = kept.path(f"finding-{part}.pt")
            tuned = tune_detector.tune_detector(path, learnt, keep, tick, card.get("stain"))
            after = tune_detector.detector_with(tuned, folder)
            for field in rest:
                shown = (*field.as_counted(), field.group)
                pairs.append((detect_field(before, *shown), detect_field(after, *shown)))
        keep = kept.path("finding.pt")
        tuned = tune_detector.tune_detector(path, fields.fields, keep, tick, card.get("stain"))
    after = tune_detector.detector_with(tuned, folder)
    synthetic = []
    for number, drawn in enumerate(tune_detector.judged_synthetic()):
        truth = np.array([cell.box for cell in drawn.cells], np.float32).reshape(-1, 4)
        shown = (Field(str(number), None, drawn.pixels), truth, str(number))
        synthetic.append((detect_field(before, *shown), detect_field(after, *shown)))
    return LearnedDetector(tuned, judge_detector(pairs, synthetic, card["confidence"]))


def detector_folds(fields: Sequence[ReviewedField]) -> list[int]:
    """Return the part of each field: corrections spread over the parts, fields dealt out."""
    order = sorted(range(len(fields)), key=lambda at: -(fields[at].drawn + fields[at].taken))
    parts = [0] * len(fields)
    for place, at in enumerate(order):
        parts[at] = place % DETECTOR_FOLDS
    return parts


def table_rows(judgement: Judgement) -> Sequence[dict[str, str]]:
    """Return the table as text: type, cells, right before and after with their intervals."""
    return [
        {
            "type": row.name,
            "cells": str(row.cells),
            "before": share(row.before, row.cells, row.before_ci),
            "after": share(row.after, row.cells, row.after_ci),
            "gained": str(row.gained),
            "lost": str(row.lost),
        }
        for row in judgement.rows
    ]


def finding_rows(judgement: DetectorJudgement) -> Sequence[dict[str, str]]:
    """Return the table of the detector as text: where, cells, found before and after, false
    boxes."""
    return [
        {
            "fields": f"{finding.fields} {name}",
            "cells": str(finding.cells),
            "before": share(finding.before, finding.cells, finding.before_ci),
            "after": share(finding.after, finding.cells, finding.after_ci),
            "false before": str(finding.false_before),
            "false after": str(finding.false_after),
        }
        for name, finding in (("held back", judgement.own), ("synthetic", judgement.synthetic))
    ]


def share(hits: int, of: int, interval: tuple[float, float]) -> str:
    """Return a count with its share and 95 % interval, as text."""
    low, high = (100 * end for end in interval)
    return f"{hits} = {100 * hits / max(of, 1):.1f} % ({low:.1f} - {high:.1f})"
