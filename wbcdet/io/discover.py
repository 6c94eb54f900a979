"""Find the pictures that a user means: files, folders, patterns, addresses."""

from __future__ import annotations

import glob
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from wbcdet.io.decode import is_tiff
from wbcdet.io.errors import FieldError
from wbcdet.io.formats import SUFFIXES, TIFF, picture_kind


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


def is_url(text: str) -> bool:
    """The text is an http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


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
    if not is_tiff_file(path) or picture_kind(path) is not TIFF:
        return [item]
    from wbcdet.io.planes import fields_of, pages_left_out

    try:
        count, problem = len(fields_of(path)), pages_left_out(path)
    except FieldError:
        return [item]  # reading it says what is wrong
    if count < 2 and problem is None:
        return [item]
    found = [replace(item, name=f"{item.name}#{n}", number=n) for n in range(1, count + 1)]
    more = f"{item.name}#{count + 1}"
    return [*found, *[replace(item, name=more, problem=problem)] * (problem is not None)]


def _folder(root: Path, skip: set[str]) -> Iterator[Source]:
    empty = True
    for path, problem in _walk(root, skip, set()):
        empty = False
        name = path.relative_to(root).as_posix() if path != root else root.name
        yield Source(_printable(name or str(root)), path, problem)
    if empty:
        problem = "folder holds no JPEG, PNG, TIFF, HEIC, WebP or other picture that is read"
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


def is_tiff_file(path: Path) -> bool:
    """The file's first bytes are those of a TIFF; False where it cannot be read."""
    try:
        if not path.is_file():  # opening a pipe would wait for its other end
            return False
        with path.open("rb") as file:
            return is_tiff(file.read(4))
    except (OSError, ValueError):
        return False
