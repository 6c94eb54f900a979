"""A folder of overlapping tiles with their positions, as one slide.

Read are: ``TileConfiguration.txt`` of Fiji's stitching (pixels; the registered one where there is
one), ``metadata.txt`` of Micro-Manager (µm), and what OpenFlexure writes into the EXIF tags of its
pictures (stage steps, with the matrix that turns them into pixels).
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.io.decode import decode
from wbcdet.io.errors import FieldError
from wbcdet.io.slides.base import Level, um_from
from wbcdet.utils.schemas import parse_json
from wbcdet.utils.text import plural

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
#: Decoded tiles that are kept, bytes.
_KEPT = 256 << 20
#: Largest tile, pixels.
_MAX_TILE = 50_000_000
#: Area that tiles may spread over, as a multiple of their own.
_MAX_SPREAD = 2000
#: Pairs of neighbours that are compared, px that they must share, response of the comparison from
#: which it tells anything, and px that they may be off: a third of a cell at 0.25 µm.
_PAIRS, _MIN_OVERLAP, _SURE, _MAX_SHIFT = 8, 40, 0.1, 16.0
#: Where two pictures show no common place: shared px and contrast (of 255, without shading) from
#: which it is told, correlation below which it is so, and px that it is looked for around.
_MIN_SHARED, _MIN_CONTRAST, _UNLIKE, _AROUND = 20_000, 6.0, 0.35, 64
#: Largest file of positions, bytes.
_MAX_TEXT = 64 << 20


@dataclass(frozen=True, slots=True)
class _Tile:
    """A picture and the corner of it on the slide, px."""

    path: Path
    x: int
    y: int


def is_tile_folder(path: Path) -> bool:
    """Say whether the folder holds tiles whose positions are known."""
    if any((path / name).is_file() for name in _FIJI) or _metadata_files(path):
        return True
    first = next(_pictures(path), None)
    return first is not None and _openflexure(first) is not None


class TileFolderReader:
    """See the module and ``SlideReader``.

    Where tiles overlap, each pixel comes from the tile in whose middle it lies most, so that seams
    run where lenses are good and each cell is seen whole by one tile or continues in the next.

    Raises:
        FieldError: positions or pictures cannot be read; the message is one line.
    """

    def __init__(self, folder: Path) -> None:
        placed, self.um_per_px = _read_positions(folder)
        if not placed:
            raise FieldError("folder holds no tile that its positions name; check the file names")
        missing = [path.name for path, _, _ in placed if not path.is_file()]
        placed = [position for position in placed if position[0].is_file()]
        if not placed:
            raise FieldError(f"tiles are missing ({missing[0]} and the others); copy them again")
        left, top = min(x for _, x, _ in placed), min(y for _, _, y in placed)
        self._tiles = [_Tile(path, round(x - left), round(y - top)) for path, x, y in placed]
        sizes = {tile.path: _picture_size(tile.path) for tile in self._tiles}
        self._sizes = sizes
        width = max(tile.x + sizes[tile.path][0] for tile in self._tiles)
        height = max(tile.y + sizes[tile.path][1] for tile in self._tiles)
        if width * height > _MAX_SPREAD * sum(
            a * b for a, b in (sizes[t.path] for t in self._tiles)
        ):
            raise FieldError(
                f"tiles lie on {width} x {height} px, too far from each other for the positions to "
                "be right; export the positions again"
            )
        self.levels: tuple[Level, ...] = (Level(width, height, 1.0),)
        self._kept: OrderedDict[Path, Pixels] = OrderedDict()
        self._lock = Lock()
        self.remarks: tuple[str, ...] = ()
        if missing:
            self.remarks = (f"{len(missing)} tiles are missing, the first {missing[0]}",)
        if others := _without_position([path for path, _, _ in placed]):
            self.remarks += (
                f"{plural(len(others), 'picture')} of the folder, the first {others[0]}, "
                f"{'has' if len(others) == 1 else 'have'} no position and cannot be looked at",
            )
        hidden = len(self._tiles) - len({(tile.x, tile.y) for tile in self._tiles})
        if hidden:
            self.remarks += (
                f"{plural(hidden, 'picture')} lie{'s' * (hidden == 1)} at the place of another: of "
                "each place the first is looked at",
            )
        self.remarks += self._check_seams()

    def _check_seams(self) -> tuple[str, ...]:
        """Compare what a few pairs of neighbours both show: positions may be wrong, and pictures
        those of another slide."""
        shifts, strangers = [], []
        for first, second in dict.fromkeys([*self._neighbours(), *self._most_shared()]):
            try:
                first_part, second_part = self._shared(first, second)
            except FieldError:
                continue  # is said where it is read
            (across, down), sure = cv2.phaseCorrelate(
                first_part,
                second_part,
                cv2.createHanningWindow(first_part.shape[::-1], cv2.CV_32F),
            )
            if sure > _SURE:
                shifts.append(float(np.hypot(across, down)))
            elif _is_unlike(first_part, second_part):
                strangers.append(f"{first.path.name} and {second.path.name}")
        remarks: tuple[str, ...] = ()
        shift = float(np.median(shifts)) if shifts else 0.0
        if shift >= _MAX_SHIFT:
            remarks = (
                f"tiles do not join: neighbours are about {shift:.0f} px off, and cells there may "
                "be counted twice or cut; stitch them first, in Fiji for example",
            )
        if strangers:
            remarks += (
                f"{strangers[0]} lie over each other and do not show the same place: where they "
                "are of two slides, cells of each are hidden by the other; give each slide a "
                "folder of its own",
            )
        return remarks

    def _neighbours(self) -> Iterator[tuple[_Tile, _Tile]]:
        """Yield pairs of tiles that follow each other and overlap, from all over the slide."""
        pairs = [
            (tile, following)
            for tile, following in pairwise(self._tiles)
            if min(self._overlap(tile, following)[2:]) >= _MIN_OVERLAP
        ]
        step = max(1, len(pairs) // _PAIRS)
        yield from pairs[step // 2 :: step][:_PAIRS]

    def _most_shared(self) -> list[tuple[_Tile, _Tile]]:
        """Return the pairs of tiles at two places that share most: of tiles of two slides some
        share more than neighbours on one do, wherever the two lie over each other."""
        # Of a place the first is looked at.
        tiles = list({(tile.x, tile.y): tile for tile in reversed(self._tiles)}.values())
        corners = np.array([(tile.x, tile.y) for tile in tiles])
        ends = corners + np.array([self._sizes[tile.path] for tile in tiles])
        pairs = []
        for number in range(len(tiles) - 1):
            left_top = np.maximum(corners[number], corners[number + 1 :])
            shared = np.minimum(ends[number], ends[number + 1 :]) - left_top
            area = np.where(shared.min(1) >= _MIN_OVERLAP, shared.prod(1), 0)
            most = int(area.argmax())
            pairs.append((int(area[most]), tiles[number], tiles[number + 1 + most]))
        pairs.sort(key=lambda pair: -pair[0])
        return [(first, second) for area, first, second in pairs[:_PAIRS] if area]

    def _overlap(self, tile: _Tile, other: _Tile) -> tuple[int, int, int, int]:
        """Return corner and size of what both show, on the slide."""
        (a, b), (c, d) = self._sizes[tile.path], self._sizes[other.path]
        x, y = max(tile.x, other.x), max(tile.y, other.y)
        return x, y, min(tile.x + a, other.x + c) - x, min(tile.y + b, other.y + d) - y

    def _shared(self, first: _Tile, second: _Tile) -> list[np.ndarray]:
        x, y, width, height = self._overlap(first, second)
        return [
            self._pixels(tile.path)[y - tile.y :, x - tile.x :][:height, :width, 1].astype(
                np.float32
            )
            for tile in (first, second)
        ]

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle; see ``SlideReader.read``."""
        out = np.full((height, width, 3), 255, np.uint8)
        depth = np.zeros((height, width), np.float32)
        for tile in self._tiles:
            wide, high = self._sizes[tile.path]
            x0, y0 = max(x, tile.x), max(y, tile.y)
            x1, y1 = min(x + width, tile.x + wide), min(y + height, tile.y + high)
            if x0 >= x1 or y0 >= y1:
                continue
            pixels = self._pixels(tile.path)
            across = np.arange(x0 - tile.x, x1 - tile.x)
            down = np.arange(y0 - tile.y, y1 - tile.y)
            # How far inside its tile each pixel lies, of the way from border to middle.
            inside = np.minimum(
                (np.minimum(down + 1, high - down) / high)[:, None],
                (np.minimum(across + 1, wide - across) / wide)[None],
            ).astype(np.float32)
            place = np.s_[y0 - y : y1 - y, x0 - x : x1 - x]
            better = inside > depth[place]
            depth[place][better] = inside[better]
            part = pixels[y0 - tile.y : y1 - tile.y, x0 - tile.x : x1 - tile.x]
            out[place][better] = part[better]
        return out

    def _pixels(self, path: Path) -> Pixels:
        with self._lock:
            pixels = self._kept.pop(path, None)
        if pixels is None:
            try:
                pixels = decode(path.read_bytes(), _MAX_TILE)
            except FieldError as error:
                raise FieldError(f"tile {path.name}: {error}") from error
            if pixels.shape[1::-1] != self._sizes[path]:
                raise FieldError(f"tile {path.name} has changed; start the run again")
        with self._lock:
            self._kept[path] = pixels
            while (
                sum(pixels.nbytes for pixels in self._kept.values()) > _KEPT and len(self._kept) > 1
            ):
                self._kept.popitem(last=False)
        return pixels


def _is_unlike(first: np.ndarray, second: np.ndarray) -> bool:
    """Say whether two pictures of one place, (height, width) float32, show different ones; False
    where there is too little on them to tell."""
    if first.size < _MIN_SHARED:
        return False
    # The light of a microscope falls off to the borders, which is the same on all pictures.
    first, second = (part - cv2.GaussianBlur(part, (0, 0), 16) for part in (first, second))
    if min(first.std(), second.std()) < _MIN_CONTRAST:
        return False
    margin = min(*(side // 4 for side in first.shape), _AROUND)
    inner = first[margin:-margin, margin:-margin]
    return float(cv2.matchTemplate(second, inner, cv2.TM_CCOEFF_NORMED).max()) < _UNLIKE


def _read_positions(folder: Path) -> tuple[list[tuple[Path, float, float]], float | None]:
    """Tiles with their corners in pixels, and µm per pixel where they are said."""
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


def _without_position(placed: Sequence[Path]) -> list[str]:
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


def _picture_size(path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, ValueError) as error:
        raise FieldError(f"tile {path.name} cannot be read; copy it again or remove it") from error
