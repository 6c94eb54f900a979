"""Watch a folder: every new picture in it is a frame."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from wbcdet.io.discover import pictures_of
from wbcdet.io.errors import FieldError
from wbcdet.io.field import read_field
from wbcdet.io.formats import SUFFIXES
from wbcdet.io.ownership import is_signed
from wbcdet.io.source import as_source
from wbcdet.settings import Settings
from wbcdet.stream.sources.base import Frame, Item, Note, SourceError

#: Seconds between two looks at the folder. Looking, not being told by the system, also works on
#: network drives.
_LOOK_S = 0.3
#: Seconds that a file which cannot be read is given from its last change on, and one that changes
#: at every look in all, before it is taken as it is.
_GIVEN_S = 10.0
_ENDINGS = tuple(SUFFIXES)
_TOO_LARGE = "is too large for one view of a stream; use wbcdet predict or wbcdet count"


#: Bytes and time of change of a file, ns: other ones tell that it was written again.
_State = tuple[int, int]


@dataclass(slots=True)
class _Waiting:
    """A file that is not done: since when, how it was at the last look and since when it is so,
    and how many of its pictures were given."""

    state: _State | None = None
    since: float = field(default_factory=time.monotonic)
    unchanged_since: float = 0.0
    given: int = 0

    def settled(self, state: _State) -> bool:
        """Say whether the file is as at the last look, or has changed for long enough."""
        same, now = self.state == state, time.monotonic()
        if not same:
            self.state, self.unchanged_since = state, now
        return (same and state[0] > 0) or now - self.since >= _GIVEN_S

    def is_given_up(self) -> bool:
        return time.monotonic() - self.unchanged_since >= _GIVEN_S


class Folder:
    """The pictures of a folder, those that are there and those that come.

    Args:
        folder: the folder; its subfolders are not looked at.
        idle_stop: seconds without a new picture after which it ends; None watches forever.
    """

    live = False

    def __init__(self, folder: Path, idle_stop: float | None = None) -> None:
        self.name = folder.resolve().name or str(folder)
        self._folder = folder
        self._idle_stop = idle_stop
        self._closed = False

    def frames(self) -> Iterator[Item]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`.

        A picture that is still being written is waited for; one that stays unreadable is named; one
        that is written over is a new one. Of a TIFF that holds several, each is a frame.
        """
        start = last_new = time.monotonic()
        settings = Settings()
        waiting: dict[Path, _Waiting] = {}
        done: dict[str, _State] = {}
        number = 0
        while not self._closed:
            new = waits = False
            for path, state in self._new(done):
                if self._closed:
                    break
                file = waiting.setdefault(path, _Waiting())
                if not file.settled(state):
                    waits = True
                    continue
                for source in pictures_of(as_source(str(path)))[file.given :]:
                    if self._closed:
                        return
                    name = source.below
                    try:
                        read = read_field(source, settings)
                        # Of a very large picture only an overview would be seen.
                        pixels = read.pixels if read.reduction == 1 else None
                        read.release()
                    except (FieldError, OSError) as error:
                        if not file.is_given_up():
                            waits = True
                            break
                        file.given += 1
                        yield f"{name}: {error}"
                        continue
                    file.given += 1
                    if pixels is None:
                        yield f"{name}: {_TOO_LARGE}"
                        continue
                    new = True
                    for remark in read.remarks:
                        yield Note(f"{name}: {remark}")
                    yield Frame(pixels, number, time.monotonic() - start, file=name)
                    number += 1
                else:
                    done[path.name] = state  # from before it was read: what came since is seen
                    del waiting[path]
            now = time.monotonic()
            last_new = now if new else last_new
            idle = now - last_new
            if self._idle_stop is not None and idle >= self._idle_stop and not waits:
                break
            yield None
            time.sleep(_LOOK_S)

    def close(self) -> None:
        """Stop after the current picture."""
        self._closed = True

    def _new(self, done: dict[str, _State]) -> list[tuple[Path, _State]]:
        """Return the pictures that are not done, or were written again since, and how each is;
        those that wbcdet has drawn are done.

        Args:
            done: the files that are done, by name, as they were then.
        """
        new: list[tuple[Path, _State]] = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    # Hidden ones are what a Mac or a copying program writes beside a picture.
                    hidden = entry.name.startswith(".")
                    if hidden or not entry.name.lower().endswith(_ENDINGS):
                        continue
                    state = _state(entry)
                    if state is not None and done.get(entry.name) != state:
                        new.append((self._folder / entry.name, state))
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be looked at: {error.strerror}") from error
        # Only of new ones: who looks into thousands several times a second does nothing else.
        done.update((path.name, state) for path, state in new if is_signed(path))
        return sorted((path, state) for path, state in new if done.get(path.name) != state)


def _state(entry: os.DirEntry[str]) -> _State | None:
    """Return the state of a file; None where it has just gone."""
    try:
        status = entry.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
