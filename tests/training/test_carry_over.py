"""What a run does not learn again stays in use, or the run stops before anything is lost."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from test_learn import copy_of, own_home, review, run, smears  # noqa: F401  (fixtures too)

from wbcdet.inference.weights import ROLES, learned_folder, load_model, load_shipped, sealed
from wbcdet.review.cell_state import DELETED
from wbcdet.training.classifier_training import load_network
from wbcdet.training.finetune import (
    judge,
    judge_detector,
    learn_finding,
    learn_names,
    write_models,
)
from wbcdet.training.finetune.tune_detector import load_detector

#: Tells the models of a test apart.
NUMBERS = count()


@pytest.fixture
def report(
    smears: Path,  # noqa: F811
    tmp_path: Path,
) -> Path:
    """Return a report from which both models can be learnt."""
    for part in ("onnx", "onnxscript", "safetensors"):
        pytest.importorskip(part, reason="learning needs pip install wbcdet[train]")
    folder = copy_of(smears, tmp_path / "report")
    review(folder, {"eosinophil": DELETED}, 70)
    return folder


@contextmanager
def judged(names: bool, finding: bool) -> Iterator[None]:
    """Judge either model as told, in place of the minutes of learning."""
    none = judge_detector.compare([], 0.25, 0.25)

    def no_names(model: Any, *_: object, **__: object) -> learn_names.LearnedClassifier:
        said = judge.Judgement((judge.Row("all", 7, 5, 6, (0, 1), (0, 1), 1, 0),), 0.5, names, "so")
        network: Any = load_network(model.training_path)
        return learn_names.LearnedClassifier(network, 1.0, said, None, 1.0, (0.9, 0.9))

    def no_finding(model: Any, *_: object, **__: object) -> learn_finding.LearnedDetector:
        said = judge_detector.DetectorJudgement(none, none, 0.25, finding, "so")
        return learn_finding.LearnedDetector(load_detector(model.training_path), said)

    def exported(role: str) -> Callable[..., None]:
        def export(_: object, out: Path, *__: object, **___: object) -> None:
            # In place of an export, the shipped graph with another remark (field 6 of its message).
            model = load_shipped(role)
            graph = model.path.read_bytes() + b"\x32\x04%04d" % next(NUMBERS)
            (out / model.path.name).write_bytes(graph)
            card = {**model.card, "sha256": hashlib.sha256(graph).hexdigest()}
            (out / f"{role}.json").write_text(json.dumps(sealed(card)))

        return export

    with pytest.MonkeyPatch.context() as patch:
        for role in ROLES:
            patch.setattr(write_models, f"export_{role}", exported(role))
        patch.setattr(learn_names, "learn_names", no_names)
        patch.setattr(learn_finding, "learn_finding", no_finding)
        # Two fields to compare slides with, not all.
        patch.setattr(write_models, "_MIN_REFERENCE_FIELDS", 2)
        patch.setattr(write_models, "_MAX_REFERENCE_FIELDS", 2)
        yield


def learned_json() -> dict[str, Any]:
    folder = learned_folder()
    assert folder is not None
    said: dict[str, Any] = json.loads((folder / "learned.json").read_bytes())
    return said


def test_what_is_left_out_stays_in_use(report: Path) -> None:
    shipped = {role: load_shipped(role) for role in ROLES}
    with judged(names=True, finding=True):
        code, out = run(report, "--only", "finding", "--name", "first")
        assert code == 0, out
        detector, table = load_model("detector"), learned_json()["finding"]
        assert detector.card["name"].endswith("-first")
        code, out = run(report, "--only", "names", "--name", "second")
        assert code == 0, out
        assert "The detector that learnt before stays in use: wbcdet-detector-first" in out
    # Both models are learnt ones, each as its card says, and the folder says whence.
    assert load_model("detector").card == detector.card
    assert load_model("detector").sha256 == detector.sha256
    classifier = load_model("classifier")
    assert classifier.card["name"].endswith("-second")
    assert dict(classifier.card)["ground"]["detector"] == detector.sha256
    said, folder = learned_json(), learned_folder()
    assert said["finding"] == table and said["names"] is not None
    origin, learned = said["carried_over"]["finding"], detector.card["learned"]
    assert origin["name"] == detector.name and "names" not in said["carried_over"]
    assert all(origin[key] == learned[key] for key in ("created", "reports", "data_sha256"))
    assert folder is not None and detector.name in (folder / "README.md").read_text()
    # The other way round, and once more.
    with judged(names=True, finding=True):
        code, out = run(report, "--only", "finding", "--name", "third")
    assert code == 0 and "classifier that learnt before stays in use" in out, out
    kept = load_model("classifier")
    assert kept.sha256 == classifier.sha256 and kept.card["learned"] == classifier.card["learned"]
    # Slides are compared with what both models in use say.
    third = load_model("detector")
    assert (
        third.card["name"].endswith("-third")
        and dict(kept.card)["ground"]["detector"] == third.sha256
    )
    assert set(learned_json()["carried_over"]) == {"names"}
    assert "In use now: second-" in run("--restore")[1]
    assert load_model("detector").sha256 == detector.sha256
    assert "In use now: first-" in run("--restore")[1]
    assert load_model("detector").sha256 == detector.sha256
    assert load_model("classifier").sha256 == shipped["classifier"].sha256


def test_a_report_of_which_only_the_fields_are_learnt_is_not_lost(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its cells have names of which there are too few to learn: finding was learnt from it, and the
    next run without it was not refused."""
    monkeypatch.setattr(write_models, "add_reference", lambda *_, **__: None)  # it takes long
    other = report.with_name("other")
    other.mkdir()
    (other / "results.json").write_bytes((report / "results.json").read_bytes() + b"\n")
    shutil.copytree(report / "fields", other / "fields")
    review(other, {"neutrophil": "odd", "lymphocyte": "rare", "eosinophil": "own"}, 7)
    with judged(names=True, finding=True):
        code, out = run(report, other, "--only", "finding")
        assert code == 0 and sorted(learned_json()["reports"].values()) == ["other", "report"], out
        code, out = run(report, "--only", "finding")
        assert code == 2 and "have also learnt from other reports" in out and "other;" in out


def test_models_written_elsewhere_are_of_their_run_alone(report: Path, tmp_path: Path) -> None:
    with judged(names=True, finding=True):
        assert run(report, "--only", "finding")[0] == 0
        code, out = run(report, "--only", "names", "--out", tmp_path / "models")
    assert code == 0 and "stays in use" not in out
    assert load_model("detector", tmp_path / "models").sha256 == load_shipped("detector").sha256
    assert load_model("detector").learned


def test_what_cannot_be_carried_over_stops(report: Path) -> None:
    with judged(names=True, finding=True):
        assert run(report, "--only", "finding")[0] == 0
        folder = learned_folder()
        assert folder is not None
        card = json.loads((folder / "detector.json").read_bytes())
        card["learned"]["from_sha256"] = hashlib.sha256(b"of an earlier version").hexdigest()
        (folder / "detector.json").write_text(json.dumps(sealed(card)))
        before = learned_json()
        code, out = run(report, "--only", "names")
        assert code == 2 and len(out.splitlines()) == 1
        assert "the detector in use" in out and "(left out by --only)" in out
        assert "learn it too, or go back first with 'wbcdet learn --restore'" in out
        # A damaged one is not handed on either.
        shutil.copy(folder / "learned.json", folder / "detector.onnx")
        code, out = run(report, "--only", "names")
        assert code == 2 and len(out.splitlines()) == 1 and "--restore" in out
        assert learned_json() == before
        # Learnt again, it needs nothing of the one before.
        assert run(report)[0] == 0 and load_model("detector").sha256


def test_what_was_learnt_cannot_be_read(report: Path) -> None:
    with judged(names=True, finding=True):
        assert run(report, "--only", "finding")[0] == 0
        folder = learned_folder()
        assert folder is not None
        for damage in (b"", b'{"reports": {"a', b"[]", b"{}", None):
            (folder / "learned.json").unlink()
            if damage is not None:
                (folder / "learned.json").write_bytes(damage)
            code, out = run(report, "--only", "names")
            assert code == 2 and len(out.splitlines()) == 1, damage
            assert f"{folder / 'learned.json'}: " in out and "'wbcdet learn --restore'" in out
            assert load_model("detector").learned
        assert run("--restore")[0] == 0
        assert run(report, "--only", "names")[0] == 0


def test_what_is_learnt_again_and_no_better_goes_out_of_use(report: Path) -> None:
    with judged(names=True, finding=True):
        assert run(report)[0] == 0
    with judged(names=False, finding=False):
        code, out = run(report)
    assert code == 1 and "Not installed" in out and "out of use" not in out
    assert load_model("detector").learned and load_model("classifier").learned
    with judged(names=True, finding=False):
        code, out = run(report)
    assert code == 0 and out.count("goes out of use") == 1
    assert "The detector that learnt before goes out of use: learnt again, it is not better" in out
    assert not load_model("detector").learned and load_model("classifier").learned
    assert learned_json()["finding"] is None and learned_json()["carried_over"] == {}
