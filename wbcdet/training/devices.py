"""Choose the device and precision of a training."""

from __future__ import annotations

import torch

from wbcdet.training.config import TrainingError

DEVICES = ("auto", "cpu", "cuda")


def pick_device(wanted: str) -> str:
    """Resolve ``auto``, ``cpu`` or ``cuda`` to the device to train on.

    Raises:
        TrainingError: it is not one of these, or there is no GPU that torch can use.
    """
    if wanted not in DEVICES:
        raise TrainingError(f"--device must be one of {', '.join(DEVICES)}, not {wanted!r}")
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise TrainingError(
            "torch finds no GPU here: --device cpu, or install a torch built for CUDA"
        )
    return "cuda" if available and wanted != "cpu" else "cpu"


def fast_bfloat16() -> bool:
    """Tell whether this processor computes in bfloat16, so that large networks train faster in
    it."""
    able = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(able and able())
