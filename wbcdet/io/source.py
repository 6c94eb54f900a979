"""Name the fields behind files, folders and addresses, and find their files again by those names.

A field's name is the path as it was given, whatever else was given with it: below the working
folder ``slides/anna/1.jpg``, elsewhere the whole path without its root, ``data/slides/1.jpg``.
"""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypedDict

from wbcdet.io.slide_part import SlidePart
from wbcdet.utils.user_folder import expanded


@dataclass(frozen=True, slots=True)
class Source:
    """One input before it is read.

    Attributes:
        name: the path as it was given, with ``/`` between folders and without ``./``; outside the
            working folder the absolute path without its root. ``file.tif#2`` for the second
            picture of a TIFF file that holds several.
        path: the file, or the URL as text.
        problem: why there is nothing to read (missing, empty folder), else None.
        number: which picture of a TIFF file that holds several, from 1; None where it holds one.
        below: the part of the name below the folder that was given; of a file its own name.
        part: which part of a slide; None for all else.
    """

    name: str
    path: Path | str
    problem: str | None = None
    number: int | None = None
    below: str = ""
    part: SlidePart | None = None


class RootInfo(TypedDict):
    """A :class:`Root` in ``results.json``."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that was given, or that a file which was given lies in.

    Attributes:
        name: how the names of its fields begin.
        path: where it is, absolute; the address of a server.
    """

    name: str
    path: str

    def to_dict(self) -> RootInfo:
        """Return the root as it stands in ``results.json``."""
        return {"name": self.name, "path": self.path}


def is_url(text: str) -> bool:
    """Say whether the text is an http(s) URL."""
    return text.lower().startswith(("http://", "https://"))


def as_source(text: str) -> Source:
    """Return the file or URL under its name, not yet looked at."""
    if is_url(text):
        return as_address(text)[0]
    path = expanded(text)
    name = field_name(path)
    return Source(name, path, below=name.rsplit("/", 1)[-1])


def as_slide(text: str) -> tuple[Source, Root]:
    """Return a slide that was named, a file or a folder, with the folder that it lies in."""
    item = as_source(text.rstrip("/\\") or text)
    assert isinstance(item.path, Path)
    return item, root_of(item.path.parent)


def field_name(path: str | Path) -> str:
    """Return the name of a file or folder: as given, or whole where it is not below the working
    folder.

    It depends on the path and the working folder alone. The working folder itself is ``""``.
    """
    try:
        base, full = os.getcwd(), os.path.abspath(path)  # noqa: PTH100, PTH109 - links stay
        if not _is_below(full, base):
            # The same folder under another name: a link, or /tmp on a Mac.
            folder, file = os.path.split(full)
            real = os.path.join(os.path.realpath(folder), file)  # noqa: PTH118
            full = real if _is_below(real, os.path.realpath(base)) else full
            base = os.path.realpath(base) if _is_below(full, os.path.realpath(base)) else ""
    except (OSError, ValueError):  # the working folder has gone, or the path is invalid
        return printable(str(path))
    if base:
        rest = os.path.relpath(full, base)
        return printable("" if rest == "." else rest.replace(os.sep, "/"))
    drive, rest = os.path.splitdrive(full)
    parts = f"{drive.replace(':', '')}/{rest}".replace(os.sep, "/").split("/")
    return printable("/".join(part for part in parts if part))


def locate(name: str, roots: Iterable[RootInfo | Root]) -> str | None:
    """Return where a field came from: the path of its file, or its address.

    Args:
        name: the field's name, without the number of a picture in a TIFF.
        roots: ``info.sources`` of a results document.

    Returns:
        None where it lies in none of them, or leads out of them.
    """
    best: tuple[str, str] | None = None
    for root in roots:
        start, path = _name_and_path(root)
        inside = not start or name == start or name.startswith(f"{start}/")
        if inside and (best is None or len(start) > len(best[0])):
            best = (start, path)
    if best is None or not best[1]:
        return None
    rest = name[len(best[0]) :].lstrip("/")
    parts = PurePosixPath(rest).parts
    if ".." in parts or "\\" in rest or not rest:
        return None
    return f"{best[1].rstrip('/')}/{rest}" if is_url(best[1]) else str(Path(best[1], *parts))


def below(name: str, roots: Sequence[RootInfo | Root]) -> str:
    """Return a field's name below the folder that was given; where several were, the whole name."""
    if len(roots) != 1:
        return name
    start = _name_and_path(roots[0])[0]
    return name[len(start) + 1 :] if start and name.startswith(f"{start}/") else name


def places(name: str, folder: Path, roots: Sequence[RootInfo | Root]) -> list[Path]:
    """Return where a field may lie now that its pictures are in a folder: likeliest first.

    Args:
        name: the field's name, without the number of a picture in a TIFF.
        folder: the folder that was analysed, wherever it is now, or the working folder of the run.
        roots: where the fields came from.

    Returns:
        no place where the name leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\\" in name:
        return []
    inside = PurePosixPath(below(name, roots)).parts
    own = [
        locate(name, [root])
        for root in roots
        if _name_and_path(root)[1] == os.path.abspath(folder)  # noqa: PTH100 - as it was given
    ]
    located = [Path(path) for path in own if path is not None]
    return list(dict.fromkeys([*located, folder.joinpath(*inside), folder.joinpath(*parts)]))


def natural_key(text: str) -> tuple[list[tuple[int, int | str]], str]:
    """Return a sorting key under which ``field2`` stands before ``field10``.

    Names that differ have different keys, also ``1`` and ``01``: else they would stand in the order
    of the disk, which a copy of the folder does not have.
    """
    parts = re.split(r"([0-9]+)", text.casefold())
    return [
        (0, int(part)) if part.isascii() and part.isdigit() else (1, part) for part in parts
    ], text


def root_of(folder: Path) -> Root:
    """Return a folder as the root of the fields in it."""
    return Root(field_name(folder), printable(os.path.abspath(folder)))  # noqa: PTH100 - links stay


class RootNames:
    """Keeps the names of folders apart, so that each field has one name, and each name one file.

    ``data`` is that folder below the working folder, and also the folder at the root of the disk.
    Where both are given, the second is ``data #2``, and with it the names of all its fields.
    """

    def __init__(self) -> None:
        self._by_path: dict[str, Root] = {}
        self._by_name: dict[str, list[Root]] = {}
        self._beneath: dict[str, list[Root]] = {}  # by each name above

    def unique(self, root: Root) -> Root:
        """Return a root under a name below which no other root has files."""
        if root.path in self._by_path:
            return self._by_path[root.path]
        unique, number = root, 1
        while self._is_taken(unique):
            number += 1
            first, slash, rest = root.name.partition("/")
            first = first or Path(root.path).name
            unique = Root(f"{first} #{number}{slash}{rest}", root.path)
        self._by_path[root.path] = unique
        self._by_name.setdefault(unique.name, []).append(unique)
        for name in _names_above(unique.name):
            self._beneath.setdefault(name, []).append(unique)
        return unique

    def _is_taken(self, root: Root) -> bool:
        above = (root.name, *_names_above(root.name))
        return any(
            _share_names(other, root) for name in above for other in self._by_name.get(name, ())
        ) or any(_share_names(root, other) for other in self._beneath.get(root.name, ()))


def _names_above(name: str) -> list[str]:
    """Return the names that a root above one of this name may have."""
    parts = name.split("/") if name else []
    return ["/".join(parts[:number]) for number in range(len(parts))]


def _share_names(above: Root, root: Root) -> bool:
    """Say whether a name below a root may also be of a file in another one, whose name begins with
    that of the first or is equal."""
    if is_url(above.path):  # what the server has is not known
        return True
    rest = root.name[len(above.name) :].lstrip("/")
    place = Path(above.path, rest)
    if rest and not os.path.lexists(place):
        return False
    return is_url(root.path) or os.path.realpath(place) != os.path.realpath(root.path)


def as_address(text: str) -> tuple[Source, Root | None]:
    """Return an address as a field, without any password, and the server as its root."""
    try:
        url = urllib.parse.urlsplit(text)
    except ValueError:
        return Source(printable(text), text, "this is no valid http(s) address; check it"), None
    host = url.netloc.rpartition("@")[2]  # without name and password
    parts = [part for part in urllib.parse.unquote(url.path).split("/") if part not in ("", "..")]
    name = "/".join([host, *parts])
    if url.query:
        # What stands behind the question mark may be a key that opens the picture.
        name += f"?{hashlib.sha256(url.query.encode('utf-8', 'replace')).hexdigest()[:8]}"
    item = Source(printable(name), text, below=printable(parts[-1] if parts else host))
    return item, Root(host, f"{url.scheme.lower()}://{host}")


def _is_below(path: str, folder: str) -> bool:
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:  # on another drive
        return False


def _name_and_path(root: RootInfo | Root) -> tuple[str, str]:
    if isinstance(root, Root):
        return root.name, root.path
    return str(root["name"]), str(root["path"])


def printable(name: str) -> str:
    """Return a name fit for JSON: bytes that are no letters in UTF-8 as ``%XX``."""
    shown = re.sub("[\udc80-\udcff]", lambda byte: f"%{ord(byte[0]) - 0xDC00:02X}", name)
    return shown.encode("utf-8", "replace").decode()
