"""Decode in a separate process, which can be stopped: a decoder in a thread cannot.

Plain pictures never come here. What does are formats whose decoders may take any time or memory for
a small picture, and files whose headers promise hours of work. The process lives on for the next
file, and ends with its parent.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock, Timer
from time import monotonic
from typing import IO

import numpy as np

from wbcdet.io.codecs import check_size, kind_of, open_picture, reporting
from wbcdet.io.codecs.picture import Decoded, Picture
from wbcdet.io.errors import FieldError
from wbcdet.utils.schemas import JsonObject

#: Bytes that a decoder may take beyond what the header says, and libraries while they are loaded.
_SPARE = 512 << 20
#: Rows are handed over in parts of about this many bytes.
_PART = 4 << 20

_idle: list[_Decoder] = []
_lock = Lock()


def decode_apart(
    source: Path | bytes,
    max_pixels: int,
    timeout_s: float,
    reserve: Callable[[int, str], object],
) -> Decoded:
    """Decode a picture in another process.

    Args:
        source: the file, or all its bytes.
        max_pixels: the largest width x height.
        timeout_s: seconds after which the process is ended.
        reserve: called with the memory that the picture takes and its name; may wait or raise
            ``FieldError``. The time it takes does not count.

    Raises:
        FieldError: it cannot be decoded, in this time or at all.
    """
    with _lock:
        worker = _idle.pop() if _idle else None
    worker = worker or _Decoder()
    try:
        decoded = worker.decode(source, max_pixels, timeout_s, reserve)
    finally:
        if worker.is_ready:
            with _lock:
                _idle.append(worker)
        else:
            worker.end()
    return decoded


@atexit.register
def _end_all() -> None:
    while _idle:
        _idle.pop().end()


class _Decoder:
    """The parent's end of a process."""

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        )
        self.is_ready = True

    def decode(
        self,
        source: Path | bytes,
        max_pixels: int,
        timeout_s: float,
        reserve: Callable[[int, str], object],
    ) -> Decoded:
        """See :func:`decode_apart`; afterwards ``is_ready`` says whether it can be used again."""
        self.is_ready = False
        path = os.fsdecode(source) if isinstance(source, Path) else None
        size = 0 if isinstance(source, Path) else len(source)
        try:
            with _Alarm(self._process, timeout_s, timeout_s) as alarm:
                self._send({"path": path, "size": size, "max_pixels": max_pixels})
                if isinstance(source, bytes):
                    self._stdin.write(source)
                self._stdin.flush()
                header = self._answer(alarm)
            try:
                reserve(header["bytes"], "picture of {width} x {height} pixels".format(**header))
            except FieldError:
                self._send({"bytes": None})
                self._stdin.flush()
                self.is_ready = True
                raise
            with _Alarm(self._process, timeout_s - alarm.taken, timeout_s) as alarm:
                self._send({"bytes": header["bytes"]})
                self._stdin.flush()
                answer = self._answer(alarm)
                pixels = np.empty(answer["shape"], np.uint8)
                rest = memoryview(pixels).cast("B")
                while rest:
                    got = self._stdout.readinto(rest)  # type: ignore[attr-defined]  # IO lacks it, a pipe has it
                    if not got:
                        raise self._ended(alarm)
                    rest = rest[got:]
        except (OSError, ValueError) as error:
            raise self._ended(alarm) from error
        self.is_ready = True
        return Decoded(pixels, tuple(answer["remarks"]))

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written yet has no reader
                    pipe.close()
        self._process.wait()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _send(self, message: dict[str, object]) -> None:
        self._stdin.write(json.dumps(message).encode() + b"\n")

    def _answer(self, alarm: _Alarm) -> JsonObject:
        line = self._stdout.readline()
        if not line:
            raise self._ended(alarm)
        answer: JsonObject = json.loads(line)
        if "problem" in answer:
            self.is_ready = True
            raise FieldError(answer["problem"])
        return answer

    def _ended(self, alarm: _Alarm) -> FieldError:
        if alarm.rang:
            return FieldError(
                f"takes more than {alarm.seconds:g} s to read; save it again as PNG or TIFF, or "
                "allow more with --timeout"
            )
        return FieldError(
            "file is damaged, or takes more memory to read than its size says; export it again"
        )


class _Alarm:
    """Ends a process that is not done in time."""

    def __init__(self, process: subprocess.Popen[bytes], left: float, seconds: float) -> None:
        self.seconds = seconds
        self.rang = False
        self.taken = 0.0
        self._process = process
        self._timer = Timer(max(0.0, left), self._ring)
        self._timer.daemon = True

    def __enter__(self) -> _Alarm:
        self._since = monotonic()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.taken = monotonic() - self._since

    def _ring(self) -> None:
        self.rang = True
        self._process.kill()


def _serve() -> None:
    """Decode in the child process what is asked for, until the parent closes the pipe."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What libraries print must not come between the pixels.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def answer(message: dict[str, object]) -> None:
        stdout.write(json.dumps(message).encode() + b"\n")
        stdout.flush()

    picture: Picture | None = None
    while line := stdin.readline():
        asked = json.loads(line)
        data = stdin.read(asked["size"])
        try:
            if asked["path"] is not None:
                data = Path(asked["path"]).read_bytes()
            kind = kind_of(data)
            with reporting(kind):
                _limit_memory(_SPARE)
                picture = open_picture(data, kind)
                check_size(picture, asked["max_pixels"])
                size = {"width": picture.width, "height": picture.height}
                answer({**size, "bytes": picture.working_bytes})
                granted = json.loads(stdin.readline())["bytes"]
                if granted is None:
                    continue
                _limit_memory(granted + _SPARE)
                decoded = picture.decode()
        except (FieldError, OSError) as error:
            answer({"problem": str(error)})
            continue
        finally:
            picture = None  # frees its memory
        answer({"shape": decoded.pixels.shape, "remarks": decoded.remarks})
        for top in range(0, len(decoded.pixels), rows := max(1, _PART // decoded.pixels[0].nbytes)):
            stdout.write(decoded.pixels[top : top + rows].data)
        stdout.flush()
        del data, decoded


def _limit_memory(more: int) -> None:
    """Let the process take so many bytes more than it holds, where the system can see to it."""
    try:
        import resource

        status = Path("/proc/self/status").read_text(encoding="ascii")
        held = next(int(line.split()[1]) for line in status.splitlines() if "VmData" in line) << 10
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (held + more, hard))
    except (ImportError, OSError, ValueError, StopIteration):
        pass


if __name__ == "__main__":
    _serve()
