"""Files of labels that are far larger than they look, or that nobody made by hand."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from conftest import grain

from wbcdet.differential.csv_table import TableError, read_table
from wbcdet.evaluation.label_issues import left_out
from wbcdet.evaluation.labelled_folder import read_labelled

WIDTH, HEIGHT = 64, 48
_ONE = '{"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 6, 32, 24]}'


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are paths below the working folder."""
    monkeypatch.chdir(tmp_path)
    cv2.imwrite(str(tmp_path / "0.png"), grain(HEIGHT, WIDTH, 0))


def _coco(annotations: str, categories: str = '{"id": 1, "name": "WBC"}') -> str:
    images = '{"id": 1, "file_name": "0.png"}'
    return f'{{"images": [{images}], "annotations": [{annotations}], "categories": [{categories}]}}'


def _entities(levels: int) -> str:
    """Return an XML whose last entity stands for ten to the power of ``levels`` signs."""
    text = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, levels))
    return f'<!DOCTYPE annotation [<!ENTITY e0 "x">{text}]><annotation>&e{levels - 1};</annotation>'


def _aliases(levels: int) -> str:
    """Return a YAML whose one class name is a list of ten to the power of ``levels`` texts."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join([*lines, f"names: [*a{levels - 1}]"])


LABELS: dict[str, tuple[str, Callable[[], str | bytes], str]] = {
    "COCO of a million cells": (
        "labels.json", lambda: _coco(", ".join([_ONE] * 1_000_000)), "labels.json is larger than",
    ),
    "JSON of empty lists": (
        "labels.json", lambda: _coco(",".join(["[]"] * 4_000_000)), "lists and objects",
    ),
    "nested JSON": ("labels.json", lambda: "[" * 2_000_000, "no labels found"),
    "nested COCO": (
        "labels.json", lambda: '{"annotations": ' + '{"bbox": ' * 1_000_000, "no whole JSON",
    ),
    "a picture of 20,000 cells": (
        "labels.json",
        lambda: _coco(", ".join(_ONE.replace("[8", f"[{n / 1000}") for n in range(20_000))),
        "more than a field has white cells",
    ),
    "COCO of 20,000 classes": (
        "labels.json",
        lambda: _coco(
            ", ".join(_ONE.replace('y_id": 1', f'y_id": {n}') for n in range(20_000)),
            ", ".join(f'{{"id": {n}, "name": "c{n}"}}' for n in range(20_000)),
        ),
        "more than 10000 classes",
    ),
    "XML entities": ("0.xml", lambda: _entities(9), "defines entities"),
    "nested XML": ("0.xml", lambda: "<annotation>" + "<a>" * 1_000_000, "no whole XML"),
    "huge XML": (
        "0.xml", lambda: f"<annotation>{'<object/>' * 1_000_000}</annotation>", "larger than 8 MB",
    ),
    "huge YOLO": ("0.txt", lambda: "0 0.5 0.5 0.1 0.1\n" * 500_000, "larger than 8 MB"),
    "one endless YOLO line": ("0.txt", lambda: "0 " * 3_000_000, "no YOLO label"),
    "YAML aliases": ("data.yaml", lambda: _aliases(9), "unknown meaning"),
    "nested YAML": ("data.yaml", lambda: "names: " + "[" * 100_000, "unknown meaning"),
    "huge list of classes": ("classes.txt", lambda: "c\n" * 1_000_000, "classes that is larger"),
    "a table of one line": ("labels.csv", lambda: "label," * 5_000_000, "a table of labels"),
    "gzip": ("labels.json.gz", lambda: gzip.compress(_coco(_ONE).encode()), "packed; unpack it"),
}  # fmt: skip


#: Reads the folders that it is given; says of each what came of it, and the most memory so far, kB.
_READ = """
import json, sys
from pathlib import Path
from wbcdet.evaluation.label_reader import LabelledError
from wbcdet.evaluation.labelled_folder import read_labelled

for folder in map(Path, sys.argv[1:]):
    try:
        said = "; ".join(problem.what for problem in read_labelled(folder).problems)
    except LabelledError as error:
        said = str(error)
    status = Path("/proc/self/status")
    peak = status.read_text().split("VmHWM:")[1].split()[0] if status.exists() else 0
    print(json.dumps([folder.name, said, int(peak)]), flush=True)
"""


def test_a_bomb_of_labels_is_one_line(tmp_path: Path) -> None:
    for name, (file, make, _) in LABELS.items():
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(tmp_path / "0.png", folder)
        content = make()
        (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        if file in ("data.yaml", "classes.txt"):
            (folder / "0.txt").write_text("0 0.5 0.5 0.5 0.5")
    # In a process of its own: its memory is measured, and a crash would be seen.
    done = subprocess.run(
        [sys.executable, "-c", _READ, *LABELS],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-300:]
    for line in done.stdout.splitlines():
        name, said, peak = json.loads(line)
        assert LABELS[name][2] in said and "\n" not in said, (name, said[:300])
        assert peak < 1_000_000, (name, peak)
    assert done.stdout.count("\n") == len(LABELS)


TABLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "endless": (lambda: b"a" * 70_000_000, "larger than 64 MB"),
    "one line of separators": (lambda: b"," * 60_000_000, "5,000,000 cells"),
    "lines of nothing": (lambda: b"\n" * 60_000_000, "5,000,000 cells"),
    "a row of a long word": (lambda: b"a,b\n" + b"x" * 1_000_000, "line 2 is no CSV"),
    "a wide header over many rows": (
        lambda: b"," .join([b"a"] * 100_000) + b"\na" * 100_000, "5,000,000 cells",
    ),
    "gzip": (lambda: gzip.compress(b"slide,neutrophil\n"), "packed"),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_bomb_of_a_table_is_one_line(tmp_path: Path, name: str) -> None:
    make, said = TABLES[name]
    (tmp_path / "table.csv").write_bytes(make())
    begin = time.monotonic()
    with pytest.raises(TableError, match=said) as caught:
        read_table("table.csv")
    assert str(caught.value).startswith("table.csv: ") and "\n" not in str(caught.value)
    assert time.monotonic() - begin < 20


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_device_without_end_is_no_table() -> None:
    with pytest.raises(TableError, match="larger than 64 MB"):
        read_table("/dev/zero")


def test_a_file_too_large_beside_labels_is_said(tmp_path: Path) -> None:
    """What is read stays; the exit code tells that something was left out."""
    (tmp_path / "a.json").write_text(_coco(_ONE))
    with (tmp_path / "b.json").open("wb") as file:
        file.truncate(65_000_000)
    read = read_labelled(Path())
    assert len(read.fields) == 1 and len(read.fields[0].boxes) == 1
    [problem] = [problem for problem in read.problems if problem.kind == "unread-file"]
    assert (problem.where, problem.what) == ("b.json", "is larger than 64 MB; split it")
    assert left_out(read.problems)
