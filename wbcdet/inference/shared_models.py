"""Models as one file: a ZIP archive of a folder of models, to carry from machine to machine.

Such a file may come from somebody else. Only files that a folder of models has are taken from it,
by their plain names, and no larger than models are; what a card promises of them is checked when
they are loaded, as of every folder.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.files import PART_PREFIX, atomic_write
from wbcdet.utils.user_folder import user_folder

#: Files of a folder of models; the first two say what the others are.
NAMES = (
    "detector.json", "classifier.json", "detector.onnx", "classifier.onnx",
    "detector.safetensors", "classifier.safetensors", "learned.json", "README.md",
)  # fmt: skip
#: Largest file in the archive that is believed, and largest archive.
_MAX_BYTES, _MAX_ARCHIVE = 200_000_000, 400_000_000
#: Every member has this date, so that the same models make the same file.
_DATE = (2020, 1, 1, 0, 0, 0)


class ShareError(WbcdetError, ValueError):
    """A file of models cannot be written or read; the message is one line."""


def pack(folder: Path, file: Path) -> None:
    """Write the models of a folder as one file, whole or not at all.

    Raises:
        ShareError: the folder holds no models.
        OSError: it cannot be written.
    """
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
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        folder = user_folder() / "shared" / digest[:32]
        if folder.is_dir():
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PART_PREFIX, dir=folder.parent) as part:
            _take(file, Path(part) / "models")
            # Another process may have been faster: its files are the same.
            with suppress(OSError):
                (Path(part) / "models").replace(folder)
    except (OSError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise ShareError(f"{file}: cannot be unpacked: {why}") from error
    if not folder.is_dir():
        raise ShareError(f"{file}: cannot be unpacked into {folder}")
    return folder


def _take(file: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(file) as archive:
            for name in NAMES:
                if name not in archive.namelist():
                    continue
                if archive.getinfo(name).file_size > _MAX_BYTES:
                    raise ShareError(f"{file}: {name} in it is larger than models are")
                with archive.open(name) as member:
                    data = member.read(_MAX_BYTES + 1)
                if len(data) > _MAX_BYTES:
                    raise ShareError(f"{file}: {name} in it is larger than models are")
                (folder / name).write_bytes(data)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise ShareError(
            f"{file}: is neither a folder of models nor a file of wbcdet learn --share ({error})"
        ) from error
    if not any((folder / name).is_file() for name in NAMES[:2]):
        raise ShareError(f"{file}: holds no models; name the file of wbcdet learn --share")
