"""Keep libraries from reporting their use to their makers: nothing leaves this computer.

ONNX Runtime (1.32, also on Linux) notes every model that is loaded in a file in the user's cache,
with the processor and the path of the program, to report it to Microsoft; Ray reports as well (and
ultralytics: ``wbcdet.training.usage_reports``). What a user has set in the environment stays.
OpenVINO sends an event to Google Analytics each time it is imported, under a number that it keeps
in the user's home, and no variable stops it: the package that sends is kept out, and OpenVINO then
does without.
"""

from __future__ import annotations

import os
import sys

_VARIABLES = {"ORT_DISABLE_TELEMETRY": "1", "RAY_USAGE_STATS_ENABLED": "0"}
_PACKAGE = "openvino_telemetry"


def report_nothing() -> None:
    """Switch the reports of ONNX Runtime, Ray and OpenVINO off; before any of them is imported."""
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    sys.modules.setdefault(_PACKAGE, None)  # type: ignore[arg-type]  # None: cannot be imported
