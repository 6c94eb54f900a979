"""Work ahead in threads: the next items are processed while the last one is being used."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(work: Callable[[T], R], items: Iterable[T], threads: int, ahead: int) -> Iterator[R]:
    """Yield ``map``, in order, with the next calls under way in threads.

    Args:
        work: called in the threads; what it raises is raised where its result is due.
        items: taken one by one, in the thread that asks for results.
        threads: calls at the same time.
        ahead: calls begun or done whose results were not yet asked for, at most.
    """
    waiting: deque[Future[R]] = deque()
    pending = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="wbcdet") as pool:
        try:
            while True:
                for item in islice(pending, ahead - len(waiting)):
                    waiting.append(pool.submit(work, item))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def cores() -> int:
    """Return processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
