"""Open the source of frames that a user names, built-in or of a third party.

A third party adds a source without touching this package: a function that takes the address
(what stands behind ``NAME:``) and returns a :class:`FrameSource`, under the entry point group
``wbcdet.frame_sources``, or given to :func:`register`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from wbcdet.io.formats import picture_kind
from wbcdet.stream.sources.base import AvailableSource, FrameSource, SourceError
from wbcdet.stream.sources.webcam import camera_numbers, probe

#: Addresses that are opened as network streams.
URLS = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "srt")
#: Pictures of which FFmpeg would show a part: one tile, or the first of several.
_STILLS = frozenset({"TIFF", "HEIF", "AVIF", "WEBP", "JPEGXL", "JPEG2000"})
#: Entry point groups of third parties; the second is the older name of the first.
ENTRY_POINTS = ("wbcdet.frame_sources", "wbcdet.sources")

Opener = Callable[[str], FrameSource]
_registered: dict[str, Opener] = {}


def register(scheme: str, opener: Opener) -> None:
    """Make ``SCHEME:ADDRESS`` open a source of your own."""
    _registered[scheme] = opener


def schemes() -> dict[str, Opener | None]:
    """Find the openers of third parties by scheme; None for one that is not loaded yet."""
    declared: dict[str, Opener | None] = {point.name: None for point in _declared()}
    return {**declared, **_registered}


def _declared() -> list[EntryPoint]:
    return [point for group in ENTRY_POINTS for point in entry_points(group=group)]


def open_source(
    text: str, *, idle_stop: float | None = None, transport: str = "auto"
) -> FrameSource:
    """Return the source that a user names.

    Args:
        text: a camera number, ``mm:demo``, ``mm:FILE.cfg``, an address, a folder, a video file, or
            the scheme of a third party.
        idle_stop: a watched folder ends after so many seconds without a new picture.
        transport: how an rtsp:// camera sends its pictures, see ``network.TRANSPORTS``.

    Raises:
        SourceError: there is no such source.
    """
    scheme, _, rest = text.partition(":")
    if text.isdecimal():
        from wbcdet.stream.sources.webcam import Camera

        return Camera(int(text))
    if scheme == "mm":
        from wbcdet.stream.sources.micromanager import MicroManager

        return MicroManager(rest)
    if scheme.lower() in URLS and rest.startswith("//"):
        from wbcdet.stream.sources.network import NetworkStream

        return NetworkStream(text, transport)
    if scheme in schemes():
        opener = _registered.get(scheme) or _load(scheme)
        return opener(rest)
    path = Path(text)
    if path.is_dir():
        from wbcdet.stream.sources.watched_folder import Folder

        return Folder(path, idle_stop)
    if path.is_file():
        from wbcdet.stream.sources.video import VideoFile

        kind = picture_kind(path)
        if kind is not None and kind.codec in _STILLS:
            raise SourceError(
                f"{text}: is {kind.name}, no film; analyse it with wbcdet predict or count"
            )
        return VideoFile(path)
    if ("%" in path.name or "*" in path.name) and path.parent.is_dir():
        raise SourceError(
            f"{text}: no such file; to look at pictures one after the other, name their folder: "
            f"{path.parent}"
        )
    if path.exists():
        raise SourceError(f"{text}: {_what_else(path)}")
    raise SourceError(
        f"{text}: no such file or folder; a source is a video file, a folder, a camera number, an "
        "rtsp:// or http:// address, or mm:demo (see wbcdet cameras)"
    )


def _what_else(path: Path) -> str:
    """Return what a path is that is neither file nor folder, and what to do."""
    if path.is_fifo():
        return "is a pipe, no file; record into a file, or send the video to an address (udp://)"
    if path.is_socket():
        return "is a socket, no file; send the video to an address (udp://, tcp://)"
    number = path.name.removeprefix("video")
    if path.is_char_device() and number.isdecimal():
        return f"is a device; name the camera by its number: {number}"
    return "is a device, no video; wbcdet cameras lists the cameras that are found"


def _load(scheme: str) -> Opener:
    point = next(point for point in _declared() if point.name == scheme)
    try:
        opener: Opener = point.load()
    except Exception as error:  # a third party's package may raise anything
        raise SourceError(f"{scheme}: {point.value} cannot be loaded: {error}") from error
    return opener


def find_cameras() -> list[AvailableSource]:
    """Return the cameras of this computer: by number, of Micro-Manager, of third parties."""
    from wbcdet.stream.sources.micromanager import find_configurations

    cameras = [probe(number) for number in camera_numbers()]
    return [
        *(camera for camera in cameras if camera is not None),
        *find_configurations(),
        *(_available(scheme) for scheme in schemes()),
    ]


def _available(scheme: str) -> AvailableSource:
    """Return a source of another package, with what keeps it from being loaded."""
    try:
        _registered.get(scheme) or _load(scheme)
    except SourceError as error:
        return AvailableSource(f"{scheme}:", "source of another package", str(error))
    return AvailableSource(f"{scheme}:", "source of another package")
