"""A model's graph on this machine: one small interface over the programs that can run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from wbcdet.inference.weights import Model


class Backend(Protocol):
    """Runs one model; may be called by several threads at the same time."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs, in order."""
        ...

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The first output of the graph for one input tensor, C-contiguous float32."""

    def run_outputs(self, tensor: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """The named outputs of the graph for one input tensor, each C-contiguous float32."""


def open_backend(model: Model, device: str, threads: int = 1) -> Backend:
    """Start a model.

    Args:
        model: what :func:`wbcdet.inference.weights.load_model` returned.
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.

    Raises:
        WeightsError: the device asked for cannot be had.
    """
    if device == "cpu-bf16":
        from wbcdet.inference.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, threads, half=True)
    from wbcdet.inference.backends.onnx_runtime import OnnxBackend

    return OnnxBackend(model, device, threads)
