"""Write what was learnt: a folder with both models, their cards, and how they were judged."""

from __future__ import annotations

import io
import json
import logging
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors.torch import save_file

from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.cards import ClassifierCard, DetectorCard
from wbcdet.inference.domain_shift import make_reference
from wbcdet.inference.weights import LEARNED, LEARNS, ROLES, Model, sealed
from wbcdet.records import NOTICE
from wbcdet.results.document import dump
from wbcdet.review.images import PictureError
from wbcdet.training.export import export_classifier, export_detector
from wbcdet.training.finetune import tune, tune_detector
from wbcdet.training.finetune.carry_over import Carried
from wbcdet.training.finetune.judge import ALPHA
from wbcdet.training.finetune.learn_finding import LearnedDetector
from wbcdet.training.finetune.learn_names import LearnedClassifier
from wbcdet.training.finetune.tables import finding_rows, naming_rows
from wbcdet.utils.files import atomic_write
from wbcdet.utils.progress import progress
from wbcdet.utils.version import __version__

if TYPE_CHECKING:
    from wbcdet.review.session import Session
    from wbcdet.training.finetune.reviewed_cells import Reviewed

#: Fields of the laboratory that the reference for other microscopes is made of, at most.
_MAX_REFERENCE_FIELDS = 60
#: Fields below which there is no reference of one's own.
_MIN_REFERENCE_FIELDS = 10


def write_models(
    out: Path,
    name: str,
    shipped: tuple[Model, Model],
    reviewed: Reviewed,
    fingerprint: str,
    classifier: LearnedClassifier | None,
    detector: LearnedDetector | None,
    carried: Mapping[str, Carried],
) -> None:
    """Write both models; one that has learnt nothing is the one carried over, or the shipped one.

    Args:
        out: folder; made where it does not exist.
        name: how the laboratory calls them.
        shipped: detector and classifier that were learnt from.
        reviewed: the cells that were learnt from.
        fingerprint: of all data that was learnt from.
        classifier, detector: what was learnt and is better; None where it is not.
        carried: learned models, by role, that this run has not learnt again.

    Raises:
        OSError: it cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    origin: dict[str, Any] = {
        "created": now, "reports": reviewed.reports, "data_sha256": fingerprint,
        "wbcdet": __version__,
    }  # fmt: skip
    stay = [
        carried[role].model if role in carried else model
        for role, model in zip(ROLES, shipped, strict=True)
    ]
    rows = {role: carried[role].rows if role in carried else None for role in ROLES}
    if detector is None:
        _copy(stay[0], "detector", out)
    else:
        _write_detector(out, name, shipped[0], detector, origin)
        rows["detector"] = list(finding_rows(detector.judgement))
    if classifier is None:
        _copy(stay[1], "classifier", out)
    else:
        _write_classifier(out, name, shipped[1], reviewed, classifier, origin)
        rows["classifier"] = list(naming_rows(classifier.judgement))
    said = {
        "name": name,
        **origin,
        "from": {
            role: {"name": model.name, "sha256": model.sha256}
            for role, model in zip(ROLES, shipped, strict=True)
        },
        "cells": {k: v for k, v in reviewed.by_class().items() if v},
        **{LEARNS[role]: table for role, table in rows.items()},
        "carried_over": {LEARNS[role]: one.origin for role, one in carried.items()},
        "way_back": "wbcdet learn --restore",
        "notice": NOTICE,
    }
    atomic_write(out / LEARNED, dump(said).encode())
    atomic_write(out / "README.md", _page(said).encode())


def add_reference(out: Path, name: str, sessions: Sequence[Session], *, quiet: bool) -> None:
    """Make the laboratory's own fields what slides are compared with, on the classifier's card.

    A slide of another microscope is then unlike what the models have learnt, and every run says so.
    With too few fields the card keeps the reference that it has.

    Args:
        out: folder of :func:`write_models`.
        name: of the laboratory.
        sessions: whose fields are looked at.
        quiet: show no progress.
    """
    places = [
        (session, field.number)
        for session in sessions
        for field in session.state.report.fields
        if field.result.failure is None
    ]
    step = max(1, -(-len(places) // _MAX_REFERENCE_FIELDS))
    analyzer = Analyzer(weights=out)
    results = []
    with progress("Looking at your fields", len(places[::step]), quiet) as tick:
        for session, number in places[::step]:
            with suppress(PictureError):
                # The field itself: the pixels of a large one are a reduced overview, in which
                # cells are too small, and slides of the same microscope would be unlike it.
                result = analyzer.analyze(session.pictures.field(number))
                if result.failure is None:
                    results.append(result)
            tick()
    if len(results) < _MIN_REFERENCE_FIELDS:
        return
    card = json.loads((out / "classifier.json").read_text(encoding="utf-8"))
    card["ground"] = make_reference({name: results}, analyzer.detector.sha256)
    atomic_write(out / "classifier.json", dump(sealed(card)).encode())


def _copy(model: Model, role: str, out: Path) -> None:
    """Copy a model that this run has not made, so that the folder is whole wherever it goes."""
    shutil.copy(model.path, out / model.path.name)
    shutil.copy(model.path.with_name(f"{role}.json"), out / f"{role}.json")
    if model.training_path.is_file():
        shutil.copy(model.training_path, out / model.training_path.name)


def _write_detector(
    out: Path, name: str, shipped: Model, learned: LearnedDetector, origin: dict[str, Any]
) -> None:
    card = cast("DetectorCard", shipped.card)
    judgement = learned.judgement
    network = learned.network
    with tempfile.TemporaryDirectory() as folder, _silent():
        checkpoint = Path(folder) / "tuned.pt"
        network.args = {"imgsz": card["input_size"], "task": "detect"}
        torch.save({"model": network.half(), "train_args": network.args}, checkpoint)
        export_detector(checkpoint, out, card["input_size"], judgement.confidence, "")
    written = json.loads((out / "detector.json").read_text(encoding="utf-8"))
    # It sees fields as the one that it was made from does.
    written.pop("stain", None)
    if "stain" in card:
        written["stain"] = card["stain"]
    written |= {
        "name": f"{card['name']}-{name}",
        "version": card["version"],
        "data": card.get("data", []),
        "recipe": (
            f"From {shipped.name}: {tune_detector.STEPS} steps of {tune_detector.BATCH} scenes of "
            f"{tune_detector.SIDE} px, {tune_detector.OWN_SHARE:.0%} of them of reviewed fields, "
            "the rest synthetic; first layers and normalisations as they were."
        ),
        "learned": {
            **origin,
            "from_sha256": shipped.sha256,
            "held_back": asdict(judgement.own),
            "synthetic": asdict(judgement.synthetic),
            "criterion": (
                "no fewer cells found, no more false boxes, fewer errors of both kinds together by "
                f"an exact one-sided sign test, p <= {ALPHA}; nothing lost on synthetic fields"
            ),
            "better": judgement.better,
        },
    }
    atomic_write(out / "detector.json", dump(sealed(written)).encode())


def _write_classifier(
    out: Path,
    name: str,
    shipped: Model,
    reviewed: Reviewed,
    learned: LearnedClassifier,
    origin: dict[str, Any],
) -> None:
    card = cast("ClassifierCard", shipped.card)
    extra: dict[str, Any] = {key: card[key] for key in ("ground",) if key in card}
    if learned.distance is not None and "unlike_trained" in card:
        threshold = round(learned.distance_limit, 3)
        extra["unlike_trained"] = {**card["unlike_trained"], "threshold": threshold}
    if reviewed.own_labels:
        extra["own_labels"] = list(reviewed.own_labels)
    with tempfile.TemporaryDirectory() as folder, _silent():
        weights = Path(folder) / "tuned.safetensors"
        save_file({k: v.contiguous() for k, v in learned.network.state_dict().items()}, weights)
        export_classifier(
            weights,
            out,
            learned.temperature,
            card["min_score"],
            "",
            card.get("stages", 5),
            card.get("head", 320),
            learned.distance,
            extra,
            own=reviewed.own,
        )
    written = json.loads((out / "classifier.json").read_text(encoding="utf-8"))
    before, after = learned.others
    written |= {
        "name": f"{card['name']}-{name}",
        "version": card["version"],
        "data": card.get("data", []),
        "recipe": (
            f"From {shipped.name}: last stage and head, {tune.STEPS} steps of {tune.BATCH} crops "
            f"of the laboratory and {tune.REPLAYED} of the replay set."
        ),
        "learned": {
            **origin,
            "from_sha256": shipped.sha256,
            "cells": reviewed.by_class(),
            "fields": len({cell.group for cell in reviewed.cells}),
            "held_back": [asdict(row) for row in learned.judgement.rows],
            "others": {"before": round(before, 4), "after": round(after, 4)},
            "p": learned.judgement.p,
            "criterion": (
                f"more right, exact one-sided sign test p <= {ALPHA}, no type lost, at most 1 "
                "point lost on the replay of other laboratories"
            ),
            "better": learned.judgement.better,
        },
    }
    atomic_write(out / "classifier.json", dump(sealed(written)).encode())


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what the exporters of torch and ultralytics print to themselves."""
    log = logging.getLogger("ultralytics")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def _page(said: dict[str, Any]) -> str:
    """Return ``README.md`` of the folder."""
    lines = [
        f"# wbcdet models of {said['name']}",
        "",
        f"{NOTICE} Made by wbcdet {said['wbcdet']} on {said['created']} from reviewed cells of one "
        "laboratory; they may be worse on those of another, and say where a slide looks like one.",
        "",
        f"Reports: {', '.join(said['reports'].values())}. Cells: "
        + ", ".join(f"{count} {name}" for name, count in said["cells"].items())
        + f". Data sha256: {said['data_sha256']}.",
        "",
        *_carried_lines(said["carried_over"]),
        "## Names, on held-back fields",
        "",
        *_table(said["names"]),
        "",
        "## Finding, on held-back fields and on synthetic ones",
        "",
        *_table(said["finding"]),
        "",
        "Use: `wbcdet count slides --weights` this folder, or the file of `wbcdet learn --share`. "
        f"Way back: leave out `--weights`, or `{said['way_back']}` where they were put in use.",
        "",
    ]
    return "\n".join(lines)


def _carried_lines(carried: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for what, origin in carried.items():
        yield (
            f"Carried over, not learnt again: {what}, by {origin['name']} of {origin['created']}, "
            f"from reports {', '.join(origin['reports'].values())}; data sha256: "
            f"{origin['data_sha256']}."
        )
        yield ""


def _table(rows: Iterable[dict[str, str]] | None) -> list[str]:
    rows = list(rows or ())
    if not rows:
        return ["Nothing was learnt: the shipped model."]
    heads = list(rows[0])
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(f"| {' | '.join(row.values())} |" for row in rows),
    ]
