"""The shipped models: where they are, their cards, and their sessions."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime


#: List of the learned classifiers that were put in use, in their home; the last one is.
IN_USE = "in-use.txt"


class WeightsError(RuntimeError):
    """A model is missing, damaged or cannot run on the device asked for."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model file with the card that says how to use it."""

    name: str
    path: Path
    sha256: str
    card: dict[str, Any]


def weights_folder() -> Path:
    """Where the models are: ``WBCDET_WEIGHTS``, the installed package, or the source tree."""
    chosen = os.environ.get("WBCDET_WEIGHTS")
    if chosen:
        return Path(chosen)
    installed = Path(__file__).parent / "_weights"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "weights"


def learned_home() -> Path:
    """Where the classifiers are that ``wbcdet learn`` has made for this user."""
    import typer

    return Path(typer.get_app_dir("wbcdet")) / "learned"


def _folder_of(role: str) -> Path:
    """Where a model is: a learned classifier stands in for the shipped one."""
    if role == "classifier" and not os.environ.get("WBCDET_WEIGHTS"):
        home = learned_home()
        try:
            return home / (home / IN_USE).read_text(encoding="utf-8").split()[-1]
        except (OSError, IndexError):
            pass
    return weights_folder()


def load_model(role: str) -> Model:
    """Read the card ``ROLE.json`` and check its model file.

    Args:
        role: ``detector`` or ``classifier``.

    Raises:
        WeightsError: card or file is missing, or the file is not the one on the card.
    """
    folder = _folder_of(role)
    if folder == weights_folder():
        return load_shipped(role)
    return _load(folder, role, "go back to the shipped classifier with 'wbcdet learn --restore'")


def load_shipped(role: str) -> Model:
    """As :func:`load_model`, but never a learned classifier."""
    remedy = "reinstall wbcdet, or set WBCDET_WEIGHTS to a folder that holds the models"
    return _load(weights_folder(), role, remedy)


def _load(folder: Path, role: str, remedy: str) -> Model:
    try:
        card = json.loads((folder / f"{role}.json").read_text(encoding="utf-8"))
        path = folder / card["file"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        name, listed = f"{card['name']} {card['version']}", card["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{folder / role}.json: cannot be used ({why}); {remedy}") from error
    if digest != listed:
        raise WeightsError(f"{path}: differs from its card (sha256 {digest[:12]}…); {remedy}")
    return Model(name, path, digest, card)


def open_session(model: Model, device: str) -> onnxruntime.InferenceSession:
    """Start ONNX Runtime on a model.

    Args:
        model: what :func:`load_model` returned.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where the runtime has it.

    Raises:
        WeightsError: CUDA was asked for and cannot be had.
    """
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise WeightsError("device cuda: this onnxruntime has no CUDA; install onnxruntime-gpu")
    providers = ["CPUExecutionProvider"]
    if has_cuda and device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model.path), options, providers=providers)
    # The runtime falls back to the CPU in silence when the driver or a CUDA library is missing.
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise WeightsError("device cuda: CUDA cannot be started; check the driver, or use cpu")
    return session
