"""Share one memory budget among the pixels of all fields that are read at the same time."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from threading import Condition

import numpy as np

from wbcdet.io.errors import FieldError


@dataclass(frozen=True, slots=True)
class Place:
    """Position of a field in a run that hands its fields on in order."""

    run: object
    number: int


class PixelMemory:
    """Memory that fields share while they are decoded and analysed.

    A field asks before it is decoded, by what its header says, and waits until there is room. Its
    own pixels count until nobody holds them. A field only ever waits for those that can end
    without it: such as are being decoded, or stand before it in its run. What a caller keeps of
    fields that were handed to it is counted, but not waited for.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._used = 0
        self._working: set[Reservation] = set()
        self._queue: deque[Reservation] = deque()
        self._changed = Condition()

    def reserve(self, wanted: int, what: str, place: Place | None = None) -> Reservation:
        """Wait for memory.

        Args:
            wanted: bytes at the peak of decoding.
            what: the picture, for the message.
            place: where it stands in a run; without, it is done when it is decoded.

        Raises:
            FieldError: more is wanted than there is in all.
        """
        if wanted > self.limit:
            raise FieldError(
                f"{what} takes {_bytes(wanted)} of memory to read, over the limit of "
                f"{_bytes(self.limit)}; scale it down, or allow more with --memory"
            )
        own = Reservation(self, wanted, place)
        with self._changed:
            self._queue.append(own)
            self._changed.wait_for(
                lambda: (
                    self._queue[0] is own
                    and (
                        self._used + wanted <= self.limit
                        or not any(map(own.follows, self._working))
                    )
                )
            )
            self._queue.popleft()
            self._used += wanted
            self._working.add(own)
            self._changed.notify_all()
        return own

    def _change(self, used: int, done: Reservation | None = None) -> None:
        with self._changed:
            self._used += used
            if done is not None:
                self._working.discard(done)
            self._changed.notify_all()


class Reservation:
    """Memory that one field holds, from before it is decoded until its pixels are gone."""

    def __init__(self, memory: PixelMemory, held: int, place: Place | None) -> None:
        self._memory = memory
        self._held = held
        self._place = place

    def follows(self, other: Reservation) -> bool:
        """Say whether the other one ends without this one, so that it can be waited for."""
        mine, its = self._place, other._place
        return its is None or (
            mine is not None and its.run is mine.run and its.number < mine.number
        )

    def keep(self, pixels: np.ndarray) -> None:
        """Note that decoding has ended: hold what the pixels take, as long as anything holds
        them."""
        more, self._held = pixels.nbytes - self._held, pixels.nbytes
        self._memory._change(more, self if self._place is None else None)
        owner = pixels
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        weakref.finalize(owner, self.release).atexit = False

    def leave_run(self) -> None:
        """Note that the field has left its run: later ones need not wait for it."""
        self._memory._change(0, self)

    def release(self) -> None:
        """Give all memory back."""
        less, self._held = self._held, 0
        self._memory._change(-less, self)


@lru_cache(maxsize=8)
def pixel_memory(limit: int) -> PixelMemory:
    """Return the memory that everything in this process shares that was given the same limit."""
    return PixelMemory(limit)


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
