"""The shipped models: where they are, and their cards."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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


def load_model(role: str) -> Model:
    """Read the card ``ROLE.json`` and check its model file.

    Args:
        role: ``detector`` or ``classifier``.

    Raises:
        WeightsError: card or file is missing, or the file is not the one on the card.
    """
    folder = weights_folder()
    remedy = "reinstall wbcdet, or set WBCDET_WEIGHTS to a folder that holds the models"
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
