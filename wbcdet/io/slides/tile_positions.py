"""Read where the tiles of a folder lie.

Read are: ``TileConfiguration.txt`` of Fiji's stitching (pixels; the registered one where there is
one), ``metadata.txt`` of Micro-Manager (µm), and what OpenFlexure writes into the EXIF tags of its
pictures (stage steps, with the matrix that turns them into pixels).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wbcdet.io.errors import FieldError
from wbcdet.io.slides.base import um_from
from wbcdet.utils.schemas import parse_json

_FIJI = ("TileConfiguration.registered.txt", "TileConfiguration.txt")
_MICROMANAGER = "metadata.txt"
_FIJI_LINE = re.compile(r"^(?P<name>[^;]+);[^;]*;\s*\(\s*(?P<x>[^,]+),\s*(?P<y>[^,)]+)[^)]*\)")
_PLACE = re.compile(rb'"XPositionUm"\s*:\s*"?-?[\d.]')
#: Which of a series in time a picture is: as versions 1.4 and 2 of Micro-Manager number them.
_TIME = re.compile(r"^FrameKey-(\d+)-|time(\d+)_z\d+")
#: Pictures that a microscope writes.
_PICTURES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
#: EXIF: the pointer to the camera's tags, and the tag that OpenFlexure writes JSON into.
_EXIF, _COMMENT = 0x8769, 0x9286
#: Largest file of positions, bytes.
_MAX_TEXT = 64 << 20


def is_tile_folder(path: Path) -> bool:
    """Say whether the folder holds tiles whose positions are known."""
    if any((path / name).is_file() for name in _FIJI) or _metadata_files(path):
        return True
    first = next(_pictures(path), None)
    return first is not None and _openflexure(first) is not None


def read_positions(folder: Path) -> tuple[list[tuple[Path, float, float]], float | None]:
    """Return tiles with their corners in pixels, and µm per pixel where they are said.

    Raises:
        FieldError: positions cannot be read; the message is one line.
    """
    for name in _FIJI:
        if (folder / name).is_file():
            return _fiji(folder, folder / name), None
    metadata = _metadata_files(folder)
    if metadata:
        return _micromanager(metadata)
    placed = []
    for path in _pictures(folder):
        position = _openflexure(path)
        if position is not None:
            placed.append((path, *position))
    return placed, None


def _fiji(folder: Path, file: Path) -> list[tuple[Path, float, float]]:
    placed = []
    for line in _text(file).splitlines():
        match = _FIJI_LINE.match(line.strip())
        if match is None:
            continue
        try:
            x, y = float(match["x"]), float(match["y"])
        except ValueError as error:
            raise FieldError(f"{file.name} names no position in: {line.strip()[:80]}") from error
        placed.append((_inside(folder, match["name"].strip(), file), x, y))
    return _finite(placed, file)


def _micromanager(files: list[Path]) -> tuple[list[tuple[Path, float, float]], float | None]:
    placed: dict[Path, tuple[float, float]] = {}
    first: dict[_Place, tuple[Path, int | None]] = {}
    scale = None
    for file in files:
        for taken in _frames(_metadata(file)):
            if taken.um is None:
                continue
            scale = scale or taken.um
            path = _inside(file.parent, _below_own_folder(file, taken.name), file)
            earlier, time = first.setdefault(taken.place, (path, taken.time))
            if time != taken.time:
                raise FieldError(
                    f"{earlier.name} and {path.name} were taken one after the other at one place, "
                    f"by {file.name}: it does not say where the stage was, so they are no tiles of "
                    "a slide; rename it, and every picture is counted as a field"
                )
            # Of several planes or channels at a place the first stands for it.
            placed.setdefault(path, (taken.x / taken.um, taken.y / taken.um))
    if scale is None:
        raise FieldError(
            f"{files[0].name} names no PixelSizeUm; calibrate the pixel size in Micro-Manager"
        )
    in_order = [(path, x, y) for path, (x, y) in placed.items()]
    return _finite(in_order, files[0]), scale


#: A place of the stage, whole µm: no two tiles are nearer to each other.
_Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A picture of Micro-Manager: its file, the stage's place in µm, µm per pixel where they are
    said, and which of a series in time it is."""

    name: str
    x: float
    y: float
    um: float | None
    time: int | None

    @property
    def place(self) -> _Place:
        return round(self.x), round(self.y)


def _frames(document: Any) -> Iterator[_Taken]:
    """Yield the pictures of which Micro-Manager says where the stage was."""
    for key, frame in document.items() if isinstance(document, dict) else ():
        if not isinstance(frame, dict) or not isinstance(name := frame.get("FileName"), str):
            continue
        x, y = _float(frame.get("XPositionUm")), _float(frame.get("YPositionUm"))
        if x is None or y is None or not np.isfinite((x, y)).all():
            continue
        match = _TIME.search(key)
        time = int(match[1] or match[2]) if match else None
        yield _Taken(name, x, y, um_from(_float(frame.get("PixelSizeUm"))), time)


def _metadata(file: Path) -> Any:
    try:
        return parse_json(_text(file))
    except ValueError as error:
        raise FieldError(f"{file.name} is damaged ({error}); copy it again") from error


def _below_own_folder(file: Path, name: str) -> str:
    """Return the name of a picture from the folder of its metadata on: version 2 begins with that
    folder."""
    return name.replace("\\", "/").removeprefix(f"{file.parent.name}/")


def _openflexure(path: Path) -> tuple[float, float] | None:
    """Return the corner of a picture in pixels, from the stage's position and its matrix."""
    from PIL import Image

    with suppress(OSError, ValueError, KeyError, TypeError, np.linalg.LinAlgError):
        with Image.open(path) as picture:
            comment = picture.getexif().get_ifd(_EXIF).get(_COMMENT)
            size = np.array(picture.size, float)
        if isinstance(comment, bytes):
            comment = comment.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")
        said = parse_json(str(comment).strip("\0 "))
        position, matrix = (
            _find(said, "position"),
            _find(said, "image_to_stage_displacement_matrix"),
        )
        stage = [float(position[axis]) for axis in "xy"]
        # The matrix takes (rows, columns) to stage steps, at the resolution it was measured at.
        pixels = np.linalg.solve(np.asarray(matrix, float).T, np.array(stage))
        measured = _find(said, "image_resolution")
        by = size[0] / float(max(measured)) if measured else 1.0
        return float(pixels[1] * by), float(pixels[0] * by)
    return None


def _find(metadata: Any, name: str) -> Any:
    """Return the first value of a name, however deep it lies."""
    if isinstance(metadata, Mapping):
        if name in metadata:
            return metadata[name]
        for value in metadata.values():
            if (inner := _find(value, name)) is not None:
                return inner
    return None


def _metadata_files(folder: Path) -> list[Path]:
    """Those of Micro-Manager: one in the folder, or one in each folder of a position."""
    with suppress(OSError):
        if (folder / _MICROMANAGER).is_file():
            files = [folder / _MICROMANAGER]
        else:
            files = sorted(folder.glob(f"*/{_MICROMANAGER}"))
        files = [file for file in files if _names_places(file)]
        return files if _is_scan(files) else []
    return []


def _is_scan(files: Sequence[Path]) -> bool:
    """Say whether files of positions are of one scan. A single picture is a field, and acquisitions
    that lie beside each other are each of a slide of its own: as tiles they would hide each
    other."""
    scans: set[tuple[str, ...]] = set()
    pictures: set[tuple[Path, str]] = set()
    places: Counter[_Place] = Counter()
    for file in files:
        try:
            document = _metadata(file)
        except FieldError:
            return True  # it is said where it is read
        summary = document.get("Summary") if isinstance(document, dict) else None
        if isinstance(summary, dict):
            scans.add(tuple(str(summary.get(name)) for name in ("Prefix", "UUID")))
        frames = list(_frames(document))
        pictures.update((file, taken.name) for taken in frames)
        places.update({taken.place for taken in frames})
    return len(pictures) > 1 and len(scans) < 2 and max(places.values()) < 2


def _names_places(file: Path) -> bool:
    """Many programs write a ``metadata.txt``, and without a stage Micro-Manager has no places."""
    with file.open("rb") as text:
        return _PLACE.search(text.read(1 << 20)) is not None


def _pictures(folder: Path) -> Iterator[Path]:
    """Yield the pictures of a scan, in the folder or in its ``images`` folder, by name."""
    for place in (folder, folder / "images"):
        with suppress(OSError):
            names = sorted(path for path in place.iterdir() if path.suffix.lower() in _PICTURES)
            if names:
                yield from names
                return


def without_position(placed: Sequence[Path]) -> list[str]:
    """Return names of pictures that lie beside tiles and are none."""
    known, names = set(placed), []
    for folder in sorted({path.parent for path in placed}):
        with suppress(OSError):
            names += sorted(
                path.name
                for path in folder.iterdir()
                if path.suffix.lower() in _PICTURES
                and path not in known
                and not path.name.startswith(".")
            )
    return names


def _inside(folder: Path, name: str, file: Path) -> Path:
    """Return a tile that the positions name; it lies in their folder."""
    parts = Path(name.replace("\\", "/")).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise FieldError(f"{file.name} names a tile outside of its folder: {name[:80]}")
    return folder.joinpath(*parts)


def _finite(placed: list[tuple[Path, float, float]], file: Path) -> list[tuple[Path, float, float]]:
    if not all(np.isfinite((x, y)).all() for _, x, y in placed):
        raise FieldError(f"{file.name} names a position that is no number; export it again")
    return placed


def _float(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_TEXT:
            raise FieldError(f"{file.name} is too large for a list of positions")
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FieldError(f"{file.name} cannot be read ({error.strerror})") from error
