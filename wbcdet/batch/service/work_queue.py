"""How many requests are let in, and in what order their pictures are analysed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from typing import TypeVar

from wbcdet.batch.service.problems import Problem

T = TypeVar("T")

#: Weight of the last analysis in the running mean of their times.
_WEIGHT = 0.1
#: Seconds that an analysis takes before there was one.
_FIRST_S = 0.1


class WorkQueue:
    """A bound on the requests inside, and threads that work for them.

    A request is let in before its body is read, so the bound is one of memory too; what all bodies
    hold together has a bound of its own. All methods are called in the event loop.

    Args:
        workers: pictures analysed at the same time.
        waiting: requests let in beyond those in work.

    Attributes:
        inside: requests let in and not yet answered.
        held: bytes of their bodies.
        working: pictures in a thread.
        ending: no request is let in any more.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self.workers, self.places = workers, workers + waiting
        self.inside = self.working = self.held = 0
        self.ending = False
        self._turn = asyncio.Semaphore(workers)
        self._ended = asyncio.Event()
        self._mean = _FIRST_S
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="wbcdet-serve")

    @contextmanager
    def place(self, most: int) -> Iterator[Callable[[int], None]]:
        """Yield what takes account of bytes of a request's body, for the time of the request.

        Args:
            most: bytes that all requests inside may hold together.

        Raises:
            Problem: 429, all places are taken, or (when bytes are added) all bytes; 503, the
                service is ending.
        """
        if self.ending:
            raise _ending()
        if self.inside >= self.places:
            raise self._full(f"{self.inside} requests are inside")
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            if self.held + size > most:
                raise self._full(f"the requests inside hold {self.held / 1e6:.0f} MB")
            own += size
            self.held += size

        self.inside += 1
        try:
            yield hold
        finally:
            self.inside -= 1
            self.held -= own

    def _full(self, why: str) -> Problem:
        wait = max(1, ceil(self.inside * self._mean / self.workers))
        return Problem(429, "queue-full", f"{why}; try again later", wait)

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of work in a thread, when its turn has come.

        Raises:
            Problem: 503, the service ended before it was done.
        """
        return await self.unless_ended(self._run(work))

    async def unless_ended(self, work: Awaitable[T]) -> T:
        """Return what is waited for.

        Raises:
            Problem: 503, the service ended before it was there.
        """
        task, ended = asyncio.ensure_future(work), asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise _ending()
            return task.result()
        finally:
            ended.cancel()
            task.cancel()

    async def _run(self, work: Callable[[], T]) -> T:
        async with self._turn:
            self.working += 1
            start = time.monotonic()
            try:
                future = asyncio.get_running_loop().run_in_executor(self._pool, work)
                result = await future
            finally:
                self.working -= 1
            self._mean += _WEIGHT * (time.monotonic() - start - self._mean)
            return result

    def end(self, grace_s: float) -> None:
        """Let nobody in any more; what is inside has so many seconds to be answered."""
        self.ending = True
        asyncio.get_running_loop().call_later(grace_s, self._ended.set)

    def close(self) -> None:
        """Forget what no thread has begun."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _ending() -> Problem:
    return Problem(503, "ending", "the service is ending; ask again when it is back", 5)
