"""Cameras and films behind a network address."""

from __future__ import annotations

import errno
import hashlib
import http.client
import re
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from wbcdet.stream.sources.base import Damaged, Frame, Item, SourceError
from wbcdet.stream.sources.pictures import Pictures
from wbcdet.stream.sources.video import film, in_words
from wbcdet.utils.http_request import open_url

if TYPE_CHECKING:
    import av

#: How an RTSP camera can be asked to send its pictures, and what ``auto`` tries, in that order:
#: over UDP lost packets leave holes in the picture.
TRANSPORTS = ("auto", "tcp", "udp", "multicast", "http")
_AUTO = ("tcp", "udp")
_FFMPEG = {"multicast": "udp_multicast"}
#: Seconds without an answer, or without a frame, after which a network stream counts as lost.
_OPEN_S, _READ_S = 10.0, 5.0
#: Seconds that a server which has refused one transport takes to be ready to be asked for another.
_BETWEEN_S = 1.0
#: Seconds in which every picture is damaged after which it does, too.
_DAMAGED_S = 10.0
#: Schemes that hand out films as well as the pictures of cameras.
_FILMS = ("http", "https")
#: What is read, s of the stream and s of time, to see whether a stream of unknown length comes
#: faster than it plays: so does a film, while no camera does. A server may begin with what it keeps
#: of the last moments, s.
_LOOK_S, _LOOK_FOR_S, _KEPT_S = 6.0, 1.5, 1.0
#: Different pictures that tell a film that begins again from a camera.
_LOOKS = 2
#: Free space that is left on the disk when a film is fetched, bytes.
_SPARE = 1 << 30
_CHUNK = 1 << 20
#: The name of a secret in an address, and all that follows: values hold any character.
_SECRET = re.compile(r"([^&/=]*(?:pass|pwd|pw|token|key|secret|auth)[^&/=]*)=.*", re.IGNORECASE)


class NetworkStream:
    """A camera or server behind an address: RTSP, HTTP (MJPEG, MPEG-TS, HLS) and others.

    A film that a server hands out from its beginning to its end is read like a file: every frame,
    none dropped.

    Args:
        url: the address.
        transport: one of ``TRANSPORTS``, for RTSP.
    """

    def __init__(self, url: str, transport: str = "auto") -> None:
        self.name = _without_password(url)
        self._url = url
        self._scheme = url.partition(":")[0].lower()
        wanted = _AUTO if transport == "auto" else (transport,)
        self._transports = wanted if self._scheme.startswith("rtsp") else ("",)
        self._closed = False
        self._container: av.container.InputContainer | None = None
        self._fetched: Path | None = None
        self._live: bool | None = None
        self._begins: list[bytes] = []
        self._begun: list[av.Packet[Any]] = []
        self._over = False

    @property
    def live(self) -> bool:
        """Whether it is a camera, no film; its address is opened to find out."""
        if self._live is None:
            self._live = True
            if self._scheme in _FILMS:
                try:
                    opening = time.monotonic()
                    self._container = self._open()
                    self._live = not self._is_film(self._container, opening)
                except SourceError:
                    pass  # said when its frames are asked for
        return self._live

    def frames(self) -> Iterator[Item]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`."""
        import av

        live = self.live
        container = self._container or self._open()
        self._container = None
        number = 0
        try:
            with container:
                if live:
                    for item in self._watch(container):
                        number += isinstance(item, Frame)
                        yield item
                    duration = (container.duration or 0) > 0
                    ended = self._over or bool(number and duration)
                else:
                    begun, self._begun = self._begun, []
                    yield from film(container, self.name, lambda: self._closed, begun)
                    ended = True
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._error(error, opened=bool(number)) from error
        finally:
            if self._fetched is not None:
                self._fetched.unlink(missing_ok=True)
        if not (ended or self._closed):
            raise SourceError(f"{self.name}: the stream ended")

    def close(self) -> None:
        """Stop at the next frame or time-out."""
        self._closed = True

    def _watch(self, container: av.container.InputContainer) -> Iterator[Item]:
        """Yield the frames of a camera."""
        begun, self._begun = self._begun, []
        whole, number = time.monotonic(), 0
        looks: list[bytes] = []
        for item in Pictures(container, self.name, live=True, begun=begun).items():
            if self._closed:
                return
            if isinstance(item, Frame):
                whole, number = time.monotonic(), number + 1
                if self._scheme in _FILMS and self._may_be_again(item, looks):
                    if len(looks) < _LOOKS:
                        continue
                    self._over = True
                    return
            elif isinstance(item, Damaged):
                if time.monotonic() - whole > _DAMAGED_S:
                    raise SourceError(
                        f"{self.name}: for {_DAMAGED_S:g} s every picture came damaged; is the "
                        "network too slow for it?"
                    )
                if not number:  # what began before it was opened
                    continue
            yield item

    def _may_be_again(self, frame: Frame, looks: list[bytes]) -> bool:
        """Say whether a server begins the same film from its start, as far as the pictures so far
        tell: a camera may begin with a black picture or a sign each time, and gives no other
        twice.

        Args:
            frame: the next picture since it was opened.
            looks: of the different pictures before; this one is added while they are fewer than
                ``_LOOKS``.
        """
        if len(looks) == _LOOKS:
            return False
        look = hashlib.sha256(frame.pixels.tobytes()).digest()
        if look not in looks:
            looks.append(look)
        again = looks == self._begins[: len(looks)]
        if len(looks) == _LOOKS:
            self._begins = looks
        return again

    def _is_film(self, container: Any, opening: float) -> bool:
        """Say whether what the server gives has an end: its length is known, or it comes too fast
        for a camera.

        Args:
            container: just opened.
            opening: when that began.
        """
        import av

        if (container.duration or 0) > 0:
            return True
        # A playlist has its own size.
        if container.format.name in ("mpjpeg", "hls", "dash"):
            return False
        if (container.size or 0) > 0:
            return True
        times: list[float] = []
        try:
            for packet in container.demux():
                self._begun.append(packet)
                if packet.dts is not None and packet.time_base is not None:
                    times.append(float(packet.dts * packet.time_base))
                passed = time.monotonic() - opening
                shown = max(times, default=0.0) - min(times, default=0.0)
                if shown > _LOOK_S or passed > _LOOK_FOR_S:
                    return shown > 2 * passed + _KEPT_S
        except (av.error.FFmpegError, OSError):
            pass
        return bool(self._begun)

    def _open(self) -> av.container.InputContainer:
        import av

        self._begun = []
        for number, transport in enumerate(self._transports):
            try:
                if number:
                    time.sleep(_BETWEEN_S)
                container = av.open(
                    self._url, timeout=(_OPEN_S, _READ_S), options=self._options(transport)
                )
                if "mp4" in container.format.name:
                    # Where the index is at the end and the server cannot go back, this fails.
                    self._begun.append(next(container.demux()))
                return container
            except (av.error.FFmpegError, OSError, ValueError) as error:
                failure = error
                if isinstance(error, ConnectionRefusedError):
                    break  # nobody is there, whatever the transport
        if self._scheme in _FILMS and not isinstance(failure, ConnectionRefusedError):
            self._fetched = _fetch(self._url)
            if self._fetched is not None:
                return av.open(str(self._fetched))
        raise self._error(failure, opened=False) from failure

    def _options(self, transport: str) -> dict[str, str]:
        if self._scheme in _FILMS:
            # "nobuffer" would throw away the frames by which FFmpeg found out what the stream is.
            return {}
        options = {"fflags": "nobuffer", "flags": "low_delay"}
        if transport:
            options["rtsp_transport"] = _FFMPEG.get(transport, transport)
        return options

    def _error(self, error: Exception, *, opened: bool) -> SourceError:
        import av

        if isinstance(error, av.error.ExitError):
            why = f"no picture for {_READ_S:g} s" if opened else f"no answer within {_OPEN_S:g} s"
        else:
            why = in_words(error).replace(self._url, self.name)
            number = getattr(error, "errno", None)
            if opened and number in (errno.EIO, errno.EPIPE):
                why = "the stream ended (the connection was closed)"
            elif not opened and number == errno.EINVAL and self._scheme in _FILMS:
                why = "it, or an address that it leads on to, is none of http or https"
        if not opened:
            tried = " and ".join(transport.upper() for transport in self._transports if transport)
            why += f" (tried over {tried})" if tried else ""
            why += "; is the camera on, and the address right?"
        return SourceError(f"{self.name}: {why}")


def _fetch(url: str) -> Path | None:
    """Fetch an MP4 film whole, as its index may be at the end and the server may give it from front
    to back only; None where it is not one, or does not fit on the disk."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "wbcdet"})
        with open_url(request, _OPEN_S) as answer:
            head = answer.read(12)
            size = int(answer.headers.get("Content-Length") or 0)
            room = shutil.disk_usage(tempfile.gettempdir()).free - _SPARE
            if head[4:8] != b"ftyp" or size > room:
                return None
            with tempfile.NamedTemporaryFile(suffix=".mp4", delete=False) as file:
                path = Path(file.name)
                try:
                    if _copy(answer, file, head, room):
                        return path
                except BaseException:
                    path.unlink()
                    raise
            path.unlink()
    except (OSError, ValueError, http.client.HTTPException):
        pass
    return None


def _copy(answer: IO[bytes], file: IO[bytes], head: bytes, room: int) -> bool:
    """Write an answer to a file; False where it has more bytes than there is room for."""
    chunk = head
    while chunk:
        room -= len(chunk)
        if room < 0:
            return False
        file.write(chunk)
        chunk = answer.read(_CHUNK)
    return True


def _without_password(url: str) -> str:
    """Return the address as it may be printed and written down.

    Not by a parser of addresses: passwords hold what should be escaped (``#``, ``/``, ``?``), and
    cameras also take them in the path.
    """
    scheme, _, rest = url.partition("://")
    before, _, place = rest.rpartition("@")
    if _SECRET.search(before):  # the "@" may be of a password in the path
        place = "***"
    place = re.split(r"[?#]", place)[0]
    return f"{scheme}://" + _SECRET.sub(r"\1=***", place)
