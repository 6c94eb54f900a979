"""Slides through OpenSlide, and through tiffslide, which has the same interface."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from wbcdet.io.colour import BAD_PROFILE, Pixels, in_srgb
from wbcdet.io.slides.base import Level, check_colours, further_scenes, one_scale, um_from

#: µm per pixel of an objective that magnifies once, as scanners' cameras have it.
_UM_AT_ONE = 10.0


class OpenSlideReader:
    """SVS, NDPI, MRXS, SCN, BIF, VMS, DICOM and what else OpenSlide reads; see ``SlideReader``."""

    def __init__(self, path: Path) -> None:
        import openslide

        self._slide: Any = openslide.OpenSlide(str(path))
        self._profile, bad = _profile(self._slide)
        self.levels = _levels(self._slide)
        self.um_per_px, remarks = _scale(self._slide.properties, "openslide")
        self.remarks = (*remarks, *bad)

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of a level; see ``SlideReader.read``."""
        by = self.levels[level].downsample
        region = self._slide.read_region((round(x * by), round(y * by)), level, (width, height))
        return in_srgb(_on_white(np.asarray(region)), self._profile, [])


class TiffSlideReader:
    """Pyramids in TIFF and OME-TIFF that OpenSlide knows only in part; see ``SlideReader``."""

    def __init__(self, path: Path) -> None:
        import tiffslide

        self._slide: Any = tiffslide.TiffSlide(str(path))
        self._lock = Lock()
        self.levels = _levels(self._slide)
        pixel = self._slide.read_region((0, 0), len(self.levels) - 1, (1, 1), as_array=True)
        check_colours(str(pixel.dtype), pixel.shape[2] if pixel.ndim == 3 else 1)
        self._profile, bad = _profile(self._slide)
        self.um_per_px, remarks = _scale(self._slide.properties, "tiffslide")
        tiff = self._slide.ts_tifffile
        # Of others a series may be a level.
        shapes = {str(at): one.shape for at, one in enumerate(tiff.series) if tiff.is_ome}
        self.remarks = (*remarks, *bad, *(further_scenes(shapes) if shapes else ()))

    def read(self, level: int, x: int, y: int, width: int, height: int) -> Pixels:
        """Return a rectangle of a level; see ``SlideReader.read``."""
        by = self.levels[level].downsample
        with self._lock:
            region: np.ndarray = self._slide.read_region(
                (round(x * by), round(y * by)), level, (width, height), as_array=True
            )
        if region.ndim == 2 or region.shape[2] == 1:
            region = np.repeat(region.reshape(*region.shape[:2], 1), 3, axis=2)
        return in_srgb(np.ascontiguousarray(region[:, :, 2::-1]), self._profile, [])


def _profile(slide: Any) -> tuple[bytes, tuple[str, ...]]:
    """Return the ICC profile of a slide, empty where it has none, and what is to be said of it."""
    from PIL import ImageCms

    try:
        profile = slide.color_profile
    except (ImageCms.PyCMSError, OSError):
        return b"", (BAD_PROFILE,)
    return (b"" if profile is None else bytes(profile.tobytes())), ()


def _levels(slide: Any) -> tuple[Level, ...]:
    return tuple(
        Level(int(width), int(height), float(by))
        for (width, height), by in zip(slide.level_dimensions, slide.level_downsamples, strict=True)
    )


def _scale(properties: Mapping[str, object], library: str) -> tuple[float | None, tuple[str, ...]]:
    """µm per pixel, and how it was told where the file does not say it itself."""
    sides = [um_from(_number(properties.get(f"{library}.mpp-{axis}"))) for axis in "xy"]
    um, remarks = one_scale(*sides)
    if um is not None:
        return um, remarks
    power = _number(properties.get(f"{library}.objective-power"))
    if power is None or (um := um_from(_UM_AT_ONE / power)) is None:
        return None, ()
    return um, (f"names no scale; {um:g} µm per pixel taken from its objective of {power:g}x",)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number > 0 else None


def _on_white(rgba: np.ndarray) -> Pixels:
    """RGBA as BGR on white: what was not scanned is transparent."""
    pixels = np.ascontiguousarray(rgba[:, :, 2::-1])
    alpha = rgba[:, :, 3]
    if alpha.min(initial=255) == 255:
        return pixels
    share = alpha[:, :, None].astype(np.float32) / 255
    result: Pixels = np.rint(pixels * share + 255 * (1 - share)).astype(np.uint8)
    return result
