"""Models as one file: a ZIP archive of a folder of models, to carry from machine to machine.

Such a file may come from somebody else. Only files that a folder of models has are taken from it,
by their plain names, and no larger than models are; what a card promises of them is checked when
they are loaded, as of every folder.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.files import PART_PREFIX, atomic_write
from wbcdet.utils.lock import LOCK
from wbcdet.utils.safe_files import written_file
from wbcdet.utils.user_folder import user_folder

#: Files of a folder of models; the first two say what the others are.
NAMES = (
    "detector.json", "classifier.json", "detector.onnx", "classifier.onnx",
    "detector.safetensors", "classifier.safetensors", "learned.json", "README.md",
)  # fmt: skip
#: Largest archive, largest model and largest text in it that are believed.
_MAX_ARCHIVE, _MAX_BYTES, _MAX_TEXT = 400_000_000, 200_000_000, 5_000_000
#: What begins the entry of a member in the list at the end of an archive, and most of them: the
#: list is read as a whole, and one of millions fills the memory.
_ENTRY, _MAX_ENTRIES = b"PK\1\2", 1000
#: How members may be packed.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: Every member has this date, so that the same models make the same file.
_DATE = (2020, 1, 1, 0, 0, 0)


class ShareError(WbcdetError, ValueError):
    """A file of models cannot be written or read; the message is one line."""


def check_free(file: Path) -> None:
    """Check that models can be written as this file: a new one, or one that holds models.

    Raises:
        ShareError: it would write over something else, or there is no such folder.
    """
    if not file.parent.is_dir():
        raise ShareError(f"{file}: there is no folder {file.parent}")
    if not file.exists():
        return
    try:
        with zipfile.ZipFile(file) as archive:
            ours = set(archive.namelist()) <= set(NAMES)
    except (OSError, zipfile.BadZipFile, ValueError):
        ours = False
    if not ours:
        raise ShareError(f"{file}: is there already and holds no models; name another file")


def pack(folder: Path, file: Path) -> None:
    """Write the models of a folder as one file, whole or not at all.

    Raises:
        ShareError: the folder holds no models, or :func:`check_free`.
        OSError: it cannot be written.
    """
    check_free(file)
    present = [name for name in NAMES if (folder / name).is_file()]
    if not any(name in present for name in NAMES[:2]):
        raise ShareError(f"{folder}: holds no models to share")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in present:
            member = zipfile.ZipInfo(name, _DATE)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, (folder / name).read_bytes())
    atomic_write(file, packed.getvalue())


def unpacked(file: Path) -> Path:
    """Return a folder with the models of a file, unpacked once for this user.

    Raises:
        ShareError: it is no such file, or cannot be unpacked.
    """
    try:
        if file.stat().st_size > _MAX_ARCHIVE:
            raise ShareError(f"{file}: is larger than models are; name the file of learn --share")
        data = file.read_bytes()
        if data.count(_ENTRY) > _MAX_ENTRIES:
            raise ShareError(f"{file}: holds more files than models; name that of learn --share")
        digest = hashlib.sha256(data).hexdigest()
        folder = user_folder() / "shared" / digest[:32]
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        _unpack(file, folder)
    except (OSError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise ShareError(f"{file}: cannot be unpacked: {why}") from error
    return folder


def _unpack(file: Path, folder: Path) -> None:
    """Unpack a file into a folder that appears whole or not at all."""
    from filelock import FileLock

    # One at a time, so that what lies half unpacked is of a process that was killed.
    with FileLock(written_file(folder.parent, LOCK)):
        if folder.is_dir():
            return
        for left in folder.parent.glob(f"{PART_PREFIX}*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=PART_PREFIX, dir=folder.parent) as part:
            _take(file, Path(part) / "models")
            (Path(part) / "models").rename(folder)


def _take(file: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(file) as archive:
            for name in NAMES:
                if name not in archive.namelist():
                    continue
                if archive.getinfo(name).compress_type not in _METHODS:
                    raise ShareError(f"{file}: {name} in it is packed in another way than learn's")
                most = _MAX_TEXT if name.endswith((".json", ".md")) else _MAX_BYTES
                with archive.open(name) as member:
                    data = member.read(most + 1)  # whatever the archive says of its size
                if len(data) > most:
                    raise ShareError(f"{file}: {name} in it is larger than that of models")
                (folder / name).write_bytes(data)
    except ShareError:
        raise
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, zlib.error) as error:
        raise ShareError(
            f"{file}: is neither a folder of models nor a file of wbcdet learn --share ({error})"
        ) from error
    if not any((folder / name).is_file() for name in NAMES[:2]):
        raise ShareError(f"{file}: holds no models; name the file of wbcdet learn --share")
