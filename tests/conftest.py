"""Shared fixtures: real fields read straight out of the data archives, and the command."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from wbcdet.records import LABELS, Cell, CellType

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the public data archives: WBCDET_DATA, else ``../shared/data``."""
    folder = Path(os.environ.get("WBCDET_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "bccd.zip").is_file():
        pytest.skip(f"no data archives in {folder}; set WBCDET_DATA (see wbcdet data fetch)")
    return folder


@pytest.fixture(scope="session")
def real_field(data_dir: Path) -> Callable[[str, str], np.ndarray]:
    """``real_field(archive, ending)``: BGR pixels of the first member with that ending."""

    def read(archive: str, ending: str) -> np.ndarray:
        with zipfile.ZipFile(data_dir / archive) as packed:
            name = next(name for name in sorted(packed.namelist()) if name.endswith(ending))
            pixels = cv2.imdecode(np.frombuffer(packed.read(name), np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        return pixels

    return read


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the ``wbcdet`` command in an own process, in ``tmp_path``."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "wbcdet", *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )

    return run


def make_cell(
    number: int = 0,
    box: tuple[float, float, float, float] = (10.0, 20.0, 60.5, 80.0),
    label: CellType = CellType.NEUTROPHIL,
    reason: str | None = None,
) -> Cell:
    """A cell by hand."""
    scores = {str(one): 0.01 for one in LABELS}
    if label is not CellType.UNCLASSIFIED:
        scores[str(label)] = 0.97
    return Cell(number, box, 0.9, label, max(scores.values()), scores, reason)


def grain(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """A smooth random RGB picture: what JPEG keeps nearly whole."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(40, 230, (4, 5, 3), np.uint8), (width, height))


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    """A picture in a file format's bytes, by Pillow."""
    data = BytesIO()
    picture.save(data, kind, **options)  # type: ignore[arg-type]
    return data.getvalue()


def close_to(pixels: np.ndarray, rgb: np.ndarray, limit: float = 4.0) -> bool:
    """BGR pixels show an RGB picture, but for what a lossy format changes."""
    return float(np.abs(pixels[:, :, ::-1].astype(int) - rgb.astype(int)).mean()) < limit
