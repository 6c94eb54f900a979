"""Count the cells of a stream frame by frame: choose frames, place them, find the new cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from wbcdet.inference.dark_border import DarkBorder
from wbcdet.inference.domain_shift import GroundVerdict, compare
from wbcdet.records import Cell, FieldResult
from wbcdet.report.registration import RegistrationImage, encode_registration_image
from wbcdet.stream.association import likeness, match, separate_cells, shown, touches
from wbcdet.stream.backdrop import Backdrop
from wbcdet.stream.focus import Focus, sharpness
from wbcdet.stream.slide_map import Position, SlideMap
from wbcdet.stream.sources.base import Frame
from wbcdet.stream.track import Track, on_island

if TYPE_CHECKING:
    from wbcdet.inference.analyzer import Analyzer
    from wbcdet.stream.store import StreamStore

#: What a frame can become.
ANALYSED, BLURRED, STILL = "analysed", "blurred", "still"
#: Label that a person gives to something that is not a white cell.
NO_CELL = "no cell"

#: A frame this close to the last analysed one, over its longer side, shows nothing new...
_STILL = 0.015
#: ...unless it is sharper by this factor.
_SHARPER = 1.15
#: Pictures of one place differ by less than this (grey values, mean 128); of two, by 10 and more.
_ANOTHER = 5.0
#: A soft frame is looked at unless one within this distance, over its longer side, was clearly
#: sharper than it: it has less than this share of that sharpness.
_SAME_PLACE, _AS_SHARP = 0.5, 0.8
#: A cell's mean certainty must be this much above what one frame asks for. Of 272 cells in single
#: fields that were not trained on (lists val and never trained on) none is below, of 498 of a
#: laboratory left out of both stages 19; at twice as much it would be 38.
_SURER = 0.1
#: Keyframes that are made ready (2 ms each) to find the place again: a live stream must not wait
#: while a whole slide is searched.
_SEARCH_LIVE = 20
#: The same to see whether a new keyframe joins two islands, of any stream.
_SEARCH_JOIN = 8


@dataclass(frozen=True, slots=True)
class SeenCell:
    """A cell in the current frame: as it looks there, and the known cell that it is."""

    cell: Cell
    track: Track


@dataclass(frozen=True, slots=True)
class FrameResult:
    """Result of one frame.

    Attributes:
        frame: the frame.
        became: ``analysed``, ``blurred`` or ``still``.
        position: where it lies; None where that is not known.
        seen: its cells; of a frame that was not analysed, the known ones there.
    """

    frame: Frame
    became: str
    position: Position | None
    seen: tuple[SeenCell, ...]


@dataclass(slots=True)
class Slide:
    """State of the slide under the microscope.

    Attributes:
        number: running number, from 1.
        slide_map: what was seen of it.
        tracks: its cells.
        sharpest: by keyframe, sharpness of the best frame that was looked at around it.
    """

    number: int
    slide_map: SlideMap = field(default_factory=SlideMap)
    tracks: list[Track] = field(default_factory=list)
    sharpest: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _FirstFrame:
    """One of the first different frames: what it became, cells or none, where it lay.

    Attributes:
        empty: 1 where it was analysed and has no cell.
        doubtful: another frame lay there, which shows something else.
    """

    frame: Frame
    became: str
    empty: int
    position: Position | None
    doubtful: bool


class CellCounter:
    """Counts the cells of a stream.

    Args:
        analyzer: finds and names the cells of a frame.
        store: writes down what is found; it may hold what an earlier run found.
        live: the stream does not wait.

    Attributes:
        frames: what became of the frames.
        empty: analysed frames in which no cell was found.
        backdrop: what stands still in the pictures.
    """

    def __init__(self, analyzer: Analyzer, store: StreamStore, *, live: bool) -> None:
        self._analyzer = analyzer
        self._store = store
        self._search = _SEARCH_LIVE if live else None
        #: Of a live stream that moves, the next frame is analysed while its place is looked for.
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="wbcdet-stream") if live else None
        self._moving = False
        confidence = analyzer.settings.confidence
        if confidence is None:
            confidence = analyzer.detector.card["confidence"]
        self._least = min(1.0, confidence + _SURER)
        self._reference = analyzer.info().get("ground")
        self._focus = Focus()
        self._last: tuple[Position, float] | None = None
        self.backdrop = Backdrop()
        #: The first different frames, and the last keyframe before them.
        self._first: list[_FirstFrame] = []
        self._sound = 0
        self._is_different = False
        self.offset = store.next_frame
        kept = store.keyframes()
        for keyframe in kept:
            picture = RegistrationImage(keyframe.picture, *keyframe.size, [])
            self.backdrop.learn(picture.seen)
        self.slide = Slide(store.slide, SlideMap(kept, self.backdrop), store.tracks())
        self.frames: Counter[str] = Counter()
        self.empty = 0

    def step(self, frame: Frame) -> FrameResult:
        """Take the next frame into account."""
        if not self._first:
            self._sound = max(self.slide.slide_map.keyframes, default=0)
        begun = None
        if self._beside is not None and self._moving:
            begun = self._beside.submit(self._analyzer.analyze, frame.pixels)
        empty = self.empty
        try:
            frame_result = self._process(frame, begun)
        finally:
            if begun is not None:  # of a frame that turned out to show nothing new
                begun.cancel()
        self._moving = frame_result.became == ANALYSED
        self.frames[frame_result.became] += 1
        if self._is_different:
            position = frame_result.position
            same = position is not None and any(
                first.position is not None
                and first.position.island == position.island
                and first.position.away(position) < _STILL * max(frame.pixels.shape[:2])
                for first in self._first
            )
            self._first.append(
                _FirstFrame(
                    frame,
                    frame_result.became,
                    self.empty - empty,
                    position,
                    doubtful=same and self.backdrop.apart > _ANOTHER,
                )
            )
        return frame_result

    def interrupted(self) -> None:
        """Note that the signal was lost: the next frame may show another place."""
        self.slide.slide_map.lose_position()
        self._last = None

    def new_slide(self) -> None:
        """Note that the next frame is of another slide; nothing of this one is met again."""
        self._store.new_slide()
        self.slide = Slide(self._store.slide, SlideMap(backdrop=self.backdrop))
        self._focus = Focus()
        self._first = []
        self._last = None

    def settle(self) -> Iterator[tuple[int, int]]:
        """Search the whole slide for islands that are one: there is time for it at the end.

        Yields:
            how many islands have been compared with all others, of how many.
        """
        smaller = self.slide.slide_map.smaller()
        for done, number in enumerate(smaller, 1):
            self._join(number, None)
            yield done, len(smaller)

    def doubtful(self) -> list[str]:
        """Return the pictures of a folder that seemed to show the place of another and differ from
        all: something may stand still in them, of which too few have come to tell."""
        return [first.frame.file for first in self._first if first.frame.file and first.doubtful]

    def ground(self) -> GroundVerdict:
        """Compare the slide with what the models were trained on, by the views of its cells."""
        views = (view for view in self._store.views() if view.slide == self.slide.number)
        return compare((view.result() for view in views), self._reference)

    def undo(self) -> Track | None:
        """Take back the cell that was counted last; it is not counted again."""
        counted = [track for track in self.slide.tracks if track.counts]
        if not counted:
            return None
        track = max(counted, key=lambda track: track.number)
        track.undone = True
        self._decide(track)
        return track

    def relabel(self, cell: int, label: str | None) -> str:
        """Name a cell as a person does.

        Args:
            cell: its number.
            label: one of the four types or a taught one; ``NO_CELL``; None for the name that wbcdet
                gave it.

        Returns:
            what was done, in a line.
        """
        track = next((track for track in self.slide.tracks if track.number == cell), None)
        if track is None:
            return f"there is no cell {cell} on this slide"
        track.undone = label == NO_CELL
        if label != NO_CELL:
            track.named = label
        self._decide(track)
        return f"cell {cell} is {'no cell' if label == NO_CELL else track.label}"

    def _decide(self, track: Track) -> None:
        """Keep what a person has said of a cell, after all that was said before."""
        track.decided = 1 + max(other.decided for other in self.slide.tracks)
        self._store.changed([track])
        self._store.flush(at_once=True)

    def _process(
        self, frame: Frame, begun: Future[FieldResult] | None, *, again: bool = False
    ) -> FrameResult:
        pixels = frame.pixels
        height, width = pixels.shape[:2]
        size = width, height
        value, structure = sharpness(pixels)
        sharp = self._focus.share(value, structure)
        picture = encode_registration_image(pixels, colour=True)
        ground = RegistrationImage(picture, width, height, [], self.backdrop)
        slide_map = self.slide.slide_map
        if not again and self._learn(frame, ground):
            ground = RegistrationImage(picture, width, height, [], self.backdrop)
        position = slide_map.follow(ground)
        if not self._focus.is_sharp(sharp) and not self._is_best_there(
            sharp, value, position, size
        ):
            return FrameResult(frame, BLURRED, position, self._known(position, size))
        if position is None:
            position = slide_map.find(ground, self._search)
        if position is None:
            # A killed run may leave cells on an island of which it wrote no keyframe.
            position = slide_map.begin_island(
                ground, max((track.island for track in self.slide.tracks), default=0)
            )
        if (
            self._last is not None
            and self._last[0].island == position.island
            and self._last[0].away(position) < _STILL * max(size)
            and value < _SHARPER * self._last[1]
        ):
            if (number := slide_map.nearest(position, size)) is not None:
                self._join(number, _SEARCH_JOIN)
            return FrameResult(frame, STILL, slide_map.here, self._known(slide_map.here, size))
        self._last = position, value
        result = self._analyzer.analyze(pixels) if begun is None else begun.result()
        cells = separate_cells(result.cells)
        self.empty += not cells
        shown_cells = self._take(frame, replace(result, cells=tuple(cells)), position, size, sharp)
        if slide_map.wants(position, size):
            self._add_keyframe(position, picture, ground, cells)
        here = slide_map.here
        if here is not None and (near := slide_map.nearest(here, size)) is not None:
            known = self.slide.sharpest
            known[near] = max(value, known.get(near, 0.0))
        self._store.flush()
        return FrameResult(frame, ANALYSED, slide_map.here, shown_cells)

    def _learn(self, frame: Frame, ground: RegistrationImage) -> bool:
        """See what stands still in the pictures; says whether that is known better now."""
        backdrop, frames, found = self.backdrop, self.backdrop.frames, self.backdrop.found
        changed = backdrop.learn(ground.seen)
        if changed:
            self.slide.slide_map.renew()
            self._last = None
        if changed and not found and backdrop.is_new:
            self._look_again()
        if backdrop.found or not backdrop.is_new:
            self._first = []
        self._is_different = backdrop.is_new and not backdrop.found and backdrop.frames > frames
        return changed

    def _look_again(self) -> None:
        """Look at the first frames again: until now all seemed to be of one place.

        Where their cells and keyframes lay is forgotten before. Places that lie over each other
        would go on to be found there, and the cells of one are not in the frames of another.
        """
        if not self._first:
            return
        slide, since = self.slide, self.offset + self._first[0].frame.index
        wrong = [track for track in slide.tracks if track.first >= since]
        for track in wrong:
            self._forget(track)
        self._store.forget_keyframes(slide.slide_map.forget(self._sound))
        slide.sharpest = {n: value for n, value in slide.sharpest.items() if n <= self._sound}
        for first in self._first:
            self.empty -= first.empty
            self.frames[first.became] -= 1
            self.frames[self._process(first.frame, None, again=True).became] += 1
        for track in sorted(wrong, key=lambda track: track.decided):
            self._hand_over(track)

    def _hand_over(self, old: Track) -> None:
        """Give a cell that was looked at again its number, and what a person said of it."""
        same = max(
            (track for track in self.slide.tracks if track.best == old.best),
            key=lambda track: likeness(track.cell.box, old.cell.box, whole=False),
            default=None,
        )
        if same is not None and likeness(same.cell.box, old.cell.box, whole=False):
            same.number = old.number
            if old.decided:
                same.undone, same.named = old.undone, old.named
                self._decide(same)
            self._store.changed([same])

    def _is_best_there(
        self, share: float, value: float, position: Position | None, size: tuple[int, int]
    ) -> bool:
        """Say whether a soft frame is looked at where the slide itself is soft: no sharper one
        shows the place.

        Parts of a slide lie higher or lower than others, and a film may be soft all over except for
        one moment: their cells would be lost.
        """
        if position is None or self._focus.is_hopeless(share):
            return False
        near = self.slide.slide_map.nearest(position, size)
        if near is None:
            return True
        if self.slide.slide_map.keyframes[near].position.away(position) > _SAME_PLACE * max(size):
            return True
        return value >= _AS_SHARP * self.slide.sharpest.get(near, 0.0)

    def _take(
        self,
        frame: Frame,
        result: FieldResult,
        position: Position,
        size: tuple[int, int],
        sharp: float,
    ) -> tuple[SeenCell, ...]:
        """Bring the cells of a frame together with those that are known."""
        cells = result.cells
        number, seconds = self.offset + frame.index, round(frame.seconds, 3)
        around = [track for track in self.slide.tracks if _there(track, position, size)]
        known = match(around, cells, position, size)
        matched = {track for track in known if track is not None}
        if missed := [track for track in around if track not in matched]:
            border = DarkBorder(frame.pixels, size)
            for track in missed:
                track.chances += shown(track, position, size, border)
        shown_cells, better = [], []
        for cell, old in zip(cells, known, strict=True):
            worth = round(cell.detection_score * min(sharp, 1.0), 4)
            track = old or self._new(cell, position, number, seconds, worth)
            if old is None:
                better.append(track)
            elif track.improves(cell, worth):
                track.cell, track.worth, track.box = cell, worth, on_island(cell.box, position)
                better.append(track)
            track.add(cell, number, seconds)
            track.chances += not cell.touches_edge
            shown_cells.append(SeenCell(cell, track))
        self._store.changed(around)
        if better or not self._store.has_view():
            self._store.view(number, frame.pixels, better, result.stain)
        self._drop_parts([track for track in better if track.whole])
        return tuple(shown_cells)

    def _new(
        self, cell: Cell, position: Position, frame: int, seconds: float, worth: float
    ) -> Track:
        track = Track(
            self._store.next_track(),
            self.slide.number,
            position.island,
            on_island(cell.box, position),
            frame,
            seconds,
            frame,
            seconds,
            cell,
            "",
            worth,
            self._least,
        )
        self.slide.tracks.append(track)
        return track

    def _drop_parts(self, whole: Sequence[Track]) -> None:
        """Drop parts at the border of a frame that turn out to be of a cell that is known whole."""
        for track in whole:
            for other in list(self.slide.tracks):
                if (
                    other is not track
                    and not other.whole
                    and other.island == track.island
                    and likeness(other.box, track.box, whole=False)
                ):
                    self._forget(other)

    def _add_keyframe(
        self, position: Position, picture: bytes, ground: RegistrationImage, cells: Sequence[Cell]
    ) -> None:
        slide_map = self.slide.slide_map
        number = slide_map.add(position, picture, ground, [cell.box for cell in cells])
        self._store.keep_keyframes([slide_map.keyframes[number]])
        self._join(number, _SEARCH_JOIN)

    def _join(self, number: int, most: int | None) -> None:
        """See whether a keyframe makes two islands one."""
        slide_map = self.slide.slide_map
        if len(slide_map.islands()) < 2 or (joined := slide_map.join(number, most)) is None:
            return
        move, keyframes = joined
        moved = [track for track in self.slide.tracks if track.island == move.island]
        there = [track for track in self.slide.tracks if track.island == move.onto]
        for track in moved:
            track.moved(move)
        self._store.changed(moved)
        self._unite(moved, there)
        if self._last is not None:
            self._last = move.apply(self._last[0]), self._last[1]
        # Together: cells must not be left on an island whose keyframes lie elsewhere now.
        self._store.keep_keyframes(keyframes)
        self._store.flush(at_once=True)

    def _unite(self, moved: Sequence[Track], there: Sequence[Track]) -> None:
        """Unite cells of two islands that are one cell, now that the islands are one."""
        for track in moved:
            scores = [
                (likeness(track.box, other.box, whole=track.whole and other.whole), other)
                for other in there
            ]
            score, same = max(scores, key=lambda scored: scored[0], default=(0.0, track))
            if not score:
                continue
            # The one whose best view is better stays.
            stays, goes = sorted(
                (track, same), key=lambda united: (not united.whole, -united.worth)
            )
            stays.absorb(goes)
            stays.number = min(stays.number, goes.number)
            self._store.changed([stays])
            self._forget(goes)
            there = [other for other in there if other is not same]

    def _forget(self, track: Track) -> None:
        self.slide.tracks = [other for other in self.slide.tracks if other is not track]
        self._store.forget(track)

    def _known(self, position: Position | None, size: tuple[int, int]) -> tuple[SeenCell, ...]:
        """Return cells that are known to be in a frame, where they should be seen."""
        if position is None:
            return ()
        here = [
            track for track in self.slide.tracks if track.real and _there(track, position, size)
        ]
        return tuple(SeenCell(_placed(track, position, size), track) for track in here)


def _there(track: Track, position: Position, size: tuple[int, int]) -> bool:
    return track.island == position.island and touches(track, position, size)


def _placed(track: Track, position: Position, size: tuple[int, int]) -> Cell:
    x0, y0, x1, y1 = track.box
    box = (
        max(0.0, x0 - position.x),
        max(0.0, y0 - position.y),
        min(float(size[0]), x1 - position.x),
        min(float(size[1]), y1 - position.y),
    )
    return replace(track.verdict(track.number), box=box)
