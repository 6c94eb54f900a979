"""Learning from a review: cells, refusals, restoring."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import INFO
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.cells import CLASSES
from wbcdet.datasets.synthetic import render_field
from wbcdet.inference.classifier import Classifier
from wbcdet.inference.weights import WeightsError, learned_home, load_model, load_shipped
from wbcdet.records import LABELS, Cell, CellType, FieldResult
from wbcdet.results.document import build_document, dump
from wbcdet.results.output_folder import ENTRIES, Output
from wbcdet.review.cell_state import DELETED, LabelChange
from wbcdet.review.session import Session
from wbcdet.training.finetune import learn_names
from wbcdet.training.finetune.install import install, restore
from wbcdet.training.finetune.judge import (
    ALPHA,
    cross_validated,
    fit_temperature,
    folds_of,
    is_right,
    judge,
    sign_test,
)
from wbcdet.training.finetune.replay import load_replay
from wbcdet.utils.files import PART_PREFIX

#: What the reviewer of the tests calls each type: a laboratory that sees eosinophils where the
#: shipped classifier sees neutrophils must be learnt from a few dozen cells.
SWAPPED = {"neutrophil": "eosinophil", "eosinophil": "neutrophil"}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is learnt into the folders of the one who runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)
    # Threads of torch wait for each other busily where the tests share their processor.
    torch.set_num_threads(1)
    # As quick as it still learns: drawn cells are alike, and a quarter of the known cells will do.
    for name, value in {"STEPS": 30, "VIEWS": 2, "BATCH": 24, "REPLAYED": 12}.items():
        monkeypatch.setattr(f"wbcdet.training.finetune.tune.{name}", value)
    monkeypatch.setattr(learn_names, "load_replay", lambda *given: load_replay(*given).split(4)[1])


@pytest.fixture(scope="module")
def smears(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report over synthetic fields: boxes and names as they were drawn."""
    folder = tmp_path_factory.mktemp("smears")
    (folder / "fields").mkdir()
    results = []
    for seed in range(10):
        field = render_field(
            seed, 640, 480, cell_px=64, counts={"neutrophil": 4, "eosinophil": 2, "lymphocyte": 1}
        )
        cv2.imwrite(str(folder / "fields" / f"{seed}.png"), field.pixels)
        cells = []
        for number, cell in enumerate(field.cells):
            scores = {str(label): 0.9 if label == cell.label else 0.02 for label in LABELS}
            cells.append(Cell(number, cell.box, 0.9, CellType(cell.label), 0.9, scores))
        results.append(FieldResult(f"{seed}.png", 640, 480, tuple(cells)))
    (folder / "results.json").write_text(dump(build_document(INFO, results)))
    return folder


def review(folder: Path, names: dict[str, str], cells: int) -> None:
    """Decide on the first cells, each as it is or by another name."""
    session = Session(folder, folder / "fields")
    state = session.state
    changes = [
        LabelChange(key, cell.last_decision, names.get(str(cell.cell.label), str(cell.cell.label)))
        for key, cell in list(state.cells.items())[:cells]
        if cell.cell
    ]
    state.change("Ann", changes)
    session.close()


def copy_of(smears: Path, folder: Path) -> Path:
    """Return the report, not reviewed yet."""
    folder.mkdir()
    (folder / "results.json").write_bytes((smears / "results.json").read_bytes())
    shutil.copytree(smears / "fields", folder / "fields")
    return folder


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["learn", *map(str, arguments)])
    return done.exit_code, done.output


def test_folds_keep_fields_together_and_spread_types() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 120, p=[0.05, 0.2, 0.05, 0.7])
    groups = [f"field {number}" for number in rng.integers(0, 30, 120)]
    parts = folds_of(groups, labels)
    assert set(parts) == set(range(5))
    for name in set(groups):
        assert len({parts[i] for i, group in enumerate(groups) if group == name}) == 1
    sizes = np.bincount(parts)
    assert sizes.max() - sizes.min() <= 12
    seen: list[set[int]] = []

    def logits(learn: np.ndarray, rest: np.ndarray, part: int) -> np.ndarray:
        assert (parts[rest] == part).all()
        assert not {groups[i] for i in learn} & {groups[i] for i in rest}
        seen.append(set(rest))
        return np.eye(len(CLASSES))[labels[rest]]

    out = cross_validated(logits, groups, labels)
    assert (out.argmax(1) == labels).all() and sum(map(len, seen)) == 120


def test_sign_test() -> None:
    from scipy.stats import binomtest

    for more, fewer in ((0, 0), (1, 0), (5, 0), (8, 2), (3, 7), (30, 14)):
        total = more + fewer
        exact = binomtest(more, total, alternative="greater").pvalue if total else 1.0
        assert sign_test(more, fewer) == pytest.approx(exact)


def decide(labels: str, before: str, after: str) -> tuple[bool, str]:
    """Judge cells given as letters of their type, and 1 where they are named right."""
    number = {"e": 0, "l": 1, "m": 2, "n": 3}
    groups = [str(place) for place in range(len(labels))]
    found = judge(
        np.array([digit == "1" for digit in before]),
        np.array([digit == "1" for digit in after]),
        np.array([number[label] for label in labels]),
        groups,
    )
    assert found.rows[-1].cells == len(labels)
    return found.better, found.why


def test_what_is_better() -> None:
    assert decide("n" * 10, "0" * 6 + "1" * 4, "1" * 10)[0]
    assert decide("n" * 10, "1" * 10, "1" * 10) == (
        False,
        "it does not name more cells right than the one before",
    )
    better, why = decide("n" * 10, "0001111111", "1111111111")
    assert not better and "may be chance" in why
    # More right in all, but one type pays for it.
    better, why = decide("n" * 30 + "e" * 6, "0" * 30 + "1" * 6, "1" * 30 + "0" * 6)
    assert not better and "eosinophil" in why
    assert sign_test(5, 0) <= ALPHA < sign_test(4, 0)


def test_temperature_stays_without_evidence() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 2000)
    logits = np.eye(6)[labels] * 2 + rng.normal(0, 1, (2000, 6))
    few, many = (fit_temperature(2 * logits[:n], labels[:n], 0.7) for n in (2, 2000))
    assert abs(np.log(few / 0.7)) < abs(np.log(many / 0.7))
    odds = np.exp(2 * logits / many)
    odds /= odds.sum(1, keepdims=True)
    assert abs(odds.max(1).mean() - (odds.argmax(1) == labels).mean()) < 0.03
    right = is_right(np.eye(len(CLASSES))[[0, 0, 4, 5]] * 20, np.array([0, 1, 4, 3]), 1.0, 0.5)
    assert right.tolist() == [True, False, True, False]


def test_a_laboratory_is_learnt_and_taken_back(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Swapped names contradict all other laboratories: these must lose something here.
    monkeypatch.setattr(learn_names, "MAX_FORGOTTEN", 0.2)
    for part in ("onnx", "onnxscript", "safetensors"):
        pytest.importorskip(part, reason="learning needs pip install wbcdet[train]")
    report = copy_of(smears, tmp_path / "report")
    shipped = load_shipped("classifier")
    review(report, SWAPPED, 70)
    code, out = run(report, "--name", "blue-lab")
    assert code == 0, out
    assert "Learning from 70 reviewed cells (40 eosinophil, 10 lymphocyte, 20 neutrophil)" in out
    assert "No cell of these, which stay as they are: monocyte." in out
    assert "Finding is not learnt: 0 cells drawn" in out
    learned = load_model("classifier")
    assert learned.card["name"] == "wbcdet-leucocytenet-blue-lab"
    assert learned.sha256 != shipped.sha256
    assert learned.card["learned"]["from_sha256"] == shipped.sha256
    rows = {row["name"]: row for row in learned.card["learned"]["held_back"]}
    assert rows["all"]["cells"] == 70 and rows["all"]["after"] > rows["all"]["before"]
    assert rows["neutrophil"]["before"] <= 2 and rows["neutrophil"]["after"] >= 15  # of 20
    # What is installed names the cells as the table promises.
    classifier = Classifier("cpu")
    field = render_field(77, 640, 480, cell_px=64, counts={"eosinophil": 6})
    verdicts = classifier.classify(
        [classifier.crop(field.pixels, cell.box) for cell in field.cells]
    )
    assert sum(verdict.label == "neutrophil" for verdict in verdicts) >= 4
    assert load_shipped("classifier").sha256 == shipped.sha256
    # Another report alone would take away what was learnt from this one.
    other = copy_of(smears, tmp_path / "other")
    results = other / "results.json"
    results.write_text(results.read_text() + " ")
    review(other, SWAPPED, 70)
    code, out = run(other)
    assert code == 2 and "have also learnt from other reports" in out and ": report;" in out
    assert len(out.splitlines()) == 1 and load_model("classifier").sha256 == learned.sha256
    # Both models go to another computer as one file.
    shared = tmp_path / "blue.zip"
    assert "blue.zip" in run("--share", shared)[1]
    assert "In use now: (shipped)" in run("--restore")[1]
    assert load_model("classifier", shared).sha256 == learned.sha256
    assert load_model("detector", shared).sha256 == load_shipped("detector").sha256
    assert load_model("classifier").sha256 == shipped.sha256
    assert "nothing to go back to" in run("--restore")[1]
    assert len(list(learned_home().glob("blue-lab-*"))) == 1  # kept


def test_one_that_is_not_better_is_refused(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wbcdet.training.finetune.tune.STEPS", 10)
    for part in ("onnx", "onnxscript", "safetensors"):
        pytest.importorskip(part, reason="learning needs pip install wbcdet[train]")
    report = copy_of(smears, tmp_path / "report")
    rng = np.random.default_rng(0)
    session = Session(report, report / "fields")
    names = rng.permutation([str(cell.label) for cell in session.state.cells.values()])
    changes = [
        LabelChange(key, 0, str(name)) for key, name in zip(session.state.cells, names, strict=True)
    ]
    session.state.change("Ann", changes)  # names by chance: there is nothing to learn
    session.close()
    code, out = run(report, "--quiet")
    assert code == 1 and "Not installed: nothing has become better." in out, out
    assert not learned_home().exists()


def test_what_there_must_be(smears: Path, tmp_path: Path) -> None:
    report = copy_of(smears, tmp_path / "report")
    assert "name the report folders" in run()[1]
    assert "holds no review" in run(report)[1]
    review(report, {}, 20)
    code, out = run(report)
    assert code == 2 and "20 reviewed cells to learn from, at least 50" in out
    assert "for the detector: 2 fields in which every cell is reviewed" in out
    assert "--name" in run(report, "--name", "../x")[1]
    assert "--only is names or finding" in run(report, "--only", "both")[1]
    assert "nothing of your own to share" in run("--share", tmp_path / "x.zip")[1]
    shutil.rmtree(report / "fields")
    code, out = run(report)
    assert code == 2 and "0 reviewed cells" in out and "is not in" in out


def test_without_the_train_extra(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = copy_of(smears, tmp_path / "report")
    review(report, {}, 70)
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, out = run(report)
    assert code == 2 and "learning needs onnx" in out and "wbcdet[train]" in out
    assert len(out.splitlines()) == 1


def test_labels_that_are_not_learnt(smears: Path, tmp_path: Path) -> None:
    report = copy_of(smears, tmp_path / "report")
    review(report, {"lymphocyte": "odd", "eosinophil": DELETED}, 70)
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    session = Session(report)
    found = read_reviewed([session])
    session.close()
    assert found.unknown == {"odd": 10} and found.own_labels == ()
    assert found.by_class() == {**dict.fromkeys(CLASSES, 0), "neutrophil": 40, "artefact": 20}
    assert len({cell.group for cell in found.cells}) == 10


def test_types_of_ones_own_become_labels(smears: Path, tmp_path: Path) -> None:
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    report = copy_of(smears, tmp_path / "report")
    review(report, {"neutrophil": "band", "eosinophil": "basophil"}, 70)
    session = Session(report)
    found = read_reviewed([session])
    session.close()
    # Basophils were known, to be declined; bands were not known at all.
    assert found.own == ("band",) and found.own_labels == ("basophil", "band")
    assert found.by_class()["band"] == 40 and found.by_class()["basophil"] == 20
    labels = np.array([found.classes.index(name) for name in ("band", "basophil", "neutrophil")])
    logits = np.eye(len(found.classes))[labels] * 20
    names = (found.own, found.own_labels)
    assert is_right(logits, labels, 1.0, 0.5, *names).all()
    # Before, such cells were right when they were left unclassified.
    before = np.eye(len(CLASSES))[[3, 4, 3]] * 20
    assert is_right(before, labels, 1.0, 0.5).tolist() == [False, True, True]


def test_a_word_of_our_own_tables_is_not_learnt(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    report = copy_of(smears, tmp_path / "report")
    monkeypatch.setattr("wbcdet.review.cell_state.is_reserved", lambda _: False)  # as before
    review(report, {"neutrophil": "edge"}, 70)
    session = Session(report)
    found = read_reviewed([session])
    session.close()
    assert found.own == () and found.unknown == {"edge": 40}


def test_a_label_needs_cells_that_can_be_read(smears: Path, tmp_path: Path) -> None:
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    report = copy_of(smears, tmp_path / "report")
    review(report, {"neutrophil": "band", "eosinophil": "basophil", "lymphocyte": "young"}, 70)
    session = Session(report)
    for key, cell in list(session.state.cells.items()):  # twice as many of them, to be decided on
        if cell.label == "young":
            box = tuple(side + 1 for side in cell.box)
            session.state.draw("Ann", key[0], box, "young", None)
    session.close()
    for seed in range(6):
        (report / "fields" / f"{seed}.png").unlink()
    session = Session(report)
    found = read_reviewed([session])
    session.close()
    # 40, 20 and 20 were decided on; of four fields in ten there are pictures.
    assert found.own == found.own_labels == () and len(found.missing) == 6
    assert found.unknown == {"band": 16, "young": 8}
    assert found.by_class()["basophil"] == 8 == len(found.cells)


def test_a_rare_type_is_not_drawn_away(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wbcdet.training.finetune import reviewed_cells

    monkeypatch.setattr(reviewed_cells, "MAX_CELLS", 60)
    monkeypatch.setattr(reviewed_cells, "MIN_OWN", 10)
    report = copy_of(smears, tmp_path / "report")
    review(report, {"lymphocyte": "blast"}, 70)
    session = Session(report)
    found = reviewed_cells.read_reviewed([session])
    session.close()
    assert found.offered == 70 and len(found.cells) == 60
    assert found.own_labels == ("blast",) and found.by_class()["blast"] == 10


def test_cells_are_judged_as_they_are_named(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wbcdet.training.finetune.kept import Kept
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    # Classes of one reason are taken together: artefacts and platelets outweigh the lymphocyte.
    odds = np.full(len(CLASSES), 1e-6)
    odds[[1, CLASSES.index("platelet"), CLASSES.index("artefact")]] = 0.4, 0.3, 0.3
    given = (np.log(odds)[None], np.array([1]), 1.0, 0.3)
    assert is_right(*given).all()
    assert not is_right(*given, reasons={"platelet": "artefact"}).any()
    # What is farther away than the limit gets no name.
    assert not is_right(*given, away=np.array([1.1])).any()
    assert is_right(*given, away=np.array([0.9])).all()
    # All the way: where every cell is too far from what was learnt, no name is right.
    monkeypatch.setattr("wbcdet.training.finetune.tune.STEPS", 1)
    report = copy_of(smears, tmp_path / "report")
    review(report, {}, 70)
    session = Session(report)
    reviewed = read_reviewed([session])
    session.close()
    shipped = load_shipped("classifier")
    card = {**shipped.card, "unlike_trained": {"output": "distance", "threshold": 1e-6}}
    for one, right in ((shipped, True), (replace(shipped, card=card), False)):
        learned = learn_names.learn_names(one, reviewed, Kept("test", str(right)), quiet=True)
        total = learned.judgement.rows[-1]
        assert (total.before > 60, total.after > 60) == (right, right)
        assert (min(learned.others) > 0.8, max(learned.others) > 0) == (right, right)


def test_an_own_label_is_named_and_counted() -> None:
    from wbcdet.differential.differential import differential_of
    from wbcdet.inference.classifier import decide

    classes = [*CLASSES, "band"]
    odds = np.full(len(classes), 0.01)
    odds[-1] = 0.9
    said = decide(odds, classes, 0.4, own=["band"])
    assert (said.label, said.reason, said.label_score) == ("band", None, 0.9)
    assert set(said.scores) == {str(label) for label in LABELS}
    # A classifier that does not name it declines it.
    assert decide(odds, classes, 0.4).reason == "band-like"
    cells = [Cell(n, (0, 0, 9, 9), 0.9, said.label, 0.9, said.scores) for n in range(3)]
    assert Cell.from_dict(cells[0].to_dict()) == cells[0]
    assert differential_of(cells).counts["band"] == 3


def test_fields_to_learn_finding_from(smears: Path, tmp_path: Path) -> None:
    from wbcdet.training.finetune.enough import check_fields
    from wbcdet.training.finetune.learn_finding import detector_folds
    from wbcdet.training.finetune.reviewed_fields import read_reviewed_fields

    report = copy_of(smears, tmp_path / "report")
    review(report, {"eosinophil": DELETED}, 66)  # nine fields of seven cells, and three of the next
    session = Session(report)
    session.state.draw("Ann", 0, (0, 0, 40, 40), "neutrophil", None)
    found = read_reviewed_fields([session])
    session.close()
    assert len(found.fields) == 9 and found.unfinished == 1
    assert (found.drawn, found.taken) == (1, 18)
    assert [len(field.cells) for field in found.fields] == [6] + [5] * 8
    why = check_fields(found)
    assert why is not None and "9 fields in which every cell is reviewed, at least 10" in why
    parts = detector_folds(found.fields)
    assert sorted(np.bincount(parts)) == [4, 5]
    for seed in range(3):
        (report / "fields" / f"{seed}.png").unlink()
    code, out = run(report, "--only", "finding")
    assert code == 2 and "6 fields in which every cell is reviewed" in out
    assert "3 more cannot be read: 0.png" in out and len(out.splitlines()) == 1


def test_a_box_that_was_drawn_again_teaches_no_artefact(smears: Path, tmp_path: Path) -> None:
    from wbcdet.training.finetune.reviewed_cells import read_reviewed
    from wbcdet.training.finetune.reviewed_fields import read_reviewed_fields

    report = copy_of(smears, tmp_path / "report")
    review(report, {}, 70)
    session = Session(report)
    state = session.state

    def call(label: str, *keys: tuple[int, int]) -> None:
        changes = [LabelChange(key, state.cells[key].last_decision, label) for key in keys]
        state.change("Ann", changes)

    def beside(key: tuple[int, int]) -> tuple[float, float, float, float]:
        x_min, y_min, x_max, y_max = state.cells[key].box
        return x_min + 3, y_min + 3, x_max + 3, y_max + 3

    # A box taken away and drawn better; a second box of a cell, by one way and by the other; one
    # drawn by mistake, and one that holds no cell in truth.
    call(DELETED, (0, 0), (1, 0))
    state.draw("Ann", 0, beside((0, 0)), "neutrophil", None)
    call(DELETED, state.draw("Ann", 2, beside((2, 0)), "neutrophil", None))
    call("artefact", state.draw("Ann", 3, beside((3, 0)), "neutrophil", None))
    call(DELETED, state.draw("Ann", 4, (0, 0, 40, 40), "neutrophil", None))
    cells, fields = read_reviewed([session]), read_reviewed_fields([session])
    session.close()
    assert cells.by_class()["artefact"] == 1 and len(cells.cells) == 70
    corrected = [(field.drawn, field.taken) for field in fields.fields]
    assert corrected == [(0, 0), (0, 1), *[(0, 0)] * 8]
    assert [len(field.cells) for field in fields.fields] == [7, 6, *[7] * 8]


def test_slides_are_compared_with_whole_fields(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wbcdet.io.field import Field
    from wbcdet.training.finetune import write_models

    seen = []

    class Looking:
        detector = load_shipped("detector")

        def __init__(self, weights: Path) -> None:
            assert weights == folder

        def analyze(self, field: Field) -> FieldResult:
            seen.append((field.width, field.reduction))
            return FieldResult(field.name, field.width, field.height)

    report = copy_of(smears, tmp_path / "report")
    for seed in range(10):
        file = report / "fields" / f"{seed}.png"
        cv2.imwrite(str(file.with_suffix(".tif")), cv2.imread(str(file)))
        file.unlink()
    results = report / "results.json"
    results.write_text(results.read_text().replace(".png", ".tif"))
    # A large one is read in parts, and its pixels are a reduced overview.
    monkeypatch.setattr("wbcdet.io.field._MAX_WHOLE", 640 * 480 - 1)
    monkeypatch.setattr("wbcdet.io.tiff.OVERVIEW_SIDE", 80)
    monkeypatch.setattr(write_models, "Analyzer", Looking)
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(load_shipped("classifier").path.with_name("classifier.json"), folder)
    session = Session(report, report / "fields")
    write_models.add_reference(folder, "mylab", [session], quiet=True)
    session.close()
    assert seen == [(640, 8)] * 10
    ground = json.loads((folder / "classifier.json").read_text())["ground"]
    assert ground["fields"] == {"mylab": 10}


def test_fields_are_judged_as_they_are_counted(
    smears: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wbcdet.training.finetune import reviewed_fields

    report = copy_of(smears, tmp_path / "report")
    review(report, {}, 14)
    session = Session(report)
    whole = reviewed_fields.read_reviewed_fields([session]).fields[0]
    # A large one is learnt from at fewer pixels; it is looked at as a count looks at it.
    monkeypatch.setattr(reviewed_fields, "_LONGEST", 320)
    large = reviewed_fields.read_reviewed_fields([session]).fields[0]
    assert large.pixels.shape == (240, 320, 3) and whole.read is None
    assert np.allclose(large.cells, whole.cells / 2)
    (first, cells), (second, same) = whole.as_counted(), large.as_counted()
    session.close()
    assert (first.width, second.width) == (640, 640) and np.allclose(cells, same)
    assert np.array_equal(first.pixels, second.pixels)


def test_the_detector_is_judged() -> None:
    from wbcdet.training.finetune.judge_detector import (
        FieldDetections,
        compare,
        judge_detector,
    )

    truth = np.array([[10 * n, 0, 10 * n + 8, 8] for n in range(10)], np.float32)
    none = np.zeros((0, 4), np.float32)
    odd = np.array([[200, 200, 220, 220]], np.float32)

    def seen(cells: int, score: float = 0.9, false: np.ndarray = none) -> FieldDetections:
        boxes = np.concatenate([truth[:cells], false])
        scores = np.array([score] * cells + [0.3] * len(false), np.float32)
        return FieldDetections(truth, boxes, scores, "a")

    def apart(pairs: list[tuple[FieldDetections, ...]]) -> list[Any]:
        """Return the fields as ones that do not overlap."""
        return [tuple(replace(one, group=str(n)) for one in pair) for n, pair in enumerate(pairs)]

    same = [(seen(10), seen(10))]
    judged = judge_detector([(seen(4), seen(10, 0.9, odd))], same, 0.25)
    # The false box has a low score: a threshold above it finds as many.
    assert judged.better and judged.confidence > 0.3
    assert (judged.own.gained, judged.own.lost, judged.own.false_after) == (6, 0, 0)
    # One cell or one box fewer is too little to go so far for, three are not.
    faint = FieldDetections(truth, truth, np.array([0.9] * 9 + [0.16], np.float32), "a")
    strays = seen(10, 0.9, odd)
    for pair, threshold in (((seen(9), faint), 0.15), ((strays, strays), 0.35)):
        assert judge_detector([pair], same, 0.25).confidence == 0.25
        assert judge_detector(apart([pair] * 3), same, 0.25).confidence == threshold
        # Three pictures of one place have one error, not three.
        assert judge_detector([pair] * 3, same, 0.25).confidence == 0.25
    # A threshold of the card that is none of those that are tried stays as it is.
    assert judge_detector([(seen(10), seen(10))], same, 0.27).confidence == 0.27
    assert not judge_detector([(seen(8), seen(10))], same, 0.25).better  # may be chance
    # Two cells and a false box each of two fields that are alike: together no chance.
    errors = [(seen(9, 0.9, odd), seen(10))] * 2
    assert not judge_detector(apart(errors), same, 0.25).better
    errors.append((seen(10, 0.9, odd), seen(10)))
    judged = judge_detector(apart(errors), same, 0.25)
    assert judged.better and (judged.own.gained, judged.own.gone, judged.own.new) == (2, 3, 0)
    assert (judged.own.groups, judged.own.went, judged.own.came) == (3, 5, 0)
    # Where they overlap, all of these may be the same cell and the same box.
    judged = judge_detector(errors, same, 0.25)
    assert not judged.better and "2 errors gone and 0 new, p = 0.25" in judged.why
    assert (judged.own.fields, judged.own.groups, judged.own.went) == (3, 1, 2)
    # A false box elsewhere is a new one; one at the same place stays.
    for shift, gone in ((60, 1), (1, 0)):
        found = compare([(seen(9, 0.9, odd), seen(10, 0.9, odd + shift))], 0.25, 0.25)
        assert (found.gone, found.new, found.false_after) == (gone, gone, 1)
    # Cells are not paid for fewer false boxes.
    cheaper = judge_detector([(seen(10, 0.9, odd), seen(9))] * 6, same, 0.25)
    assert not cheaper.better and "finds fewer cells" in cheaper.why
    surely_false = seen(10, 0.3, odd)
    assert not judge_detector([(seen(4), surely_false)], same, 0.25).better
    worse = judge_detector([(seen(4), seen(10))], [(seen(10), seen(2))], 0.25)
    assert not worse.better and "synthetic" in worse.why


def test_the_most_useful_cells_are_of_all_types_and_unlike_each_other() -> None:
    from wbcdet.training.finetune.most_useful import choose

    odds = np.tile([0.98, 0.01, 0.01], (100, 1))
    odds[:40] = [0.5, 0.49, 0.01]
    features = np.zeros((100, 2))
    features[:20] = [0, 1]  # twenty doubtful ones that are alike, twenty others that are alike
    features[20:40] = [5, 1]
    features += np.random.default_rng(0).normal(0, 0.01, features.shape)
    first = choose(odds, features, 2)
    assert {index // 20 for index in first} == {0, 1}
    assert len(set(choose(odds, features, 200))) == 100
    # What is reviewed already is not asked for again.
    assert choose(odds, features, 1, features[:20])[0] in range(20, 40)
    assert choose(odds[:0], features[:0], 5) == []
    # Of three types, one of which is rare and sure, each has its turn until it has no cell left.
    odds[97:] = [0.0, 0.0, 1.0]
    odds[60:90] = [0.3, 0.7, 0.0]
    said = odds[choose(odds, features, 12)].argmax(1)
    assert np.bincount(said).tolist() == [5, 4, 3]


def test_models_as_one_file(tmp_path: Path) -> None:
    import zipfile

    from wbcdet.inference.shared_models import pack
    from wbcdet.inference.weights import WeightsError, weights_folder

    file, again = tmp_path / "lab.zip", tmp_path / "again.zip"
    pack(weights_folder(), file)
    pack(weights_folder(), again)
    assert file.read_bytes() == again.read_bytes()
    assert load_model("classifier", file).sha256 == load_shipped("classifier").sha256
    for name, data in {"text.zip": b"no archive", "cut.zip": file.read_bytes()[:-2000]}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(WeightsError, match="neither a folder of models nor a file"):
            load_model("classifier", tmp_path / name)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("../classifier.json", "{}")
    with pytest.raises(WeightsError, match="holds no models"):
        load_model("classifier", tmp_path / "other.zip")
    assert not (tmp_path / "home" / "classifier.json").exists()


def test_a_file_of_models_that_harms_nobody(tmp_path: Path) -> None:
    import random
    import zipfile

    from wbcdet.inference.shared_models import ShareError, unpacked

    def made(name: str, method: int, members: dict[str, bytes]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", method) as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        return tmp_path / name

    # Small files that unpack to large ones, whatever the archive says of their size.
    bomb = made("bomb.zip", zipfile.ZIP_DEFLATED, {"classifier.json": b" " * 6_000_000})
    with pytest.raises(ShareError, match=r"classifier.json in it is larger than that of models$"):
        unpacked(bomb)
    lies = bytearray(bomb.read_bytes())
    for at, name in ((22, b"PK\3\4"), (24, b"PK\1\2")):
        start = lies.index(name) + at
        lies[start : start + 4] = (100).to_bytes(4, "little")
    (tmp_path / "lies.zip").write_bytes(lies)
    with pytest.raises(ShareError, match=r"lies\.zip"):
        unpacked(tmp_path / "lies.zip")
    many = made("many.zip", zipfile.ZIP_STORED, {f"{number}": b"" for number in range(1500)})
    with pytest.raises(ShareError, match="holds more files than models"):
        unpacked(many)
    # Files that learn did not make, and ones that were damaged on the way, byte by byte.
    rnd = random.Random(0)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        whole = made("w.zip", method, {"classifier.json": b"{}" * 90, "x/../detector.json": b"{}"})
        data = whole.read_bytes()
        for number in range(40):
            damaged = bytearray(data)
            for _ in range(rnd.choice([1, 2, 5])):
                damaged[rnd.randrange(len(data))] = rnd.randrange(256)
            (tmp_path / f"{method}-{number}.zip").write_bytes(damaged)
            try:
                folder = unpacked(tmp_path / f"{method}-{number}.zip")
            except ShareError as error:
                assert "\n" not in str(error)
            else:
                assert {file.name for file in folder.iterdir()} <= {"classifier.json"}
    with pytest.raises(ShareError, match="packed in another way"):
        unpacked(made("lzma.zip", zipfile.ZIP_LZMA, {"classifier.json": b"{}"}))


def test_a_shared_file_writes_over_nothing_else(tmp_path: Path) -> None:
    from wbcdet.inference.shared_models import ShareError, pack
    from wbcdet.inference.weights import weights_folder

    taken = tmp_path / "letters.zip"
    taken.write_text("letters")
    for name, why in {
        "letters.zip": "is there already",
        "gone/x.zip": "there is no folder",
    }.items():
        with pytest.raises(ShareError, match=why):
            pack(weights_folder(), tmp_path / name)
    # Before minutes are spent on learning.
    code, out = run(tmp_path / "report", "--share", taken)
    assert code == 2 and "is there already and holds no models" in out
    assert taken.read_text() == "letters"
    for option in (("--share", taken), ("--only", "names"), ("--pictures", tmp_path)):
        code, out = run("--restore", *option)
        assert code == 2 and "--restore goes alone" in out


def test_one_learns_at_a_time(tmp_path: Path) -> None:
    from wbcdet.training.finetune.kept import KEPT_DAYS, Kept
    from wbcdet.utils.lock import LockedError

    old, kept = Kept("given up"), Kept("interrupted")
    for one in (old, kept):
        one.path("state").write_text("x")
    long_ago = time.time() - (KEPT_DAYS + 1) * 86400
    os.utime(old.folder, (long_ago, long_ago))
    with Kept.held():
        with pytest.raises(LockedError, match="another wbcdet learn is under way"), Kept.held():
            pass
        assert kept.folder.is_dir() and not old.folder.exists()
        # What is under way would be put in use after it.
        code, out = run("--restore")
        assert code == 2 and "another wbcdet learn is under way" in out
    with Kept.held():
        pass


def test_reports_that_are_none(smears: Path, tmp_path: Path) -> None:
    code, out = run(tmp_path / "gone")
    assert code == 2 and "gone: is not a report folder" in out and len(out.splitlines()) == 1
    report = copy_of(smears, tmp_path / "report")
    review(report, {}, 20)
    # By its results file, as for a review; named twice it is one.
    for names in ([report / "results.json"], [report, tmp_path / "x" / ".." / "report"]):
        code, out = run(*names)
        assert code == 2 and "20 reviewed cells to learn from" in out


def test_the_same_pictures_in_two_reports(smears: Path, tmp_path: Path) -> None:
    from wbcdet.training.finetune.reviewed_cells import read_reviewed

    sessions = []
    for name in ("a", "b"):
        report = copy_of(smears, tmp_path / name)
        review(report, {}, 35 if name == "a" else 49)
        sessions.append(Session(report))
    found = read_reviewed(sessions)
    for session in sessions:
        session.close()
    # Each cell once, those of a picture together, and 14 that only the second report has.
    assert len(found.cells) == 49 and len({cell.group for cell in found.cells}) == 7
    assert sum(cell.laboratory == "b" for cell in found.cells) == 14


def test_a_damaged_learned_classifier_says_how_to_go_back(tmp_path: Path) -> None:
    home = learned_home()
    (home / "broken").mkdir(parents=True)
    (home / "in-use.txt").write_text("broken\n")
    (home / "broken" / "classifier.json").write_text(json.dumps({"file": "x"}))
    with pytest.raises(RuntimeError, match="wbcdet learn --restore"):
        load_model("classifier")
    assert load_model("detector").name.startswith("wbcdet-detector")


def killed(code: str, *arguments: object) -> None:
    """Run Python code that ends itself as `kill -9` does."""
    kill = "import os, signal, sys\ndie = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
    done = subprocess.run([sys.executable, "-c", kill + code, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_while_models_are_installed(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(load_shipped("detector").path.parent, models)
    first = install(models, "first")
    killed(
        """
import shutil
from pathlib import Path
from wbcdet.training.finetune.install import install

def one_file(source, target):
    target.mkdir()
    shutil.copy(Path(source) / "detector.json", target)
    die()

shutil.copytree = one_file
install(Path(sys.argv[1]), "second")
""",
        models,
    )
    # What was in use stays so, and nothing that has a name is half there.
    assert load_model("detector").path.parent == first
    named = {path.name for path in learned_home().iterdir() if path.name[0] != "."}
    assert named == {first.name, "in-use.txt"}
    third = install(models, "third")
    assert load_model("classifier").path.parent == third
    assert not [path for path in learned_home().iterdir() if path.name[0] == "."]
    assert restore() == (third.name, first.name)


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_while_a_folder_of_models_is_written(tmp_path: Path) -> None:
    out, models = tmp_path / "out", load_shipped("detector").path.parent
    killed(
        """
import shutil
from pathlib import Path
from wbcdet.results.output_folder import Output

with Output(sys.argv[1], "learn", whole=True) as output:
    for path in Path(sys.argv[2]).glob("detector.*"):
        shutil.copy(path, output.folder)
    die()
""",
        out,
        models,
    )
    with pytest.raises(WeightsError, match="holds no model"):  # not half of it
        load_model("classifier", out)
    with Output(out, "learn", whole=True) as output:
        for name in ENTRIES["learn"]:
            if (models / name).is_file():
                shutil.copy(models / name, output.folder)
        output.finish()
    assert load_model("detector", out).path.parent == out
    assert not [path for path in out.iterdir() if path.name.startswith(PART_PREFIX)]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_while_shared_models_are_unpacked(tmp_path: Path) -> None:
    from wbcdet.inference import shared_models

    file = tmp_path / "lab.zip"
    shared_models.pack(load_shipped("detector").path.parent, file)
    killed(
        """
from pathlib import Path
from wbcdet.inference import shared_models

def one_file(file, folder):
    folder.mkdir()
    (folder / "detector.json").write_bytes(b"{")
    die()

shared_models._take = one_file
shared_models.unpacked(Path(sys.argv[1]))
""",
        file,
    )
    assert load_model("classifier", file).sha256 == load_shipped("classifier").sha256
    home = shared_models.unpacked(file).parent
    assert [path.name for path in home.iterdir() if path.is_dir()] == [
        shared_models.unpacked(file).name
    ]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL")
def test_killed_while_models_are_shared_or_taken_back(tmp_path: Path) -> None:
    models, file = load_shipped("detector").path.parent, tmp_path / "lab.zip"
    first, second = install(models, "first"), install(models, "second")
    killed(
        """
from pathlib import Path
from wbcdet.training.finetune.install import restore

Path.replace = lambda *_: die()
restore()
"""
    )
    assert load_model("detector").path.parent == second
    assert restore() == (second.name, first.name)
    killed(
        """
from pathlib import Path
from wbcdet.inference.shared_models import pack

Path.replace = lambda *_: die()
pack(Path(sys.argv[1]), Path(sys.argv[2]))
""",
        models,
        file,
    )
    assert not file.exists()
    from wbcdet.inference.shared_models import pack

    pack(models, file)
    assert load_model("detector", file).sha256 == load_shipped("detector").sha256
