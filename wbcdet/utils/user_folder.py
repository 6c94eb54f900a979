"""The folder in which wbcdet keeps what belongs to a user and not to a report."""

from __future__ import annotations

from pathlib import Path


def user_folder() -> Path:
    """Return the folder of this user's settings; it need not exist yet."""
    from platformdirs import user_config_path

    return user_config_path("wbcdet", appauthor=False, roaming=True)
