"""Fields counted by the workers of a Ray cluster, and handed back in order.

Each worker is an actor with models of its own, on one processor core. A worker that is lost costs
what it was doing: its fields go to others. The driver has only so many fields under way or waiting
for their turn, however many there are in all.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wbcdet.batch.counted_field import Claims, CountedField, make_counted_field
from wbcdet.inference.run_info import RunInfo
from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.source import Source
from wbcdet.records import FieldResult, SlideRegion
from wbcdet.report.input_fingerprint import FileStamp, InputFingerprints
from wbcdet.settings import Settings
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.extras import missing
from wbcdet.utils.version import __version__

_LOG = logging.getLogger(__name__)

#: Fields that a worker has, the one in work among them; and fields under way or waiting for their
#: turn in the driver, for each worker and in all.
_PER_WORKER, _WINDOW_PER_WORKER, _MIN_WINDOW = 2, 4, 16
#: Workers that a field may end before it is taken for the reason.
_MAX_LOST = 3
#: Seconds for an address to answer; between two looks at what the cluster has; without a worker.
_PROBE_S, _LOOK_S, _NO_WORKER_S = 5.0, 5.0, 120.0
#: The beginning of HTTP/2, which Ray's head speaks, with an empty frame of settings.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class RayError(WbcdetError, RuntimeError):
    """The cluster cannot be used; the message is one line."""


@dataclass(slots=True)
class _Worker:
    actor: Any
    ready: bool = False
    #: The driver's files are not where it runs: they are sent.
    remote: bool = False
    fields: list[int] = field(default_factory=list)


class RayEngine:
    """Counts on a Ray cluster.

    Args:
        settings: of the analysis; ``fields_per_batch`` is 1.
        weights: folder of the models, at the same place on all nodes.
        address: of the cluster's head, ``host:port``; None is the cluster that this computer
            belongs to, or a new one on it alone.

    Raises:
        RayError: there is no cluster, or no worker can be started.
    """

    def __init__(self, settings: Settings, weights: Path | None, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise RayError(missing(error, "--engine ray", "ray")) from error
        if address is not None:
            _check_address(address)
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address is None else None,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise RayError(f"Ray at {address or 'this computer'}: {_line(error)}") from error
        self._ray = ray
        self._make = ray.remote(num_cpus=1, max_restarts=0)(_Counter)
        self._given = (settings, None if weights is None else str(weights.absolute()))
        self._workers: dict[Any, _Worker] = {}  # by actor
        self._loading: dict[Any, _Worker] = {}  # by the reference to its first answer
        self._looked = 0.0
        self._stamps = InputFingerprints()
        self._info: RunInfo | None = None
        try:
            self._wait_for_worker()
        except BaseException:
            self.close()
            raise

    def info(self) -> RunInfo:
        """Return what made the results."""
        assert self._info is not None
        return self._info

    def close(self) -> None:
        """Leave the cluster; its workers end."""
        self._ray.shutdown()

    def count_fields(
        self,
        sources: Iterable[Source],
        *,
        draw: bool,
        dedupe: bool,
        claims: Claims | None = None,
    ) -> Iterator[CountedField]:
        """Count fields, in order."""
        waiting = iter(sources)
        given: dict[int, Source] = {}  # asked for and not handed back
        shared = None if claims is None else self._ray.put(claims)
        done: dict[int, CountedField] = {}  # waiting for their turn
        again: list[int] = []  # lost with a worker
        lost: dict[int, int] = {}
        under_way: dict[Any, tuple[_Worker, int]] = {}  # by reference
        start = following = 0  # the next to hand back, the next to begin
        ended = False  # nothing is left to begin

        def begin(worker: _Worker, number: int) -> None:
            source = given[number]
            status = _status(source)
            # All of a slide is read for its stamp: once here, and not by every worker.
            stamp = None if source.part is None else self._stamps.take(source.path)
            data: bytes | _SentPart | None = None
            if worker.remote:
                try:
                    data = _bytes_of(source) if source.part is None else _SentPart.of(source)
                except FieldError as error:
                    done[number] = CountedField(FieldResult.failed(source.name, str(error)), stamp)
                    return
            ref = worker.actor.count.remote(source, status, stamp, data, draw, dedupe, shared)
            worker.fields.append(number)
            under_way[ref] = (worker, number)

        while True:
            self._start_workers()
            window = max(_MIN_WINDOW, _WINDOW_PER_WORKER * len(self._workers))
            for worker in [candidate for candidate in self._workers.values() if candidate.ready]:
                while len(worker.fields) < _PER_WORKER:
                    if again:
                        begin(worker, again.pop(0))
                    elif following < start + window and not ended:
                        source = next(waiting, None)
                        if source is None:
                            ended = True
                            break
                        given[following] = source
                        begin(worker, following)
                        following += 1
                    else:
                        break
            while start in done:
                del given[start]
                yield done.pop(start)
                start += 1
            if ended and not given:
                return
            refs = [*under_way, *self._loading]
            if not refs or not any(worker.ready for worker in self._workers.values()):
                self._wait_for_worker()
                continue
            for ref in self._ray.wait(refs, num_returns=1, timeout=_LOOK_S)[0]:
                if ref in self._loading:
                    self._note_ready(ref)
                    continue
                worker, number = under_way.pop(ref)
                try:
                    answer = self._ray.get(ref)
                except self._ray.exceptions.RayTaskError as error:
                    raise error.as_instanceof_cause() from None
                except self._ray.exceptions.RayError as error:
                    _LOG.debug("a worker was lost", exc_info=True)
                    # It does its fields one after the other: the first is the one it was at.
                    if worker.fields and worker.fields[0] == number:
                        lost[number] = lost.get(number, 0) + 1
                    for other in [key for key, task in under_way.items() if task[0] is worker]:
                        again.append(under_way.pop(other)[1])
                    self._workers.pop(worker.actor, None)
                    self._looked = 0.0
                    if lost.get(number, 0) >= _MAX_LOST:
                        why = f"ended {_MAX_LOST} workers that read it ({_line(error)})"
                        done[number] = CountedField(
                            FieldResult.failed(given[number].name, f"{why}; look at the file")
                        )
                    else:
                        again.append(number)
                    again.sort()
                    continue
                worker.fields.remove(number)
                if answer is None:
                    worker.remote = True
                    again.insert(0, number)
                else:
                    done[number] = answer

    def _start_workers(self) -> None:
        """Start workers for what the cluster has more of now: at the start, and when nodes come."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        wanted = int(self._ray.cluster_resources().get("CPU", 0))
        for _ in range(wanted - len(self._workers)):
            actor = self._make.remote(*self._given)
            worker = self._workers[actor] = _Worker(actor)
            self._loading[actor.describe_worker.remote()] = worker

    def _wait_for_worker(self) -> None:
        """Wait until there is a worker.

        Raises:
            RayError: none comes.
        """
        until = time.monotonic() + _NO_WORKER_S
        while not any(worker.ready for worker in self._workers.values()):
            if time.monotonic() > until:
                raise RayError(
                    f"the Ray cluster has had no free processor for {_NO_WORKER_S:g} s; what is "
                    "done is kept, and the same command goes on from there"
                )
            self._start_workers()
            if not self._loading:
                time.sleep(0.2)
                continue
            for ref in self._ray.wait([*self._loading], num_returns=1, timeout=1.0)[0]:
                self._note_ready(ref)

    def _note_ready(self, ref: Any) -> None:
        """Take note that a worker has loaded its models, or could not.

        Raises:
            RayError: it has others than the workers before it, or none.
        """
        worker = self._loading.pop(ref)
        try:
            version, info = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise RayError(f"a worker cannot load the models: {_line(error.cause)}") from None
        except self._ray.exceptions.RayError as error:
            if not isinstance(error, self._ray.exceptions.ActorDiedError):
                _LOG.debug("a worker was lost before it began", exc_info=True)
            self._workers.pop(worker.actor, None)
            said = _line(error)
            if "creation" in said or "__init__" in said:
                raise RayError(f"a worker cannot be started: {said}") from None
            return
        if self._info is None:
            self._info = info
        if version != __version__ or info != self._info:
            raise RayError(
                f"a worker has wbcdet {version} with other models or settings than this computer "
                f"({__version__}); install the same on all nodes"
            )
        worker.ready = True


class _Counter:
    """A worker: an actor of Ray."""

    def __init__(self, settings: Settings, weights: str | None) -> None:
        import cv2

        from wbcdet.inference.analyzer import Analyzer

        cv2.setNumThreads(1)
        self._analyzer = Analyzer(settings, threads=1, weights=weights)
        self._stamps = InputFingerprints()

    def describe_worker(self) -> tuple[str, RunInfo]:
        """Say which version and models it has."""
        return __version__, self._analyzer.info()

    def count(
        self,
        source: Source,
        status: tuple[int, int] | None,
        stamp: FileStamp | None,
        data: bytes | _SentPart | None,
        draw: bool,
        dedupe: bool,
        claims: Claims | None,
    ) -> CountedField | None:
        """Count a field; None where its file is not here and must be sent."""
        if isinstance(data, bytes) and status is not None:
            from hashlib import sha256

            digest = sha256(data).hexdigest()
            stamp = {"size": status[0], "mtime_ns": status[1], "sha256": digest}
        elif data is None and isinstance(source.path, Path):
            if status is not None and _status(source) != status:
                return None
            stamp = stamp or self._stamps.take(source.path)
        try:
            field = (
                data.field(source)
                if isinstance(data, _SentPart)
                else read_field(source, self._analyzer.settings, data=data)
            )
        except FieldError as error:
            return CountedField(FieldResult.failed(source.name, str(error)), stamp)
        result = self._analyzer.analyze(field)
        if claims is not None:
            result = claims(result)
        if result.failure is not None:
            return CountedField(result, stamp)
        return make_counted_field(field, result, stamp, draw=draw, dedupe=dedupe)


@dataclass(frozen=True, slots=True)
class _SentPart:
    """A part of a slide for a worker that does not reach the slide."""

    pixels: Pixels
    remarks: tuple[str, ...]
    region: SlideRegion | None

    @classmethod
    def of(cls, source: Source) -> _SentPart:
        """Read the part here.

        Raises:
            FieldError: the slide is damaged there or cannot be read any more.
        """
        field = read_field(source)
        return cls(field.pixels, field.remarks, field.region)

    def field(self, source: Source) -> Field:
        """Return the part as a field."""
        return Field(source.name, source.path, self.pixels, self.remarks, None, self.region)


def _status(source: Source) -> tuple[int, int] | None:
    """Size and time of change of a file; None of what is not one."""
    if isinstance(source.path, str):
        return None
    try:
        status = source.path.stat()
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _bytes_of(source: Source) -> bytes | None:
    """Return the bytes of a file to be sent; None where they cannot be read, as the worker will
    say."""
    if isinstance(source.path, str) or source.problem is not None:
        return None
    try:
        return source.path.read_bytes()
    except (OSError, ValueError):
        return None


def _check_address(address: str) -> None:
    """Something that may be the head of a cluster answers there; Ray itself would wait minutes.

    Raises:
        RayError: it does not.
    """
    host, _, port = address.rpartition(":")
    hint = "give the address that `ray start --head` printed, as in ray://10.0.0.1:6379"
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise RayError(f"--engine ray://{address}: no host and port; {hint}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PROBE_S) as probe:
            probe.settimeout(_PROBE_S)
            probe.sendall(_PREFACE)
            answer = probe.recv(9)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise RayError(f"no Ray listens at {address} ({why}); {hint}") from error
    if len(answer) < 4 or answer[3] != 4:  # a frame of settings
        raise RayError(f"what listens at {address} is no Ray; {hint}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
