"""Micro-Manager cameras, through pymmcore-plus (``pip install "wbcdet[micromanager]"``)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wbcdet.io.colour import Pixels
from wbcdet.stream.sources.base import Frame, SourceError
from wbcdet.utils.extras import EXTRAS

if TYPE_CHECKING:
    import pymmcore_plus

    from wbcdet.stream.sources.base import AvailableSource

DEMO = "demo"
#: Seconds without a new picture after which the camera counts as lost.
_LOST_S = 5.0
_INSTALL = f"Micro-Manager cameras need pymmcore-plus: {EXTRAS['micromanager'].install}"
_ADAPTERS = "no Micro-Manager device adapters found; `mmcore install` fetches them"


class MicroManager:
    """The camera of a Micro-Manager configuration.

    Args:
        configuration: path of a ``.cfg`` file, or ``demo`` for Micro-Manager's DemoCamera.
    """

    live = True

    def __init__(self, configuration: str) -> None:
        self.name = f"mm:{configuration}"
        self._configuration = configuration
        self._closed = False

    def frames(self) -> Iterator[Frame | None]:
        """See :class:`~wbcdet.stream.sources.base.FrameSource`."""
        core = self._core()
        try:
            bits = core.getImageBitDepth()
            core.startContinuousSequenceAcquisition(0)
            start = last = time.monotonic()
            number = 0
            while not self._closed:
                if core.getRemainingImageCount() == 0:
                    if time.monotonic() - last > _LOST_S or not core.isSequenceRunning():
                        raise SourceError(f"{self.name}: gives no picture any more")
                    time.sleep(0.002)
                    continue
                number += core.getRemainingImageCount() - 1  # those that were not asked for
                pixels = to_bgr(core.getLastImage(), bits)
                core.clearCircularBuffer()
                last = time.monotonic()
                yield Frame(pixels, number, last - start)
                number += 1
        except RuntimeError as error:
            raise SourceError(f"{self.name}: {error}") from error
        finally:
            with suppress(RuntimeError):  # a camera that was unplugged cannot be stopped
                core.stopSequenceAcquisition()
            with suppress(RuntimeError):
                core.reset()

    def close(self) -> None:
        """Stop after the current frame."""
        self._closed = True

    def _core(self) -> pymmcore_plus.CMMCorePlus:
        try:
            import pymmcore_plus
        except ImportError as error:
            raise SourceError(_INSTALL) from error
        path = Path(self._configuration)
        if self._configuration != DEMO and not path.is_file():
            raise SourceError(f"{self.name}: no such file; give a Micro-Manager .cfg, or mm:demo")
        adapters = _adapters()
        if adapters is None:
            raise SourceError(_ADAPTERS)
        try:
            core = pymmcore_plus.CMMCorePlus(mm_path=adapters)
            if self._configuration == DEMO:
                core.loadDevice("Camera", "DemoCamera", "DCam")
                core.initializeAllDevices()
                core.setCameraDevice("Camera")
            else:
                core.loadSystemConfiguration(str(path))
        except (RuntimeError, OSError) as error:
            raise SourceError(f"{self.name}: {error}") from error
        if not core.getCameraDevice():
            raise SourceError(f"{self.name}: the configuration names no camera")
        return core


def to_bgr(picture: np.ndarray, bits: int) -> Pixels:
    """Return a camera's picture as 8 bit BGR.

    Args:
        picture: (H, W) or (H, W, 3) RGB, uint8 or uint16, as pymmcore-plus gives it.
        bits: bits that the camera uses of each value; a 12 bit camera gives 0..4095.
    """
    import cv2

    if picture.dtype != np.uint8:
        picture = (picture >> max(0, bits - 8)).clip(0, 255).astype(np.uint8)
    if picture.ndim == 2:
        result: Pixels = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
        return result
    return np.ascontiguousarray(picture[:, :, 2::-1])


def find_configurations() -> list[AvailableSource]:
    """Return what ``mm:`` can open here."""
    from wbcdet.stream.sources.base import AvailableSource

    try:
        import pymmcore_plus  # noqa: F401
    except ImportError:
        return [AvailableSource("mm:demo", "Micro-Manager", _INSTALL)]
    adapters = _adapters()
    if adapters is None:
        return [AvailableSource("mm:demo", "Micro-Manager", _ADAPTERS)]
    own = sorted(Path(adapters).glob("*.cfg"))
    return [
        AvailableSource("mm:demo", "Micro-Manager's demo camera"),
        *(AvailableSource(f"mm:{path}", "Micro-Manager configuration") for path in own),
    ]


def _adapters() -> str | None:
    """Return the folder of the device adapters: Micro-Manager's own, or those of
    ``mm-test-adapters``."""
    from pymmcore_plus import find_micromanager

    folder = find_micromanager()
    return str(folder) if folder else None
