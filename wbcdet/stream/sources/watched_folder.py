"""Watch a folder: every new picture in it is a frame."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
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
#: Seconds that a file which cannot be read is given to be written to its end.
_GIVEN_S = 10.0
_TOO_LARGE = "is too large for one view of a stream; use wbcdet predict or wbcdet count"


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

        A picture that is still being written is waited for; one that stays unreadable is named.
        Of a TIFF that holds several, each is a frame.
        """
        start = last_new = time.monotonic()
        settings = Settings()
        sizes: dict[Path, int] = {}
        since: dict[Path, float] = {}
        done: set[Path] = set()
        given: Counter[Path] = Counter()  # pictures of files that are not done
        number = 0
        while not self._closed:
            new = waits = False
            for path in self._new(done):
                if self._closed:
                    break
                since.setdefault(path, time.monotonic())
                waited = time.monotonic() - since[path]
                if not self._settled(path, sizes) and waited < _GIVEN_S:
                    waits = True
                    continue
                for source in pictures_of(as_source(str(path)))[given[path] :]:
                    if self._closed:
                        return
                    name = source.below
                    try:
                        field = read_field(source, settings)
                        # Of a very large picture only an overview would be seen.
                        pixels = field.pixels if field.reduction == 1 else None
                        field.release()
                    except (FieldError, OSError) as error:
                        if waited < _GIVEN_S:
                            waits = True
                            break
                        given[path] += 1
                        yield f"{name}: {error}"
                        continue
                    given[path] += 1
                    if pixels is None:
                        yield f"{name}: {_TOO_LARGE}"
                        continue
                    new = True
                    for remark in field.remarks:
                        yield Note(f"{name}: {remark}")
                    yield Frame(pixels, number, time.monotonic() - start)
                    number += 1
                else:
                    done.add(path)
                    del given[path]
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

    def _new(self, done: set[Path]) -> list[Path]:
        """Return the pictures that are not done; those that wbcdet has drawn are, from then on."""
        try:
            files = [
                path
                for path in self._folder.iterdir()
                if path not in done and path.suffix.lower() in SUFFIXES
            ]
        except OSError as error:
            raise SourceError(f"{self.name}: cannot be looked at: {error.strerror}") from error
        # Only of new ones: who looks into thousands several times a second does nothing else.
        done.update(path for path in files if is_signed(path))
        return sorted(path for path in files if path not in done)

    @staticmethod
    def _settled(path: Path, sizes: dict[Path, int]) -> bool:
        """Say whether the file did not grow since the last look."""
        try:
            size = path.stat().st_size
        except OSError:
            return False
        same = sizes.get(path) == size and size > 0
        sizes[path] = size
        return same
