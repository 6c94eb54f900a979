"""Open a slide, and tell one from a field."""

from __future__ import annotations

import importlib.util
import threading
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

from wbcdet.io.codecs.picture import DAMAGED_DATA
from wbcdet.io.colour import Pixels
from wbcdet.io.errors import FieldError
from wbcdet.io.formats import DICOM, SUFFIXES, picture_kind
from wbcdet.io.slides.base import MISSING, Level, SlideReader, further_planes
from wbcdet.io.slides.jpeg_tiles import JpegTiles
from wbcdet.io.slides.tile_folder import TileFolderReader
from wbcdet.io.slides.tile_positions import is_tile_folder

#: Endings that may be those of a slide, beside those of TIFFs.
_SUFFIXES = frozenset(
    {".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".tmap", ".qptiff",
     ".dcm", ".dicom", ".vsi", ".czi"}
)  # fmt: skip
_TIFFS = frozenset({".tif", ".tiff", ".btf", ".tf8", ".tf2"})
#: A slide whose pixels lie in a folder of the same name beside it.
_MRXS = ".mrxs"
#: What OpenSlide says of a TIFF without a scanner's marks: tiffslide also finds its SubIFDs.
_PLAIN = "generic-tiff"
#: What OpenSlide says of DICOM without a level, and what libraries say of what they cannot read.
_NO_LEVELS = "No pyramid levels found"
_UNKNOWN = ("unsupported", "not supported", "not a known")
#: Slides that are kept open.
_MAX_OPEN = 4


class Slide:
    """A slide: its levels and scale, and any rectangle of it. May be shared between threads.

    Args:
        path: the file, or the folder of an OME-Zarr or of tiles.

    Raises:
        FieldError: it cannot be opened; the message is one line that names the remedy.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = _open(path)
        self.levels: tuple[Level, ...] = self._reader.levels
        self.um_per_px = self._reader.um_per_px
        self.remarks = self._reader.remarks

    @property
    def width(self) -> int:
        """Pixels of the finest level."""
        return self.levels[0].width

    @property
    def height(self) -> int:
        """Pixels of the finest level."""
        return self.levels[0].height

    @cached_property
    def _tiles(self) -> JpegTiles:
        return JpegTiles(self.path, self.levels)

    def damage_in(self, level: int, x: int, y: int, width: int, height: int) -> tuple[str, ...]:
        """Return a remark where a rectangle of a level shows a damaged part of the file; of the
        kinds of slides of which that can be told.

        Raises:
            OSError: the file cannot be read any more.
        """
        return (DAMAGED_DATA,) if self._tiles.is_damaged(level, x, y, width, height) else ()

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of a level; see ``SlideReader.read``.

        Raises:
            FieldError: the file is damaged there or cannot be read any more.
        """
        try:
            return self._reader.read(level, x, y, width, height)
        except (FieldError, MemoryError):
            raise
        # Each library has errors of its own, and those of its codecs.
        except Exception as error:
            forget(self.path)  # after an error OpenSlide answers nothing more
            raise _unreadable(self.path, error) from error


def is_slide(path: Path, *, wanted: bool = False) -> bool:
    """Say whether the path is a slide, as far as its name, head and the extra that reads slides
    tell.

    Args:
        path: a file or folder.
        wanted: a person says that it is one: a plain TIFF without levels too.
    """
    if path.is_dir():
        return is_slide_folder(path)
    suffix = path.suffix.lower()
    known = suffix in _SUFFIXES | _TIFFS
    if (not known and suffix in SUFFIXES) or not path.is_file() or not has_extra():
        return False
    # Archives give their DICOM no ending.
    if not known and picture_kind(path) is not DICOM:
        return False
    vendor = _vendor(path)
    if vendor not in (None, _PLAIN) or suffix == _MRXS:
        return True
    return suffix in _TIFFS | {".qptiff"} and (wanted or _has_levels(path))


def ends_as_slide(path: Path | str) -> bool:
    """Say whether a file has an ending that scanners give their slides alone."""
    return isinstance(path, Path) and path.suffix.lower() in _SUFFIXES


def is_slide_folder(path: Path) -> bool:
    """Say whether a folder is a slide: an OME-Zarr, or tiles whose positions are known."""
    return _is_zarr(path) or is_tile_folder(path)


def has_extra() -> bool:
    """OpenSlide is installed; tiffslide and zarr need a younger Python than wbcdet does."""
    return importlib.util.find_spec("openslide") is not None


def open_slide(path: Path) -> Slide:
    """Return a slide, kept open for the next that asks.

    Raises:
        FieldError: as :class:`Slide`.
    """
    with _lock:
        slide = _kept.pop(path, None)
    slide = slide or Slide(path)
    with _lock:
        _kept[path] = slide
        while len(_kept) > _MAX_OPEN:
            _kept.popitem(last=False)
    return slide


def forget(path: Path) -> None:
    """Open a slide afresh when it is asked for again."""
    with _lock:
        _kept.pop(path, None)


_lock = threading.Lock()
_kept: OrderedDict[Path, Slide] = OrderedDict()


def _open(path: Path) -> SlideReader:
    from wbcdet.io.slides.openslide_reader import OpenSlideReader, TiffSlideReader
    from wbcdet.io.slides.zarr_reader import ZarrReader

    if not path.exists():
        raise FieldError("slide does not exist; check its name and the drive that it is on")
    if path.is_dir() and is_tile_folder(path):
        return TileFolderReader(path)
    needed = "zarr" if path.is_dir() else "openslide"
    if importlib.util.find_spec(needed) is None:
        raise FieldError(MISSING)
    try:
        if path.is_dir():
            return ZarrReader(path)
        vendor = _vendor(path)
        if vendor is None and path.suffix.lower() == _MRXS:
            raise FieldError(
                f"slide lacks the folder {path.stem}/ that belongs beside it, or its Slidedat.ini; "
                "copy the whole folder too"
            )
        if vendor not in (None, _PLAIN):
            return OpenSlideReader(path)
        try:
            return TiffSlideReader(path)
        except FieldError:
            raise
        except Exception:
            if vendor is None:
                raise
            reader = OpenSlideReader(path)
            reader.remarks += _planes(path)
            return reader
    except FieldError:
        raise
    except Exception as error:  # as in Slide.read
        raise _unreadable(path, error) from error


def _vendor(path: Path) -> str | None:
    import openslide

    try:
        vendor: str | None = openslide.OpenSlide.detect_format(str(path))
    except openslide.OpenSlideError:
        return "damaged"  # it is known by its marks, and opening it says what is wrong
    return vendor


def _has_levels(path: Path) -> bool:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            return len(file.series[0].levels) > 1
    # A damaged file is not one of ours: reading it as a field says what is wrong.
    except Exception:
        return False


def _planes(path: Path) -> tuple[str, ...]:
    """Say of an OME-TIFF that it holds several pictures of each place."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        return further_planes(series.axes, series.shape) if file.is_ome else ()


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in (".zgroup", ".zattrs", "zarr.json"))


def _unreadable(path: Path, error: Exception) -> FieldError:
    try:
        gone = not path.exists()
    except OSError:
        gone = True
    if gone:
        return FieldError("slide cannot be reached any more; check the drive that it is on")
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    if _NO_LEVELS in reason:
        return FieldError(
            "slide has a label or an overview and no level; copy all files of its series"
        )
    if any(words in reason.lower() for words in _UNKNOWN):
        return FieldError(
            f"slide is of a kind that is not read ({reason}); export it as a pyramidal TIFF, "
            "OME-TIFF or DICOM in JPEG"
        )
    return FieldError(f"slide is damaged or cut short ({reason}); copy it again from its source")
