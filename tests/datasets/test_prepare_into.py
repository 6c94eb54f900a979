"""A training folder is written into a new folder, an empty one or an older one, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from wbcdet.cli.app import app
from wbcdet.datasets.archives import DataError
from wbcdet.datasets.prepare import BOX_COLUMNS, FIELD_COLUMNS, check_folder
from wbcdet.utils.lock import locked


@pytest.mark.parametrize(
    "name", ["fields.csv", "boxes.csv", "fields/mine/1.png", "cutouts/1.png", "notes.txt", "fields"]
)
def test_what_a_user_keeps_is_not_written_over(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine,yours\n")
    done = CliRunner().invoke(
        app, ["data", "prepare", "--into", str(out), "--data", str(tmp_path), "--lab", "bccd"]
    )
    assert done.exit_code == 2 and "is no part of a training folder" in done.stderr
    files = [path for path in out.rglob("*") if path.is_file()]
    assert files == [out / name] and (out / name).read_text() == "mine,yours\n"


def test_an_older_training_folder_is_written_again(tmp_path: Path) -> None:
    check_folder(tmp_path / "new")
    check_folder(tmp_path)
    for part in ("fields", "cutouts"):
        (tmp_path / part / "bccd").mkdir(parents=True)
    check_folder(tmp_path)  # begun
    (tmp_path / "fields.csv").write_text(",".join(FIELD_COLUMNS) + "\n")
    (tmp_path / "boxes.csv").write_text(",".join(BOX_COLUMNS) + "\r\n")
    check_folder(tmp_path)
    (tmp_path / "cutouts.csv").write_bytes(b"\xff" * 5000)
    with pytest.raises(DataError, match=r"cutouts\.csv: is no part of a training folder"):
        check_folder(tmp_path)


def test_two_at_once(tmp_path: Path) -> None:
    with locked(tmp_path / "out"):
        done = CliRunner().invoke(
            app, ["data", "prepare", "--into", str(tmp_path / "out"), "--data", str(tmp_path)]
        )
    assert done.exit_code == 2 and "another run of wbcdet" in done.stderr
