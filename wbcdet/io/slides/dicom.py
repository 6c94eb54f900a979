"""Slides in DICOM: a series of files, each a level or part of one, the label or the overview.

OpenSlide opens the whole series by any of its files, and looks for the others in the same folder.
Here one file stands for the series, so that it is counted once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wbcdet.io.formats import DICOM, picture_kind
from wbcdet.io.source import natural_key

#: SOP class of whole slide microscopy.
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
#: Last of the tags that are read, Total Pixel Matrix Rows: what follows may be megabytes.
_LAST_TAG = 0x00480007


@dataclass(frozen=True, slots=True)
class Series:
    """Which series a file is of.

    Attributes:
        folder: where the file lies.
        uid: of the series.
    """

    folder: Path
    uid: str


@dataclass(frozen=True, slots=True)
class _Instance:
    path: Path
    uid: str
    volume: bool
    width: int


class SeriesIndex:
    """The series of the folders that were asked about, each folder read once."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[Path, _Instance]] = {}

    def series(self, path: Path) -> Series | None:
        """Return the series of a file; None where it is no file of a slide in DICOM."""
        if picture_kind(path) is not DICOM:
            return None
        instance = self._instances(path.parent).get(path)
        return None if instance is None else Series(path.parent, instance.uid)

    def first_file(self, series: Series) -> Path:
        """Return the file that stands for a series: the finest level, or the first part of it."""
        own = [part for part in self._instances(series.folder).values() if part.uid == series.uid]
        return min(
            own, key=lambda part: (not part.volume, -part.width, natural_key(part.path.name))
        ).path

    def _instances(self, folder: Path) -> dict[Path, _Instance]:
        if folder not in self._folders:
            instances = (_read(path) for path in _files(folder))
            self._folders[folder] = {part.path: part for part in instances if part is not None}
        return self._folders[folder]


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if picture_kind(path) is DICOM]
    except OSError:
        return []


def _read(path: Path) -> _Instance | None:
    """Return what a file says of itself; None where it is of something else or damaged, as opening
    it will say."""
    from pydicom.filereader import read_partial

    try:
        with path.open("rb") as file:
            said = read_partial(file, stop_when=lambda tag, _vr, _length: tag > _LAST_TAG)
        if said.get("SOPClassUID") != _WHOLE_SLIDE:
            return None
        kinds = [str(kind) for kind in said.get("ImageType") or ()]
        width = int(said.get("TotalPixelMatrixColumns") or 0)
        return _Instance(path, str(said["SeriesInstanceUID"].value), "VOLUME" in kinds, width)
    # A damaged header may raise anything.
    except Exception:
        return None
