"""What wbcdet can do on this computer: its packages, models, devices and optional parts."""

from __future__ import annotations

import os
import platform
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path

from wbcdet.inference.weights import ROLES, WeightsError, load_model
from wbcdet.utils.extras import EXTRAS, INSTALL_CUDA
from wbcdet.utils.parallel import cores
from wbcdet.utils.user_folder import user_home
from wbcdet.utils.version import __version__

#: What every analysis needs: as Python imports it, and as pip calls it.
BASE = {
    "av": "av",
    "cv2": "opencv-python-headless",
    "imagecodecs": "imagecodecs",
    "lap": "lapx",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "PIL": "pillow",
    "pi_heif": "pi-heif",
    "pillow_jxl": "pillow-jxl-plugin",
    "simplejpeg": "simplejpeg",
    "tifffile": "tifffile",
}

#: The folders of a path on any system: of /home/ann/x, of C:\\Users\\ann\\x; not of an address.
_FOLDERS = re.compile(r"(?<![\w.:/\\-])([A-Za-z]:)?([\\/][^\s\\/:'\",;]+)+(?=[\\/])")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis.

    Attributes:
        what: was looked at.
        state: of it, in words.
        sound: whether wbcdet can analyse pictures in spite of it.
    """

    what: str
    state: str
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, by section."""

    sections: dict[str, list[Finding]]

    @property
    def sound(self) -> bool:
        """Whether pictures can be analysed here."""
        return all(finding.sound for findings in self.sections.values() for finding in findings)

    def lines(self, room: int = 200) -> Iterator[str]:
        """Yield the diagnosis as plain text, aligned; what is longer than ``room`` is folded."""
        width = max(
            len(finding.what) for findings in self.sections.values() for finding in findings
        )
        for section, findings in self.sections.items():
            yield section
            for finding in findings:
                mark = " " if finding.sound else "!"
                head = f" {mark} {finding.what:<{width}}  "
                yield from textwrap.wrap(
                    head + without_folders(finding.state),
                    max(room, 2 * len(head)),
                    break_long_words=False,
                    break_on_hyphens=False,
                    subsequent_indent=" " * len(head),
                )
        yield "sound" if self.sound else "not sound: see the lines with !"


def diagnose() -> Diagnosis:
    """Look at everything; nothing is changed, and what is broken is a finding, not an error."""
    return Diagnosis(
        {
            "wbcdet": [
                Finding("version", __version__),
                Finding("Python", f"{platform.python_version()} ({sys.implementation.name})"),
                Finding("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
                Finding("processor cores", str(cores())),
            ],
            "models": [_model(role) for role in ROLES],
            "devices": [_cpu(), _bf16(), _cuda()],
            "packages": [_package(module, name) for module, name in BASE.items()],
            "optional parts": [_extra(name) for name in EXTRAS],
        }
    )


def without_folders(text: str) -> str:
    """Return a text with the names of files, without the folders that would tell whose they are."""
    own = {os.environ.get("WBCDET_WEIGHTS", ""), sys.prefix, str(user_home() or "")}
    with suppress(OSError):  # a working folder that was removed
        own.add(str(Path.cwd()))
    for folder in sorted(own - {"", os.sep}, key=len, reverse=True):  # they may have spaces
        text = re.sub(re.escape(folder) + r"(?=[\\/\s:'\",;]|$)", "...", text)
    return _FOLDERS.sub("...", text)


def _model(role: str) -> Finding:
    try:
        model = load_model(role)
    except WeightsError as error:
        return Finding(role, str(error), sound=False)
    source = " (learned on this computer)" if model.learned else ""
    if os.environ.get("WBCDET_WEIGHTS"):
        source = " (from WBCDET_WEIGHTS)"
    return Finding(role, f"{model.name}{source}, sha256 {model.sha256}")


def _runs(device: str) -> str:
    """Start the classifier, the smaller model, on a device; how that went."""
    from wbcdet.inference.backends import open_backend

    open_backend(load_model("classifier"), device)
    return "ready"


def _tried(what: str, work: Callable[[], str], *, needed: bool = False) -> Finding:
    try:
        with _quiet():
            return Finding(what, work())
    except Exception as error:  # a broken library raises errors of any kind
        return Finding(what, " ".join(str(error).split()), sound=not needed)


def _cpu() -> Finding:
    return _tried("cpu", lambda: _runs("cpu"), needed=True)


def _bf16() -> Finding:
    return _tried("cpu-bf16", lambda: _runs("cpu-bf16"))


def _cuda() -> Finding:
    finding = _tried("cuda", lambda: _runs("cuda"))
    if finding.state != "ready" and _version("onnxruntime-gpu") and "no CUDA" in finding.state:
        said = "onnxruntime-gpu is installed below another onnxruntime; put it on top: "
        return Finding("cuda", said + INSTALL_CUDA.rpartition("&& ")[2])
    return finding


def _package(module: str, name: str) -> Finding:
    try:
        with _quiet():
            loaded = import_module(module)
    except Exception as error:  # a broken library raises errors of any kind
        said = " ".join(str(error).split())
        return Finding(name, f"{said}: pip install --force-reinstall {name}", sound=False)
    other = getattr(loaded, "__version__", "unknown version")
    return Finding(name, _version(name) or f"{other} of another package")


def _extra(name: str) -> Finding:
    extra = EXTRAS[name]
    lacks = extra.missing_modules()
    if not lacks:
        return Finding(name, f"installed; for {extra.purpose}")
    return Finding(name, f"lacks {', '.join(lacks)}; for {extra.purpose}: {extra.install}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what libraries print as they start out of a text that is pasted elsewhere."""
    with redirect_stdout(StringIO()):
        yield
