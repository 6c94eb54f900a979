"""Which picture a request means, and whether this service may look at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from wbcdet.batch.service.problems import Problem
from wbcdet.io.errors import FieldError
from wbcdet.io.formats import is_tiff, is_tiff_file
from wbcdet.io.planes import fields_of, pages_left_out
from wbcdet.io.source import Source
from wbcdet.utils.safe_files import is_below

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of a request.

    Attributes:
        name: how its field is called in the results.
        data: its bytes; None where a path or an address says where it is.
        path: its file; None where the bytes came with the request.
        url: its address, where it is fetched from there.
        problem: why there is nothing to read, such as an address that does not answer.
    """

    name: str
    data: bytes | None = None
    path: Path | None = None
    url: str | None = None
    problem: str | None = None

    def sources(self) -> list[Source]:
        """Its fields: several for a TIFF of several pictures.

        Raises:
            FieldError: there is nothing to read, or the structure of a TIFF is damaged.
        """
        if self.problem is not None:
            raise FieldError(self.problem)
        place = self.path or Path(self.name)
        file: Path | bytes | None = self.data if self.data is not None else self.path
        if isinstance(file, bytes):
            is_one = not is_tiff(file[:4])
        else:
            is_one = file is None or not is_tiff_file(file)
        if file is None or is_one:
            return [Source(self.name, place)]
        count, problem = len(fields_of(file)), pages_left_out(file)
        if count < 2 and problem is None:
            return [Source(self.name, place)]
        found = [Source(f"{self.name}#{n}", place, number=n) for n in range(1, count + 1)]
        if problem is not None:  # as a search of folders says it
            found.append(Source(f"{self.name}#{count + 1}", place, problem))
        return found


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a request may name instead of sending a picture.

    Attributes:
        urls: addresses that begin so.
        folders: folders in which files may be named.
    """

    urls: Sequence[str] = ()
    folders: Sequence[Path] = ()

    def check_url(self, url: str) -> str:
        """Return the address, where it may be asked.

        Raises:
            Problem: it may not.
        """
        if not self.url(url):
            raise Problem(
                403, "url-not-allowed", "this address is not below one that --allow-url names"
            )
        return url

    def url(self, url: str) -> bool:
        """Say whether the address may be asked."""
        return any(_is_under(url, start) for start in self.urls)

    def path(self, text: str) -> Path:
        """Return the file that a path means: absolute, or below the first folder.

        Raises:
            Problem: it is in none of the folders.
        """
        if self.folders and text and "\0" not in text:
            path = self.folders[0] / text  # an absolute path stays as it is
            if any(is_below(path, folder) for folder in self.folders):
                return path
        raise Problem(403, "path-not-allowed", "this path is not in a folder of --allow-path")


def _is_under(url: str, start: str) -> bool:
    """Say whether an address has the scheme, host and port of another, and a path below its
    path."""
    try:
        asked, known = urlsplit(url), urlsplit(start)
        ports = [address.port or _PORTS.get(address.scheme.lower()) for address in (asked, known)]
    except ValueError:
        return False
    if asked.username is not None or asked.password is not None or asked.hostname is None:
        return False
    same = (asked.scheme.lower(), asked.hostname) == (known.scheme.lower(), known.hostname)
    if not same or ports[0] is None or ports[0] != ports[1]:
        return False
    path, root = unquote(asked.path) or "/", known.path.rstrip("/") + "/"
    if "\\" in path or any(part in ("..", ".") for part in path.split("/")):
        return False
    return f"{path}/".startswith(root)


def unique_names(names: Sequence[str]) -> list[str]:
    """Names of fields that nobody has twice, fit to be shown: control characters are left out."""
    clean = (
        "".join(character for character in given if character.isprintable()).strip()[:200]
        or "picture"
        for given in names
    )
    return numbered([name.encode(errors="replace").decode() for name in clean])


def numbered(names: Sequence[str]) -> list[str]:
    """Return the names, those that stood before with a number."""
    taken: set[str] = set()
    unique = []
    for given in names:
        name, number = given, 1
        while name in taken:
            number += 1
            name = f"{given} #{number}"
        taken.add(name)
        unique.append(name)
    return unique
