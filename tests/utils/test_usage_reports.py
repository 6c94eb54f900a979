"""Nothing leaves the computer: libraries report to their makers nothing of how they are used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY, grain
from PIL import Image

CODE = """
import os
import wbcdet
from ultralytics.utils import events
from wbcdet.training.usage_reports import ultralytics_reports_nothing
events.events.enabled = True
ultralytics_reports_nothing()
print(events.events.enabled, os.environ["ORT_DISABLE_TELEMETRY"])
print(os.environ["RAY_USAGE_STATS_ENABLED"])
"""


def _run(home: Path, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORT_", "RAY_"))}
    environment |= {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), **extra}
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=home, env=environment, capture_output=True, text=True
    )


@pytest.mark.skipif(os.name == "nt", reason="the place of such files is of POSIX systems")
def test_a_run_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    """ONNX Runtime would keep there what it is about to send."""
    Image.fromarray(grain(120, 160)).save(tmp_path / "field.png")
    answer = _run(tmp_path, "-m", "wbcdet", "predict", "field.png", "--quiet")
    assert answer.returncode == 0, answer.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"field.png", "wbcdet-out"}


def test_openvino_is_imported_without_what_reports() -> None:
    """It would send an event on every import (``doctor``, ``--device cpu-bf16``)."""
    pytest.importorskip("openvino")
    assert "openvino_telemetry.main" not in sys.modules
    from openvino.tools import ovc

    assert type(ovc.telemetry).__module__ == "openvino.tools.ovc.telemetry_stub"


def test_reports_of_other_libraries_are_off(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics")
    answer = _run(tmp_path, "-c", CODE, ORT_DISABLE_TELEMETRY="0")
    # What a user has set stays.
    assert answer.stdout.split()[-3:] == ["False", "0", "0"], answer.stderr
