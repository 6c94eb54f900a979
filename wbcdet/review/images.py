"""The pictures of the page: thumbnails, crops, and fields in tiles."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import cv2

from wbcdet.inference.preprocess import crop_cell
from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.field import Field, read_field
from wbcdet.io.slide_part import part_of
from wbcdet.io.source import Root, Source, locate, places
from wbcdet.records import Cell, CellType
from wbcdet.report.input_fingerprint import InputFingerprints
from wbcdet.report.journal import Journal, JournalError, Place
from wbcdet.report.journal_entry import JournalEntry
from wbcdet.report.thumbnails import cut_thumbnail, to_jpeg
from wbcdet.review.cell_state import Key
from wbcdet.review.decision_store import Store
from wbcdet.review.machine_report import ReviewField
from wbcdet.review.state import ReviewState
from wbcdet.utils.boxes import Box
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.safe_files import is_below

#: Side of a tile in pixels.
TILE = 512
#: Sides that a crop may have, in pixels.
CROP_SIDES = (96, 192, 384)
#: Side of what a crop shows over the longer side of the box, as of thumbnails.
_PADDING = 1.4
_QUALITY = 88
#: Fields kept decoded, and cut thumbnails kept (about 3 kB each).
_MAX_FIELDS, _MAX_CUT = 6, 20_000
#: Cells of a field up to which all are cut when one is asked for.
_MAX_AT_ONCE = 200


class PictureError(WbcdetError, ValueError):
    """A picture cannot be shown; the message is one line that says why."""


class Pictures:
    """Gives pictures of cells and fields; threads take turns.

    Args:
        state: the cells.
        store: holds thumbnails of cells that a person drew.
        journal: holds thumbnails of a count; None without any.
        folder: the folder, or the one picture, that was analysed, where a person says it.
        roots: where the fields were when they were analysed; empty where it is not known. Only the
            report says so, which may come from somebody else: a picture outside of the report is
            shown only if its sha256 is the one in the report, so that nobody sees more than they
            sent.
    """

    def __init__(
        self,
        state: ReviewState,
        store: Store,
        journal: Journal | None,
        folder: Path | None,
        roots: Sequence[Root] = (),
    ) -> None:
        self._state, self._store, self._journal = state, store, journal
        self._roots = roots
        self.folder = folder
        self._turn = threading.RLock()
        self._fields: OrderedDict[int, Field] = OrderedDict()
        self._cut: OrderedDict[tuple[Key, Box], bytes] = OrderedDict()
        self._places: dict[str, dict[tuple[int, Box], Place]] = {}
        self._stamps = InputFingerprints()

    def thumbnail(self, key: Key) -> bytes:
        """Return a cell as a JPEG of 96 pixels: from the journal, else cut from its field.

        Raises:
            PictureError: it is missing, and the field cannot be read.
        """
        with self._turn:
            if kept := self._kept(key):
                return kept
            try:
                return self._cut_now(key)
            except PictureError:
                # Of a box that was moved the old thumbnail still shows which cell it is.
                if self._state.cells[key].moved and (first := self._kept_first(key)):
                    return first
                raise

    def crop(self, key: Key, side: int) -> bytes:
        """Return a cell as a larger JPEG, cut from its field; its thumbnail where that has gone.

        Raises:
            PictureError: as ``thumbnail``.
        """
        with self._turn:
            try:
                field = self.field(key[0])
            except PictureError:
                return self.thumbnail(key)
            x_min, y_min, x_max, y_max = self._state.cells[key].box
            reach = int(max(x_max - x_min, y_max - y_min) * _PADDING) + 2
            left, top = max(0, int(x_min) - reach), max(0, int(y_min) - reach)
            part = _read(field, left, top, int(x_max) + reach, int(y_max) + reach)
            box = (x_min - left, y_min - top, x_max - left, y_max - top)
            return to_jpeg(crop_cell(part, box, side, _PADDING), _QUALITY)

    def tile(self, number: int, level: int, column: int, row: int) -> bytes:
        """Return a square of a field as a JPEG of at most ``TILE`` pixels a side.

        Args:
            number: the field.
            level: 0 is full size; every level halves it.
            column, row: which square.

        Raises:
            PictureError: the field cannot be read, or there is no such square.
        """
        with self._turn:
            field = self.field(number)
            step = TILE << level
            x, y = column * step, row * step
            if x >= field.width or y >= field.height:
                raise PictureError("there is no such part of the field")
            by = field.reduction
            if by > 1 and by <= 1 << level:  # the overview is sharp enough
                part = field.pixels[y // by : (y + step) // by, x // by : (x + step) // by]
            else:
                part = _read(field, x, y, x + step, y + step)
            width = -(-(min(x + step, field.width) - x) >> level) or 1
            height = -(-(min(y + step, field.height) - y) >> level) or 1
            if part.shape[:2] != (height, width):
                part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
            return to_jpeg(part, _QUALITY)

    def cut_drawn(self, number: int, box: tuple[float, float, float, float]) -> bytes:
        """Return the thumbnail of a box that a person drew.

        Raises:
            PictureError: the field cannot be read.
        """
        with self._turn:
            return _thumbnail(self.field(number), box)

    def field(self, number: int) -> Field:
        """Return a field of the report, read again.

        Raises:
            PictureError: it has gone, has changed, or cannot be read.
        """
        with self._turn:
            if number in self._fields:
                self._fields.move_to_end(number)
                return self._fields[number]
            field = self._read_again(number)
            self._fields[number] = field
            while len(self._fields) > _MAX_FIELDS:
                self._fields.popitem(last=False)
            return field

    def source(self, number: int) -> Source:
        """Find where a field is read from, and check that it is what was analysed.

        Raises:
            PictureError: it has gone, or has changed.
        """
        if not 0 <= number < len(self._state.report.fields):
            raise PictureError("there is no such field")
        field = self._state.report.fields[number]
        # Without a journal nobody has said that the pictures are still where they were.
        known = self.folder is not None or self._journal is not None
        source = find_source(self.folder, field.result.file, self._roots if known else ())
        self._check_same(field, source)
        region = field.result.region
        if source.part is None or region is None:
            return source
        # The scale that a person gave is not in the name.
        um = region.um_per_px / region.downsample
        return replace(source, part=replace(source.part, um_per_px=um))

    def _read_again(self, number: int) -> Field:
        source = self.source(number)
        recorded = self._state.report.fields[number]
        try:
            field = read_field(source)
        except FieldError as error:
            raise PictureError(f"{recorded.result.file}: {error}") from error
        if (field.width, field.height) != (recorded.result.width, recorded.result.height):
            raise PictureError(
                f"{recorded.result.file}: has {field.width} x {field.height} pixels, not "
                f"{recorded.result.width} x {recorded.result.height}; this is another picture"
            )
        return field

    def _check_same(self, field: ReviewField, source: Source) -> None:
        """Check that a picture is the one that was analysed, as far as that is known.

        Raises:
            PictureError: it is not, or must be known to be and is not.
        """
        entry = self._entry(field.result.file)
        stamp = entry.stamp if entry else None
        known = field.sha256 or (stamp["sha256"] if stamp else None)
        assert isinstance(source.path, Path)
        # Of the report's own folder a person need not say anything: they have it.
        place = self.folder or self._state.report.folder
        away = not is_below(source.path, place)
        if known is None and away and self.folder is not None:
            raise PictureError(
                f"{source.name}: a link leads out of {self.folder}; name the folder that it leads "
                "to with --pictures"
            )
        if known is None and away:
            raise PictureError(
                f"{source.name}: start the review with --pictures FOLDER to see the fields: the "
                "report alone says where they are, and not their sha256"
            )
        if known is None:
            return
        # Size and time could be guessed by who wrote the report, and the journal may be of a later
        # count, which the report does not know of.
        if away or stamp is None or stamp["sha256"] != known:
            stamp = self._stamps.take(source.path)
            same = stamp is not None and stamp["sha256"] == known
        else:
            same = self._stamps.same(source.path, stamp)
        if not same:
            raise PictureError(f"{source.name}: has changed since it was analysed")

    def _entry(self, file: str) -> JournalEntry | None:
        """Return the field in the journal; None where it is not there, or not whole."""
        if self._journal is None or file not in self._journal:
            return None
        kind = "view" if (self._journal.header or {}).get("stream") else "entry"
        with suppress(JournalError):
            return JournalEntry.checked(file, self._journal.read(file), self._journal.header, kind)
        return None

    def _kept(self, key: Key) -> bytes | None:
        """Return a thumbnail that need not be cut."""
        current = self._state.cells[key]
        if not current.moved and (kept := self._kept_first(key)) is not None:
            return kept
        return self._cut.get((key, current.box))

    def _kept_first(self, key: Key) -> bytes | None:
        """Return the thumbnail of a cell as it was found or drawn, where one was kept."""
        file = self._state.report.fields[key[0]].result.file
        current = self._state.cells[key]
        if current.cell is None:
            return self._store.thumbnail(file, current.stored)
        place = self._places_of(file).get((key[1], current.origin))
        if place is not None:
            assert self._journal is not None
            # Cut short by a power cut: the field has the cell still.
            with suppress(JournalError):
                return self._journal.picture(place)
        return None

    def _places_of(self, file: str) -> dict[tuple[int, Box], Place]:
        """Return where the journal has the thumbnails of a field, by number and box; reads its line
        once, as the journal of a later count may have another cell under the same number."""
        if file not in self._places:
            entry = self._entry(file)
            cells = [(cell.id, cell.box) for cell in entry.result.cells] if entry else []
            places = entry.pictures if entry else ()
            self._places[file] = dict(zip(cells, places, strict=False))
        return self._places[file]

    def _cut_now(self, key: Key) -> bytes:
        """Cut all thumbnails of a field, since it has to be read for one; of a scan with many
        cells only the one."""
        field = self.field(key[0])
        cells = dict(self._state.of_field(key[0]))
        if len(cells) > _MAX_AT_ONCE:
            cells = {key: cells[key]}
        for other, current in cells.items():
            self._cut[other, current.box] = _thumbnail(field, current.box)
        while len(self._cut) > _MAX_CUT:
            self._cut.popitem(last=False)
        return self._cut[key, self._state.cells[key].box]


def find_source(folder: Path | None, file: str, roots: Sequence[Root] = ()) -> Source:
    """Find where a field of a report is read from.

    Args:
        folder: the folder, or the one picture, that was analysed, where a person says it.
        file: the field's name, ``NAME#2`` for the second picture of a TIFF file.
        roots: where the fields were when they were counted.

    Raises:
        PictureError: no folder is known, or the name leads out of it.
    """
    if folder is None and not roots:
        raise PictureError("start the review with --pictures FOLDER to see the fields")
    parts = PurePosixPath(file).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in file:
        raise PictureError(f"{file}: the name leads out of the folder")
    tries: list[tuple[str, int | None]] = [(file, None)]
    part = part_of(file)
    if part is not None:
        tries.append((part[0], None))
    if numbered := re.fullmatch(r"(.+)#([0-9]{1,9})", file):
        tries.append((numbered[1], int(numbered[2])))
    for name, number in tries:
        if folder is None:
            located = locate(name, roots)
            paths = [] if located is None else [Path(located)]
        else:
            paths = [folder] if folder.is_file() else places(name, folder, roots)
        for path in paths:
            if _is_file(path) or (part is not None and path.is_dir()):
                return Source(file, path, None, number, part=part[1] if part else None)
    where = folder or ", ".join(root.path for root in roots)
    raise PictureError(f"{file}: is not in {where} any more")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read(field: Field, x0: int, y0: int, x1: int, y1: int) -> Pixels:
    try:
        return field.read(x0, y0, x1, y1)
    except FieldError as error:
        raise PictureError(f"{field.name}: {error}") from error


def _thumbnail(field: Field, box: tuple[float, float, float, float]) -> bytes:
    cell = Cell(0, box, 0.0, CellType.UNCLASSIFIED, 0.0, {}, "")
    try:
        return cut_thumbnail(field, cell)
    except FieldError as error:
        raise PictureError(f"{field.name}: {error}") from error
