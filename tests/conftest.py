"""Shared fixtures: real fields read straight out of the data archives, and the command."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from PIL import Image

from wbcdet.records import (
    LABELS,
    Cell,
    CellType,
)

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker, and what it starts, one thread of OpenMP: two do not spin for one core."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def heed_ctrl_c() -> None:
    """For ``preexec_fn``: a job of a shell in the background ignores Ctrl-C; its children would."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Drawn examples are the same in every run, and none is judged by the time that it takes.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the settings of the one who runs it: no classifier learned there."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "APPDATA"):
            patch.setenv(name, str(folder))
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the public data archives, which ``WBCDET_DATA`` names."""
    folder = Path(os.environ.get("WBCDET_DATA") or "")
    if not (os.environ.get("WBCDET_DATA") and (folder / "bccd.zip").is_file()):
        pytest.skip("no data archives; set WBCDET_DATA to their folder (see wbcdet data fetch)")
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


@pytest.fixture(scope="session")
def prepared(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the training folder made from the real archives at hand, once for all tests (20 s).

    Workers share it: the first that needs it makes it, and nobody writes into it.
    """
    from wbcdet.datasets.laboratories import READERS
    from wbcdet.datasets.prepare import prepare

    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prepared"
    # The larger archives are not everywhere; what is there is tested.
    present = [
        laboratory
        for laboratory, (archives, _) in READERS.items()
        if all((data_dir / f"{name}.zip").is_file() for name in archives)
    ]
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            prepare(data_dir, folder, progress=False, laboratories=present)
            done.touch()
    return folder


#: Colours (BGR) of the made-up fields: ground, white cell, red cell.
GROUND, PURPLE, RED = (215, 205, 220), (120, 30, 90), (120, 140, 220)
WHITE_BOX, RED_BOX = (40, 30, 70, 60), (100, 80, 120, 100)


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a training folder of two made-up laboratories, for what needs no real cells.

    Each has four fields of 160x120 px with one square white and one red cell: two to train (the
    second with an ignored region and a mistaken cell, and in laboratory ``b`` a second white
    cell of unsure type), one to validate, one to test. Laboratory ``b`` also has an empty field.
    """
    folder = tmp_path_factory.mktemp("made-up")
    fields, boxes, cutouts = [], [], []
    types = ("eosinophil", "lymphocyte", "monocyte", "basophil")
    for lab in "ab":
        (folder / "fields" / lab).mkdir(parents=True)
        (folder / "cutouts" / lab).mkdir(parents=True)
        for number, split in enumerate(("train", "train", "val", "test", "train")):
            name = f"{lab}/{number}.png"
            objects: list[tuple[tuple[int, ...], str, str, int]] = []
            if number < 4:
                objects += [(WHITE_BOX, "wbc", types[number], 0), (RED_BOX, "rbc", "", 0)]
            elif lab == "a":
                continue
            if number == 1:
                objects += [
                    ((0, 0, 20, 20), "ignore", "", 1),
                    ((125, 5, 145, 25), "not_wbc", "", 1),
                ]
                objects += [((10, 80, 40, 110), "wbc", "unsure", 1)] if lab == "b" else []
            image = np.full((120, 160, 3), GROUND, np.uint8)
            for (x0, y0, x1, y1), kind, _, _ in objects:
                image[y0:y1, x0:x1] = PURPLE if kind == "wbc" else RED
            cv2.imwrite(str(folder / "fields" / name), image)
            fields.append((name, lab, name, name, split, split, 160, 120))
            boxes += [(name, *box, *rest) for box, *rest in objects]
        cell = np.full((30, 30, 4), (*PURPLE, 255), np.uint8)
        cv2.imwrite(str(folder / "cutouts" / lab / "0.png"), cell)
        cutouts.append((f"{lab}/0.png", lab, f"{lab}/0.png"))
    tables = {
        "fields": ("field,laboratory,file,group,detect,classify,width,height", fields),
        "boxes": ("field,x_min,y_min,x_max,y_max,kind,cell_type,silver", boxes),
        "cutouts": ("cutout,laboratory,source", cutouts),
    }
    for table, (header, rows) in tables.items():
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header.split(","), *rows])
    return folder


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the ``wbcdet`` command in an own process, in ``tmp_path``."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        # Workers of pytest are told a width of the terminal, by which tables would be folded.
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        return subprocess.run(
            [sys.executable, "-m", "wbcdet", *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
            check=False,
        )

    return run


@contextmanager
def killed_after(moves: int) -> Iterator[None]:
    """End the process at the next renaming after so many, as a kill does; nothing is cleaned up."""
    rename, left = Path.rename, moves

    def dying(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left < 0:
            raise SystemExit("killed")
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", dying)
        yield


def make_cell(
    number: int = 0,
    box: tuple[float, float, float, float] = (10.0, 20.0, 60.5, 80.0),
    label: CellType = CellType.NEUTROPHIL,
    reason: str | None = None,
) -> Cell:
    """Return a cell by hand."""
    scores = {str(label): 0.01 for label in LABELS}
    if label is not CellType.UNCLASSIFIED:
        scores[str(label)] = 0.97
    return Cell(number, box, 0.9, label, max(scores.values()), scores, reason)


def grain(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    """Return a smooth random RGB picture: what JPEG keeps nearly whole."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(40, 230, (4, 5, 3), np.uint8), (width, height))


def encode(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Return a picture in a file format's bytes, by Pillow."""
    data = BytesIO()
    picture.save(data, kind, **options)  # type: ignore[arg-type]
    return data.getvalue()


def encode_tiff(array: np.ndarray, **options: Any) -> bytes:
    """Return an array as a TIFF's bytes, by tifffile."""
    import tifffile

    data = BytesIO()
    tifffile.imwrite(data, array, **options)
    return data.getvalue()


def close_to(pixels: np.ndarray, rgb: np.ndarray, limit: float = 4.0) -> bool:
    """BGR pixels show an RGB picture, except for what a lossy format changes."""
    return float(np.abs(pixels[:, :, ::-1].astype(int) - rgb.astype(int)).mean()) < limit


INFO: dict[str, Any] = {
    "detector": {"name": "d", "sha256": "0" * 64},
    "classifier": {"name": "c", "sha256": "1" * 64},
    "settings": {"confidence": None, "fingerprint": "2" * 64},
}


def cells() -> tuple[Cell, ...]:
    return (
        make_cell(0),
        make_cell(1, (0.0, 0.0, 30.0, 30.0), CellType.MONOCYTE),
        make_cell(2, (5.0, 5.0, 9.0, 9.0), CellType.UNCLASSIFIED, "basophil-like"),
    )


def schema() -> dict[str, Any]:
    text = files("wbcdet").joinpath("results/results.schema.json").read_text(encoding="utf-8")
    loaded = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(loaded)
    return loaded


def one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def make_corpus(folder: Path) -> tuple[list[str], list[str]]:
    """Fill a folder; returns the names of good and of bad files."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(grain(96, 128))
    good = ["plain.jpg", 'it\'s "q".png', "мазок.jpg", "line\nbreak.jpg", "sub/plain.jpg"]
    for name in good:
        (folder / name).parent.mkdir(exist_ok=True)
        picture.save(folder / name)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    Image.fromarray((np.asarray(picture.convert("L")).astype(np.uint16)) * 16).save(
        folder / "deep.png"
    )
    data = (folder / "plain.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("not a picture")
    return [*good, "cmyk.jpg", "deep.png"], ["cut.jpg", "empty.jpg", "text.jpg"]
