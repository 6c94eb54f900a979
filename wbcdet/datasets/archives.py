"""The public archives that wbcdet trains on: list, verify and read them.

A code host does not promise that the zip of a commit keeps its bytes, so an archive is judged by
the files in it: ``datasets/files/NAME.csv`` lists each file that wbcdet uses with size and sha256.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.user_folder import expanded, user_home

if TYPE_CHECKING:
    import numpy as np

#: Environment variables: the folder of the archives; a folder or URL that has copies of them.
FOLDER_VARIABLE = "WBCDET_DATA"
MIRROR_VARIABLE = "WBCDET_DATA_MIRROR"

# The largest file of the archives has 3 MB. A file far above that is no picture of theirs, and
# reading it into memory would serve only those who tampered with the zip.
_MAX_FILE_BYTES = 64 * 1024 * 1024


class DataError(WbcdetError):
    """An archive cannot be had or read. The message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One public repository at one commit, from ``datasets/sources.json``."""

    name: str
    repository: str
    commit: str
    licence: str
    holds: str

    @property
    def url(self) -> str:
        """Address at which the code host serves the zip of this commit."""
        return f"https://github.com/{self.repository}/archive/{self.commit}.zip"

    @property
    def prefix(self) -> str:
        """The folder that stands around everything in the zip."""
        return f"{self.repository.split('/')[1]}-{self.commit}/"


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One file that wbcdet uses: path inside the repository, size in bytes, sha256 (hex)."""

    path: str
    bytes: int
    sha256: str


def datasets_folder() -> Path:
    """Return the folder of the dataset definitions: in the installed package, else in the
    checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_datasets"
    return installed if installed.is_dir() else package.parent / "datasets"


def default_folder() -> Path:
    """Return the folder of the archives: ``WBCDET_DATA``, else a cache folder of this user.

    Raises:
        DataError: neither is known.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        return expanded(chosen)
    home = user_home()
    if home is None:
        raise DataError(
            "this account has no home folder to keep archives in; give --into DIR, or set "
            f"{FOLDER_VARIABLE} to a folder"
        )
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "wbcdet" / "data"


@lru_cache(maxsize=1)
def sources() -> dict[str, Source]:
    """Return all archives by name."""
    document = json.loads((datasets_folder() / "sources.json").read_text(encoding="utf-8"))
    return {item["name"]: Source(**item) for item in document["archives"]}


def source(name: str) -> Source:
    """Return the archive of this name.

    Raises:
        DataError: there is no such archive; the message lists those there are.
    """
    known = sources()
    if name not in known:
        raise DataError(f"no archive is called {name!r}; there are {', '.join(known)}")
    return known[name]


@lru_cache(maxsize=16)
def listed_files(name: str) -> tuple[ListedFile, ...]:
    """Return the files of an archive that wbcdet uses, sorted by path."""
    path = datasets_folder() / "files" / f"{source(name).name}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        return tuple(ListedFile(r["path"], int(r["bytes"]), r["sha256"]) for r in rows)


def archive_of(laboratory: str, file: str) -> str:
    """Return the archive that holds a row of ``datasets/splits.csv``."""
    if laboratory in ("tecom", "cellavision"):
        return "tecom-cellavision"
    if laboratory in ("txl-raabin", "txl-pbc"):
        return "txl-pbc"
    if laboratory == "pbc-second":
        return "pbc"
    # Three BCCD fields are gone from BCCD's own repository and survive in the Kaggle one.
    if laboratory == "bccd" and file.startswith("Original_Images/"):
        return "kaggle-wbc"
    return laboratory


class Archive:
    """Files of one zip, by their path inside the repository (no ``NAME-COMMIT/`` in front).

    Safe to share among threads and among the processes of a data loader: a process that was forked
    or that unpickled the archive opens the zip again, so that no file position is shared. Nothing
    is ever unpacked to disk, so a name such as ``../x`` in a zip can reach nothing.
    """

    def __init__(self, path: Path, prefix: str | None = None) -> None:
        self.path = Path(path)
        self._prefix = prefix
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        self._index = self._read_index()
        self._names = tuple(sorted(self._index))

    def _read_index(self) -> dict[str, zipfile.ZipInfo]:
        infos = [info for info in self._zip().infolist() if not info.is_dir()]
        prefix = self._prefix
        if prefix is None:
            tops = {info.filename.split("/", 1)[0] for info in infos}
            prefix = f"{tops.pop()}/" if len(tops) == 1 else ""
        index = {
            info.filename[len(prefix) :]: info
            for info in infos
            if info.filename.startswith(prefix) and ".." not in info.filename.split("/")
        }
        if not index:
            raise DataError(f"{self.path} holds no folder {prefix!r}: it is another archive")
        return index

    def _zip(self) -> zipfile.ZipFile:
        opened = self._opened
        if opened is None or opened[0] != os.getpid():
            try:
                opened = os.getpid(), zipfile.ZipFile(self.path)
            except (zipfile.BadZipFile, OSError, ValueError) as error:
                raise DataError(f"{self.path} cannot be opened as a zip: {error}") from error
            self._opened = opened
        return opened[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def names(self) -> tuple[str, ...]:
        """Return all files, sorted."""
        return self._names

    def size(self, path: str) -> int:
        """Return the unpacked size of a file in bytes.

        Raises:
            DataError: the archive has no such file.
        """
        return self._info(path).file_size

    def _info(self, path: str) -> zipfile.ZipInfo:
        try:
            return self._index[path]
        except KeyError:
            raise DataError(f"{self.path.name} has no file {path!r}") from None

    def read(self, path: str) -> bytes:
        """Return the bytes of one file.

        Raises:
            DataError: the archive has no such file, or it is damaged.
        """
        info = self._info(path)
        if info.file_size > _MAX_FILE_BYTES:
            raise DataError(f"{path!r} in {self.path.name} is too large: {info.file_size} bytes")
        try:
            return self._zip().read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise DataError(f"{path!r} in {self.path.name} is damaged: {error}") from error

    def read_image(self, path: str) -> np.ndarray:
        """Read one picture as ``uint8[height, width, 3]``, BGR.

        Raises:
            DataError: the archive has no such file, or it is no readable picture.
        """
        import cv2
        import numpy as np

        data = np.frombuffer(self.read(path), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise DataError(f"{path!r} in {self.path.name} is no readable picture")
        return np.asarray(image)

    def close(self) -> None:
        """Close the zip; a later read opens it again."""
        opened, self._opened = self._opened, None
        if opened is not None and opened[0] == os.getpid():
            opened[1].close()

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_archive(name: str, folder: Path | None = None) -> Archive:
    """Open a fetched archive; its hashes are not checked again.

    Args:
        name: such as ``bccd``; see :func:`sources`.
        folder: where the archives are, by default :func:`default_folder`.

    Raises:
        DataError: the archive is absent or no zip.
    """
    wanted = source(name)
    path = (folder or default_folder()) / f"{name}.zip"
    if not path.is_file():
        raise DataError(f"{path} is missing: run `wbcdet data fetch {name}`")
    return Archive(path, wanted.prefix)


def faults(name: str, path: Path) -> list[str]:
    """Return what is wrong with an archive: missing or different files, or that it is no zip.

    Returns:
        One short text for each fault; an empty list says that all listed files are as listed.
    """
    wrong = []
    try:
        with Archive(path, source(name).prefix) as archive:
            present = set(archive.names())
            for listed in listed_files(name):
                if listed.path not in present:
                    wrong.append(f"{listed.path} is missing")
                elif not _same(archive, listed):
                    wrong.append(f"{listed.path} differs")
    except DataError as error:
        wrong.append(str(error))
    return wrong


def _same(archive: Archive, listed: ListedFile) -> bool:
    # The size stands in the zip's directory, so a false one is refused before it is unpacked.
    if archive.size(listed.path) != listed.bytes:
        return False
    try:
        return hashlib.sha256(archive.read(listed.path)).hexdigest() == listed.sha256
    except DataError:
        return False


def fault_line(wrong: Sequence[str]) -> str:
    """Format faults as one line: the first three, then how many more."""
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return "; ".join(wrong[:3]) + more
