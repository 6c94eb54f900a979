"""Load the models and their cards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wbcdet.inference.cards import ModelCard
from wbcdet.inference.shared_models import ShareError, unpacked
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import inside
from wbcdet.utils.schemas import SchemaError, check_schema, parse_json
from wbcdet.utils.user_folder import NoHomeError, user_folder

_LOG = logging.getLogger(__name__)

#: The two models.
ROLES = ("detector", "classifier")
#: What each model learns, as ``learned.json`` and ``--only`` call it.
LEARNS = dict(zip(ROLES, ("finding", "names"), strict=True))
#: What ``wbcdet learn`` says of the models of a folder.
LEARNED = "learned.json"
#: List of the folders of learned models that were put in use, in their home; the last one is.
IN_USE = "in-use.txt"

_SCHEMA = Path(__file__).parent / "card.schema.json"
#: Keys that every card has.
_NEEDED = ("name", "version", "file", "sha256", "card_sha256")


class WeightsError(WbcdetError, RuntimeError):
    """A model is missing, damaged or cannot run on the device asked for."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model file with the card that says how to use it.

    Attributes:
        name: with its version.
        path: the file.
        sha256: of the file.
        card: how it is used; a ``DetectorCard`` or ``ClassifierCard``.
    """

    name: str
    path: Path
    sha256: str
    card: ModelCard

    @property
    def learned(self) -> bool:
        """Whether ``wbcdet learn`` made it, from the reviewed cells of a laboratory."""
        return "learned" in self.card

    @property
    def training_path(self) -> Path:
        """The safetensors that a training starts from; it need not be there."""
        return self.path.with_name(self.card.get("training_file", f"{self.path.stem}.safetensors"))


def card_digest(card: Mapping[str, object]) -> str:
    """Return sha256 (hex) of all that a card says, but its own ``card_sha256``.

    The card is taken as JSON with sorted names and without white space, so that how the file is
    laid out does not matter.

    Raises:
        ValueError: the card holds a number that JSON has not.
    """
    plain = {name: value for name, value in card.items() if name != "card_sha256"}
    text = json.dumps(
        plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(card: Mapping[str, object]) -> dict[str, object]:
    """Return a card with its ``card_sha256``, to be written as it is."""
    return {**card, "card_sha256": card_digest(card)}


def weights_folder() -> Path:
    """Return the folder of the models: ``WBCDET_WEIGHTS``, the installed package, or the source
    tree."""
    chosen = os.environ.get("WBCDET_WEIGHTS")
    if chosen:
        return Path(chosen)
    package = Path(__file__).parent.parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def learned_home() -> Path:
    """Where the models are that ``wbcdet learn`` has made for this user."""
    return user_folder() / "learned"


def names_in_use() -> list[str]:
    """Return names of the learned models that were put in use, the present ones last; none where
    the shipped ones are in use.

    Raises:
        WeightsError: their list is damaged, or may not be read.
    """
    try:
        file = learned_home() / IN_USE
    except NoHomeError:  # nothing was ever learned without one
        return []
    try:
        return file.read_text(encoding="utf-8").split()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        if not os.access(user_folder().parent, os.X_OK):  # a service without a home of its own
            return []
        raise WeightsError(
            f"{file}: which learned models are in use cannot be read ({error}); make it readable, "
            "write the name of one of the folders beside it into it, or delete it to use the "
            "shipped models"
        ) from error


def learned_folder() -> Path | None:
    """Return the folder of the learned models that are in use; None where the shipped ones are.

    Raises:
        WeightsError: which are in use cannot be read.
    """
    names = names_in_use()
    return learned_home() / names[-1] if names else None


def _folder_of(role: str) -> Path:
    """Return a model's folder: a learned one stands in for the shipped one."""
    learned = None if os.environ.get("WBCDET_WEIGHTS") else learned_folder()
    # Where learning brought the detector nothing, the folder of an early version holds the
    # classifier alone.
    if learned is None or (role == "detector" and not _had(learned, role)):
        return weights_folder()
    return learned


def _had(folder: Path, role: str) -> bool:
    """Say whether a folder has a model, or had it by its ``learned.json``: one that was lost is not
    to be taken for one that learning never made, and the shipped one for it."""
    if (folder / f"{role}.json").exists():
        return True
    file = folder / LEARNED
    try:
        said = parse_json(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True  # what it was is not known, and is not guessed
    # Since something is carried over both models are written, learnt or not.
    return isinstance(said, dict) and (said.get(LEARNS[role]) is not None or "carried_over" in said)


def load_model(role: str, folder: str | Path | None = None) -> Model:
    """Read the card ``ROLE.json`` and check its model file.

    Args:
        role: ``detector`` or ``classifier``.
        folder: where to look first, or one file that ``wbcdet learn --share`` has packed; what it
            does not hold is the shipped one. None takes the models that ``wbcdet learn`` has put in
            use, and says so in the log.

    Raises:
        WeightsError: card or file is missing, or the file is not the one on the card.
    """
    if folder is not None:
        return _load_from(Path(folder), role)
    folder = _folder_of(role)
    if folder == weights_folder():
        return load_shipped(role)
    model = load_learned(role, folder)
    if not model.learned:  # learning brought this one nothing: it is the shipped one
        return model
    _LOG.warning(
        "%s in use, learned on this computer; `wbcdet learn --restore` goes back, `--weights DIR` "
        "takes others",
        model.name,
    )
    return model


def load_learned(role: str, folder: Path) -> Model:
    """Load a model from the folder of the learned ones that are in use.

    Raises:
        WeightsError: as :func:`load_model`; the remedy is to go back.
    """
    return _load(folder, role, "go back to the shipped models with 'wbcdet learn --restore'")


def _load_from(folder: Path, role: str) -> Model:
    """Load a model from what the user named: one at least must be there."""
    if folder.is_file():
        try:
            folder = unpacked(folder)
        except ShareError as error:
            raise WeightsError(str(error)) from error
    if not any((folder / f"{name}.json").is_file() for name in ROLES):
        raise WeightsError(
            f"{folder}: holds no model; a folder of models has a detector.json or classifier.json "
            "with the file that it names"
        )
    if not _had(folder, role):
        return load_shipped(role)
    return _load(folder, role, "name another folder with --weights")


def load_shipped(role: str) -> Model:
    """Load the shipped model as :func:`load_model` does, never a learned classifier."""
    remedy = "reinstall wbcdet, or set WBCDET_WEIGHTS to a folder that holds the models"
    return _load(weights_folder(), role, remedy)


def _load(folder: Path, role: str, remedy: str) -> Model:
    place = folder / f"{role}.json"
    try:
        card = parse_json(place.read_bytes())
        if isinstance(card, dict) and (missing := [name for name in _NEEDED if name not in card]):
            raise ValueError(f"it lacks {missing[0]!r}")
        check_schema(card, _SCHEMA, "model")
        path = inside(folder, card["file"])
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place}: cannot be used ({error}); {remedy}") from error
    if digest != card["sha256"]:
        raise WeightsError(f"{path}: differs from its card (sha256 {digest[:12]}…); {remedy}")
    if card_digest(card) != card["card_sha256"]:
        raise WeightsError(f"{place}: was changed since it was written; {remedy}")
    try:
        check_schema(card, _SCHEMA, role)
    except SchemaError as error:
        raise WeightsError(f"{place}: cannot be used ({error}); {remedy}") from error
    return Model(f"{card['name']} {card['version']}", path, digest, card)
