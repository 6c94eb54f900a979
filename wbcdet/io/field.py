"""Read one field safely: its pixels, or for a large TIFF a reader of any part of it."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wbcdet.io.codecs import check_size, kind_of, open_picture, opens_quickly, reporting
from wbcdet.io.codecs.picture import Decoded
from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.formats import HEAD_BYTES, TIFF, is_tiff, kind_of_bytes, picture_kind
from wbcdet.io.memory import Place, Reservation, pixel_memory
from wbcdet.io.slide_part import SlidePart
from wbcdet.io.source import Source, as_source
from wbcdet.records import SlideRegion
from wbcdet.settings import Settings

if TYPE_CHECKING:
    from wbcdet.io.slides.open import Slide
    from wbcdet.io.tiff import TiffPicture

#: Largest TIFF that is read into memory whole, in pixels.
_MAX_WHOLE = 25_000_000


class Field:
    """One microscope field: its pixels, or for a large TIFF a reader of any part of them.

    Args:
        name: the field's name.
        path: where it was read from; None for pixels that came as such.
        pixels: (height, width, 3) uint8, BGR, upright, C-contiguous; or a picture that is read
            region by region.
        remarks: what reading it has to say of the field, a line each.
        reservation: the memory that its pixels hold.
        region: of a part of a slide: where it lies on it.
    """

    __slots__ = ("_remarks", "_reservation", "_source", "name", "path", "region")

    def __init__(
        self,
        name: str,
        path: Path | str | None,
        pixels: Pixels | TiffPicture,
        remarks: tuple[str, ...] = (),
        reservation: Reservation | None = None,
        region: SlideRegion | None = None,
    ) -> None:
        self.region = region
        self.name = name
        self.path = path
        self._source = pixels
        self._remarks = remarks
        self._reservation = reservation

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks for the reader of the field, such as ``animation: first of 12 pictures``.

        Of a field that is read region by region: of what was read so far.
        """
        source = self._source
        return (
            self._remarks if isinstance(source, np.ndarray) else (*self._remarks, *source.remarks)
        )

    @property
    def width(self) -> int:
        """Pixels of the whole field."""
        source = self._source
        return source.shape[1] if isinstance(source, np.ndarray) else source.width

    @property
    def height(self) -> int:
        """Pixels of the whole field."""
        source = self._source
        return source.shape[0] if isinstance(source, np.ndarray) else source.height

    @property
    def pixels(self) -> Pixels:
        """The field as BGR uint8, (height, width, 3).

        Of a field that is read region by region: its overview, smaller than the field, longest
        side at most 4096 px. It is made, by reading the whole file once, when first asked for.

        Raises:
            FieldError: the overview cannot be made because the file is damaged.
        """
        source = self._source
        return source if isinstance(source, np.ndarray) else source.overview

    @property
    def reduction(self) -> int:
        """Pixels of the field to one of ``pixels``, along a side; 1 for all but large TIFFs."""
        source = self._source
        return 1 if isinstance(source, np.ndarray) else source.reduction

    def read(self, x0: int, y0: int, x1: int, y1: int) -> Pixels:
        """Return a rectangle of the field in full resolution, ends excluded; cut to the field.

        Returns:
            (height, width, 3) uint8 BGR; of a field in memory a view into it.

        Raises:
            FieldError: the file is damaged there or cannot be read any more.
        """
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(x1, self.width), min(y1, self.height)
        source = self._source
        if isinstance(source, np.ndarray):
            return source[y0:y1, x0:x1]
        return source.read(x0, y0, x1, y1)

    def leave_run(self) -> None:
        """Note that the field has left its run, so that others do not wait for its memory."""
        if self._reservation is not None:
            self._reservation.leave_run()

    def release(self) -> None:
        """Let go of memory that only speeds up the next ``read``."""
        if not isinstance(self._source, np.ndarray):
            self._source.release()


def read_field(
    source: str | Path | Source,
    settings: Settings | None = None,
    place: Place | None = None,
    data: bytes | None = None,
) -> Field:
    """Read and decode one field.

    A TIFF of more than 25 megapixels is only read region by region, as :class:`Field` says. What
    is decoded first waits for its part of ``Settings.memory_bytes``; files that a decoder may take
    long over are decoded in another process, for ``Settings.timeout_s`` at most.

    Args:
        source: a file, a URL, or what ``find_fields`` found.
        settings: limits.
        place: of a field in a run that hands them on in order; see ``PixelMemory``.
        data: the bytes of the file, where they are at hand; then the path only names it.

    Raises:
        FieldError: it cannot be read; the message is one line that names the remedy.
    """
    settings = settings or Settings()
    item = source if isinstance(source, Source) else as_source(str(source))
    if item.problem is not None:
        raise FieldError(item.problem)
    if item.part is not None:
        return _read_part(item, item.part, settings, place)
    raw: Path | bytes
    if data is not None:
        raw, head = data, data[:HEAD_BYTES]
        kind = kind_of_bytes(head)
        if kind is not None and kind.problem is not None:
            raise FieldError(kind.problem)
    elif isinstance(item.path, str):
        from wbcdet.io.download import download

        raw = download(item.path, settings)
        head = raw[:HEAD_BYTES]
    else:
        raw = item.path
        head = _read_file(raw, settings, HEAD_BYTES)
        kind = picture_kind(raw, head)
        if kind is not None and kind.problem is not None:
            raise FieldError(kind.problem)
    if is_tiff(head):
        return _read_tiff(item, raw, settings, place)
    held: list[Reservation] = []

    def reserve(wanted: int, what: str) -> None:
        held.append(pixel_memory(settings.memory_bytes).reserve(wanted, what, place))

    try:
        decoded = _decode(raw, head, settings, reserve)
    except BaseException:
        for reservation in held:
            reservation.release()
        raise
    held[0].keep(decoded.pixels)
    return Field(item.name, item.path, decoded.pixels, decoded.remarks, held[0])


def _read_part(item: Source, part: SlidePart, settings: Settings, place: Place | None) -> Field:
    """Return a part of a slide."""
    from wbcdet.io.slides.open import open_slide

    assert isinstance(item.path, Path)
    what = f"part of {part.width} x {part.height} pixels of a slide"
    # Its colours with opacity, as they are put on white, and what comes of it.
    held = pixel_memory(settings.memory_bytes).reserve(10 * part.width * part.height, what, place)
    try:
        slide = open_slide(item.path)
        region = part.region(item.name, slide)
        x, y = (round(value / region.downsample) for value in (part.x, part.y))
        pixels = slide.read(part.level, x, y, part.width, part.height)
        damage = _damage(slide, part, x, y)
    except BaseException:
        held.release()
        raise
    held.keep(pixels)
    return Field(item.name, item.path, pixels, (*slide.remarks, *damage), held, region)


def _damage(slide: Slide, part: SlidePart, x: int, y: int) -> tuple[str, ...]:
    try:
        return slide.damage_in(part.level, x, y, part.width, part.height)
    except OSError as error:
        raise FieldError(
            "slide cannot be reached any more; check the drive that it is on"
        ) from error


def _decode(
    raw: Path | bytes, head: bytes, settings: Settings, reserve: Callable[[int, str], None]
) -> Decoded:
    """Return a picture that is no TIFF: here, or apart where that might take long."""
    size = len(raw) if isinstance(raw, bytes) else raw.stat().st_size
    kind = kind_of(head)
    if opens_quickly(kind, size):
        data = raw if isinstance(raw, bytes) else _read_file(raw, settings)
        with reporting(kind):
            picture = open_picture(data, kind)
            check_size(picture, settings.max_pixels)
            if picture.is_quick:
                reserve(
                    picture.working_bytes, f"picture of {picture.width} x {picture.height} pixels"
                )
                return picture.decode()
        del data, picture
    elif isinstance(raw, Path):
        _check_file(raw, settings)
    from wbcdet.io.decoder_process import decode_apart

    return decode_apart(raw, settings.max_pixels, settings.timeout_s, reserve)


def _read_tiff(item: Source, raw: Path | bytes, settings: Settings, place: Place | None) -> Field:
    from wbcdet.io.planes import fields_of
    from wbcdet.io.tiff import TiffPicture, read_tiff
    from wbcdet.io.tiff_layout import UnreadKind

    with reporting(TIFF):
        fields = fields_of(raw)
    if item.number is not None and item.number > len(fields):
        raise FieldError(f"file has no field {item.number}; it was changed, start the run again")
    chosen = fields[(item.number or 1) - 1]
    remarks = chosen.remarks
    if item.number is None and len(fields) > 1:
        remarks = (*remarks, f"first of {len(fields)} pictures in the file")
    limit = min(_MAX_WHOLE, settings.max_pixels)
    try:
        picture = TiffPicture(raw, chosen.number, settings.max_tiff_pixels)
    except UnreadKind:
        pixels, more = read_tiff(raw, chosen.number, limit)
        return Field(item.name, item.path, pixels, (*remarks, *more))
    picture.set_limits(settings.memory_bytes, settings.timeout_s)
    if picture.width * picture.height > limit:
        return Field(item.name, item.path, picture, remarks)
    memory = pixel_memory(settings.memory_bytes)
    what = f"picture of {picture.width} x {picture.height} pixels"
    held = memory.reserve(picture.working_bytes, what, place)
    try:
        pixels = picture.read(0, 0, picture.width, picture.height)
    except BaseException:
        held.release()
        raise
    held.keep(pixels)
    return Field(item.name, item.path, pixels, (*remarks, *picture.remarks), held)


def _read_file(path: Path, settings: Settings, size: int = -1) -> bytes:
    """Return the bytes of a file, or the first of them.

    Raises:
        FieldError: it is no file, too large, or cannot be read.
    """
    try:
        _check_file(path, settings if size < 0 else None)
        with path.open("rb") as file:
            return file.read(size)
    except FileNotFoundError as error:
        raise FieldError("file does not exist; check its name") from error
    except PermissionError as error:
        raise FieldError("no permission to read the file; change its access rights") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FieldError(f"file cannot be read ({reason}); check the disk") from error


def _check_file(path: Path, settings: Settings | None) -> None:
    """Check that a path is a file, and with settings one small enough to be read whole."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise FieldError("this is a folder, not a file; name the files in it")
    if not stat.S_ISREG(status.st_mode):
        raise FieldError("this is a device or pipe, not a file; save the picture to a file")
    # Uncompressed 16-bit RGBA takes 8 bytes a pixel: no picture within the limits is larger.
    if settings and status.st_size > min(8 * settings.max_pixels, settings.memory_bytes):
        raise FieldError(
            f"file of {status.st_size / 1e9:.1f} GB is too large; export a part as JPEG or PNG"
        )
