"""Steps of each person that can be undone and redone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from wbcdet.review.cell_state import Key, RecordedState


@dataclass(frozen=True, slots=True)
class CellChange:
    """Effect of a step on a cell: its state and the decision that it shows, before and after."""

    key: Key
    before: RecordedState | None
    after: RecordedState | None
    shown_before: int
    shown_after: int


@dataclass(frozen=True, slots=True)
class Step:
    """Changes that a person made at once; they are undone together."""

    number: int
    changes: list[CellChange]


@dataclass(slots=True)
class _Steps:
    """Steps of one person, the last one at the end."""

    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)


class UndoHistory:
    """What each person can undo and redo, by their name."""

    def __init__(self) -> None:
        self._of: defaultdict[str, _Steps] = defaultdict(_Steps)

    def next(self, who: str, kind: str) -> Step | None:
        """Return the step that an undo or a redo concerns; None without one."""
        steps = self._of[who].done if kind == "undo" else self._of[who].undone
        return steps[-1] if steps else None

    def record(self, who: str, kind: str, step: Step) -> dict[Key, int]:
        """Note that a step was made.

        Returns:
            the decisions that its cells show after an undo or a redo, where not the new one.
        """
        steps = self._of[who]
        if kind == "change":
            steps.done.append(step)
            steps.undone.clear()
        elif kind == "undo" and steps.done:
            steps.undone.append(steps.done.pop())
            return {change.key: change.shown_before for change in steps.undone[-1].changes}
        elif kind == "redo" and steps.undone:
            steps.done.append(steps.undone.pop())
            return {change.key: change.shown_after for change in steps.done[-1].changes}
        return {}
