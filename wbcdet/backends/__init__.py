"""A model's graph on this machine: one small interface over the programs that can run it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from wbcdet.weights import Model


class Backend(Protocol):
    """Runs one model; may be called by several threads at the same time."""

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The output of the graph for one input tensor, C-contiguous float32."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_backend(model: Model, device: str, threads: int = 1) -> Backend:
    """Start a model.

    Args:
        model: what :func:`wbcdet.weights.load_model` returned.
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.

    Raises:
        WeightsError: the device asked for cannot be had.
    """
    if device == "cpu-bf16":
        from wbcdet.backends.open_vino import OpenVinoBackend

        return OpenVinoBackend(model, threads, half=True)
    from wbcdet.backends.onnx_runtime import OnnxBackend

    return OnnxBackend(model, device, threads)
