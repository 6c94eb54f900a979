"""Backends: one small interface over the runtimes that run a model's graph."""

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
        """Return the first output of the graph for one input tensor, C-contiguous float32."""

    def run_outputs(self, tensor: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """Return the named outputs of the graph for one input tensor, each C-contiguous float32."""


def open_backend(model: Model, device: str, threads: int = 1) -> Backend:
    """Start a model.

    Args:
        model: what :func:`wbcdet.inference.weights.load_model` returned.
        device: one of ``wbcdet.settings.DEVICES``.
        threads: processor threads that share the work of one call.

    Raises:
        WeightsError: the device asked for cannot be had, or the model cannot be run.
    """
    if device == "cpu-bf16":
        from wbcdet.inference.backends.openvino import OpenVinoBackend

        return OpenVinoBackend(model, threads, half=True)
    from wbcdet.inference.backends.onnx_runtime import OnnxBackend

    return OnnxBackend(model, device, threads)


def check_output(model: Model, output: np.ndarray, shape: tuple[int | None, ...]) -> None:
    """Check that a model's output for an empty picture is what its card promises.

    Args:
        model: the model.
        output: what it gave.
        shape: its sides; None where any will do.

    Raises:
        WeightsError: it has another shape, or holds what is no number.
    """
    import numpy as np

    fits = len(output.shape) == len(shape) and all(
        wanted in (None, side) for side, wanted in zip(output.shape, shape, strict=True)
    )
    if not fits or not np.isfinite(output).all():
        from wbcdet.inference.weights import WeightsError

        wanted = " x ".join("any" if side is None else str(side) for side in shape)
        raise WeightsError(
            f"{model.path}: is not the model of its card: it gives {output.shape}, or no numbers, "
            f"where the card promises {wanted}; reinstall wbcdet"
        )
