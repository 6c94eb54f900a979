"""Issues of labelled data: their kinds, consequences and remedies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from wbcdet.evaluation.dataset import LabelIssue


@dataclass(frozen=True, slots=True)
class IssueKind:
    """One kind of problem: its title, what to do, and whether something was left out for it."""

    title: str
    remedy: str
    left_out: bool

    @property
    def advice(self) -> str:
        """The remedy as a sentence."""
        return f"{self.remedy[0].upper()}{self.remedy[1:]}."


KINDS: dict[str, IssueKind] = {
    "unknown-class": IssueKind(
        "classes of unknown meaning",
        "say what they are with --map OWN=STANDARD; until then their cells count neither way",
        True,
    ),
    "empty-class": IssueKind(
        "classes without a labelled cell",
        "nothing is known of these; add cells, or remove the class",
        False,
    ),
    "untyped-class": IssueKind(
        "class folders that name no cell type",
        "there is no name to compare with; say what they are with --map OWN=STANDARD",
        True,
    ),
    "picture-without-label": IssueKind(
        "pictures without label, left out",
        "label them; where a picture has no white cell, give it an empty label file",
        True,
    ),
    "label-without-picture": IssueKind(
        "labels without picture, left out", "put the pictures back, or delete the labels", True
    ),
    "broken-label": IssueKind(
        "pictures left out for a broken label",
        "correct it in the labelling tool; labels and pictures must be exported together",
        True,
    ),
    "shared-id": IssueKind(
        "pictures left out, as their id in the COCO file is that of others too",
        "give each picture an id of its own, or export every part into a file of its own",
        True,
    ),
    "boxes-elsewhere": IssueKind(
        "boxes that lie beside the cells, all in the same way",
        "the figures below compare cells with wrong boxes: export the labels again as said here",
        True,
    ),
    "unreadable-picture": IssueKind(
        "pictures that cannot be read, left out", "each says what to do", True
    ),
    "unread-file": IssueKind(
        "files beside the labels that are not read", "each says what to do", True
    ),
    "box-outside": IssueKind(
        "pictures with boxes that reach beyond them, cut at the border",
        "check that labels and pictures belong together",
        False,
    ),
    "repeated-label": IssueKind(
        "pictures with boxes labelled more than once, counted once", "delete the repeats", False
    ),
    "split-copy": IssueKind(
        "copies across train, val and test",
        "a model trained on one part has seen the other: keep copies on one side",
        False,
    ),
    "class-copy": IssueKind(
        "copies under different classes", "one of the classes is wrong: decide which", False
    ),
    "copy": IssueKind(
        "copies within a part",
        "each is counted; intervals treat them as one group",
        False,
    ),
    "trained-on": IssueKind(
        "pictures that wbcdet was trained or tuned on",
        "their figures flatter: leave them out of a validation",
        False,
    ),
}


def left_out(problems: Sequence[LabelIssue]) -> bool:
    """Tell whether anything was left out of the figures."""
    return any(KINDS[problem.kind].left_out for problem in problems)


def summarise(problems: Sequence[LabelIssue], most: int = 3) -> list[str]:
    """Return one line a kind: how many, the first few, what to do."""
    counts = Counter(problem.kind for problem in problems)
    lines = []
    for kind, text in KINDS.items():
        if not counts[kind]:
            continue
        first = [f"{p.where}: {p.what}" for p in problems if p.kind == kind][:most]
        more = f"; and {counts[kind] - most} more" if counts[kind] > most else ""
        lines.append(f"{text.title}: {counts[kind]} ({'; '.join(first)}{more}). {text.advice}")
    return lines
