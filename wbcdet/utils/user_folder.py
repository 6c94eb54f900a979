"""The folder in which wbcdet keeps what belongs to a user and not to a report."""

from __future__ import annotations

from pathlib import Path

from wbcdet.utils.errors import WbcdetError


class NoHomeError(WbcdetError, OSError):
    """This account has no home folder that the system knows; the message is one line."""


def user_folder() -> Path:
    """Return the folder of this user's settings; it need not exist yet.

    Raises:
        NoHomeError: there is none, as for a container or a job of a cluster that runs under a
            number without an account.
    """
    from platformdirs import user_config_path

    try:
        folder = user_config_path("wbcdet", appauthor=False, roaming=True)
    except RuntimeError as error:
        raise _no_home() from error
    if not folder.is_absolute():  # earlier platformdirs take a folder called "~"
        raise _no_home()
    return folder


def user_home() -> Path | None:
    """Return the home folder of this account; None where it has none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def expanded(text: str) -> Path:
    """Return a path with ``~`` expanded, where that is a home; Office and editors begin the names
    of their own copies with it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def _no_home() -> NoHomeError:
    return NoHomeError(
        "this account has no home folder that the system knows; set HOME to a folder of its own"
    )
