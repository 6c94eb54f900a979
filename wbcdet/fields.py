"""Find the fields that a user means, and read one of them safely."""

from __future__ import annotations

import glob
import os
import re
import stat
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wbcdet.decode import FieldError, Pixels, decode, is_tiff
from wbcdet.settings import Settings

if TYPE_CHECKING:
    from wbcdet.regions import TiffPicture

__all__ = ["Field", "FieldError", "Source", "find_fields", "read_field"]

#: Endings by which a folder's files are taken for pictures; a file named itself may have any.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"}
)
_TIFF_SUFFIXES = frozenset({".tif", ".tiff"})

#: Largest TIFF that is read into memory whole, in pixels.
_MOST_WHOLE = 25_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """One input before it is read.

    Attributes:
        name: unique in its list and the same from run to run: the path below the folder that
            was given, or the file's name; ``file.tif#2`` for the second picture of a TIFF file
            that holds several.
        path: the file, or the URL as text.
        problem: why there is nothing to read (missing, empty folder), else None.
        number: which picture of a TIFF file that holds several, from 1; None where it holds one.
    """

    name: str
    path: Path | str
    problem: str | None = None
    number: int | None = None


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


def find_fields(
    sources: Iterable[str | Path], *, exclude: Iterable[str | Path] = ()
) -> list[Source]:
    """All inputs behind files, folders, patterns and URLs, in natural order, each file once.

    Folders are searched through all their subfolders for files with an ending of ``SUFFIXES``;
    hidden files and folders are passed over and a loop of links is walked once. ``~`` and
    patterns that the shell left alone are expanded. What does not exist becomes a ``Source``
    with a ``problem``, so that every input gives a record.

    Args:
        sources: what the user named.
        exclude: folders that are never searched, such as the output folder of the run.
    """
    skip = {_real(Path(folder)) for folder in exclude}
    found: list[Source] = []
    seen: set[str] = set()
    for source in sources:
        for item in _expand(str(source), skip):
            key = item.path if isinstance(item.path, str) else _real(item.path)
            if key not in seen:
                seen.add(key)
                found += _pictures(item)
    return _with_unique_names(found)


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
        from wbcdet.download import download

        raw = download(item.path, settings)
    else:
        raw = item.path
    if _is_tiff(raw):
        picture = _read_tiff(raw, item.number or 1, settings)
        if picture is not None:
            return Field(item.name, item.path, picture)
    data = raw if isinstance(raw, bytes) else _read_file(raw, settings.max_pixels)
    return Field(item.name, item.path, decode(data, settings.max_pixels))


def _is_tiff(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return is_tiff(source)
    try:
        if not source.is_file():  # opening a pipe would wait for its other end
            return False
        with source.open("rb") as file:
            return is_tiff(file.read(4))
    except (OSError, ValueError):
        return False


def _read_tiff(
    source: Path | bytes, number: int, settings: Settings
) -> Pixels | TiffPicture | None:
    """A picture that is not for the plain decoder; None for one that is."""
    from wbcdet.regions import TiffPicture
    from wbcdet.tiffs import plain_pixels

    limit = min(_MOST_WHOLE, settings.max_pixels)
    plain = plain_pixels(source)
    if plain is not None and plain <= limit:
        return None
    picture = TiffPicture(source, number, settings.max_tiff_pixels)
    if picture.width * picture.height > limit:
        return picture
    return picture.read(0, 0, picture.width, picture.height)


def is_url(text: str) -> bool:
    """The text is an http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


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


def as_source(text: str) -> Source:
    """The file or URL under its own name, not yet looked at."""
    if is_url(text):
        try:
            url = urllib.parse.urlsplit(text)
        except ValueError:
            return Source(_printable(text), text, "this is no valid http(s) address; check it")
        last = urllib.parse.unquote(url.path).rstrip("/").split("/")[-1]
        return Source(_printable(last or url.netloc or text), text)
    path = Path(text).expanduser()
    return Source(_printable(path.name or text), path)


def _expand(text: str, skip: set[str]) -> Iterator[Source]:
    if is_url(text):
        yield as_source(text)
        return
    path = Path(text).expanduser()
    try:
        exists = os.path.lexists(path)
        is_folder = path.is_dir()
    except (OSError, ValueError):
        exists = is_folder = False
    if is_folder:
        yield from _folder(path, skip)
    elif exists or not glob.has_magic(text):
        problem = None if exists else "file does not exist; check its name"
        yield replace(as_source(text), problem=problem)
    else:
        matches = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207 - absolute patterns too
        for match in map(Path, matches):
            if match.is_dir():
                # `*` also matches folders of other things: only one with pictures counts.
                yield from (item for item in _folder(match, skip) if item.problem is None)
            elif match.suffix.lower() in SUFFIXES or match.suffix == path.suffix:
                yield as_source(str(match))
        if not matches:
            yield Source(_printable(text), path, "no file matches this pattern; check it")


def _pictures(item: Source) -> list[Source]:
    """The pictures of a TIFF file that holds several, one by one; any other input as it is."""
    path = item.path
    if isinstance(path, str) or item.problem is not None:
        return [item]
    other = SUFFIXES - _TIFF_SUFFIXES
    if path.suffix.lower() in other or not _is_tiff(path):
        return [item]
    from wbcdet.tiffs import count_pictures

    try:
        count = count_pictures(path)
    except FieldError:
        count = 1  # reading it says what is wrong
    if count < 2:
        return [item]
    return [replace(item, name=f"{item.name}#{n}", number=n) for n in range(1, count + 1)]


def _folder(root: Path, skip: set[str]) -> Iterator[Source]:
    empty = True
    for path, problem in _walk(root, skip, set()):
        empty = False
        name = path.relative_to(root).as_posix() if path != root else root.name
        yield Source(_printable(name or str(root)), path, problem)
    if empty:
        problem = "folder holds no JPEG, PNG, BMP, WebP, TIFF or GIF picture"
        yield Source(_printable(root.name or str(root)), root, problem)


def _walk(folder: Path, skip: set[str], seen: set[str]) -> Iterator[tuple[Path, str | None]]:
    real = _real(folder)
    if real in skip or real in seen:
        return
    seen.add(real)
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: natural_key(entry.name))
        kinds = [entry.is_dir() for entry in entries]
    except OSError as error:
        yield folder, f"folder cannot be read ({error.strerror}); change its access rights"
        return
    for entry, is_folder in zip(entries, kinds, strict=True):
        if entry.name.startswith("."):
            continue
        if is_folder:
            yield from _walk(entry, skip, seen)
        elif entry.suffix.lower() in SUFFIXES:
            yield entry, None


def natural_key(text: str) -> list[tuple[int, int | str]]:
    """Sorting key under which ``field2`` stands before ``field10``."""
    parts = re.split(r"([0-9]+)", text.casefold())
    return [(0, int(part)) if part.isascii() and part.isdigit() else (1, part) for part in parts]


def _with_unique_names(found: list[Source]) -> list[Source]:
    """Put parent folders (or the host) before names that are the same, until all differ."""
    names = [item.name for item in found]
    parents = 0
    while clashes := {name for name, times in Counter(names).items() if times > 1}:
        parents += 1
        longer = [
            _with_parents(item, parents) if name in clashes else name
            for item, name in zip(found, names, strict=True)
        ]
        if longer == names:  # nothing left to put before them: number them
            longer = [f"{name} #{n}" if n > 1 else name for name, n in _numbered(names)]
        names = longer
    return [replace(item, name=name) for item, name in zip(found, names, strict=True)]


def _with_parents(item: Source, parents: int) -> str:
    if isinstance(item.path, str):
        if item.problem is not None:
            return item.name
        url = urllib.parse.urlsplit(item.path)
        parts = [url.netloc, *urllib.parse.unquote(url.path).strip("/").split("/")]
    else:
        parts = [part for part in item.path.absolute().parts[1:] if part != ".."]
    name = "/".join(parts[-(item.name.count("/") + 1 + parents) :])
    return _printable(name if item.number is None else f"{name}#{item.number}")


def _numbered(names: list[str]) -> Iterator[tuple[str, int]]:
    times: Counter[str] = Counter()
    for name in names:
        times[name] += 1
        yield name, times[name]


def _real(path: Path) -> str:
    return os.path.realpath(path)


def _printable(name: str) -> str:
    """File names that are not valid in the file system's encoding, made fit for JSON."""
    return os.fsencode(name).decode("utf-8", "replace")
