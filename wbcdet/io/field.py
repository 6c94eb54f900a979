"""Read one field safely: its pixels, or for a large TIFF a reader of any part of it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wbcdet.io.decode import FieldError, Pixels, decode, is_tiff
from wbcdet.io.discover import Source, as_source, is_tiff_file
from wbcdet.settings import Settings

if TYPE_CHECKING:
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
    """

    __slots__ = ("_source", "name", "path")

    def __init__(self, name: str, path: Path | str | None, pixels: Pixels | TiffPicture) -> None:
        self.name = name
        self.path = path
        self._source = pixels

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
        """A rectangle of the field in full resolution, ends excluded; cut to the field.

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

    def release(self) -> None:
        """Let go of memory that only speeds up the next ``read``."""
        if not isinstance(self._source, np.ndarray):
            self._source.release()


def read_field(source: str | Path | Source, settings: Settings | None = None) -> Field:
    """Read and decode one field.

    TIFF files with several pictures, planes of channels or more than 25 megapixels are read
    through tifffile; the largest only region by region, as :class:`Field` says.

    Raises:
        FieldError: it cannot be read; the message is one line that names the remedy.
    """
    settings = settings or Settings()
    item = source if isinstance(source, Source) else as_source(str(source))
    if item.problem is not None:
        raise FieldError(item.problem)
    raw: Path | bytes
    if isinstance(item.path, str):
        from wbcdet.io.download import download

        raw = download(item.path, settings)
    else:
        raw = item.path
    if is_tiff(raw) if isinstance(raw, bytes) else is_tiff_file(raw):
        picture = _read_tiff(raw, item.number or 1, settings)
        if picture is not None:
            return Field(item.name, item.path, picture)
    data = raw if isinstance(raw, bytes) else _read_file(raw, settings.max_pixels)
    return Field(item.name, item.path, decode(data, settings.max_pixels))


def _read_tiff(
    source: Path | bytes, number: int, settings: Settings
) -> Pixels | TiffPicture | None:
    """A picture that is not for the plain decoder; None for one that is."""
    from wbcdet.io.tiff import TiffPicture
    from wbcdet.io.tiff_layout import plain_pixels

    limit = min(_MAX_WHOLE, settings.max_pixels)
    plain = plain_pixels(source)
    if plain is not None and plain <= limit:
        return None
    picture = TiffPicture(source, number, settings.max_tiff_pixels)
    if picture.width * picture.height > limit:
        return picture
    return picture.read(0, 0, picture.width, picture.height)


def _read_file(path: Path, max_pixels: int) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FieldError("this is a folder, not a file; name the files in it")
        if not stat.S_ISREG(status.st_mode):
            raise FieldError("this is a device or pipe, not a file; save the picture to a file")
        # Uncompressed 16-bit RGBA takes 8 bytes a pixel: no picture within the limit is larger.
        if status.st_size > 8 * max_pixels:
            raise FieldError(
                f"file of {status.st_size / 1e9:.1f} GB is too large; export a part as JPEG or PNG"
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FieldError("file does not exist; check its name") from error
    except PermissionError as error:
        raise FieldError("no permission to read the file; change its access rights") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FieldError(f"file cannot be read ({reason}); check the disk") from error
