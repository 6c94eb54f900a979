"""Locate frames on the slide, with a map of keyframes.

A frame is placed by its shift (``wbcdet.report.registration``) against the keyframes around the
last place, so that errors do not add up from frame to frame; against the frame before, where fast
movement or blur has left no keyframe in reach; and against all keyframes, when the place was lost.
A frame that fits nowhere begins a new *island*, a separate map; as soon as a keyframe of it
fits on another island, the two become one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wbcdet.report.registration import RegistrationImage, Shift, StandsStill
from wbcdet.utils.boxes import Box

#: Keyframes around the last place that a frame is compared with.
_NEAR = 5
#: Two places are the same within this share of the frame's longer side.
_AGREE = 0.03
#: A match with any keyframe of the slide, not one in reach, must be this sure (``Shift.sure``);
#: views that do not overlap reach 9.7 at times.
_SURE = 12.0
#: A frame becomes a keyframe when it shares less than this of its area with every other.
_SHARED = 0.85
#: Keyframes kept ready for comparison; one takes about 0.7 MB.
_READY = 100


@dataclass(frozen=True, slots=True)
class Position:
    """A place: which island, and where the frame's top left corner lies on it, px of the frames."""

    island: int
    x: float
    y: float

    def away(self, other: Position) -> float:
        """Return the distance of two places on one island, px."""
        return math.hypot(self.x - other.x, self.y - other.y)


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A view that later frames are placed by.

    Attributes:
        number: running number on the slide.
        position: where it lies.
        size: width and height, px.
        picture: its registration image (``encode_registration_image``), in colour.
        boxes: its white cells, px of the frame.
    """

    number: int
    position: Position
    size: tuple[int, int]
    picture: bytes
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """One island was found to lie on another: its places move by so much."""

    island: int
    onto: int
    dx: float
    dy: float

    def apply(self, position: Position) -> Position:
        """Return where a position lies now."""
        if position.island != self.island:
            return position
        return Position(self.onto, position.x + self.dx, position.y + self.dy)


class SlideMap:
    """The keyframes of one slide.

    Args:
        keyframes: those of an earlier run.
        backdrop: what stands still in the pictures of the camera.
    """

    def __init__(
        self, keyframes: Sequence[Keyframe] = (), backdrop: StandsStill | None = None
    ) -> None:
        self._backdrop = backdrop
        self.keyframes: dict[int, Keyframe] = {keyframe.number: keyframe for keyframe in keyframes}
        self.here: Position | None = None
        self._before: RegistrationImage | None = None
        self._ready: OrderedDict[int, RegistrationImage] = OrderedDict()
        self._searched: dict[int, int] = {}  # when each was last part of a search
        self._searches = 0
        # Keyframes that were compared to join their islands, a bit for each: sets of thousands
        # would take hundreds of megabytes.
        self._compared: dict[int, int] = {}

    def follow(self, ground: RegistrationImage) -> Position | None:
        """Place the next frame by what is around the last place; None where the trail is lost."""
        position = None
        if self.here is not None:
            near = self._near(self.here, ground.size)
            shifts = ground.shift_to([self._ground(keyframe) for keyframe in near])
            position = _agreed(
                [
                    (_moved(keyframe.position, shift), shift.sure)
                    for keyframe, shift in zip(near, shifts, strict=True)
                    if shift is not None
                ],
                _AGREE * max(ground.size),
            )
            if position is None and self._before is not None and self._before.size == ground.size:
                (shift,) = ground.shift_to([self._before])
                position = _moved(self.here, shift) if shift is not None else None
        self._set_position(position, ground)
        return position

    def find(self, ground: RegistrationImage, most: int | None = None) -> Position | None:
        """Look for a frame on the whole slide.

        Args:
            ground: the frame.
            most: keyframes that may be made ready for it, which takes 2 ms each; the next search
                goes on with those that this one did not reach.
        """
        best: tuple[float, Position] | None = None
        for keyframe, shift in self._compare(ground, list(self.keyframes.values()), most):
            if shift is not None and shift.sure >= _SURE and (best is None or shift.sure > best[0]):
                best = shift.sure, _moved(keyframe.position, shift)
        position = best[1] if best else None
        self._set_position(position, ground)
        return position

    def begin_island(self, ground: RegistrationImage, above: int = 0) -> Position:
        """Return a new island with this frame as its origin, and a number above one that is in
        use."""
        number = 1 + max([above, *self.islands()])
        position = Position(number, 0.0, 0.0)
        self._set_position(position, ground)
        return position

    def lose_position(self) -> None:
        """Note that the signal was interrupted: the next frame may be anywhere."""
        self._set_position(None, None)

    def renew(self) -> None:
        """Forget all comparisons: what stands still in the pictures is known better. The place is
        lost."""
        self._ready.clear()
        self._compared.clear()
        self.lose_position()

    def forget(self, above: int) -> list[int]:
        """Forget the keyframes with a number above one, which lie wrong; returns their numbers."""
        numbers = [number for number in self.keyframes if number > above]
        for number in numbers:
            del self.keyframes[number]
        self.renew()
        self._searched = {}
        return numbers

    def wants(self, position: Position, size: tuple[int, int]) -> bool:
        """Say whether a frame there would show enough that is new to become a keyframe."""
        return all(
            _shared(position, keyframe.position, size) < _SHARED
            for keyframe in self.keyframes.values()
            if keyframe.position.island == position.island and keyframe.size == size
        )

    def add(
        self, position: Position, picture: bytes, ground: RegistrationImage, boxes: Sequence[Box]
    ) -> int:
        """Keep a frame as a keyframe; returns its number."""
        number = 1 + max(self.keyframes, default=0)
        self.keyframes[number] = Keyframe(number, position, ground.size, picture, tuple(boxes))
        self._keep_ready(number, ground.with_cells(boxes))
        return number

    def join(self, number: int, most: int | None) -> tuple[Move, list[Keyframe]] | None:
        """See whether a keyframe's island is part of another one; if so they become one.

        Args:
            number: of the keyframe.
            most: as for ``find``; no two keyframes are compared twice.

        Returns:
            the move and the keyframes that it moved; None where nothing was found.
        """
        new = self.keyframes[number]
        done = self._compared.get(number, 0)
        others = [
            keyframe
            for keyframe in self.keyframes.values()
            if keyframe.position.island != new.position.island and not done >> keyframe.number & 1
        ]
        for other, shift in self._compare(self._ground(new), others, most):
            for first, second in ((number, other.number), (other.number, number)):
                self._compared[first] = self._compared.get(first, 0) | 1 << second
            if shift is None or shift.sure < _SURE:
                continue
            there = _moved(other.position, shift)
            # The older island stays: places of it may have been told already.
            if other.position.island < new.position.island:
                move = Move(
                    new.position.island,
                    there.island,
                    there.x - new.position.x,
                    there.y - new.position.y,
                )
            else:
                move = Move(
                    there.island,
                    new.position.island,
                    new.position.x - there.x,
                    new.position.y - there.y,
                )
            return move, self._apply(move)
        return None

    def nearest(self, position: Position, size: tuple[int, int]) -> int | None:
        """Return the number of the keyframe that is closest to a place."""
        return next((keyframe.number for keyframe in self._near(position, size)), None)

    def smaller(self) -> list[int]:
        """Return the first keyframe of every island but the largest."""
        of_island: dict[int, list[int]] = {}
        for number, keyframe in self.keyframes.items():
            of_island.setdefault(keyframe.position.island, []).append(number)
        return [min(numbers) for numbers in sorted(of_island.values(), key=len)[:-1]]

    def islands(self) -> list[int]:
        """Return numbers of the islands, in order."""
        return sorted({keyframe.position.island for keyframe in self.keyframes.values()})

    def _apply(self, move: Move) -> list[Keyframe]:
        moved = [
            replace(keyframe, position=move.apply(keyframe.position))
            for keyframe in self.keyframes.values()
            if keyframe.position.island == move.island
        ]
        self.keyframes.update((keyframe.number, keyframe) for keyframe in moved)
        if self.here is not None:
            self.here = move.apply(self.here)
        return moved

    def _set_position(self, position: Position | None, ground: RegistrationImage | None) -> None:
        self.here, self._before = position, ground

    def _near(self, position: Position, size: tuple[int, int]) -> list[Keyframe]:
        near = [
            keyframe
            for keyframe in self.keyframes.values()
            if keyframe.position.island == position.island and keyframe.size == size
        ]
        return sorted(near, key=lambda keyframe: keyframe.position.away(position))[:_NEAR]

    def _compare(
        self, ground: RegistrationImage, keyframes: Sequence[Keyframe], most: int | None
    ) -> Iterator[tuple[Keyframe, Shift | None]]:
        """Register a frame on keyframes; those that are ready are tried first."""
        self._searches += 1
        same = [keyframe for keyframe in keyframes if keyframe.size == ground.size]
        same.sort(
            key=lambda keyframe: (
                keyframe.number not in self._ready,
                self._searched.get(keyframe.number, 0),
            )
        )
        if most is not None:
            same = same[: most + sum(keyframe.number in self._ready for keyframe in same)]
        for start in range(0, len(same), 8):
            part = same[start : start + 8]
            shifts = ground.shift_to([self._ground(keyframe) for keyframe in part])
            for registered, shift in zip(part, shifts, strict=True):
                self._searched[registered.number] = self._searches
                yield registered, shift

    def _ground(self, keyframe: Keyframe) -> RegistrationImage:
        ground = self._ready.pop(keyframe.number, None)
        if ground is None:
            ground = RegistrationImage(
                keyframe.picture, *keyframe.size, keyframe.boxes, self._backdrop
            )
        self._keep_ready(keyframe.number, ground)
        return ground

    def _keep_ready(self, number: int, ground: RegistrationImage) -> None:
        self._ready[number] = ground
        while len(self._ready) > _READY:
            self._ready.popitem(last=False)


def _moved(position: Position, shift: Shift) -> Position:
    return Position(position.island, position.x + shift.dx, position.y + shift.dy)


def _agreed(matches: Sequence[tuple[Position, float]], apart: float) -> Position | None:
    """Return the place that the surest match and those that agree with it give."""
    if not matches:
        return None
    best, _ = max(matches, key=lambda match: match[1])
    same = [(position, sure) for position, sure in matches if position.away(best) <= apart]
    total = sum(sure for _, sure in same)
    return Position(
        best.island,
        sum(position.x * sure for position, sure in same) / total,
        sum(position.y * sure for position, sure in same) / total,
    )


def _shared(position: Position, other: Position, size: tuple[int, int]) -> float:
    """Share of their area that two frames of one size have in common."""
    width = max(0.0, size[0] - abs(position.x - other.x))
    height = max(0.0, size[1] - abs(position.y - other.y))
    return width * height / (size[0] * size[1])
