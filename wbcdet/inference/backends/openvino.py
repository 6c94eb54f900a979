"""OpenVINO: half precision (bfloat16) on processors that have it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from wbcdet.inference.backends.messages import one_line
from wbcdet.inference.weights import Model, WeightsError
from wbcdet.utils.extras import missing
from wbcdet.utils.parallel import cores

_WRAPPING = threading.Lock()


class OpenVinoBackend:
    """A model in OpenVINO.

    Args:
        model: the model.
        threads: processor threads that share the work of one call.
        half: compute in bfloat16; else in float32, which is no faster than ONNX Runtime.

    Raises:
        WeightsError: OpenVINO is not installed, or the processor has no bfloat16.
    """

    def __init__(self, model: Model, threads: int, *, half: bool) -> None:
        try:
            import openvino
        except ImportError as error:
            raise WeightsError(missing(error, "device cpu-bf16", "bf16")) from error
        core = openvino.Core()
        if half and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise WeightsError("device cpu-bf16: this processor has no bfloat16; use cpu")
        streams = max(1, cores() // threads)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
        }
        self._name = model.name
        try:
            self._compiled = core.compile_model(core.read_model(model.path), "CPU", options)
        except Exception as error:
            raise WeightsError(f"{model.path}: cannot be opened ({one_line(error)})") from error
        self._tensor = openvino.Tensor
        self._own = threading.local()

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """See :class:`wbcdet.inference.backends.Backend`."""
        return self.run_outputs(tensor, self.outputs[:1])[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        """See :class:`wbcdet.inference.backends.Backend`."""
        return tuple(output.any_name for output in self._compiled.outputs)

    def run_outputs(self, tensor: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """See :class:`wbcdet.inference.backends.Backend`."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        # Two threads that wrap their arrays at the same time can wait for each other forever.
        with _WRAPPING:
            request.set_input_tensor(0, self._tensor(tensor, shared_memory=True))
        try:
            request.infer()
        except Exception as error:
            raise WeightsError(f"{self._name}: cannot be run ({one_line(error)})") from error
        # The request writes its next output into the same memory.
        return [np.array(request.get_tensor(name).data) for name in names]
