"""Choose and order the cells that the page shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wbcdet.records import ALARMING, ALL_LABELS, CellType
from wbcdet.report.journal import Place

#: Thumbnails on one page; more make it slow to open. All are on the contact sheets.
MAX_SHOWN = 400


#: How a person decided on a cell: by itself, or with others by one keystroke.
ONE_BY_ONE, IN_BULK = "one by one", "in bulk"


@dataclass(frozen=True, slots=True)
class CellPicture:
    """A counted cell as the gallery lists it.

    Attributes:
        group: the slide or patient; None where cells are not grouped.
        label: one of the four labels, or ``unclassified``.
        score: label score, 0..1.
        reason: why it is unclassified, else None.
        row: its row in ``cells.csv``, from 1 below the header.
        file: its field.
        cell: its number in the field.
        place: where its thumbnail is.
        link: the annotated picture of its field, as a path below the report folder, or None.
        mark: how a person decided on it; empty where none has.
    """

    group: str | None
    label: str
    score: float
    reason: str | None
    row: int
    file: str
    cell: int
    place: Place
    link: str | None = None
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """The cells of one label in one group, the most doubtful first.

    Attributes:
        group, label: what they are.
        shots: all of them.
        shown: how many of them the page shows.
        sheets: contact sheets with all of them, as paths below the report folder.
    """

    group: str | None
    label: str
    shots: tuple[CellPicture, ...]
    shown: int
    sheets: tuple[str, ...] = ()


def make_sections(shots: Iterable[CellPicture], most: int = MAX_SHOWN) -> list[Section]:
    """Return the gallery: sections in order of group and label, and what fits of each.

    Args:
        shots: the counted cells, in the order of the groups.
        most: thumbnails on the page.
    """
    by_group: dict[str | None, dict[str, list[CellPicture]]] = {}
    for shot in shots:
        by_group.setdefault(shot.group, {}).setdefault(shot.label, []).append(shot)
    parts = [
        (group, label, sorted(labels[label], key=_doubt))
        for group, labels in by_group.items()
        for label in sorted(labels, key=_order)
    ]
    shown = distribute_places([len(pictures) for *_, pictures in parts], most)
    return [
        Section(group, label, tuple(part), number)
        for (group, label, part), number in zip(parts, shown, strict=True)
    ]


def distribute_places(sizes: Sequence[int], most: int) -> list[int]:
    """Share out ``most`` places among parts: the same number each; places that small parts do not
    need go to the others."""
    given = [0] * len(sizes)
    left = min(most, sum(sizes))
    while left:
        hungry = [i for i, size in enumerate(sizes) if given[i] < size]
        each = max(1, left // len(hungry))
        for i in hungry:
            more = min(each, sizes[i] - given[i], left)
            given[i] += more
            left -= more
    return given


def _doubt(shot: CellPicture) -> tuple[bool, str, float, int]:
    # Of the unclassified those come first of which a single cell matters, then, reason by reason,
    # those that nearly had a name.
    if shot.label == CellType.UNCLASSIFIED:
        return shot.reason not in ALARMING, shot.reason or "", -shot.score, shot.row
    return False, "", shot.score, shot.row


def _order(label: str) -> int:
    names = [str(known) for known in ALL_LABELS]
    return names.index(label) if label in names else len(names)
