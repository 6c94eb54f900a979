"""An export is there whole or not at all: half of one would be taken for all by another program."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from conftest import INFO, killed_after, make_cell
from typer.testing import CliRunner, Result

from wbcdet.cli.app import app
from wbcdet.records import CellType, FieldResult
from wbcdet.results.document import build_document, dump
from wbcdet.results.output_folder import Output, OutputError, is_empty, replaced_together

CELL = make_cell(1, (8.0, 6.0, 40.0, 30.0), CellType.NEUTROPHIL)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    document = build_document(INFO, [FieldResult(f"{n}.png", 64, 48, (CELL,)) for n in range(3)])
    (tmp_path / "results.json").write_text(dump(document))
    return tmp_path / "results.json"


def export(report: Path, out: Path, to: str = "yolo") -> Result:
    return CliRunner().invoke(app, ["export", str(report), "--to", to, "--out", str(out)])


@pytest.mark.parametrize("to", ["yolo", "coco", "voc", "cvat", "labelstudio", "qupath"])
def test_a_full_disk_leaves_nothing_behind(
    report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str
) -> None:
    out = tmp_path / "out"

    def full(path: Path, _: bytes) -> None:
        if path.name == "fields.csv":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, _)

    from wbcdet.utils import files

    write = files.atomic_write
    monkeypatch.setattr(files, "atomic_write", full)
    done = export(report, out, to)
    assert done.exit_code == 2 and f"cannot write to {out}" in done.stderr.replace("\n", "")
    assert is_empty(out) and not list(out.rglob("*.txt"))
    monkeypatch.undo()
    assert export(report, out, to).exit_code == 0
    assert (out / "fields.csv").is_file()
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    again = export(report, out, to)
    assert again.exit_code == 2 and "is not empty; name a new folder" in again.stderr


def test_wherever_it_is_killed_the_next_export_is_whole(tmp_path: Path) -> None:
    for moves in range(6):
        out = tmp_path / str(moves)
        output = Output(out, "export")
        for name in ("labels/0.txt", "data.yaml", "fields.csv"):
            (output.folder / name).parent.mkdir(exist_ok=True)
            (output.folder / name).write_text(name)
        try:
            with killed_after(moves):
                output.finish()
        except SystemExit:
            output._closing.close()  # the lock goes with the process
        files = ["data.yaml", "fields.csv", "labels/0.txt"]
        try:
            with Output(out, "export"):
                pass
        except OutputError:  # nothing more is written into it
            there = sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file())
            assert [name for name in there if "wbcdet" not in name] == files
        else:  # it never began
            assert moves == 0 and is_empty(out)
        assert not (out / ".wbcdet-ready").exists()


def test_a_file_of_the_old_report_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill while what is left over was removed: the next count put the old PDF file beside the
    new page."""
    names = ("report.pdf", "results.json")
    remove = shutil.rmtree
    for removals in range(5):
        out, left = tmp_path / str(removals), removals
        out.mkdir()

        def dying(path: Path, ignore_errors: bool = False) -> None:
            nonlocal left
            left -= path.exists()
            if left < 0:
                raise SystemExit("killed")
            remove(path, ignore_errors=ignore_errors)

        with Output(out, "count"):
            for name in names:
                (out / name).write_text("old")
            monkeypatch.setattr(shutil, "rmtree", dying)
            try:
                with replaced_together(out, names) as new:
                    (new / "results.json").write_text("new")
            except SystemExit:
                pass
            monkeypatch.setattr(shutil, "rmtree", remove)
        with Output(out, "count"):
            pass
        assert (out / "results.json").read_text() == "new"
        assert not (out / "report.pdf").exists()
