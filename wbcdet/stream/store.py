"""Keep on disk what a stream has found: views, tracks and the slide map, in a journal.

A *view* is a frame that shows some cells best. It is a picture file, and a line of the journal with
those cells: the field that owns them in the report. New cells are written at most half a second
later, so that a killed process loses no more than that.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import cv2

from wbcdet.inference.quality import QualityInfo, cell_width, measure
from wbcdet.inference.run_info import StreamInfo
from wbcdet.io.colour import Pixels
from wbcdet.io.field import Field
from wbcdet.records import FieldResult
from wbcdet.report.journal import Journal, JournalError
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.thumbnails import cut_thumbnails
from wbcdet.results.schemas import check_line
from wbcdet.results.writer import remove_pictures, write_picture
from wbcdet.stream.slide_map import Keyframe, Position
from wbcdet.stream.track import Track
from wbcdet.utils.safe_files import inside, own_folder
from wbcdet.utils.schemas import JsonObject, SchemaError

VIEWS, ANNOTATED = "views", "annotated"

#: Seconds after which new cells are written, and after which what more frames said of known ones
#: is: every line of a view has all its cells, which would come to a gigabyte in a day.
_FLUSH_S, _MORE_S = 0.5, 5.0
_QUALITY = 95
#: Names of the journal's lines that are not of views.
_MAP, _RUN = "map/", "run"


@dataclass(slots=True)
class View:
    """A frame that is kept for the cells that it shows best.

    Attributes:
        name: below ``views/`` and in every table.
        slide: number of its slide.
        size: width and height, px.
        quality: its ``FieldQuality``.
        stain: as of a ``FieldResult``.
        first: the first one of its slide, kept even without a cell: a slide without white cells is
            a result too.
        tracks: those cells.
    """

    name: str
    slide: int
    size: tuple[int, int]
    quality: QualityInfo
    stain: tuple[float, ...] | None = None
    first: bool = False
    tracks: list[Track] = field(default_factory=list)

    @property
    def listed(self) -> bool:
        """Whether it is in the report: some cells are its own, or it shows that the slide was
        seen."""
        return self.first or any(track.real for track in self.tracks)

    def result(self) -> FieldResult:
        """Return the record of the field that it is in the report: with the cells that are its
        own."""
        real = sorted(
            (track for track in self.tracks if track.real), key=lambda track: track.number
        )
        cells = tuple(track.verdict(number) for number, track in enumerate(real))
        return FieldResult(self.name, *self.size, cells, stain=self.stain)


class StreamStore:
    """Writes down what a :class:`~wbcdet.stream.cell_counter.CellCounter` finds.

    Args:
        out: the report folder.
        journal: opened, with a header; what an earlier run left in it is continued.

    Attributes:
        slide: number of the current slide, from 1.
        run: counters of the stream, from all runs.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, out: Path, journal: Journal) -> None:
        self._out = out
        self._journal = journal
        self._views: dict[str, View] = {}
        self._by_track: dict[Track, View] = {}
        self._changed: dict[str, None] = {}
        self._more: dict[str, None] = {}  # changed as well, but it can wait
        self._flushed = self._flushed_all = time.monotonic()
        self._keyframes: list[Keyframe] = []
        self.run = StreamInfo()
        self.slide = 1
        self.next_frame = 0
        self._last_track = 0
        self._load()

    def tracks(self) -> list[Track]:
        """Return the cells of the current slide that an earlier run found."""
        return [
            track for view in self.views() for track in view.tracks if track.slide == self.slide
        ]

    def keyframes(self) -> list[Keyframe]:
        """Return the keyframes of the current slide that an earlier run made."""
        return self._keyframes

    def views(self) -> list[View]:
        """Return all views, by slide and frame."""
        return sorted(self._views.values(), key=lambda view: (view.slide, view.name))

    def next_track(self) -> int:
        """Return a number for a new cell."""
        self._last_track += 1
        return self._last_track

    def new_slide(self) -> None:
        """Note that the frames from now on show another slide."""
        self.slide += 1
        self._keyframes = []
        self.flush(at_once=True)

    def view(
        self,
        frame: int,
        pixels: Pixels,
        tracks: Sequence[Track],
        stain: tuple[float, ...] | None = None,
    ) -> None:
        """Keep a frame that shows cells better than before; ``cell`` of each is in its pixels.

        Args:
            frame: its number.
            pixels: of the frame.
            tracks: those cells.
            stain: of the frame, as of a ``FieldResult``.
        """
        height, width = pixels.shape[:2]
        name = f"slide-{self.slide}/{frame:07}.jpg"
        cells = [track.cell for track in tracks]
        if (view := self._views.get(name)) is None:  # a frame may be looked at again
            # Not signed as a drawing: it is the slide as the camera saw it.
            _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            write_picture(self._out, f"{VIEWS}/{name}", data.tobytes(), view=True)
            quality = measure(pixels, cell_width(cells)).to_dict()
            view = View(
                name,
                self.slide,
                (width, height),
                quality,
                stain,
                first=not self.has_view(),
            )
            self._views[name] = view
        places = self._journal.keep(cut_thumbnails(Field(name, None, pixels), cells))
        for track, place in zip(tracks, places, strict=True):
            self._leave(track)
            track.best, track.picture = name, place
            view.tracks.append(track)
            self._by_track[track] = view
        self._changed[name] = None

    def thumbnail(self, track: Track) -> bytes:
        """Return a cell in its best view, as a JPEG file."""
        return self._journal.picture(track.picture)

    def has_view(self) -> bool:
        """Tell whether there is a view of the current slide."""
        return any(view.slide == self.slide for view in self._views.values())

    def changed(self, tracks: Iterable[Track]) -> None:
        """Note that more is known of these cells."""
        for track in tracks:
            if (view := self._by_track.get(track)) is not None:
                self._more[view.name] = None

    def forget(self, track: Track) -> None:
        """Drop a cell."""
        self._leave(track)

    def keep_keyframes(self, keyframes: Iterable[Keyframe]) -> None:
        """Write down keyframes that are new or lie elsewhere now."""
        for keyframe in keyframes:
            name = f"{_MAP}{self.slide}/{keyframe.number}"
            record: dict[str, object] = {
                "file": name,
                "spot": [keyframe.position.island, keyframe.position.x, keyframe.position.y],
                "size": keyframe.size,
                "boxes": keyframe.boxes,
            }
            known = self._journal.read(name)["pictures"] if name in self._journal else []
            if known:
                record["pictures"] = known
            self._journal.append(record, [] if known else [keyframe.picture])

    def forget_keyframes(self, numbers: Iterable[int]) -> None:
        """Drop keyframes of the current slide; others may have their numbers from now on."""
        for number in numbers:
            self._journal.append({"file": f"{_MAP}{self.slide}/{number}", "pictures": []})

    def flush(self, *, at_once: bool = False) -> None:
        """Write what changed, if the last time is long enough ago.

        Raises:
            OSError: the disk is full or gone.
        """
        now = time.monotonic()
        if not at_once and now - self._flushed < _FLUSH_S:
            return
        if at_once or now - self._flushed_all >= _MORE_S:
            self._changed |= self._more
            self._more = {}
            self._flushed_all = now
        # New views come first, and those that lost all cells last: whatever ends it meanwhile, a
        # cell that went from one view to another stands in both then, not in none.
        for name in sorted(
            self._changed, key=lambda name: (name in self._journal, not self._views[name].tracks)
        ):
            view = self._views[name]
            self._journal.append(self._record(view))
            del self._changed[name]
            self._more.pop(name, None)
            if not (view.tracks or view.first):
                del self._views[name]
                remove_pictures(self._out, [f"{VIEWS}/{name}"])
        self._journal.append({"file": _RUN, "slide": self.slide, **self.run})
        self._flushed = time.monotonic()

    def all_keyframes(self) -> Iterator[tuple[int, Keyframe]]:
        """Yield the keyframes of all slides, with the number of the slide."""
        for name in list(self._journal):
            if name.startswith(_MAP) and self._journal.read(name)["pictures"]:
                yield int(name.split("/")[1]), self._keyframe(name)

    def _leave(self, track: Track) -> None:
        view = self._by_track.pop(track, None)
        if view is not None:
            view.tracks = [other for other in view.tracks if other is not track]
            self._changed[view.name] = None

    def _record(self, view: View) -> dict[str, object]:
        # Real cells first, so that their places are those of the entry's cells.
        tracks = sorted(view.tracks, key=lambda track: (not track.real, track.number))
        entry = JournalEntry(
            view.result(),
            quality=view.quality,
            annotated=f"{ANNOTATED}/{view.name}",
        )
        return {
            **entry.to_record(),
            "first": view.first,
            "pictures": [track.picture for track in tracks],
            "tracks": [track.to_record() for track in tracks],
        }

    def _keyframe(self, name: str) -> Keyframe:
        record = self._journal.read(name)
        island, x, y = record["spot"]
        width, height = record["size"]
        boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in record["boxes"])
        (picture,) = self._journal.pictures(record)
        number = int(name.rsplit("/", 1)[1])
        return Keyframe(number, Position(island, x, y), (width, height), picture, boxes)

    def _load(self) -> None:
        newest: dict[int, tuple[Track, View]] = {}
        damaged: set[str] = set()
        for name in list(self._journal):
            record = self._checked(name)
            if record is None:
                self._journal.name_damaged(name)
                damaged.add(name)
            elif name == _RUN:
                self.slide = record["slide"]
                own = ("file", "slide", "pictures")
                run = {key: value for key, value in record.items() if key not in own}
                self.run = cast("StreamInfo", run)
            elif name.startswith(_MAP):
                if not self._journal.has_pictures(record):
                    # A power cut took the picture; others will stand in its place.
                    self._journal.append({"file": name, "pictures": []})
            elif record["tracks"] or record["first"]:
                result = record["result"]
                stain = result.get("stain")
                view = View(
                    name,
                    int(name.split("/")[0].removeprefix("slide-")),
                    (result["width"], result["height"]),
                    record["quality"],
                    None if stain is None else tuple(stain),
                    record["first"],
                )
                self._views[name] = view
                for values in record["tracks"]:
                    track = Track.from_record(values)
                    # Killed between two lines, a cell may stand in both views.
                    old = newest.get(track.number)
                    if old is None or old[0].hits <= track.hits:
                        newest[track.number] = track, view
        for number in sorted(newest):
            track, view = newest[number]
            view.tracks.append(track)
            self._by_track[track] = view
        self._last_track = max(newest, default=0)
        numbers = (int(Path(name).stem) for name in self._views)
        last = max((track.last for track, _ in newest.values()), default=-1)
        self.next_frame = 1 + max(last, max(numbers, default=-1), self.run.get("last_frame", -1))
        self._changed = dict.fromkeys(self._views)
        self._sweep(damaged)
        self._keyframes = [
            keyframe for slide, keyframe in self.all_keyframes() if slide == self.slide
        ]

    def _checked(self, name: str) -> JsonObject | None:
        """Return a line of an earlier run; None where it is not as its schema says."""
        kind = "run" if name == _RUN else "keyframe" if name.startswith(_MAP) else "view"
        try:
            record = self._journal.read(name)
            if kind == "view":
                JournalEntry.checked(name, record, self._journal.header, kind)
                for values in record["tracks"]:
                    Track.from_record(values)
            else:
                check_line(kind, record)
        except (JournalError, SchemaError, ValueError, KeyError, TypeError):
            return None
        if (
            kind == "keyframe"
            and record["pictures"]
            and not {"spot", "size", "boxes"} <= set(record)
        ):
            return None
        return record

    def _sweep(self, damaged: Collection[str]) -> None:
        """Remove pictures that a killed run wrote and has no line for; that of a damaged line is
        all that is left of its view, and stays."""
        pictures = own_folder(self._out, VIEWS).glob("slide-*/*.jpg")
        names = [f"{path.parent.name}/{path.name}" for path in pictures]
        kept = {*self._views, *damaged}
        remove_pictures(self._out, [f"{VIEWS}/{name}" for name in names if name not in kept])


def read_view(out: Path, name: str) -> Pixels | None:
    """Return the picture of a view; None where it is gone."""
    pixels = cv2.imread(str(inside(out, f"{VIEWS}/{name}")), cv2.IMREAD_COLOR)
    return None if pixels is None else pixels.astype("uint8", copy=False)
