"""Parts of learning: the replay set, and the detector that goes on where it was stopped."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from wbcdet.datasets.cells import CLASSES
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.analyzer import Analyzer
from wbcdet.inference.cards import ClassifierCard
from wbcdet.inference.classifier import Classifier
from wbcdet.inference.detector import Detector
from wbcdet.inference.weights import load_shipped, weights_folder
from wbcdet.io.field import Field
from wbcdet.training.classifier_training import load_network
from wbcdet.training.config import TrainingError
from wbcdet.training.finetune import tune, tune_detector
from wbcdet.training.finetune.judge_detector import detect_field
from wbcdet.training.finetune.learn_names import kept_share
from wbcdet.training.finetune.replay import FILE, Replay, load_replay, save_replay
from wbcdet.training.finetune.reviewed_fields import ReviewedField
from wbcdet.training.leucocytenet import LeucoCyteNet


def test_replay_is_kept_in_256_levels(tmp_path: Path) -> None:
    maps = torch.rand(30, 4, 9, 9).half() * torch.tensor([1.0, 10, 0.1, 0]).view(1, 4, 1, 1)
    replay = Replay(maps.half(), torch.arange(30) % 10, tuple("ab"[n % 2] for n in range(30)))
    file = tmp_path / FILE
    save_replay(replay, file, "0" * 64)
    read = load_replay(file, "0" * 64)
    assert (read.maps.float() - replay.maps.float()).abs().amax((0, 2, 3)).tolist() == (
        pytest.approx([0, 0, 0, 0], abs=0.2)
    )
    assert read.labels.tolist() == replay.labels.tolist()
    assert read.laboratories == replay.laboratories
    learnt, held = read.split(4)
    assert len(learnt.labels) == 23 and len(held.labels) == 7 == len(held.laboratories)
    with pytest.raises(TrainingError, match="of another classifier"):
        load_replay(file, "1" * 64)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TrainingError, match="missing or damaged"):
        load_replay(file, "0" * 64)


def test_the_shipped_replay_fits_the_shipped_classifier() -> None:
    path = load_shipped("classifier").training_path
    replay = load_replay(path.with_name(FILE), hashlib.sha256(path.read_bytes()).hexdigest())
    assert set(replay.labels.tolist()) == set(range(len(CLASSES)))
    assert len(set(replay.laboratories)) >= 8
    assert path.with_name(FILE).stat().st_size < 15_000_000


def test_weights_between_before_and_after() -> None:
    torch.manual_seed(0)
    before = LeucoCyteNet(len(CLASSES))
    after = tune.widened(before, len(CLASSES) + 1)
    with torch.no_grad():
        for value in after.parameters():
            value += torch.randn_like(value)
    first, last = dict(before.named_parameters()), dict(after.named_parameters())
    for share in (0.0, 0.5, 1.0):
        for name, value in tune.averaged(before, after, share).named_parameters():
            rows = len(first[name])
            between = first[name] + share * (last[name][:rows] - first[name])
            assert torch.allclose(value[:rows], between, atol=1e-6), name
            assert torch.equal(value[rows:], last[name][rows:]), name  # a class of one's own


def test_what_known_cells_lose_is_taken_back() -> None:
    model = load_shipped("classifier")
    network = load_network(model.training_path)
    assert isinstance(network, LeucoCyteNet)
    card, path = cast("ClassifierCard", model.card), model.training_path
    held = load_replay(path.with_name(FILE), hashlib.sha256(path.read_bytes()).hexdigest())
    held = held.split(12)[1]
    assert kept_share(network, network, held, card) == tune.SHARES[0]
    spoilt = copy.deepcopy(network)
    with torch.no_grad():
        spoilt.classify.bias[1] += 1000  # all cells are lymphocytes
    assert kept_share(network, spoilt, held, card) == tune.SHARES[-1]


def test_the_detector_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    for name, value in {"STEPS": 4, "BATCH": 2, "SIDE": 96, "SYNTHETIC": 2}.items():
        monkeypatch.setattr(tune_detector, name, value)
    monkeypatch.setattr(tune_detector, "_KEEP_EVERY", 2)
    fields = []
    for seed in range(2):
        drawn = render_field(seed, 160, 120, cell_px=40, counts={"neutrophil": 1})
        boxes = np.array([cell.box for cell in drawn.cells], np.float32)
        fields.append(ReviewedField(str(seed), str(seed), drawn.pixels, boxes, 0, 0))
    start = load_shipped("detector").training_path
    whole = tune_detector.tune_detector(start, fields, tmp_path / "whole.pt")
    done: list[int] = []

    def stop_at_three() -> None:
        done.append(1)
        if len(done) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_detector.tune_detector(start, fields, tmp_path / "part.pt", stop_at_three)
    done.clear()
    again = tune_detector.tune_detector(start, fields, tmp_path / "part.pt", lambda: done.append(1))
    assert len(done) == 4
    # A state that was cut short, by a full disk or a loss of power, is made again.
    (tmp_path / "part.pt").write_bytes((tmp_path / "part.pt").read_bytes()[:-1000])
    done.clear()
    repeated = tune_detector.tune_detector(
        start, fields, tmp_path / "part.pt", lambda: done.append(1)
    )
    assert len(done) == 4
    for parameter, other in zip(again.parameters(), repeated.parameters(), strict=True):
        assert torch.allclose(parameter, other, atol=1e-6)
    # Nothing is taken of one of which a part alone is whole.
    for role in ("optimizer", "network"):
        state = torch.load(tmp_path / "part.pt", weights_only=True)
        parts = state[role]["state"] if role == "optimizer" else state[role]
        last = list(parts)[-1]
        parts[last] = {**parts[last], "exp_avg": torch.zeros(3)} if role == "optimizer" else 0
        torch.save(state, tmp_path / "damaged.pt")
        network = tune_detector.load_detector(start)
        learning = [
            v
            for n, v in network.named_parameters()
            if int(n.split(".")[1]) >= tune_detector.FROZEN_LAYERS
        ]
        optimizer = torch.optim.AdamW(learning)
        assert tune_detector._begun(tmp_path / "damaged.pt", network, optimizer) == 0
        assert not optimizer.state
        fresh = tune_detector.load_detector(start).state_dict()
        assert all(torch.equal(v, fresh[n]) for n, v in network.state_dict().items())
    first = dict(tune_detector.load_detector(start).named_parameters())
    moved = 0
    for (name, parameter), other in zip(whole.named_parameters(), again.parameters(), strict=True):
        assert torch.allclose(parameter, other, atol=1e-6), name
        moved += not torch.equal(parameter, first[name])
        if int(name.split(".")[1]) < tune_detector.FROZEN_LAYERS:
            assert torch.equal(parameter, first[name]), name
    assert moved > 50
    # In torch it finds what its graph finds.
    network = tune_detector.load_detector(start)
    pixels = render_field(0).pixels
    here = tune_detector.detector_with(network, None).detect(pixels)[0]
    there = Detector("cpu", weights=weights_folder()).detect(pixels)[0]
    assert np.abs(here - there).max() < 1


def test_a_detector_is_judged_by_the_scores_that_a_count_gives() -> None:
    drawn = render_field(3, 480, 360, cell_px=40, counts={"neutrophil": 3, "lymphocyte": 2})
    field, truth = Field("3", None, drawn.pixels), np.zeros((0, 4), np.float32)
    analyzer = Analyzer(weights=weights_folder())
    cells = analyzer.analyze(field).cells
    classifier = Classifier("cpu", weights=weights_folder())
    detector = Detector("cpu", weights=weights_folder())
    seen = detect_field(detector, classifier, field, truth, "3")
    shown = seen.scores >= detector.threshold()
    assert len(cells) > 2
    assert sorted(map(tuple, np.round(seen.boxes[shown].astype(float), 1).tolist())) == sorted(
        tuple(cell.box) for cell in cells
    )
    # Both stages, not the detector alone.
    scores = sorted(cell.detection_score for cell in cells)
    assert np.allclose(sorted(seen.scores[shown]), scores, atol=1e-3)
    alone = detector.detect(drawn.pixels)[1][: len(scores)]
    assert not np.allclose(sorted(alone), scores, atol=1e-3)
