"""Load fields and cut-out cells, from which the detector's training scenes are composed."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from wbcdet.utils.boxes import area, shared_area

# OpenCV's threads do not survive the fork of a data loader: its workers would wait forever.
cv2.setNumThreads(0)

#: Longest side at which source fields are kept in memory; BCISC cells are then 100 px across.
LONGEST_SOURCE = 1024


@dataclass(slots=True)
class Source:
    """A field in memory with its white cells and the regions to stay away from.

    Attributes:
        images: (H, W, 3) uint8 BGR, and the same at a half and a quarter of the size: views at low
            magnification need no more, and cost a tenth.
        blanks: the same fields, their white cells covered with red cells of their own.
        cells: (N, 4) float32 white cells, pixels of the full size.
        ignored: (M, 4) float32, likewise.
    """

    images: list[np.ndarray]
    blanks: list[np.ndarray]
    cells: np.ndarray
    ignored: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.images[0].shape[:2]
        return width, height

    def at_scale(self, scale: float, blank: bool) -> np.ndarray:
        """Return the field, or its blank, at the least size of which ``scale`` needs no
        enlarging."""
        level = int(np.clip(np.floor(np.log2(1 / scale)), 0, 2))
        return (self.blanks if blank else self.images)[level]


def _pyramid(image: np.ndarray) -> list[np.ndarray]:
    levels = [image]
    for _ in range(2):
        half = tuple(max(1, side // 2) for side in levels[-1].shape[1::-1])
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    return levels


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def load_sources(
    prepared: Path, splits: tuple[str, ...], leave_out: tuple[str, ...] = ()
) -> dict[str, list[Source]]:
    """Load the fields of the given detector splits by laboratory.

    Args:
        prepared: folder written by :func:`wbcdet.datasets.prepare.prepare`.
        splits: values of the ``detect`` column to take.
        leave_out: laboratories to leave out.
    """
    boxes: dict[str, list[dict[str, str]]] = {}
    for row in _rows(prepared / "boxes.csv"):
        boxes.setdefault(row["field"], []).append(row)
    sources: dict[str, list[Source]] = {}
    for row in _rows(prepared / "fields.csv"):
        laboratory = row["laboratory"]
        if row["detect"] not in splits or laboratory in leave_out:
            continue
        image = cv2.imread(str(prepared / "fields" / row["field"]))
        assert image is not None, row["field"]
        factor = min(1.0, LONGEST_SOURCE / max(image.shape[:2]))
        if factor < 1:
            image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)

        def of_kind(kind: str, name: str = row["field"], factor: float = factor) -> np.ndarray:
            corners = [
                [float(b[k]) * factor for k in ("x_min", "y_min", "x_max", "y_max")]
                for b in boxes.get(name, [])
                if b["kind"] == kind
            ]
            return np.array(corners, np.float32).reshape(-1, 4)

        cells, ignored = of_kind("wbc"), of_kind("ignore")
        sources.setdefault(laboratory, []).append(make_source(image, cells, ignored))
    return sources


def make_source(image: np.ndarray, cells: np.ndarray, ignored: np.ndarray) -> Source:
    """Return a field to compose scenes of.

    Args:
        image: (H, W, 3) uint8 BGR, at most ``LONGEST_SOURCE`` px long.
        cells: (N, 4) float32 white cells, px.
        ignored: (M, 4) float32 regions to stay away from, px.
    """
    blank = cover_cells(image, np.concatenate([cells, ignored]))
    return Source(_pyramid(image), _pyramid(blank), cells, ignored)


def cover_cells(image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the field without its white cells, each covered by a soft-edged patch of the same
    field.

    Low magnification shows hundreds of red cells for each white one; most published fields hold
    one white cell and little else, so such views are tiled with covered fields.
    """
    out = image.copy()
    height, width = image.shape[:2]
    rng = np.random.default_rng(len(boxes))
    for b in boxes:
        grow = 0.12 * (b[2:] - b[:2])
        x0, y0 = np.maximum(b[:2] - grow, 0).astype(int)
        x1, y1 = np.minimum(b[2:] + grow, (width, height)).astype(int)
        # One patch if the field has room for it beside its cells, else a quilt of smaller ones.
        for parts in (1, 2, 3, 5):
            xs = np.linspace(x0, x1, parts + 1).astype(int)
            ys = np.linspace(y0, y1, parts + 1).astype(int)
            span = int(max(np.diff(xs).max(), np.diff(ys).max()))
            places = _free_places(boxes, span, (width, height), parts * parts, rng)
            if places:
                break
        for number, (x, y) in enumerate(places):
            row, column = divmod(number, parts)
            left, right, top, bottom = xs[column], xs[column + 1], ys[row], ys[row + 1]
            out[top:bottom, left:right] = image[y : y + bottom - top, x : x + right - left]
        if parts > 1 or not places:
            continue
        rim_y, rim_x = np.mgrid[-1 : 1 : (y1 - y0) * 1j, -1 : 1 : (x1 - x0) * 1j]
        alpha = np.clip((1 - np.maximum(np.abs(rim_x), np.abs(rim_y))) * 6, 0, 1)[..., None]
        # A cell cut by the border has no soft edge there.
        if not (x0 == 0 or y0 == 0 or x1 == width or y1 == height):
            window = np.s_[y0:y1, x0:x1]
            out[window] = out[window] * alpha + image[window] * (1 - alpha)
    return out


def _free_places(
    boxes: np.ndarray, span: int, size: tuple[int, int], number: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return corners of ``number`` squares of ``span`` px that touch no box, or none at all."""
    places: list[tuple[int, int]] = []
    if span >= min(size):
        return places
    for _ in range(60 * number):
        x, y = int(rng.integers(0, size[0] - span)), int(rng.integers(0, size[1] - span))
        square = np.array([x, y, x + span, y + span], np.float32)
        if all(shared(square, other) == 0 for other in boxes):
            places.append((x, y))
            if len(places) == number:
                return places
    return []


def load_cutouts(prepared: Path, leave_out: tuple[str, ...] = ()) -> dict[str, list[np.ndarray]]:
    """Load the masked cells by laboratory, (h, w, 4) uint8 BGRA."""
    cells: dict[str, list[np.ndarray]] = {}
    for row in _rows(prepared / "cutouts.csv"):
        if row["laboratory"] not in leave_out:
            cell = cv2.imread(str(prepared / "cutouts" / row["cutout"]), cv2.IMREAD_UNCHANGED)
            assert cell is not None, row["cutout"]
            cells.setdefault(row["laboratory"], []).append(cell)
    return cells


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Return the intersection of two boxes as a part of the first."""
    shared = shared_area(a, b)
    return shared / area(a) if shared else 0.0
