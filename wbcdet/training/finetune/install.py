"""Install learned models on this computer, and take them out of use again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path

from wbcdet.inference.weights import (
    IN_USE,
    LEARNED,
    learned_folder,
    learned_home,
    names_in_use,
)
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.files import PART_PREFIX, atomic_write
from wbcdet.utils.lock import LOCK, LockedError, locked
from wbcdet.utils.schemas import JsonObject
from wbcdet.utils.user_folder import user_folder

#: The name in the list that stands for the models of the package.
SHIPPED = "(shipped)"


class InstallError(WbcdetError, ValueError):
    """Learned models cannot be installed; the message is one line."""


def learning_home() -> Path:
    """Return the folder of what learning keeps while it is under way."""
    return user_folder() / "learning"


@contextmanager
def learning_alone() -> Iterator[None]:
    """Hold the models in use against another learning of this user.

    Raises:
        LockedError: there is one.
        OSError: nothing can be written there.
    """
    with ExitStack() as lock:
        try:
            lock.enter_context(locked(learning_home(), LOCK))
        except LockedError as error:
            raise LockedError("another wbcdet learn is under way; wait for its end") from error
        yield


def check_name(name: str) -> str:
    """Return the name of learned models.

    Raises:
        InstallError: it is not fit for a folder.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}", name):
        raise InstallError(
            f"--name {name!r}: use 1 to 40 letters, digits, dots, hyphens and underscores"
        )
    return name


def install(exported: Path, name: str) -> Path:
    """Keep models among the learned ones and put them in use.

    Args:
        exported: folder with both models and their cards.
        name: how the laboratory calls it; the date is added.

    Returns:
        its folder.

    Raises:
        OSError: it cannot be written.
    """
    home = learned_home()
    home.mkdir(parents=True, exist_ok=True)
    stem = free = f"{name}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    number = 1
    while (home / free).exists():
        number += 1
        free = f"{stem}-{number}"
    for left in home.glob(f"{PART_PREFIX}*"):  # of one that was killed
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
    # Whole or not at all: it has its name when all of it is there.
    part = home / f"{PART_PREFIX}{free}"
    shutil.copytree(exported, part)
    part.rename(home / free)
    _write([*names_in_use(), free])
    return home / free


def restore() -> tuple[str, str]:
    """Put the models in use that were in use before; nothing is deleted.

    Returns:
        what was in use, and what is now; twice the same where there is nothing to go back to.

    Raises:
        LockedError: a learning is under way, which would put its own in use afterwards.
        WeightsError: which are in use cannot be read.
        OSError: it cannot be written.
    """
    with learning_alone():
        names = names_in_use()
        before = names[-1] if names else SHIPPED
        _write(names[:-1])
    return before, names[-2] if len(names) > 1 else SHIPPED


def learned_document() -> JsonObject:
    """Return ``learned.json`` of the learned models in use; empty where the shipped ones are.

    Raises:
        InstallError: it is damaged or gone, so that what they have learnt is not known.
        WeightsError: which are in use cannot be read.
    """
    folder = learned_folder()
    if folder is None:
        return {}
    file = folder / LEARNED
    try:
        said = json.loads(file.read_bytes())
        if not isinstance(said, dict) or not isinstance(said.get("reports"), dict):
            raise ValueError("it does not say from which reports")
    except (OSError, ValueError) as error:
        raise InstallError(
            f"{file}: what the models in use have learnt cannot be read ({error}), and would be "
            "lost; put the file back from where the models were shared or saved, or go back first "
            "with 'wbcdet learn --restore'"
        ) from error
    return said


def learned_reports() -> dict[str, str]:
    """Return names of the reports that the learned models in use come from, by the sha256 of their
    results; none where the shipped ones are in use.

    Raises:
        InstallError, WeightsError: as :func:`learned_document`.
    """
    return dict(learned_document().get("reports", {}))


def _write(names: list[str]) -> None:
    home = learned_home()
    if names or (home / IN_USE).exists():
        atomic_write(home / IN_USE, "".join(f"{name}\n" for name in names).encode())
