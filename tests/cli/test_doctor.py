"""``wbcdet doctor``: what is here, what is missing for what, and nothing of the user."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from conftest import REPOSITORY

from wbcdet.datasets.archives import default_folder
from wbcdet.inference import diagnosis
from wbcdet.inference.diagnosis import diagnose, without_folders
from wbcdet.inference.weights import names_in_use
from wbcdet.review.remembered import remembered_pictures
from wbcdet.utils.errors import WbcdetError
from wbcdet.utils.extras import EXTRAS, missing
from wbcdet.utils.user_folder import user_folder
from wbcdet.utils.version import __version__

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_says_version_models_devices_and_what_is_missing(command: Command) -> None:
    done = command("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"version +{re.escape(__version__)}\n", done.stdout)
    for role in ("detector", "classifier"):
        card = json.loads((REPOSITORY / "weights" / f"{role}.json").read_text(encoding="utf-8"))
        assert f"{card['name']} {card['version']}, sha256 {card['sha256']}" in done.stdout
    assert re.search(r"\bcpu +ready\n", done.stdout)
    for name in EXTRAS:
        assert re.search(rf"\n +{name} +(installed; for|lacks )", done.stdout)
    assert done.stdout.rstrip().endswith("\nsound")
    assert done.stderr == ""
    assert str(REPOSITORY) not in done.stdout
    assert getpass.getuser() not in re.findall(r"\w+", done.stdout)


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_broken_models_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    weights = tmp_path / "weights"
    shutil.copytree(REPOSITORY / "weights", weights)
    if harm == "gone":
        (weights / "classifier.onnx").unlink()
    else:
        with (weights / "classifier.onnx").open("ab") as file:
            file.write(b"\0")
    monkeypatch.setenv("WBCDET_WEIGHTS", str(weights))
    found = diagnose()
    assert not found.sound
    bad = [line for line in found.lines() if line.startswith(" !")]
    assert any("classifier" in line and "reinstall wbcdet" in line for line in bad)
    assert all("\n" not in line for line in found.lines())
    assert str(tmp_path) not in "".join(found.lines())


def test_a_broken_package_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(diagnosis.BASE, "no_such_part", "no-such-part")
    found = diagnose()
    assert not found.sound
    assert any(
        "! no-such-part" in line and "pip install --force-reinstall no-such-part" in line
        for line in found.lines()
    )


@pytest.mark.parametrize(
    ("said", "pasted"),
    [
        ("/home/ann/w/x.onnx: gone", ".../x.onnx: gone"),
        (r"C:\Users\ann\x.onnx: gone", r"...\x.onnx: gone"),
        ("cannot open '/opt/ann/lib/libX.so.1'", "cannot open '.../libX.so.1'"),
        ("No module named x (/opt/ann/x.py)", "No module named x (.../x.py)"),
        ("{home}/x.json and {home}", ".../x.json and ..."),
        ("see https://example.org/a/b and 3/4, w/x.onnx", None),
        ('pip install "wbcdet[cuda]" && pip install x', None),
    ],
)
def test_no_folder_of_the_user_is_printed(
    said: str, pasted: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "Home of Ann"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    assert without_folders(said.replace("{home}", str(home))) == (pasted or said)


@pytest.mark.skipif(sys.platform == "win32", reason="an account of Windows has a home folder")
def test_an_account_without_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container or a job of a cluster may run under a number that no account has."""
    import pwd

    def nobody(_: int) -> NoReturn:
        raise KeyError("no such number")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "WBCDET_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    assert names_in_use() == []  # the shipped models
    assert without_folders("/home/ann/x.onnx: gone") == ".../x.onnx: gone"
    assert remembered_pictures("0") is None
    for use in (user_folder, default_folder):
        with pytest.raises(WbcdetError, match=r"no home folder .*set (HOME|WBCDET_DATA)"):
            use()
    assert not any(tmp_path.iterdir())


def test_exit_code_says_that_nothing_can_be_analysed(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WBCDET_WEIGHTS", str(tmp_path))
    done = command("doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_what_is_missing_is_one_line_with_the_command() -> None:
    gone = missing(ModuleNotFoundError("No module", name="torch"), "training", "train")
    assert gone == 'training needs torch, which is missing: pip install "wbcdet[train]"'
    broken = missing(ImportError("libX.so.1:\ncannot open"), "training", "train")
    assert "libX.so.1: cannot open" in broken and "None" not in broken


def test_extras_are_those_of_the_package() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no tomllib")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert EXTRAS.keys() <= project["optional-dependencies"].keys()
    for name, extra in EXTRAS.items():
        assert extra.install == f'pip install "wbcdet[{name}]"'  # cmd knows no single quotes
