"""The terminal at 80 columns, and small things that people expect of a command."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import INFO
from counting import Count, draw
from rich.cells import cell_len
from typer.testing import CliRunner

from wbcdet.cli.app import _COMMANDS, app
from wbcdet.results.document import build_document, dump
from wbcdet.stream.sources import open as sources
from wbcdet.stream.sources.base import AvailableSource

RUN = CliRunner()
#: What ``--help`` and ``import wbcdet`` have no use for.
HEAVY = ("scipy", "numpy", "cv2", "torch", "pandas", "onnxruntime", "xlsxwriter", "matplotlib")


def test_the_short_version() -> None:
    assert RUN.invoke(app, ["-V"]).output == RUN.invoke(app, ["--version"]).output != ""


def test_completion_can_be_installed() -> None:
    assert "--install-completion" in RUN.invoke(app, ["--help"]).output


@pytest.mark.parametrize("group", [[], ["data"], ["train"]])
def test_what_a_command_does_is_said_in_a_whole_line(group: list[str]) -> None:
    said = RUN.invoke(app, [*group, "--help"], env={"COLUMNS": "80"}).output
    _, _, commands = said.partition("Commands:")
    assert commands.count("\n") > 1 and "..." not in commands


@pytest.mark.parametrize("name", [*_COMMANDS, "data fetch", "train classifier", "train detector"])
def test_help_names_arguments_and_values_plainly(name: str) -> None:
    said = RUN.invoke(app, [*name.split(), "--help"], env={"COLUMNS": "80"}).output
    assert "Usage:" in said
    assert not re.findall(r"<[a-z |]+>|\{[A-Za-z.]+\}|'[^' ]*[*(]", said)


@pytest.mark.parametrize("code", ["import wbcdet", "import wbcdet.utils.intervals as _",
                                  "import wbcdet.differential.differential as _"])  # fmt: skip
def test_importing_takes_no_scipy(code: str) -> None:
    code = f"import sys; {code}; print([m for m in ('scipy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['wbcdet', '--help']\nfrom wbcdet.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_count_at_80_columns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    count = Count(monkeypatch, tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    name = "Basophil slide of a patient with a name as long as this one, second look"
    for number in range(3):
        draw(tmp_path / "day 1" / name / f"{number}.png", number + 1)
        draw(tmp_path / "day 2" / "b" / f"{number}.png", number + 1)
    # Folders and patterns, as of predict.
    done = count("day 1", "day 2/*/*.png", "--out", "report", "--group-by", "folder")
    assert done.exit_code == 0
    table = done.output[: done.output.index("fields counted")].splitlines()
    assert any(line.endswith(name) for line in table)
    header = [line for line in table if "classified" in line or "eosinophil" in line]
    assert header and all(cell_len(line) <= 80 for line in header)
    for label in ("eosinophil", "lymphocyte", "monocyte", "neutrophil"):
        assert label in "".join(header)


def test_an_export_needs_no_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from wbcdet import FieldResult

    monkeypatch.chdir(tmp_path)
    (tmp_path / "report").mkdir()
    document = dump(build_document(INFO, [FieldResult("a.jpg", 10, 10)]))
    (tmp_path / "report" / "results.json").write_text(document)
    for report in ("report", "report/results.json"):
        done = RUN.invoke(app, ["export", report, "--to", "coco"])
        if report == "report":
            assert done.exit_code == 0 and (tmp_path / "report-coco" / "fields.csv").is_file()
        else:  # never over an older one
            assert done.exit_code == 2 and "report-coco is not empty" in done.output
    monkeypatch.chdir(tmp_path / "report")
    assert RUN.invoke(app, ["export", ".", "--to", "yolo"]).exit_code == 0
    assert (tmp_path / "report" / "report-yolo").is_dir()


def test_cameras_lists_what_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [AvailableSource("0", "camera", "cannot be opened"), AvailableSource("1", "camera")]
    missing = [AvailableSource("mm:demo", "Micro-Manager", "needs pymmcore-plus")]
    monkeypatch.setattr(sources, "find_cameras", lambda: [*found, *missing])
    lines = RUN.invoke(app, ["cameras"]).output.splitlines()
    assert [line.split() for line in lines[:2]] == [["source", "what"], ["1", "camera"]]
    assert "Not here: 0 (camera): cannot be opened" in lines
    assert not any("No camera at hand" in line for line in lines)


def test_a_source_that_cannot_be_loaded_is_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    broken = EntryPoint("broken", "no_such_module:open", sources.ENTRY_POINTS[0])
    monkeypatch.setattr(sources, "_declared", lambda: [broken])
    [camera] = [camera for camera in sources.find_cameras() if camera.source == "broken:"]
    assert camera.problem and "cannot be loaded" in camera.problem
