"""What the cases of picture files are made with: their field, their registry, rare encoders."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image


@dataclass(frozen=True)
class Stage:
    """Folder and field that a case makes its files from.

    Attributes:
        folder: empty; everything in it is analysed.
        rgb: a field of 640x480 with three white cells, (480, 640, 3) uint8 RGB.
    """

    folder: Path
    rgb: np.ndarray

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def pillow(self, kind: str, picture: Image.Image | None = None, **options: Any) -> bytes:
        data = io.BytesIO()
        (picture or Image.fromarray(self.rgb)).save(data, kind, **options)
        return data.getvalue()

    def tiff(self, array: np.ndarray | None = None, **options: Any) -> bytes:
        data = io.BytesIO()
        options.setdefault("photometric", "rgb")
        tifffile.imwrite(data, self.rgb if array is None else array, **options)
        return data.getvalue()


@dataclass(frozen=True)
class Case:
    """A case: its section of the list, its title, and what makes its files.

    Attributes:
        expected: ``same`` (the cells of the PNG), ``marked`` (not read, or read with a remark),
            ``same+marked``, or ``refused``.
    """

    section: str
    title: str
    make: Callable[[Stage], None]
    expected: str


CASES: list[Case] = []


def case(section: str, title: str, expected: str = "same") -> Callable[..., Any]:
    """Register a case."""

    def register(make: Callable[[Stage], None]) -> Callable[[Stage], None]:
        CASES.append(Case(section, title, make, expected))
        return make

    return register


def simple(section: str, title: str, name: str, make: Callable[[Stage], bytes], *rest: str) -> None:
    @case(section, title, *rest)
    def _(stage: Stage) -> None:
        stage.write(name, make(stage))


def heic(stage: Stage, picture: Image.Image | None = None, **options: Any) -> bytes:
    import pillow_heif

    pillow_heif.register_heif_opener()
    return stage.pillow("HEIF", picture, quality=97, chroma=444, **options)


def deep(stage: Stage, bits: int) -> np.ndarray:
    return np.rint(stage.rgb / 255 * ((1 << bits) - 1)).astype(np.uint16)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    return png[:33] + chunk(name, body) + png[33:]
