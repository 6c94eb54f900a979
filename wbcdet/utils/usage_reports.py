"""Keep libraries from reporting their use to their makers: nothing leaves this computer.

ONNX Runtime (1.32, also on Linux) notes every model that is loaded in a file in the user's cache,
with the processor and the path of the program, to report it to Microsoft; Ray reports as well (and
ultralytics: ``wbcdet.training.usage_reports``). What a user has set in the environment stays.
"""

from __future__ import annotations

import os

_VARIABLES = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def report_nothing() -> None:
    """Switch the reports of ONNX Runtime and Ray off; before either is imported."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
