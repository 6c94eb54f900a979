"""The public face of the package, and what every command shares."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import INFO, one_line

import wbcdet
from wbcdet.results.document import build_document, dump

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_public_names_are_there_and_told_of() -> None:
    for name in wbcdet.__all__:
        assert getattr(wbcdet, name) is not None
        assert name.startswith("__") or name in (wbcdet.__doc__ or "")


def test_errors_have_one_base() -> None:
    for name in wbcdet.__all__:
        if name.endswith("Error"):
            assert issubclass(getattr(wbcdet, name), wbcdet.WbcdetError)


def test_import_stays_light() -> None:
    code = "import sys, wbcdet; print([m for m in ('numpy', 'cv2', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_results_are_read_back(tmp_path: Path) -> None:
    results = [wbcdet.FieldResult("a.jpg", 10, 10), wbcdet.FieldResult.failed("b.jpg", "is empty")]
    path = tmp_path / "results.json"
    path.write_text(dump(build_document(INFO, results)), encoding="utf-8")
    assert wbcdet.load_results(path) == results
    with pytest.raises(wbcdet.WbcdetError, match=r"c\.json"):
        wbcdet.load_results(tmp_path / "c.json")


def test_verbose_shows_what_is_behind_the_line(command: Run, tmp_path: Path) -> None:
    plain = command("data", "fetch", "nowhere")
    assert plain.returncode == 2 and "Traceback" not in plain.stderr
    verbose = command("data", "fetch", "nowhere", "--verbose")
    assert "Traceback" in verbose.stderr
    assert verbose.stderr.splitlines()[-1] == one_line(plain.stderr)


COMMANDS = [
    "agree",
    "cameras",
    "count",
    "demo",
    "evaluate",
    "export",
    "learn",
    "predict",
    "review",
    "stream",
    "data:list",
    "data:fetch",
    "data:prepare",
    "train:classifier",
    "train:detector",
]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_verbose(name: str) -> None:
    from typer.testing import CliRunner

    from wbcdet.cli.app import app

    help_text = CliRunner().invoke(app, [*name.split(":"), "--help"]).stdout
    assert "--verbose" in help_text
