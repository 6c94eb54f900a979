"""Prepare the training folder of detector and classifier from the archives.

``fields/LAB/…`` holds every listed field, ``fields.csv`` one row a field, ``boxes.csv`` one row a
labelled object, ``cutouts/LAB/…`` white cells cut out along their masks (BGRA), ``cutouts.csv``
which field each is from. The same archives give the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wbcdet.datasets.archives import Archive, DataError, open_archive
from wbcdet.datasets.lab_fields import LabField
from wbcdet.datasets.laboratories import READERS, place_sub_image, read_split_list
from wbcdet.utils.lock import LOCK, SECOND_LOCK
from wbcdet.utils.progress import progress as show_progress

FIELD_COLUMNS = ("field", "laboratory", "file", "group", "detect", "classify", "width", "height")
BOX_COLUMNS = (
    "field", "x_min", "y_min", "x_max", "y_max", "kind", "cell_type", "silver", "published_type"
)  # fmt: skip
CUTOUT_COLUMNS = ("cutout", "laboratory", "source")
_TABLES = {"fields.csv": FIELD_COLUMNS, "boxes.csv": BOX_COLUMNS, "cutouts.csv": CUTOUT_COLUMNS}


class FolderError(DataError):
    """A folder holds what was not prepared; the message is one line that names the remedy."""


def check_folder(out_dir: Path) -> None:
    """Find out whether a folder is new, empty, or a training folder, whole or begun.

    Raises:
        FolderError: it holds what was not prepared.
    """
    for path in sorted(out_dir.iterdir()) if out_dir.is_dir() else ():
        if path.name in _TABLES:
            with path.open("rb") as file:
                own = file.readline(1000).strip() == ",".join(_TABLES[path.name]).encode()
        elif path.name in ("fields", "cutouts") and path.is_dir():
            own = {item.name for item in path.iterdir()} <= READERS.keys()
        else:
            own = path.name in (LOCK, SECOND_LOCK)
        if not own:
            raise FolderError(
                f"{path}: is no part of a training folder; choose another --into: a new or an "
                "empty folder"
            )


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    part.replace(path)


def _cutout(image: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Return the masked cell as BGRA, cropped to its mask with a soft rim; None for an empty
    mask."""
    ys, xs = np.nonzero(mask)
    if len(xs) < 200:
        return None
    # A cell cut by the border would teach that white cells have straight sides.
    height, width = mask.shape
    if min(xs.min(), ys.min()) == 0 or xs.max() == width - 1 or ys.max() == height - 1:
        return None
    window = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    alpha = cv2.GaussianBlur(mask.astype(np.float32) * 255, (0, 0), max(1.0, len(xs) ** 0.5 / 80))
    return np.dstack([image, alpha.astype(np.uint8)])[window]


def _tecom_cutout(archive: Archive, record: LabField) -> np.ndarray | None:
    mask = archive.read_image(record.file[:-4] + ".png")[..., 0]
    return _cutout(archive.read_image(record.file), mask > 40)


def _grown_cutouts(image: np.ndarray, record: LabField) -> list[np.ndarray | None]:
    """Cut out cells that have a box and no mask by GrabCut (Rother et al. 2004)."""
    cells: list[np.ndarray | None] = []
    for b in record.boxes:
        if b.kind != "wbc":
            continue
        x0, y0, x1, y1 = b.box
        rim = 0.3 * max(x1 - x0, y1 - y0)
        left, top = (int(max(v - rim, 0)) for v in (x0, y0))
        part = image[top : int(y1 + rim), left : int(x1 + rim)]
        # GrabCut costs by the pixel; the rim of a cell is known well enough at 96 px.
        factor = min(1.0, 96 / max(part.shape[:2]))
        small = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        corners = np.array([x0 - left, y0 - top, x1 - left, y1 - top]) * factor
        mask = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
        centre = tuple(int(v) for v in ((corners[:2] + corners[2:]) / 2))
        half = np.maximum((corners[2:] - corners[:2]) / 2, 2)
        for scale, value in ((1.05, cv2.GC_PR_FGD), (0.45, cv2.GC_FGD)):
            axes = tuple(int(v) for v in half * scale)
            cv2.ellipse(mask, centre, axes, 0, 0, 360, value, -1)
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small, mask, None, *models, 2, cv2.GC_INIT_WITH_MASK)
        whole = ((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)).astype(np.uint8)
        whole = cv2.morphologyEx(whole, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        # A mask that fills its ellipse badly has lost cytoplasm or taken in a red cell.
        filled = float(whole.sum()) / (np.pi * half.prod())
        if 0.8 < filled < 1.12:
            size = (part.shape[1], part.shape[0])
            cells.append(_cutout(part, cv2.resize(whole, size, interpolation=cv2.INTER_LINEAR) > 0))
    return cells


def _bcisc_cutouts(archive: Archive, record: LabField) -> list[np.ndarray]:
    folder, stem = Path(record.file).parent.name, Path(record.file).stem
    names = [
        name
        for name in archive.names()
        if name.startswith(f"sub-images/images/{folder}_{stem}_") and name.endswith(".jpg")
    ]
    cells = []
    image = archive.read_image(record.file) if names else np.empty(0)
    for name in sorted(names):
        sub = archive.read_image(name)
        x, y, _ = place_sub_image(image, sub)
        mask = archive.read_image(name.replace("/images/", "/masks/")[:-4] + ".png")[..., 0]
        window = image[y : y + 512, x : x + 512]
        mask = cv2.resize(mask, window.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        cell = _cutout(window, mask > 127)
        if cell is not None:
            cells.append(cell)
    return cells


def prepare(
    data_dir: Path,
    out_dir: Path,
    progress: bool = True,
    laboratories: Sequence[str] | None = None,
) -> dict[str, int]:
    """Write the training folder.

    Args:
        data_dir: folder that holds the archives (``wbcdet data fetch``).
        out_dir: folder to write; an older one is overwritten file by file.
        progress: show a bar on the terminal.
        laboratories: write these only; None for all.

    Returns:
        Number of fields by laboratory.

    Raises:
        DataError: an archive is missing or damaged, there is no such laboratory, or the folder
            holds what is not of a training folder.
    """
    chosen = sorted(READERS) if laboratories is None else sorted(set(laboratories))
    for name in chosen:
        if name not in READERS:
            raise DataError(f"no laboratory is called {name!r}; there are {', '.join(READERS)}")
    check_folder(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    split_list = read_split_list()
    fields: list[tuple[Any, ...]] = []
    boxes: list[tuple[Any, ...]] = []
    cutouts: list[tuple[Any, ...]] = []
    total = sum(len(split_list[lab]) for lab in chosen)
    with show_progress("prepare", total, quiet=not progress) as tick:
        for laboratory in chosen:
            archive_names, reader = READERS[laboratory]
            archive, *others = (open_archive(name, data_dir) for name in archive_names)
            (out_dir / "fields" / laboratory).mkdir(parents=True, exist_ok=True)
            (out_dir / "cutouts" / laboratory).mkdir(parents=True, exist_ok=True)
            for record in reader(archive, split_list[laboratory], *others):
                tick(laboratory)
                path = Path(record.file)
                stem = f"{path.parent.name}_{path.name}" if laboratory == "bcisc" else path.name
                name = f"{laboratory}/{stem}"
                (out_dir / "fields" / name).write_bytes(archive.read(record.file))
                height, width = archive.read_image(record.file).shape[:2]
                splits = (record.detect, record.classify)
                fields.append((name, laboratory, record.file, record.group, *splits, width, height))
                most = (width, height, width, height)
                for b in record.boxes:
                    inside = (min(max(v, 0), m) for v, m in zip(b.box, most, strict=True))
                    corners = (round(v, 2) for v in inside)
                    boxes.append(
                        (name, *corners, b.kind, b.cell_type, int(b.silver), b.published_type)
                    )
                if "train" not in (record.classify if laboratory == "tecom" else record.detect):
                    continue
                cells: list[np.ndarray | None] = []
                if laboratory == "tecom":
                    cells = [_tecom_cutout(archive, record)]
                elif laboratory in ("pbc", "chula-ee"):
                    cells = _grown_cutouts(archive.read_image(record.file), record)
                elif laboratory == "bcisc":
                    cells = [*_bcisc_cutouts(archive, record)]
                for number, cell in enumerate(cells):
                    if cell is not None:
                        target = f"{laboratory}/{Path(stem).stem}_{number}.png"
                        cv2.imwrite(str(out_dir / "cutouts" / target), cell)
                        cutouts.append((target, laboratory, name))
    _write_csv(out_dir / "fields.csv", FIELD_COLUMNS, fields)
    _write_csv(out_dir / "boxes.csv", BOX_COLUMNS, boxes)
    _write_csv(out_dir / "cutouts.csv", CUTOUT_COLUMNS, cutouts)
    counts: dict[str, int] = {}
    for row in fields:
        counts[row[1]] = counts.get(row[1], 0) + 1
    return counts
