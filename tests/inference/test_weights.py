"""Models that are missing or damaged are one clear line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.inference import weights
from wbcdet.inference.weights import WeightsError, card_digest, load_model, sealed

MODEL = b"a model"
CARD = sealed(
    {
        "name": "a",
        "version": "3",
        "file": "detector.onnx",
        "classes": ["wbc"],
        "input_size": 416,
        "stride": 32,
        "letterbox_grey": 114,
        "colour_order": "RGB",
        "confidence": 0.45,
        "nms_iou": 0.5,
        "sha256": hashlib.sha256(MODEL).hexdigest(),
    }
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of models whose detector is a few bytes and whole."""
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    (tmp_path / "detector.onnx").write_bytes(MODEL)
    (tmp_path / "detector.json").write_text(json.dumps(CARD), encoding="utf-8")
    return tmp_path


def test_a_whole_model(folder: Path) -> None:
    model = load_model("detector")
    assert (model.name, model.path) == ("a 3", folder / "detector.onnx")
    assert model.sha256 == CARD["sha256"] and model.card == CARD


def without(key: str) -> str:
    return json.dumps({k: v for k, v in CARD.items() if k != key})


def changed(**values: object) -> bytes:
    """Return the card with other values, as by hand."""
    return json.dumps({**CARD, **values}).encode()


def resealed(**values: object) -> bytes:
    """Return the card with other values, by somebody who knows of its checksum."""
    return json.dumps(sealed({**CARD, **values})).encode()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("detector.json", None, "detector.json"),
        ("detector.onnx", None, "detector.onnx"),
        ("detector.onnx", b"a model, changed", "differs from its card"),
        ("detector.onnx", b"", "differs from its card"),
        ("detector.json", b"{", "detector.json"),
        ("detector.json", b"", "detector.json"),
        ("detector.json", b"\xff\xfe\x00", "detector.json"),
        ("detector.json", b"[1]", "detector.json"),
        ("detector.json", without("file").encode(), "lacks 'file'"),
        ("detector.json", without("sha256").encode(), "lacks 'sha256'"),
        ("detector.json", without("version").encode(), "lacks 'version'"),
        ("detector.json", without("card_sha256").encode(), "lacks 'card_sha256'"),
        ("detector.json", changed(confidence=0.1), "was changed since it was written"),
        ("detector.json", changed(classes=["rbc"]), "was changed since it was written"),
        ("detector.json", resealed(confidence=1.5), "confidence must be smaller"),
        ("detector.json", resealed(input_size="416"), "input_size must be integer"),
        ("detector.json", resealed(stride=0), "stride must be bigger"),
        ("detector.json", resealed(colour_order="BGR"), "colour_order must be"),
        ("detector.json", resealed(file="../detector.onnx"), "leads out of"),
        ("detector.json", resealed(file="/etc/passwd"), "leads out of"),
        ("detector.json", json.dumps(CARD).replace("0.45", "NaN").encode(), "NaN is no number"),
    ],
)
def test_damage_is_one_line_with_file_and_remedy(
    folder: Path, file: str, content: bytes | None, words: str
) -> None:
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_model("detector")
    message = str(caught.value)
    assert words in message and str(folder / file) in message
    assert "\n" not in message and "WBCDET_WEIGHTS" in message


def test_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path / "none"))
    with pytest.raises(WeightsError, match=r"none.*reinstall wbcdet, or set WBCDET_WEIGHTS"):
        load_model("classifier")


def test_folder_is_that_of_the_source_tree_or_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "__file__", str(tmp_path / "wbcdet" / "inference" / "weights.py"))
    assert weights.weights_folder() == tmp_path / "weights"
    (tmp_path / "wbcdet" / "_weights").mkdir(parents=True)
    assert weights.weights_folder() == tmp_path / "wbcdet" / "_weights"


def test_how_a_card_is_laid_out_does_not_matter(folder: Path) -> None:
    turned = dict(reversed(CARD.items()))
    (folder / "detector.json").write_text(json.dumps(turned, indent=7))
    assert load_model("detector").card == CARD
    assert card_digest(turned) == card_digest({**CARD, "card_sha256": "x"}) == CARD["card_sha256"]
    assert card_digest({**CARD, "data": []}) != CARD["card_sha256"]


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_shipped_cards_say_all_that_inference_reads(role: str) -> None:
    card = load_model(role).card
    every = {"name", "version", "architecture", "file", "classes", "input_size", "colour_order"}
    every |= {"sha256", "licence", "data", "splits", "training_file"}
    own = {
        "detector": {"stride", "letterbox_grey", "normalisation", "confidence", "nms_iou"},
        "classifier": {"crop_padding", "mean", "std", "temperature", "min_score"},
    }
    assert not (every | own[role]) - set(card)
    assert all(s["repository"] and s["commit"] and s["licence"] for s in card["data"])


@pytest.mark.parametrize("role", ["detector", "classifier"])
def test_shipped_models_say_nothing_of_the_machine_that_made_them(role: str) -> None:
    data = load_model(role).path.read_bytes()
    for trace in (b"site-packages", b"/home/", b"/tmp/", b"File "):
        assert trace not in data


def test_a_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)
    with pytest.raises(WeightsError, match="holds no model"):
        load_model("detector", tmp_path)
    (tmp_path / "detector.onnx").write_bytes(MODEL)
    (tmp_path / "detector.json").write_text(json.dumps(CARD), encoding="utf-8")
    assert load_model("detector", tmp_path).sha256 == CARD["sha256"]
    assert load_model("classifier", tmp_path) == load_model("classifier")
    (tmp_path / "detector.onnx").write_bytes(b"another")
    with pytest.raises(WeightsError, match="name another folder with --weights"):
        load_model("detector", str(tmp_path))


def test_a_learned_classifier_is_never_taken_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "learned_home", lambda: tmp_path)
    (tmp_path / "own").mkdir()
    own = {"name": "own", "version": "3", "file": "classifier.onnx", "sha256": CARD["sha256"]}
    card = {**load_model("classifier").card, **own, "learned": {"created": "2026-01-01"}}
    (tmp_path / "own" / "classifier.onnx").write_bytes(MODEL)
    (tmp_path / "own" / "classifier.json").write_text(json.dumps(sealed(card)), encoding="utf-8")
    (tmp_path / weights.IN_USE).write_text("own\n", encoding="utf-8")
    model = load_model("classifier")
    assert model.learned and model.name == "own 3"
    assert "own 3 in use, learned on this computer" in caplog.text


@pytest.mark.parametrize(
    ("said", "lost"),
    [
        ({"finding": [{"fields": "9"}], "names": None}, "detector"),
        ({"finding": None, "names": None, "carried_over": {}}, "detector"),
        ({"finding": None, "names": [{"type": "all"}]}, None),  # as an early version left it
        (None, "detector"),
    ],
)
def test_a_learned_model_that_is_lost_is_not_the_shipped_one(
    said: dict[str, object] | None,
    lost: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "learned_home", lambda: tmp_path)
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("classifier.json", "classifier.onnx"):
        (folder / name).write_bytes((weights.weights_folder() / name).read_bytes())
    (folder / "learned.json").write_bytes(b"{" if said is None else json.dumps(said).encode())
    (tmp_path / weights.IN_USE).write_text("own\n", encoding="utf-8")
    for place in (None, folder):
        if lost:
            with pytest.raises(WeightsError, match=f"own/{lost}.json: cannot be used"):
                load_model(lost, place)
        else:
            assert load_model("detector", place) == weights.load_shipped("detector")


def test_which_models_are_in_use_is_never_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WBCDET_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "learned_home", lambda: tmp_path)
    assert weights.learned_folder() is None
    listed = tmp_path / weights.IN_USE
    listed.write_bytes(b"lab-1\n\xff\xfe")
    for role in weights.ROLES:
        with pytest.raises(WeightsError, match=f"{weights.IN_USE}: .*delete it to use the shipped"):
            load_model(role)
    assert CliRunner().invoke(app, ["learn", "--restore"]).output.count("\n") == 1
    listed.unlink()
    listed.mkdir()
    with pytest.raises(WeightsError, match="cannot be read"):
        load_model("detector")
