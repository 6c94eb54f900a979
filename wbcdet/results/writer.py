"""The files of a run: results.json, cells.csv, fields.csv and annotated pictures."""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from wbcdet.inference.run_info import RunInfo
from wbcdet.io.ownership import is_own, signed
from wbcdet.io.slide_part import slide_of
from wbcdet.io.source import Root, RootInfo, below, is_url, locate
from wbcdet.records import ALL_LABELS, CELL_COLUMNS, Cell, FieldResult
from wbcdet.results.document import write_document
from wbcdet.results.output_folder import Output
from wbcdet.utils.files import atomic_write, open_atomic, write_csv
from wbcdet.utils.parallel import cores
from wbcdet.utils.safe_files import OutsideError, inside
from wbcdet.utils.text import alike

FIELD_COLUMNS: tuple[str, ...] = (
    "file",
    "width",
    "height",
    "cells",
    *(str(label) for label in ALL_LABELS),
    "other_labels",
    "failure",
    "annotated",
    "path",
    "remarks",
)

#: Fields that may wait to be drawn, each with its pixels in memory.
_MAX_WAITING = 3
#: Bytes of a picture of which several may wait.
_SMALL = 25_000_000

#: Bytes of one file name, short of the 255 that file systems allow.
_NAME_BYTES = 180


class Report:
    """The output folder of a run. Files appear whole or not at all.

    Pictures are drawn in a thread while the next fields are analysed; ``write`` waits for them.
    What an earlier run left stays until then, and is replaced as a whole.

    Args:
        out: the folder; made where it does not exist.
        annotate: draw an annotated picture of every field that was read.
        command: what the run is, ``predict`` or ``demo``.
        roots: where the fields come from.

    Raises:
        OutputError: the folder holds what is not of an earlier run of the command.
        LockedError: another run writes to it.
        OSError: nothing can be written there.
    """

    def __init__(
        self,
        out: str | Path,
        *,
        annotate: bool = True,
        command: str = "predict",
        roots: Sequence[Root] = (),
    ) -> None:
        self.out = Path(out)
        self.annotate = annotate
        self.roots = list(roots)
        self.results: list[FieldResult] = []
        self._pictures: dict[int, str] = {}
        self._names = PictureNames()
        self._drawing: deque[Future[None]] = deque()
        # One thread draws as fast as six cores analyse.
        self._pool = ThreadPoolExecutor(max(1, cores() // 4), thread_name_prefix="wbcdet-draw")
        # An hour of analysis must not end with the news that the folder cannot be written.
        self._output = Output(self.out, command, replaces=True)
        #: Where the files are written: the folder itself, or one in it until all are there.
        self.folder = self._output.folder

    @property
    def annotated(self) -> Path:
        """Folder of the annotated pictures, when all is written."""
        return self.out / "annotated"

    def close(self) -> None:
        """End without the files; those of an earlier run stay."""
        self._pool.shutdown(cancel_futures=True)
        self._output.close()

    def __enter__(self) -> Report:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, result: FieldResult, pixels: Any = None) -> None:
        """Take the record of one field and have its picture drawn.

        Args:
            result: the record.
            pixels: (height, width, 3) uint8 BGR; None where the field could not be read.

        Raises:
            OSError: a picture cannot be written, this one or one before it.
        """
        if self.annotate and pixels is not None:
            name = self._names.take(below(result.file, self.roots))
            # Large pictures are drawn one at a time: those that wait hold memory.
            most = _MAX_WAITING if pixels.size <= _SMALL else 0
            while len(self._drawing) > most:
                self._drawing.popleft().result()
            name = f"annotated/{name}"
            self._drawing.append(
                self._pool.submit(write_annotated, self.folder, name, pixels, result)
            )
            self._pictures[len(self.results)] = name
        self.results.append(result)

    def write(self, info: RunInfo) -> RunInfo:
        """Write ``results.json``, ``cells.csv`` and ``fields.csv``.

        Args:
            info: what ``Analyzer.info()`` gives.

        Returns:
            the same as it stands in ``results.json``.

        Raises:
            OSError: a file cannot be written.
        """
        while self._drawing:
            self._drawing.popleft().result()
        cells = (
            cell.to_row(result.file, result.remarks)
            for result in self.results
            for cell in result.cells
        )
        write_csv(self.folder / "cells.csv", CELL_COLUMNS, cells)
        write_csv(self.folder / "fields.csv", FIELD_COLUMNS, self._field_rows())
        sources = [root.to_dict() for root in self.roots]
        with open_atomic(self.folder / "results.json") as file:
            written = write_document(file, {**info, "sources": sources}, self.results)
        self._output.finish()
        return written

    def _field_rows(self) -> Iterable[dict[str, object]]:
        for number, result in enumerate(self.results):
            # A field that could not be read has no counts: zeros would say that it was empty.
            read = result.failure is None
            yield {
                "file": result.file,
                "width": result.width if read else None,
                "height": result.height if read else None,
                **(cell_counts(result) if read else {}),
                "failure": result.failure,
                "annotated": self._pictures.get(number),
                "path": path_of(result.file, self.roots),
                "remarks": "; ".join(result.remarks),
            }


def cell_counts(result: FieldResult) -> dict[str, int]:
    """Count the cells of a field for ``fields.csv``: in all, of each label, of labels beside them
    (a laboratory's own, or a reviewer's)."""
    counts, cells = result.counts(), len(result.cells)
    four = {str(label): counts[str(label)] for label in ALL_LABELS}
    return {"cells": cells, **four, "other_labels": cells - sum(four.values())}


def path_of(file: str, roots: Iterable[RootInfo | Root]) -> str | None:
    """Where a field came from, by its name; of a picture in a TIFF file or a slide, the file."""
    name, known = slide_of(file), list(roots)
    whole = locate(name, known)
    # A file without an ending may itself be called so.
    if whole is not None and not is_url(whole) and os.path.lexists(whole):
        return whole
    return locate(re.sub(r"#[0-9]+$", "", name), known)


class PictureNames:
    """Unique names of files below ``annotated/``."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, file: str) -> str:
        """Return the name of a field's picture, or the next one numbered; file systems may ignore
        case, and how accents are written."""
        name = free = picture_name(file)
        number = 1
        while alike(free) in self._taken:
            number += 1
            free = f"{name.removesuffix('.jpg')}-{number}.jpg"
        self._taken.add(alike(free))
        return free

    def keep(self, name: str) -> None:
        """Reserve a name."""
        self._taken.add(alike(name))


def write_annotated(out: Path, name: str, pixels: Any, result: FieldResult) -> None:
    """Draw a field with its cells into a JPEG file.

    Args:
        out: the report folder.
        name: path of the file below it.
        pixels, result: as for :func:`draw_annotated`.

    Raises:
        OSError: the picture cannot be written.
    """
    write_picture(out, name, draw_annotated(pixels, result))


def draw_annotated(pixels: Any, result: FieldResult) -> bytes:
    """Return a field with its cells as a JPEG file.

    Args:
        pixels: (height, width, 3) uint8 BGR; the field, or an overview of a large one.
        result: the record of the field.

    Raises:
        OSError: the picture cannot be encoded.
    """
    import cv2

    from wbcdet.results.annotate import annotate

    cells = result.cells
    if pixels.shape[1] != result.width:
        cells = tuple(_reduced(cell, result.width / pixels.shape[1]) for cell in cells)
    done, data = cv2.imencode(".jpg", annotate(pixels, cells), [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise OSError(f"annotated picture of {result.file!r} cannot be encoded")
    encoded: bytes = data.tobytes()
    return encoded


def write_picture(out: Path, name: str, jpeg: bytes, *, view: bool = False) -> None:
    """Write a JPEG file of a report, signed as this program's: only such ones are ever removed.

    Args:
        out: the report folder.
        name: path below it; its folders are made where they do not exist.
        jpeg: the file.
        view: it is a field that a stream has kept, not a drawing.

    Raises:
        OSError: it cannot be written, or a link leads out of the report.
    """
    path = inside(out, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, signed(jpeg, view=view), synced=False)


def remove_pictures(out: Path, names: Iterable[str]) -> None:
    """Remove pictures of a report, and the folders that they leave empty.

    A name that leads out of the report is passed over, and so is what this program has not
    written: the list comes from the report, which may come from somebody else.
    """
    for name in names:
        try:
            path = inside(out, name)
        except OutsideError:
            continue
        if not is_own(path):
            continue
        path.unlink()
        for folder in list(PurePosixPath(name).parents)[:-2]:
            place = out / folder
            if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
                place.rmdir()


def _reduced(cell: Cell, by: float) -> Cell:
    x_min, y_min, x_max, y_max = (value / by for value in cell.box)
    return replace(cell, box=(x_min, y_min, x_max, y_max))


def picture_name(file: str) -> str:
    """Return the path below ``annotated/`` for a field: its own, made safe on every file system.

    ``a/x.jpg`` stays ``a/x.jpg``; ``b/x.png`` becomes ``b/x.png.jpg``.
    """
    parts = [_safe(part) for part in PurePosixPath(file.replace("\\", "/")).parts if part != "/"]
    name = "/".join(parts) or "field"
    return name if name.lower().endswith(".jpg") else f"{name}.jpg"


def _safe(part: str) -> str:
    clean = re.sub(r'[\x00-\x1f\x7f<>:"|?*]', "_", part).rstrip(". ")
    if clean.strip("._ ") == "":
        clean = f"_{clean.strip('.')}"
    data = clean.encode()
    if len(data) > _NAME_BYTES:
        mark = hashlib.sha256(data).hexdigest()[:8]
        clean = f"{data[:_NAME_BYTES].decode(errors='ignore')}-{mark}"
    return clean
