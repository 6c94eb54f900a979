"""ONNX Runtime: on every processor, and on NVIDIA's graphics cards."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from wbcdet.inference.backends.messages import one_line
from wbcdet.inference.weights import Model, WeightsError
from wbcdet.utils.extras import INSTALL_CUDA

if TYPE_CHECKING:
    import onnxruntime

_LOG = logging.getLogger(__name__)


class OnnxBackend:
    """A model in ONNX Runtime.

    Args:
        model: the model.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where the runtime has it.
        threads: processor threads that share the work of one call.

    Raises:
        WeightsError: CUDA was asked for and cannot be had, or the model cannot be opened.
    """

    def __init__(self, model: Model, device: str, threads: int) -> None:
        self._name = model.name
        try:
            self.session = _open(model, device, threads)
            self._input = self.session.get_inputs()[0].name
        except WeightsError:
            raise
        except Exception as error:
            raise WeightsError(f"{model.path}: cannot be opened ({one_line(error)})") from error

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """See :class:`wbcdet.inference.backends.Backend`."""
        return self.run_outputs(tensor, self.outputs[:1])[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """See :class:`wbcdet.inference.backends.Backend`."""
        return tuple(output.name for output in self.session.get_outputs())

    def run_outputs(self, tensor: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """See :class:`wbcdet.inference.backends.Backend`."""
        # The runtime has errors of a dozen kinds, and no class that they share.
        try:
            made = self.session.run(list(names), {self._input: tensor})
        except Exception as error:
            raise WeightsError(f"{self._name}: cannot be run ({one_line(error)})") from error
        return [np.asarray(output) for output in made]


def _open(model: Model, device: str, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise WeightsError(
            "device cuda: this onnxruntime has no CUDA; install onnxruntime-gpu over it: "
            + INSTALL_CUDA
        )
    providers = ["CPUExecutionProvider"]
    if has_cuda and device != "cpu":
        providers.insert(0, "CUDAExecutionProvider")
        _load_cuda_libraries()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    # Threads that spin while they wait take the processor from decoding and drawing: twice the
    # processor time for no gain (docs/performance.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model.path), options, providers=providers)
    # The runtime falls back to the CPU in silence when the driver or a CUDA library is missing.
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise WeightsError("device cuda: CUDA cannot be started; check the driver, or use cpu")
    return session


def _load_cuda_libraries() -> None:
    """Load NVIDIA's libraries where pip has put them; the system's are found without.

    What cannot be loaded is printed by ONNX Runtime, and goes to the log.
    """
    import onnxruntime

    if not hasattr(onnxruntime, "preload_dlls"):
        return
    with redirect_stdout(StringIO()) as said:
        onnxruntime.preload_dlls()
    for line in said.getvalue().splitlines():
        _LOG.info("%s", line)
