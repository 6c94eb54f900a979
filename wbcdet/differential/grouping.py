"""Group fields by slide or patient, from their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from wbcdet.utils.errors import WbcdetError

FOLDER = "folder"

#: Group of the fields whose name tells none.
NO_GROUP = "(no group)"

#: Fields named in a warning; the rest are counted.
_MAX_NAMED = 5


class GroupingError(WbcdetError, ValueError):
    """``--group-by`` names neither ``folder`` nor a usable pattern; the message is one line."""


def group_of(name: str, by: str) -> str:
    """Return the group of a field.

    Args:
        name: the field's name in its run, with ``/`` between folders.
        by: ``folder`` for the folder that the field lies in, or a regular expression that is
            searched in the name; its one capture group, or the one named ``group``, is the
            group's name.

    Returns:
        the group, or ``NO_GROUP`` where the name has no folder or the pattern does not match.

    Raises:
        GroupingError: the pattern is not valid or captures nothing.
    """
    if by == FOLDER:
        parent = PurePosixPath(name).parent.as_posix()
        return NO_GROUP if parent in (".", "/") else parent
    pattern, capture = _compile(by)
    match = pattern.search(name)
    return (match.group(capture) if match else None) or NO_GROUP


def check_grouping(by: str) -> None:
    """Find a mistake in ``--group-by`` before anything is done.

    Raises:
        GroupingError: as ``group_of``.
    """
    if by != FOLDER:
        _compile(by)


def no_group_warning(names: Sequence[str]) -> str | None:
    """Name the fields without a group in one line; None where all have one."""
    if not names:
        return None
    shown = ", ".join(" ".join(name.split()) for name in names[:_MAX_NAMED])
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    what = "1 field has" if len(names) == 1 else f"{len(names)} fields have"
    return f"{what} no group in the name, counted under {NO_GROUP!r}: {shown}{more}"


@lru_cache(maxsize=32)
def _compile(by: str) -> tuple[re.Pattern[str], str | int]:
    try:
        pattern = re.compile(by)
    except (re.error, RecursionError, OverflowError) as error:
        raise GroupingError(
            f"--group-by {by!r} is neither 'folder' nor a valid pattern: {error}"
        ) from error
    if "group" in pattern.groupindex:
        return pattern, "group"
    if pattern.groups == 1:
        return pattern, 1
    many = "no part" if pattern.groups == 0 else f"{pattern.groups} parts"
    raise GroupingError(
        f"--group-by {by!r} captures {many}: put the group's name, and nothing else, in "
        "parentheses, or call it (?P<group>...)"
    )
