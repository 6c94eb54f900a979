"""The contracts of ``lint-imports`` hold, and each of them fails when it is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

pytest.importorskip("importlinter", reason="comes with [dev]")


def lint(folder: Path) -> str:
    """Return what ``lint-imports`` says of a package in a folder."""
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-c",
                "from importlinter.cli import lint_imports_command as lint; lint()",
            ),
            *("--no-cache", "--config", str(REPOSITORY / "pyproject.toml")),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_each_contract_fails_when_it_is_broken(tmp_path: Path) -> None:
    shutil.copytree(
        REPOSITORY / "wbcdet", tmp_path / "wbcdet", ignore=shutil.ignore_patterns("__pycache__")
    )
    for file, line in {
        "io/errors.py": "import wbcdet.cli.options",  # up the layers
        "utils/text.py": "import torch",
        "review/cell_state.py": "import wbcdet.review.decision_store",  # which imports it
    }.items():
        path = tmp_path / "wbcdet" / file
        path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")
    said = lint(tmp_path)
    assert "3 broken" in said, said
