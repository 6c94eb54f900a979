"""Tracks: the cells of the slide, each once, with the labels of all its views."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

from wbcdet.records import LABELS, Cell, CellType, as_label
from wbcdet.report.journal import Place
from wbcdet.stream.slide_map import Move, Position
from wbcdet.utils.boxes import Box
from wbcdet.utils.schemas import JsonObject

#: A view takes the place of the best one so far when it is better by this factor: not for every
#: small difference, since the picture of the best view is written to disk.
_BETTER = 1.15


@dataclass(slots=True, eq=False)
class Track:
    """One white cell of a slide. Tracks are told apart as objects, as their numbers may change.

    Attributes:
        number: running number in the run, from 1.
        slide: number of its slide, from 1.
        island: the island of the slide map that it lies on.
        box: corners on the island, px of the frames; of the best view.
        first, last: number of the first and last frame that showed it.
        first_s, last_s: their times, s.
        hits: sharp frames in which it was found whole.
        chances: sharp frames that showed its place whole.
        certainty: sum of its detection scores over all hits.
        views: by label, how many hits had it.
        weights: by label, the sum of what these views are worth.
        scores: by label of the four, the sum of its scores over all hits.
        reasons: why hits were unclassified, and what they are worth.
        cell: the cell in its best view, in pixels of that frame, with the label of that view.
        best: name of the best view.
        worth: how good that view is.
        least: mean certainty, over its chances, from which it is a cell.
        undone: taken back by the user; it is still known, and in no count.
        named: what a person called it while the stream ran; None where nobody did.
        decided: running number of what a person said last of it; 0 where nobody said anything.
        picture: place of its thumbnail in the journal.
    """

    number: int
    slide: int
    island: int
    box: Box
    first: int
    first_s: float
    last: int
    last_s: float
    cell: Cell
    best: str
    worth: float
    least: float
    hits: int = 0
    chances: int = 0
    certainty: float = 0.0
    views: dict[str, int] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    reasons: dict[str, float] = field(default_factory=dict)
    undone: bool = False
    named: str | None = None
    decided: int = 0
    picture: Place = (0, 0)

    @property
    def whole(self) -> bool:
        """Whether it was seen whole, not cut by the border of a frame."""
        return self.hits > 0

    @property
    def real(self) -> bool:
        """Whether it is sure enough over all sharp frames of its place, or a person named it,
        and not undone.

        A place that is seen many times has many chances to be mistaken for a cell once. So it is
        the mean of all frames that decides, those counted as 0 that did not show it. (A cell that
        was cut in every frame is listed, but not counted.)
        """
        if self.undone or self.named is not None:
            return not self.undone
        return self.certainty >= self.least * self.chances

    @property
    def counts(self) -> bool:
        """Whether it is in the count."""
        return self.real and self.whole

    @property
    def label(self) -> CellType | str:
        """The label that a person gave it, else that of its sharp views' vote; where every frame
        cut it,  that of the best view."""
        if self.named is not None:
            return as_label(self.named)
        return self.voted

    @property
    def voted(self) -> CellType | str:
        """Its label, leaving aside what a person called it."""
        if not self.hits:
            return self.cell.label
        return as_label(max(self.weights, key=lambda name: (self.weights[name], name)))

    @property
    def reason(self) -> str | None:
        """Reason why it is unclassified; None where it has a label."""
        if self.named is not None:
            return None
        if not self.hits:
            return self.cell.reason
        if self.label is not CellType.UNCLASSIFIED:
            return None
        return max(self.reasons, key=lambda name: self.reasons[name])

    @property
    def touches_edge(self) -> bool:
        """Whether it is cut in its best view."""
        return self.cell.touches_edge

    @property
    def _said(self) -> tuple[int, bool]:
        # Journals of earlier versions have no numbers of decisions.
        return self.decided, self.undone or self.named is not None

    def add(self, cell: Cell, frame: int, seconds: float) -> None:
        """Take another view into account.

        Args:
            cell: the cell in that view.
            frame, seconds: number and time of the frame.
        """
        self._seen(frame, seconds)
        if cell.touches_edge:
            return
        self.hits += 1
        self.certainty += cell.detection_score
        label = str(cell.label)
        worth = vote(cell)
        self.views[label] = self.views.get(label, 0) + 1
        self.weights[label] = self.weights.get(label, 0.0) + worth
        if cell.reason is not None:
            self.reasons[cell.reason] = self.reasons.get(cell.reason, 0.0) + worth
        for name, score in cell.scores.items():
            self.scores[name] = self.scores.get(name, 0.0) + score

    def _seen(self, frame: int, seconds: float) -> None:
        # The time goes with its frame: another run of the same report begins again at 0 s.
        if frame > self.last:
            self.last, self.last_s = frame, seconds

    def improves(self, cell: Cell, worth: float) -> bool:
        """Say whether a view is better than the best so far: whole instead of cut, or of clearly
        more worth."""
        if cell.touches_edge != self.cell.touches_edge:
            return self.cell.touches_edge
        return worth > _BETTER * self.worth

    def verdict(self, number: int) -> Cell:
        """Return the cell in its best view, with the label that all sharp views voted for.

        Args:
            number: its number in that view.
        """
        if not self.hits:
            return replace(self.cell, id=number, label=self.label, reason=self.reason)
        label = self.label
        scores = {str(label): round(self.scores[str(label)] / self.hits, 4) for label in LABELS}
        named = label != CellType.UNCLASSIFIED
        # A type of the laboratory's own has no score but in the views that have its name.
        own = min(1.0, round(self.weights.get(str(label), 0.0) / self.hits, 4))
        return replace(
            self.cell,
            id=number,
            label=label,
            label_score=scores.get(str(label), own) if named else max(scores.values()),
            scores=scores,
            reason=self.reason,
        )

    def moved(self, move: Move) -> None:
        """Follow an island that became part of another."""
        if self.island == move.island:
            self.island = move.onto
            self.box = shifted(self.box, move.dx, move.dy)

    def absorb(self, other: Track) -> None:
        """Merge another track that turned out to be the same cell; take its better view before."""
        if other.first < self.first:
            self.first, self.first_s = other.first, other.first_s
        self._seen(other.last, other.last_s)
        self.hits += other.hits
        self.chances += other.chances
        self.certainty += other.certainty
        # What a person said last holds.
        if other._said > self._said:
            self.undone, self.named, self.decided = other.undone, other.named, other.decided
        self.views = _sum(self.views, other.views)
        self.weights = _sum(self.weights, other.weights)
        self.scores = _sum(self.scores, other.scores)
        self.reasons = _sum(self.reasons, other.reasons)

    def to_record(self) -> dict[str, object]:
        """Return the track as the journal keeps it."""
        return {**asdict(self), "cell": self.cell.to_dict()}

    @classmethod
    def from_record(cls, record: JsonObject) -> Track:
        """Return the track that ``to_record`` gave."""
        values = dict(record)
        x0, y0, x1, y1 = values.pop("box")
        picture = tuple(values.pop("picture"))
        cell = Cell.from_dict(values.pop("cell"))
        return cls(**values, box=(x0, y0, x1, y1), picture=picture, cell=cell)


_Number = TypeVar("_Number", int, float)


def _sum(mine: dict[str, _Number], more: dict[str, _Number]) -> dict[str, _Number]:
    return {name: mine.get(name, 0) + more.get(name, 0) for name in {**mine, **more}}


def vote(cell: Cell) -> float:
    """Return what a view is worth for its label, 0..1: the probability of just that."""
    if cell.label is not CellType.UNCLASSIFIED:
        return cell.label_score
    if cell.reason == "low-score":
        return 1.0 - cell.label_score
    if cell.reason == "unlike-trained":
        return 1.0  # its scores say nothing
    return max(0.0, 1.0 - sum(cell.scores.values()))


def on_island(box: Box, position: Position) -> Box:
    """Return a box of a frame, in places of the island."""
    return shifted(box, position.x, position.y)


def shifted(box: Box, dx: float, dy: float) -> Box:
    return box[0] + dx, box[1] + dy, box[2] + dx, box[3] + dy
